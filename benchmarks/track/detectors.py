"""Precision, recall and milliseconds of detectors, side by side on the same frames of TUD and PETS09-S2L1.

    SPARSIGHT_ASSETS=... python benchmarks/track/detectors.py ssdlite yolox openpose "openpose(side=576)"

A detection counts where its overlap (IoU) with somebody not yet taken is at least 0.5. Milliseconds are those
of one processor core (``OMP_NUM_THREADS=1``), the median over frames, the detectors taking turns.

    SPARSIGHT_ASSETS=... python benchmarks/track/detectors.py ssdlite yolox openpose --scale

also says which share of the detections of a score is right: on the scale common to all detectors about nine
of ten from 0.7 on (see ``sparsight.track.detect.scale``).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sparsight.media import open_video
from sparsight.track import Detections, build_detector
from sparsight.track.boxes import iou
from sparsight.track.detect import detect

SEQUENCES = {
    "PETS09-S2L1": ("vtest.avi", 100),
    "TUD-Campus": ("TUD-Campus/img1", 12),
    "TUD-Stadtmitte": ("TUD-Stadtmitte/img1", 30),
}
"""Where the frames are, and every how manieth is taken."""


def hits(found: Detections, people: Detections) -> NDArray[np.bool_]:
    """Which detections are the only one of somebody: (N,)."""
    overlap = iou(found.xyxy[:, None], people.xyxy) >= 0.5
    row, column = linear_sum_assignment(overlap, maximize=True)
    flags = np.zeros(len(found), bool)
    flags[row] = overlap[row, column]
    return flags


def main() -> None:
    """Measure the detectors named and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detectors", nargs="+", metavar="NAME")
    parser.add_argument("--scale", action="store_true", help="also say what scores are worth")
    arguments = parser.parse_args()
    names = arguments.detectors
    folder = Path(os.environ["SPARSIGHT_ASSETS"].split(os.pathsep)[0]) / "mot"
    detectors = {name: build_detector(name, device="cpu") for name in names}
    print(f"{'sequence':16}{'detector':24}{'precision':>10}{'recall':>8}{'ms':>7}")
    tenths = {name: np.zeros((2, 10), int) for name in names}
    for sequence, (source, every) in SEQUENCES.items():
        truth = build_detector(f"groundtruth:{folder / sequence / 'gt' / 'gt.txt'}")
        counts = {name: np.zeros(3, int) for name in names}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for frame in open_video(folder / source, every=every):
            people = detect(truth, frame.image, frame.index)
            for name, detector in detectors.items():
                begin = time.process_time()
                found = detector(frame.image)
                seconds[name].append(time.process_time() - begin)
                right = hits(found, people)
                counts[name] += right.sum(), len(found), len(people)
                tenth = np.minimum(found.score * 10, 9).astype(int)
                tenths[name] += np.bincount(tenth[right], minlength=10), np.bincount(tenth, minlength=10)
        for name, (correct, found_all, there) in counts.items():
            precision, recall = correct / max(found_all, 1), correct / there
            milliseconds = 1000 * np.median(seconds[name])
            print(f"{sequence:16}{name:24}{precision:10.2f}{recall:8.2f}{milliseconds:7.0f}", flush=True)
    for name, (correct, number) in tenths.items() if arguments.scale else ():
        shares = (f"{i / 10}: {correct[i] / number[i]:.2f} of {number[i]}" for i in number.nonzero()[0])
        print(f"{name}, share right by score from", ", ".join(shares))


if __name__ == "__main__":
    main()
