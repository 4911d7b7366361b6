"""Ten hours of a simulated stream: does memory, or the time a frame takes, grow?

Fifty people come and go before one camera, each with looks of their own; their boxes are tracked by ``sort``
and identified against a gallery, with vectors made up from who is in the box. Time is compressed: frames are
two a second, and are worked on as fast as they come. Every tenth of the stream prints the median and the 99th
percentile of a frame, the memory, and the size of the gallery; the end says how the last tenth compares with
the second (the first fills the gallery), and how many people were found.

    python benchmarks/track/ten_hours.py
"""

from __future__ import annotations

import argparse
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
        table = []
        visits = 0
        print("hours  median ms   99% ms  MiB  people  sights  gallery MiB")
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
            begin = time.perf_counter()
            tracks = tracker.update(found, frame=image, timestamp=now)
            identifier.update(image, tracks, now)
            seconds[frame] = time.perf_counter() - begin
            if (frame + 1) % (frames // PARTS) == 0:
                part = 1000 * seconds[frame + 1 - frames // PARTS : frame + 1]
                people = gallery.people()
                sights = sum(one.tracklets for one in people)
                size = Path(gallery.path).stat().st_size / 2**20
                table.append((np.median(part), rss()))
                print(
                    f"{now / 3600:5.1f}  {table[-1][0]:9.2f}  {np.percentile(part, 99):7.2f}  "
                    f"{table[-1][1]:3.0f}  {len(people):6d}  {sights:6d}  {size:11.1f}",
                    flush=True,
                )
        identifier.finish()
        print(
            f"last tenth over second: frame {table[-1][0] / table[1][0]:.2f}x, memory "
            f"{table[-1][1] / table[1][1]:.2f}x; {len(gallery.people())} people found of {PEOPLE} in "
            f"{visits} visits; {len(gallery.corrections())} corrections"
        )


if __name__ == "__main__":
    main()
