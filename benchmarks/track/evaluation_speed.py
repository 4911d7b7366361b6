"""Seconds to score a sequence with HOTA, CLEAR and the identity metrics: ours beside ``trackeval`` 1.3.0.

Walkers in a picture of 1920 × 1080 pixels, reported by a made-up tracker that misses a tenth of them, sees
some who are not there, and now and then gives somebody a new number. Both sides begin with the same arrays of
boxes and end with all their values, which must agree to 1e-9; they take turns within one run, because the
speed of a shared machine drifts, and what counts is the median of the ratios.

    python benchmarks/track/evaluation_speed.py --out benchmarks/track/results
    python benchmarks/track/evaluation_speed.py --memory          # ours alone: 27,000 reported identities

``--memory`` reports the most memory that the process held. For the identity metrics trackeval would need
matrices of (true + reported identities)², 5.9 GB each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import trackeval
from numpy.typing import NDArray
from record import record
from rich.console import Console
from rich.table import Table

from sparsight.track.metrics import evaluate

SIZES = ((1000, 30, 15), (5000, 100, 5))
"""Frames, people in each, rounds."""
EXTENT = 1850, 950


def scene(
    frames: int, people: int, identities: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and reported rows ``frame, id, x, y, w, h``; about so many reported identities."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, EXTENT, (people, 2))
    speed = rng.normal(0, 3, (people, 2))
    size = np.stack((rng.uniform(30, 60, people), rng.uniform(80, 150, people)), axis=1)
    track, known = np.arange(people), people
    truth, result = [], []
    for frame in range(1, frames + 1):
        place = place + speed
        speed = np.where((place < 0) | (place > EXTENT), -speed, speed)
        box = np.concatenate((place, size), axis=1)
        truth.append(np.column_stack((np.full(people, frame), np.arange(people), box)))
        new = rng.random(people) < (identities - people) / (frames * people)
        track[new] = np.arange(known, known + new.sum())
        known += int(new.sum())
        seen = rng.random(people) < 0.9
        noisy = box + rng.normal(0, 3, box.shape)
        result.append(np.column_stack((np.full(people, frame), track, noisy))[seen])
        extra = int(rng.poisson(people * 0.05))
        false = np.column_stack((rng.uniform(0, EXTENT, (extra, 2)), np.full(extra, 45), np.full(extra, 110)))
        result.append(np.column_stack((np.full(extra, frame), 10**6 + np.arange(extra), false)))
    return np.concatenate(truth), np.concatenate(result)


def peer(truth: NDArray[np.float64], result: NDArray[np.float64]) -> dict[str, Any]:
    """What trackeval does between reading files and printing tables."""
    frames = int(max(truth[-1, 0], result[-1, 0]))
    data: dict[str, Any] = {"num_timesteps": frames}
    boxes = {}
    for side, rows in (("gt", truth), ("tracker", result)):
        known, number = np.unique(rows[:, 1], return_inverse=True)
        ends = np.searchsorted(rows[:, 0], np.arange(2, frames + 1))
        data |= {f"num_{side}_ids": len(known), f"num_{side}_dets": len(rows)}
        data[f"{side}_ids"] = np.split(number, ends)
        boxes[side] = np.split(rows[:, 2:6], ends)
    data["similarity_scores"] = [
        trackeval.datasets.MotChallenge2DBox._calculate_box_ious(true, reported)
        for true, reported in zip(boxes["gt"], boxes["tracker"], strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        metrics = {
            "hota": trackeval.metrics.HOTA(),
            "clear": trackeval.metrics.CLEAR(),
            "identity": trackeval.metrics.Identity(),
        }
        return {name: metric.eval_sequence(data) for name, metric in metrics.items()}


def furthest(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest difference of any value, relative where it is above 1."""
    return max(
        float(np.max(np.abs(np.asarray(ours[name][field]) - value) / np.maximum(1, np.abs(value))))
        for name, values in theirs.items()
        for field, value in values.items()
    )


def timed(function: Any, *arguments: Any) -> tuple[float, float, Any]:
    """Wall-clock and processor seconds, and the answer."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = function(*arguments)
    return time.perf_counter() - wall, time.process_time() - processor, answer


def compare(out: Path | None) -> None:
    table = Table(
        "frames x people", "ids", "ours, s", "trackeval, s", "ratio", "ratio of CPU time", "differ by"
    )
    rows = []
    for frames, people, rounds in SIZES:
        truth, result = scene(frames, people, 10 * people)
        evaluate(truth[: 50 * people], truth[: 50 * people])
        ratios, walls = [], []
        for _ in range(rounds):
            ours, our_cpu, values = timed(evaluate, truth, result)
            theirs, their_cpu, reference = timed(peer, truth, result)
            ratios.append((theirs / ours, their_cpu / our_cpu))
            walls.append((ours, theirs))
        wall_ratio, cpu_ratio = (statistics.median(column) for column in zip(*ratios, strict=True))
        ours, theirs = (statistics.median(column) for column in zip(*walls, strict=True))
        identities, apart = len(np.unique(result[:, 1])), furthest(values, reference)
        table.add_row(
            f"{frames} x {people}",
            str(identities),
            f"{ours:.3f}",
            f"{theirs:.2f}",
            f"{wall_ratio:.1f}",
            f"{cpu_ratio:.1f}",
            f"{apart:.0e}",
        )
        rows.append(
            {
                "frames": frames,
                "people": people,
                "reported identities": identities,
                "rounds": rounds,
                "ours, s": ours,
                "trackeval, s": theirs,
                "ratio of wall-clock time": wall_ratio,
                "ratio of processor time": cpu_ratio,
                "least ratio of processor time": min(cpu for _, cpu in ratios),
                "largest difference": apart,
            }
        )
    Console().print(table)
    note = "Turn by turn in one run on one thread of a shared machine; ratios are medians of the rounds."
    record(
        out,
        "evaluation_speed",
        title="Evaluation beside trackeval",
        note=note,
        packages=("sparsight", "trackeval", "numpy", "scipy"),
        rows=rows,
    )


def memory() -> None:
    truth, result = scene(5000, 100, 27000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, _, values = timed(evaluate, truth, result)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1024 if sys.platform != "darwin" else 1
    print(
        f"5000 frames x 100 people, {len(np.unique(result[:, 1]))} reported identities: {seconds:.2f} s, "
        f"the process held {after * unit / 2**20:.0f} MiB at most, {before * unit / 2**20:.0f} MiB before; "
        f"HOTA {values['hota']['HOTA'].mean():.4f}, IDF1 {values['identity']['IDF1']:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory", action="store_true", help="measure our memory instead")
    parser.add_argument("--out", type=Path, help="folder for evaluation_speed.json and .md")
    arguments = parser.parse_args()
    if arguments.memory:
        memory()
    else:
        compare(arguments.out)


if __name__ == "__main__":
    main()
