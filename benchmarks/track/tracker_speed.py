"""Frames per second of the tracker update alone: ours beside the same methods in roboflow ``trackers`` 2.6.1.

Real detections (Faster R-CNN's on PETS09-S2L1, as MOTChallenge gives them) are laid side by side until a
frame holds about 10, 50, 200 or 1000 boxes. Both trackers see the same frames, turn by turn within one run,
because the speed of a shared machine drifts; what counts is the median of the ratios. How to get the peer:
``peer.py``. No tracker is given frames: what compensates the camera's motion is left out on both sides.

    export SPARSIGHT_ASSETS=...
    python benchmarks/track/tracker_speed.py --peer "$PEER" --out benchmarks/track/results
    python benchmarks/track/tracker_speed.py --peer "$PEER" --tracker sort --boxes 50
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from peer import PEERS, Peer, convert
from record import record
from rich.console import Console
from rich.table import Table

from sparsight.track import Detections, build_tracker
from sparsight.track.motchallenge import read, read_info

SIZES = {10: 150, 50: 50, 200: 12, 1000: 3}
"""Boxes a frame → frames a round."""


def tiled(frames: list[Detections], count: int, width: int, height: int) -> list[Detections]:
    """The sequence beside itself until frames hold about ``count`` boxes.

    Each tile starts at another moment, so that people do not come and go everywhere at once.
    """
    tiles = max(round(count * len(frames) / sum(map(len, frames))), 1)
    side = int(np.ceil(np.sqrt(tiles)))
    shifts = [np.tile([tile % side * width, tile // side * height], 2) for tile in range(tiles)]
    result = []
    for index in range(len(frames)):
        parts = [frames[(index + 97 * tile) % len(frames)] for tile in range(tiles)]
        xyxy = np.concatenate([part.xyxy + shift for part, shift in zip(parts, shifts, strict=True)])
        result.append(Detections(xyxy, np.concatenate([part.score for part in parts])))
    return result


def seconds(update: Callable[[Any], Any], frames: Iterable[Any]) -> float:
    begin = time.perf_counter()
    for frame in frames:
        update(frame)
    return time.perf_counter() - begin


def rates(
    ours: Callable[[Detections], Any], theirs: Callable[[Any], Any], frames: list[Detections], rounds: int
) -> list[tuple[float, float]]:
    """Frames per second of the peer and of ours, in each of ``rounds`` rounds."""
    length = SIZES[min(SIZES, key=lambda size: abs(size - np.mean([len(one) for one in frames])))]
    # Neither pays for conversion: each gets its own kind of detections.
    stream = itertools.cycle([(detections, convert(detections)) for detections in frames])
    result = []
    for turn in range(rounds + 1):
        part = list(itertools.islice(stream, length))
        mine = seconds(ours, [one for one, _ in part])
        other = seconds(theirs, [one for _, one in part])
        if turn:  # the first round fills the trackers and the caches
            result.append((length / other, length / mine))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, required=True, help="site-packages that hold trackers 2.6.1")
    parser.add_argument("--tracker", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--boxes", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="folder for tracker_speed.json and .md")
    arguments = parser.parse_args()
    folder = Path(os.environ["SPARSIGHT_ASSETS"]) / "mot" / "PETS09-S2L1"
    info = read_info(folder)
    frames = list(read(folder / "det_frcnn" / "det.txt").detections(info.length))

    table = Table("tracker", "boxes a frame", "peer, frames/s", "ours, frames/s", "ratio (median)", "ratios")
    rows = []
    for name, count in itertools.product(arguments.tracker, arguments.boxes):
        many = tiled(frames, count, info.width, info.height)
        peer = Peer(arguments.peer, name)
        measured = rates(build_tracker(name).update, peer.tracker.update, many, arguments.rounds)
        ratios = sorted(mine / theirs for theirs, mine in measured)
        row = {
            "tracker": name,
            "boxes a frame": round(sum(map(len, many)) / len(many)),
            "peer, frames/s": statistics.median(theirs for theirs, _ in measured),
            "ours, frames/s": statistics.median(mine for _, mine in measured),
            "ratio (median)": statistics.median(ratios),
            "least ratio": ratios[0],
            "largest ratio": ratios[-1],
        }
        rows.append(row)
        table.add_row(
            name,
            str(row["boxes a frame"]),
            f"{row['peer, frames/s']:.1f}",
            f"{row['ours, frames/s']:.0f}",
            f"{row['ratio (median)']:.1f}x",
            f"{ratios[0]:.1f} to {ratios[-1]:.1f}",
        )
        record(
            arguments.out,
            "tracker_speed",
            title="Trackers' update beside roboflow trackers 2.6.1",
            note=f"One thread, {arguments.rounds} rounds, turn by turn on a shared machine: ratios count.",
            packages=("sparsight", "numpy", "scipy"),
            rows=rows,
        )
    Console().print(table)


if __name__ == "__main__":
    main()
