"""Frames per second of the tracker update alone: our ``sort`` beside the SORT of roboflow ``trackers`` 2.6.1.

Real detections (Faster R-CNN's on PETS09-S2L1, as MOTChallenge gives them) are laid side by side until a
frame holds about 10, 50, 200 or 1000 boxes. Both trackers see the same frames, turn by turn within one run,
because the speed of a shared machine drifts; what counts is the median of the ratios. How to get the peer:
``peer.py``.

    SPARSIGHT_ASSETS=... python benchmarks/track/sort_speed.py --peer "$PEER"
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
from peer import PeerSort, convert
from rich.console import Console
from rich.table import Table

from sparsight.track import Detections, build_tracker
from sparsight.track.motchallenge import read, read_info

SIZES = {10: 300, 50: 150, 200: 60, 1000: 15}
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, required=True, help="site-packages that hold trackers 2.6.1")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    folder = Path(os.environ["SPARSIGHT_ASSETS"]) / "mot" / "PETS09-S2L1"
    info = read_info(folder)
    frames = list(read(folder / "det_frcnn" / "det.txt").detections(info.length))

    table = Table("boxes a frame", "peer, frames/s", "ours, frames/s", "ratio (median)", "ratios")
    for count, length in SIZES.items():
        ours = tiled(frames, count, info.width, info.height)
        # Neither pays for conversion: each gets its own kind of detections.
        stream = itertools.cycle([(detections, convert(detections)) for detections in ours])
        tracker, peer = build_tracker("sort"), PeerSort(arguments.peer).tracker
        rates: list[tuple[float, float]] = []
        for turn in range(arguments.rounds + 1):
            part = list(itertools.islice(stream, length))
            mine = seconds(tracker.update, [one for one, _ in part])
            theirs = seconds(peer.update, [other for _, other in part])
            if turn:  # the first round fills the trackers and the caches
                rates.append((length / theirs, length / mine))
        ratios = sorted(mine / theirs for theirs, mine in rates)
        table.add_row(
            f"{sum(map(len, ours)) / len(ours):.0f}",
            f"{statistics.median(theirs for theirs, _ in rates):.1f}",
            f"{statistics.median(mine for _, mine in rates):.0f}",
            f"{statistics.median(ratios):.1f}x",
            f"{ratios[0]:.1f} to {ratios[-1]:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
