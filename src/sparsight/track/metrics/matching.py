"""One-to-one matches of the largest total worth, over all frames at once.

In most frames the best matches are beyond doubt, and are found for all frames together. What is left, the
real conflicts, is solved frame by frame on the frame's whole matrix: where two solutions are worth the same,
the answer is then the one that ``trackeval`` comes to, which solves every frame so.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from sparsight.track.metrics.pairs import Pairs, numbered

MARGIN = 1e-10
"""What a match must be worth beyond all alternatives to be beyond doubt; rounding errors stay below."""
_ROUNDS = 8
_PART = 1 << 15
"""Pairs that are looked at together."""
_FEW = 1 << 13


def best_matches(pairs: Pairs, positions: NDArray[np.intp], worth: NDArray[np.float64]) -> NDArray[np.intp]:
    """In every frame the one-to-one subset of the allowed pairs that is worth the most.

    Args:
        pairs: the boxes of the sequence.
        positions: (K,) which of the pairs are allowed, ascending; any other is worth nothing.
        worth: (K,) what each is worth, from 0 on.

    Returns:
        The pairs that are matched, ascending.
    """
    row = pairs.row.take(positions)
    frame = pairs.truth.frame.take(row)
    taken = []
    for part in _frame_by_frame(frame):
        some, value = positions[part], worth[part]
        first = pairs.result.frame.searchsorted(frame[part.start])
        sure, open_ = beyond_doubt(
            row[part] - row[part.start], pairs.column.take(some) - first, value, MARGIN
        )
        flags = np.zeros(len(some), bool)
        flags[sure] = True
        if len(open_):
            hard = np.unique(frame[part][open_])
            whole = spans(*np.searchsorted(frame[part], (hard, hard + 1)))
            flags[whole] = solve_frames(pairs, some[whole], value[whole])
        taken.append(some[flags])
    return np.concatenate(taken) if taken else positions


def _frame_by_frame(frame: NDArray[np.intp]) -> list[slice]:
    """Parts of some pairs, ordered by ``frame``, that hold whole frames and stay in the processor's cache."""
    cuts = frame.searchsorted(frame[_PART::_PART])
    ends = np.unique(np.concatenate((cuts, [len(frame)]))).tolist()
    return [slice(first, last) for first, last in itertools.pairwise([0, *ends]) if first < last]


def solve_frames(pairs: Pairs, positions: NDArray[np.intp], worth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pairs belong to the best assignment of each frame, solved on its whole matrix.

    Args:
        pairs: the boxes of the sequence.
        positions: (K,) all allowed pairs of some frames, ascending.
        worth: (K,) what each is worth, > 0.
    """
    row, column = pairs.row[positions], pairs.column[positions]
    frame = pairs.truth.frame[row]
    frames = np.unique(frame)
    bounds, rows, columns = (
        np.searchsorted(side, (frames, frames + 1)).T.tolist()
        for side in (frame, pairs.truth.frame, pairs.result.frame)
    )
    taken = np.zeros(len(positions), bool)
    for (first, last), (top, bottom), (left, right) in zip(bounds, rows, columns, strict=True):
        here = slice(first, last)
        taken[here] = solve(row[here] - top, column[here] - left, worth[here], (bottom - top, right - left))
    return taken


def spans(first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.intp]:
    """All numbers from each ``first`` up to before its ``last``, one span after the other."""
    count = last - first
    numbers: NDArray[np.intp] = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
    return numbers


def solve(
    row: NDArray[np.intp], column: NDArray[np.intp], worth: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which of the pairs of one frame, worth > 0, belong to the best assignment of its whole matrix."""
    matrix = np.zeros(shape)
    matrix[row, column] = worth
    chosen = linear_sum_assignment(matrix, maximize=True)
    matrix[chosen] = -1
    flags: NDArray[np.bool_] = matrix[row, column] < 0
    return flags


def beyond_doubt(
    row: NDArray[np.intp], column: NDArray[np.intp], worth: NDArray[Any], margin: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Matches that every best solution holds, and the pairs about which that cannot be said.

    A pair that is worth more than the best other pair of its row and the best other pair of its column
    together belongs to every best solution: put in place of those two, it would gain. Once it is taken, its
    row and its column are out of the question, and others may become beyond doubt.

    Args:
        row: (K,) row of each pair.
        column: (K,) column of each pair.
        worth: (K,) what it is worth, from 0 on.
        margin: by how much it must be worth more.

    Returns:
        Positions of the pairs to take, and of those undecided.
    """
    taken: list[NDArray[np.intp]] = []
    open_ = np.arange(len(row))
    if len(row) < _FEW:  # tables of all rows would take longer than the pairs
        row, column = numbered(row), numbered(column)
    height, width = int(row.max(initial=-1)) + 1, int(column.max(initial=-1)) + 1
    r, c, value = row, column, worth
    for _ in range(_ROUNDS):
        if not len(open_):
            break
        row_leads, row_second = _leads(r, value, height)
        column_leads, column_second = _leads(c, value, width)
        best = (row_leads & column_leads).nonzero()[0]
        rivals = row_second.take(r.take(best)) + column_second.take(c.take(best))
        sure = best[value.take(best) - rivals > margin]
        if not len(sure):
            break
        taken.append(open_.take(sure))
        row_done, column_done = np.zeros(height, bool), np.zeros(width, bool)
        row_done[r.take(sure)] = True
        column_done[c.take(sure)] = True
        done = row_done.take(r)
        done |= column_done.take(c)
        left = (~done).nonzero()[0]
        open_, r, c = open_.take(left), r.take(left), c.take(left)
        value = value.take(left)
    for one, other in ((row, column), (column, row)):
        if len(open_):
            chosen, left = _without_conflict(one[open_], other[open_], worth[open_], margin)
            taken.append(open_[chosen])
            open_ = open_[left]
    return np.concatenate(taken) if taken else np.zeros(0, np.intp), open_


def _leads(line: NDArray[np.intp], worth: NDArray[Any], count: int) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Which pairs are worth the most of their line, and (count,) what the second of each line is worth."""
    best = np.zeros(count, worth.dtype)
    np.maximum.at(best, line, worth)
    leads = worth == best.take(line)
    second = np.zeros(count, worth.dtype)
    rest = (~leads).nonzero()[0]
    np.maximum.at(second, line.take(rest), worth.take(rest))
    shared = np.bincount(line.take(leads.nonzero()[0]), minlength=count) > 1
    second[shared] = best[shared]
    return leads, second


def _without_conflict(
    row: NDArray[np.intp], column: NDArray[np.intp], worth: NDArray[Any], margin: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Groups of pairs in which every row can have what is best for it: nothing is worth more than that.

    Returns:
        Positions of the pairs to take, and of those of the other groups.
    """
    row, column = numbered(row), numbered(column)
    height, width = int(row.max()) + 1, int(column.max()) + 1
    links = coo_array((np.ones(len(row), bool), (row, column + height)), shape=(height + width,) * 2)
    group = connected_components(links, directed=False)[1]
    leads, second = _leads(row, worth, height)
    leads &= worth - second[row] > margin
    wanted = np.bincount(column[leads], minlength=width)
    conflict = np.zeros(len(group), bool)
    conflict[group[:height][np.bincount(row[leads], minlength=height) == 0]] = True
    conflict[group[height:][wanted > 1]] = True
    settled = ~conflict[group[row]]
    return (settled & leads).nonzero()[0], (~settled).nonzero()[0]


def largest_total(row: NDArray[np.intp], column: NDArray[np.intp], worth: NDArray[np.intp]) -> int:
    """The largest total worth of a one-to-one choice among the pairs, each worth a whole number > 0.

    The matrix stays sparse: 27,000 reported identities beside 500 true ones take megabytes.
    """
    sure, open_ = beyond_doubt(row, column, worth, 0)
    total = int(worth[sure].sum())
    if not len(open_):
        return total
    rows = np.unique(row[open_], return_inverse=True)[1].reshape(-1)
    columns = np.unique(column[open_], return_inverse=True)[1].reshape(-1)
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    # Each row may also stay alone, in a column of its own: that costs what a pair worth nothing costs.
    alone = np.arange(height)
    dear = float(worth[open_].max()) + 1
    costs = csr_array(
        (
            np.concatenate((dear - worth[open_], np.full(height, dear))),
            (np.concatenate((rows, alone)), np.concatenate((columns, width + alone))),
        ),
        shape=(height, width + height),
    )
    chosen = min_weight_full_bipartite_matching(costs)
    return total + round(dear * height - float(costs[chosen].sum()))
