"""The scores of PoseTReID: how many people were given a wrong name, missed, or made up.

Two arithmetics of the toolbox pyppbox are reproduced: that of its third series, with which the papers'
figures were made, and that of release 4.0. *Offline* is on files, *online* frame by frame while tracking
runs. Beside them stands a score of our own in which made-up people count too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.track.associate import assign
from sparsight.track.formats import Table
from sparsight.track.formats.pyppbox import answers, corners
from sparsight.track.metrics.evaluation import find_sequences, is_folder, tell_of_gaps
from sparsight.track.metrics.labels import Source, load

OFFLINE_SPREAD, ONLINE_SPREAD = 5.0, 16.0
"""The largest difference, in pixels, between coordinates of a reported box and its true one."""
_BLOCK = 1 << 20
_TIE = 1e-6
"""Pixels below which total differences of assignments count as equal."""


@dataclass(frozen=True, eq=False)
class People:
    """Boxes with names, ordered by frame.

    Attributes:
        frame: (N,) int64.
        xyxy: (N, 4) float64.
        name: (N,) texts, lower case.
    """

    frame: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    name: NDArray[Any]

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Tally:
    """Counts, over the frames so far.

    Attributes:
        wrong: people given another's name.
        missed: true people whom nobody reported.
        fault: reported people who are not there.
        total: true people, over all frames.
        right: true people reported by their name, matched one to one.
        stray: reported people matched with nobody, one to one.
    """

    wrong: int = 0
    missed: int = 0
    fault: int = 0
    total: int = 0
    right: int = 0
    stray: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    @property
    def score(self) -> float:
        """(total − wrong − missed) / total, as in pyppbox; NaN while there is no truth."""
        return (self.total - self.wrong - self.missed) / self.total if self.total else float("nan")

    @property
    def own_score(self) -> float:
        """right / (total + stray): 1 only for those who name everybody and make up nobody; NaN of nothing."""
        whole = self.total + self.stray
        return self.right / whole if whole else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """The keys wrong, missed, fault, total, score and own_score."""
        counts = {name: getattr(self, name) for name in ("wrong", "missed", "fault", "total")}
        return counts | {"score": self.score, "own_score": self.own_score}


def evaluate(
    gt: Source, pred: Source, *, preset: str = "pyppbox4", spread: float = OFFLINE_SPREAD
) -> dict[str, Any]:
    """Score a result file against ground truth, offline.

    Args:
        gt: the ground truth, see :func:`sparsight.track.metrics.evaluate`; identities are names.
        pred: the result.
        preset: which arithmetic, one of ``PRESETS``.
        spread: the largest difference between coordinates, in pixels.

    Returns:
        ``wrong``, ``missed``, ``fault``, ``total``, ``score`` and ``own_score``; of folders, those of all
        sequences together, and under ``"sequences"`` those of each.

    Raises:
        SparsightError: a file cannot be read or is malformed, the ground truth is empty, or the preset is
            unknown.
    """
    lookup("preset", preset, PRESETS)
    check_spread(spread)
    if not is_folder(gt):
        return _tally(gt, pred, preset, spread).as_dict()
    tallies = {
        name: _tally(truth, result, preset, spread)
        for name, (truth, result) in find_sequences(gt, pred, named=True).items()
    }
    together = sum(tallies.values(), Tally()).as_dict()
    return together | {"sequences": {name: tally.as_dict() for name, tally in tallies.items()}}


def check_spread(spread: float) -> None:
    """Refuse what is no difference between coordinates.

    Raises:
        SparsightError: it is negative or not finite.
    """
    if not 0 <= spread < np.inf:
        raise SparsightError(f"spread is {spread:g}, but it must be a number of pixels, 0 or more.")


def _tally(gt: Source, pred: Source, preset: str, spread: float) -> Tally:
    if is_folder(pred):
        raise SparsightError(f"{pred} is a folder, but {gt} is a file: give two files or two folders.")
    truth, result = load(gt, "the ground truth"), load(pred, "the result")
    if not len(truth):
        raise SparsightError(f"{gt} holds nobody: a score needs ground truth.")
    tell_of_gaps(truth, result)
    return count(people(truth), people(result), preset=preset, spread=spread)


def people(table: Table) -> People:
    """The boxes and names of a table, ordered by frame; without names, identities are named by their numbers.

    A name may stand twice in a frame, as it does in published files: each row counts.
    """
    order = np.argsort(table.frame, kind="stable")
    name = np.array([str(name).lower() for name in answers(table).tolist()], str)
    return People(table.frame[order], corners(table)[order], name[order])


def count(truth: People, result: People, *, preset: str, spread: float) -> Tally:
    """Count over all frames of either side at once."""
    arithmetic = lookup("preset", preset, PRESETS)
    check_spread(spread)
    tally = Tally(total=len(truth))
    frames = np.union1d(truth.frame, result.frame)
    counts = [
        np.bincount(np.searchsorted(frames, part.frame), minlength=len(frames)) for part in (truth, result)
    ]
    ends = np.cumsum(counts[0] * counts[1])
    # Blocks of whole frames, so that a long file does not need all its pairs at once.
    cuts = np.unique(np.searchsorted(ends, np.arange(_BLOCK, ends[-1] if len(ends) else 0, _BLOCK)))
    for block in np.split(frames, cuts):
        if len(block):
            tally += _count_block(_between(truth, block), _between(result, block), arithmetic, spread)
    return tally


@dataclass
class Online:
    """Counts frame by frame, while tracking runs.

    Attributes:
        truth: the ground truth.
        preset: which arithmetic, one of ``PRESETS``.
        spread: the largest difference between coordinates, in pixels.
        tally: the counts over the frames so far.
    """

    truth: People
    preset: str = "pyppbox4"
    spread: float = ONLINE_SPREAD
    tally: Tally = field(default_factory=Tally)
    _last: int = -1

    @classmethod
    def on(cls, gt: Source, *, preset: str = "pyppbox4", spread: float = ONLINE_SPREAD) -> Online:
        """Start with a file of ground truth.

        Raises:
            SparsightError: see :func:`evaluate`.
        """
        lookup("preset", preset, PRESETS)
        check_spread(spread)
        return cls(people(load(gt, "the ground truth")), preset, spread)

    def truth_at(self, frame: int) -> People:
        """The true people of frame number ``frame``, from 0."""
        return _between(self.truth, np.array([frame]))

    def update(self, frame: int, xyxy: NDArray[Any], names: NDArray[Any] | list[str]) -> Tally:
        """Count one frame, and return the counts so far.

        Args:
            frame: its number, from 0; frames come in order, and those left out are not counted.
            xyxy: (N, 4) reported boxes.
            names: (N,) who they are said to be.

        Raises:
            SparsightError: the frame comes too late, or boxes and names are not as many.
        """
        if frame <= self._last:
            raise SparsightError(f"frame {frame} came after frame {self._last}: give the frames in order.")
        if len(xyxy) != len(names):
            raise SparsightError(f"frame {frame} has {len(xyxy)} boxes but {len(names)} names.")
        self._last = frame
        result = People(
            np.full(len(names), frame, np.int64),
            np.asarray(xyxy, np.float64).reshape(-1, 4),
            np.array([str(name).lower() for name in names], str),
        )
        truth = self.truth_at(frame)
        self.tally += count(truth, result, preset=self.preset, spread=self.spread)
        return self.tally


def _between(part: People, frames: NDArray[np.int64]) -> People:
    """The rows of a range of frames."""
    rows = slice(
        int(np.searchsorted(part.frame, frames[0])), int(np.searchsorted(part.frame, frames[-1], "right"))
    )
    return People(part.frame[rows], part.xyxy[rows], part.name[rows])


def _count_block(truth: People, result: People, arithmetic: Any, spread: float) -> Tally:
    row, column, difference = _pairs(truth, result)
    near = difference <= spread
    row, column, difference = row[near], column[near], difference[near]
    true_row, result_row = _one_to_one(row, column, difference, truth, result, spread)
    right = int((truth.name[true_row] == result.name[result_row]).sum())
    own = Tally(right=right, stray=len(result) - len(result_row))
    counts: Tally = arithmetic(truth, result, row, column, difference, own)
    return counts


def _pairs(truth: People, result: People) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """All pairs of one frame: true row, reported row, and the largest difference of their coordinates.

    Ordered by reported row, then by true row.
    """
    first = np.searchsorted(truth.frame, result.frame)
    counts = np.searchsorted(truth.frame, result.frame, "right") - first
    column = np.repeat(np.arange(len(result)), counts)
    row = np.arange(len(column)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    difference = np.abs(truth.xyxy[row] - result.xyxy[column]).max(axis=1, initial=0.0)
    return row, column, difference


def _one_to_one(
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    difference: NDArray[np.float64],
    truth: People,
    result: People,
    spread: float,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """As many pairs as possible, no box in two of them, and among those the least total difference.

    Where that leaves a choice, as many names as possible are right.
    """
    most = int(np.unique(result.frame, return_counts=True)[1].max(initial=0))
    # A pair more is worth more than all the differences of a frame together.
    worth = (most + 1) * (spread + 1) - difference
    worth += _TIE / (most + 1) * (truth.name[row] == result.name[column])
    taken = assign(row, column, worth, (len(truth), len(result)))
    return row[taken], column[taken]


def _pyppbox3(
    truth: People,
    result: People,
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    difference: NDArray[np.float64],
    own: Tally,
) -> Tally:
    """The third series: each report takes the nearest true box, several may take the same one.

    Where more are reported in a frame than there are, the surplus is at fault, and only as many reports as
    there are true people are looked at, the first ones.
    """
    frames = np.union1d(truth.frame, result.frame)
    true_count, result_count = (
        np.bincount(np.searchsorted(frames, part.frame), minlength=len(frames)) for part in (truth, result)
    )
    surplus = result_count - true_count
    place = np.searchsorted(frames, result.frame)
    rank = np.arange(len(result)) - np.searchsorted(result.frame, result.frame)
    looked_at = rank < true_count[place]
    nearest = np.full(len(result), np.inf)
    np.minimum.at(nearest, column, difference)
    # Of several at the same distance, the first: written last, in falling order of rows.
    best = (difference == nearest[column]).nonzero()[0][::-1]
    taken = np.full(len(result), -1)
    taken[column[best]] = row[best]
    met = looked_at & (taken >= 0)
    return Tally(
        wrong=int((truth.name[taken[met]] != result.name[met]).sum()),
        missed=int(np.maximum(-surplus, 0).sum()),
        fault=int(np.maximum(surplus, 0).sum()) + int((looked_at & (taken < 0)).sum()),
        right=own.right,
        stray=own.stray,
    )


def _pyppbox4(
    truth: People,
    result: People,
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    difference: NDArray[np.float64],
    own: Tally,
) -> Tally:
    """Release 4.0: one to one, as many pairs as possible and then the least total difference."""
    pairs = len(result) - own.stray
    return Tally(
        wrong=pairs - own.right,
        missed=len(truth) - pairs,
        fault=own.stray,
        right=own.right,
        stray=own.stray,
    )


PRESETS: dict[str, Any] = {"pyppbox3": _pyppbox3, "pyppbox4": _pyppbox4}
"""Arithmetic by name."""
