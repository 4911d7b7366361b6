"""The official code, ``trackeval`` 1.3.0, run as its own scripts run it, and made-up scenes to compare on."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import trackeval
from numpy.typing import NDArray

Rows = NDArray[np.float64]
NAMES = ("hota", "clear", "identity")


def official(
    folder: Path, sequences: dict[str, tuple[Path, Path]], lengths: dict[str, int], benchmark: str
) -> dict[str, dict[str, Any]]:
    """Values by sequence and metric, ``COMBINED_SEQ`` for all together.

    Args:
        folder: an empty one to work in.
        sequences: ground truth and result of each.
        lengths: frames of each.
        benchmark: as trackeval names it: MOT15, MOT17, MOT20.
    """
    results = folder / "trackers" / "mine" / "data"
    results.mkdir(parents=True)
    for name, (truth, result) in sequences.items():
        (folder / "gt" / name / "gt").mkdir(parents=True)
        (folder / "gt" / name / "gt" / "gt.txt").write_bytes(truth.read_bytes())
        (results / f"{name}.txt").write_bytes(result.read_bytes())
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = trackeval.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(folder / "gt"),
                "TRACKERS_FOLDER": str(folder / "trackers"),
                "TRACKERS_TO_EVAL": ["mine"],
                "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": lengths,
                "BENCHMARK": benchmark,
                "PRINT_CONFIG": False,
            }
        )
        metrics = _metrics()
        per_sequence = {}
        for name in sequences:
            raw = dataset.get_raw_seq_data("mine", name)
            data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
            per_sequence[name] = {key: metric.eval_sequence(data) for key, metric in metrics.items()}
        together = {
            key: metric.combine_sequences({name: values[key] for name, values in per_sequence.items()})
            for key, metric in metrics.items()
        }
    return per_sequence | {"COMBINED_SEQ": together}


def on_rows(truth: Rows, result: Rows, frames: int) -> dict[str, Any]:
    """Values by metric of rows ``frame (from 1), id, x, y, w, h``, without files."""
    data: dict[str, Any] = {"num_timesteps": frames, "similarity_scores": []}
    boxes: dict[str, list[Rows]] = {}
    for side, rows in (("gt", truth), ("tracker", result)):
        known = np.unique(rows[:, 1])
        frame = [rows[rows[:, 0] == number] for number in range(1, frames + 1)]
        data[f"{side}_ids"] = [np.searchsorted(known, part[:, 1]) for part in frame]
        data[f"num_{side}_ids"] = len(known)
        data[f"num_{side}_dets"] = len(rows)
        boxes[side] = [part[:, 2:6] for part in frame]
    for true, reported in zip(boxes["gt"], boxes["tracker"], strict=True):
        similarity = trackeval.datasets.MotChallenge2DBox._calculate_box_ious(true, reported)
        data["similarity_scores"].append(similarity)
    with contextlib.redirect_stdout(io.StringIO()):
        return {key: metric.eval_sequence(data) for key, metric in _metrics().items()}


def assert_agrees(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Every field of every metric, to 1e-9."""
    for metric in NAMES:
        assert set(theirs[metric]) == set(ours[metric])
        for field, value in theirs[metric].items():
            np.testing.assert_allclose(ours[metric][field], value, rtol=1e-9, atol=1e-9, err_msg=field)


def crowd(rng: np.random.Generator, frames: int, people: int, *, noise: float = 4.0) -> tuple[Rows, Rows]:
    """Walkers in a picture of 640 × 480 pixels, and what a middling tracker might report of them."""
    place = rng.uniform(0, (600, 400), (people, 2))
    speed = rng.normal(0, 3, (people, 2))
    size = rng.uniform((20, 50), (50, 120), (people, 2))
    track = np.arange(people) + 100
    truth, result = [], []
    for frame in range(1, frames + 1):
        place = place + speed
        there = rng.random(people) < 0.9
        switched = rng.random(people) < 0.05
        track[switched] = rng.permutation(100000)[: switched.sum()] + 1000
        box = np.concatenate((place, size), axis=1)
        number = np.arange(people)
        truth.append(np.column_stack((np.full(people, frame), number, box))[there])
        seen = rng.random(people) < 0.85
        moved = box + rng.normal(0, noise, box.shape)
        moved[:, 2:] = np.abs(moved[:, 2:])
        result.append(np.column_stack((np.full(people, frame), track, moved))[seen])
        extra = int(rng.poisson(people * 0.1))
        false = np.column_stack((rng.uniform(0, (600, 400), (extra, 2)), rng.uniform(20, 100, (extra, 2))))
        ids = 10**6 + frame * 100 + np.arange(extra)
        result.append(np.column_stack((np.full(extra, frame), ids, false)))
    return np.concatenate(truth), np.concatenate(result)


def write_rows(path: Path, rows: Rows, *, behind: str = "1,-1,-1,-1") -> Path:
    """Rows as a MOTChallenge file."""
    path.write_text(
        "".join(
            f"{row[0]:.0f},{row[1]:.0f},{','.join(map(repr, row[2:6].tolist()))},{behind}\n" for row in rows
        )
    )
    return path


def _metrics() -> dict[str, Any]:
    metrics = (trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity())
    return dict(zip(NAMES, metrics, strict=True))
