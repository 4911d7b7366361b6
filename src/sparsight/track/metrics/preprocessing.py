"""What counts: distractors, ignore regions, and people who can hardly be seen.

A report of somebody whom the ground truth marks as not to be counted is neither right nor wrong: it is taken
out before anything is counted, as MOTChallenge prescribes (arXiv 1603.00831, section 4; the classes are those
of its MOT16 to MOT20 files).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import boxes
from sparsight.track.metrics.labels import Labels
from sparsight.track.metrics.matching import best_matches
from sparsight.track.metrics.pairs import Pairs, Side, compare, touching

_EPS = float(np.finfo(float).eps)
_OVERLAP = 0.5


@dataclass(frozen=True)
class Rules:
    """What a benchmark counts.

    Attributes:
        classes: classes of the ground truth that are evaluated; None for all.
        distractors: classes whose reports are taken out.
        regions: classes whose boxes are regions in which unmatched reports are taken out.
    """

    classes: Collection[int | str] | None = None
    distractors: Collection[int | str] = ()
    regions: Collection[int | str] = ()


BENCHMARKS: dict[str, Rules] = {
    # person on vehicle, static person, distractor, reflection; from MOT20 on, other vehicles too
    "mot15": Rules(),
    "mot16": Rules((1,), (2, 7, 8, 12)),
    "mot17": Rules((1,), (2, 7, 8, 12)),
    "mot20": Rules((1,), (2, 6, 7, 8, 12)),
    "kitti": Rules(("Pedestrian",), ("Person_sitting", "Person"), ("DontCare",)),
}
"""Benchmark → what it counts. KITTI's rules about small and occluded boxes are not among them."""


def rules_for(benchmark: str, truth: Labels) -> Rules:
    """The rules called ``benchmark``, one of ``BENCHMARKS``; ``"auto"`` tells them from the ground truth.

    A column of classes that names none (all 0 or below) is as good as no column.
    """
    if benchmark == "auto":
        classes = truth.table.columns.get("class_id")
        benchmark = "mot15" if classes is None or not (classes > 0).any() else "mot17"
        if "type" in truth.table.columns:
            benchmark = "kitti"
    if benchmark not in BENCHMARKS:
        known = ", ".join(["auto", *BENCHMARKS])
        raise SparsightError(f"there is no benchmark called {benchmark!r}: known are {known}.")
    return BENCHMARKS[benchmark]


def counted(
    frames: int, truth: Labels, result: Labels, rules: Rules, *, visibility: float = 0.0
) -> tuple[Pairs, NDArray[np.bool_], NDArray[np.bool_]]:
    """The pairs that count.

    Args:
        frames: number of frames.
        truth: the ground truth; rows with score 0 are not counted.
        result: what was reported.
        rules: the benchmark's.
        visibility: people of whom less than this share can be seen are treated as distractors.

    Returns:
        The pairs, and flags of the rows of ``truth`` and of ``result`` that are left in them.
    """
    columns = truth.table.columns
    everything = np.ones(len(truth), bool)
    score = columns.get("score")
    marked = everything if score is None else score.astype(np.int64) != 0
    kind = columns.get("type", columns.get("class_id"))
    region = wanted = unwanted = ~everything
    if kind is None or rules.classes is None:
        wanted = everything
    else:
        region, unwanted, wanted = (
            np.isin(kind.astype(str), [str(name) for name in names])
            for names in (rules.regions, rules.distractors, rules.classes)
        )
    if visibility > 0 and "visibility" in columns:
        hidden = wanted & (columns["visibility"] < visibility)
        unwanted, wanted = unwanted | hidden, wanted & ~hidden

    people = ~region
    pairs = compare(frames, _side(truth, people), _side(result, np.ones(len(result), bool)))
    reported = np.ones(len(result), bool)
    if unwanted.any() or region.any():
        near = (pairs.similarity >= _OVERLAP - _EPS).nonzero()[0]
        matched = best_matches(pairs, near, pairs.similarity[near])
        on_distractor = unwanted[people][pairs.row[matched]]
        reported[pairs.column[matched[on_distractor]]] = False
        unmatched = np.ones(len(result), bool)
        unmatched[pairs.column[matched]] = False
        reported &= ~(unmatched & _inside(frames, _side(truth, region), pairs.result))
    keep = wanted & marked
    return pairs.kept(keep[people], reported), keep, reported


def _side(labels: Labels, flags: NDArray[np.bool_]) -> Side:
    return Side(labels.frame, labels.id, labels.xyxy).kept(flags)


def _inside(frames: int, regions: Side, result: Side) -> NDArray[np.bool_]:
    """(N,) whether more than half of a reported box lies in one of the regions of its frame."""
    row, column = touching(frames, regions, result)
    region, box = regions.xyxy[row], result.xyxy[column]
    shared = np.concatenate(
        (np.maximum(region[:, :2], box[:, :2]), np.minimum(region[:, 2:], box[:, 2:])), axis=1
    )
    flags = np.zeros(len(result), bool)
    flags[column[boxes.area(shared) > (_OVERLAP + _EPS) * boxes.area(box)]] = True
    return flags
