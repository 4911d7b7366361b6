"""Ten hours of a simulated stream: does memory, or the time a frame takes, grow?

Fifty people come and go before one camera, each with looks of their own; their boxes are tracked by ``sort``
and identified against a gallery, with vectors made up from who is in the box. Time is compressed: frames are
two a second, and are worked on as fast as they come. Every tenth of the stream prints the mean, the median
and the 99th percentile of a frame in processor time (which other programs on the machine do not lengthen; of
one thread, because those of OpenBLAS burn time in waiting for one another), the memory, and the size of the
gallery; the end says how the last tenth compares with the second (the first fills the gallery), and how many
people were found. ``results/ten_hours.json`` and ``.md`` hold what came out.

    OMP_NUM_THREADS=1 python benchmarks/track/ten_hours.py --out benchmarks/track/results
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.track import Detections, Gallery, Identifier, build_tracker
from sparsight.track.types import Image

PEOPLE, FPS, DIMENSION = 50, 2.0, 256
WIDTH, HEIGHT = 1280, 720
STAY, AWAY = 45.0, 300.0  # seconds, on the average
PARTS = 10
COLUMNS = ("hours", "mean ms", "median ms", "99% ms", "MiB", "people", "sights", "gallery MiB")


class MadeUp:
    """Vectors that tell who stands where, as the scene has it at the moment, with noise."""

    name, dimension, max_distance = "made-up", DIMENSION, 0.4

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        looks = rng.normal(size=(PEOPLE, DIMENSION))
        self._looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
        self.here = np.zeros(0, np.int64)
        self.x = np.zeros(0)

    def __call__(self, image: Image, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, DIMENSION) of the people nearest to the boxes (N, 4)."""
        centre = (xyxy[:, 0] + xyxy[:, 2]) / 2
        who = self.here[np.abs(centre[:, None] - self.x).argmin(1)]
        vectors = self._looks[who] + self._rng.normal(scale=0.03, size=(len(xyxy), DIMENSION))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rss() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--out", type=Path, help="folder for ten_hours.json and ten_hours.md")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    frames = round(arguments.hours * 3600 * FPS)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    until = rng.exponential(AWAY, PEOPLE)  # when each comes or goes next
    here = np.zeros(PEOPLE, np.bool_)
    place = rng.permutation(PEOPLE) * (WIDTH - 60) / PEOPLE + 15  # everybody's own: nobody hides another
    with tempfile.TemporaryDirectory() as folder, Gallery(Path(folder) / "gallery.sqlite") as gallery:
        embedder = MadeUp(rng)
        tracker, identifier = build_tracker("sort"), Identifier(gallery, embedder, clock="wall")
        seconds = np.zeros(frames)
        table: list[dict[str, float]] = []
        visits = 0
        print("".join(f"{name:>12}" for name in COLUMNS))
        for frame in range(frames):
            now = frame / FPS
            turned = until <= now
            here ^= turned
            visits += int((here & turned).sum())
            until[turned] = now + rng.exponential(np.where(here[turned], STAY, AWAY))
            who = np.flatnonzero(here)
            embedder.here, embedder.x = who, place[who] + 10
            x1 = place[who] + rng.normal(scale=0.5, size=len(who))
            xyxy = np.stack([x1, np.full(len(who), 300.0), x1 + 20, np.full(len(who), 360.0)], 1)
            found = Detections(xyxy.astype(np.float32), np.full(len(who), 0.9), np.zeros(len(who), np.int64))
            begin = time.process_time()
            tracks = tracker.update(found, frame=image, timestamp=now)
            identifier.update(image, tracks, now)
            seconds[frame] = time.process_time() - begin
            if (frame + 1) % (frames // PARTS) == 0:
                part = 1000 * seconds[frame + 1 - frames // PARTS : frame + 1]
                people = gallery.people()
                row = (
                    now / 3600,
                    part.mean(),
                    np.median(part),
                    np.percentile(part, 99),
                    rss(),
                    len(people),
                    sum(one.tracklets for one in people),
                    Path(gallery.path).stat().st_size / 2**20,
                )
                table.append(dict(zip(COLUMNS, (round(float(value), 2) for value in row), strict=True)))
                print("".join(f"{value:12.2f}" for value in table[-1].values()), flush=True)
        identifier.finish()
        last, second = table[-1], table[1]
        ratios = {name: round(last[name] / second[name], 3) for name in COLUMNS[1:5]}
        found = len(gallery.people())
        corrections = len(gallery.corrections())
    said = (
        f"last tenth over second: {', '.join(f'{name} {value:.2f}x' for name, value in ratios.items())}; "
        f"{found} people found of {PEOPLE} in {visits} visits; {corrections} corrections"
    )
    print(said)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        result = {
            "hours": arguments.hours,
            "frames": frames,
            "rows": table,
            "last over second": ratios,
            "people": PEOPLE,
            "found": found,
            "visits": visits,
            "corrections": corrections,
        }
        (arguments.out / "ten_hours.json").write_text(json.dumps(result, indent=2) + "\n")
        lines = [
            f"# {arguments.hours:g} hours of a simulated stream",
            "",
            f"`OMP_NUM_THREADS=1 python benchmarks/track/ten_hours.py`: {frames} frames, milliseconds of "
            "processor time per frame.",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"| {' | '.join('---:' for _ in COLUMNS)} |",
            *(f"| {' | '.join(f'{value:g}' for value in row.values())} |" for row in table),
            "",
            f"{said[0].upper()}{said[1:]}.",
        ]
        (arguments.out / "ten_hours.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
