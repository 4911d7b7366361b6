"""Which track takes which detection: the best one-to-one assignment among the pairs that are allowed.

Allowed pairs come as a short list (sparse), because in a large scene almost every pair is out of the
question. The pairs fall apart into groups that share no track and no detection; each group is solved on its
own, which gives the optimum of the whole.

What pairs are worth is IoU, GIoU or DIoU (``sparsight.track.boxes``), the distance of centres, the likeness
of appearance, or how surprising a detection is to a track's motion; each is computed for listed pairs only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sparsight.track.boxes import overlapping

_SMALL = 2048
"""Elements of a matrix that is solved at once: looking for groups in it would take longer."""
_PAIRS = 384
"""Larger problems are split into groups, and these gathered into matrices of about this many pairs."""


def assign(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    gain: NDArray[np.floating[Any]],
    shape: tuple[int, int],
) -> NDArray[np.intp]:
    """The one-to-one subset of the allowed pairs whose gains have the largest sum.

    To minimise a cost instead, with pairs allowed below a limit, pass ``gain = limit - cost``: leaving a pair
    apart then costs the limit, as in DeepSORT and ByteTrack.

    Args:
        rows: (P,) row of each allowed pair.
        columns: (P,) column of each allowed pair; no pair is listed twice.
        gain: (P,) what taking the pair is worth, > 0 and finite.
        shape: numbers of rows and columns.

    Returns:
        Positions in the list of pairs of those taken, ascending, at most min(``shape``).
    """
    if not len(rows):
        return rows
    if shape[0] * shape[1] <= _SMALL:
        return _solve(rows, columns, gain, shape)
    alone: NDArray[np.bool_] = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    contested = (~alone).nonzero()[0]
    if len(contested):
        best = _solve_groups(rows[contested], columns[contested], gain[contested], shape)
        alone[contested[best]] = True
    return alone.nonzero()[0]


def near(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]], reach: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of points that lie less than ``reach`` apart in x and in y.

    Args:
        a: (N, 2) points.
        b: (M, 2) points.
        reach: (N, 2) how far each point of ``a`` reaches, >= 0, in x and in y.

    Returns:
        Rows of ``a`` and rows of ``b``, both (P,).
    """
    return overlapping(np.concatenate((a - reach, a + reach), axis=1), np.concatenate((b, b), axis=1))


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine distance in [0, 2] of vectors of length one, row by row: (..., D), (..., D) → (...)."""
    distance: NDArray[np.float32] = 1 - np.einsum("...d,...d->...", a, b)
    return distance


def _solve(
    rows: NDArray[np.intp], columns: NDArray[np.intp], gain: NDArray[np.floating[Any]], shape: tuple[int, int]
) -> NDArray[np.intp]:
    """As :func:`assign`, by one dense matrix in which a pair that is not allowed is worth nothing."""
    worth = np.zeros(shape)
    worth[rows, columns] = gain
    taken = linear_sum_assignment(worth, maximize=True)
    worth[taken] = -1
    return (worth[rows, columns] < 0).nonzero()[0]


def _solve_groups(
    rows: NDArray[np.intp], columns: NDArray[np.intp], gain: NDArray[np.floating[Any]], shape: tuple[int, int]
) -> NDArray[np.intp]:
    """As :func:`assign`, by connected components, several small ones to a matrix."""
    rows, row_count = _renumbered(rows, shape[0])
    columns, column_count = _renumbered(columns, shape[1])
    if len(rows) <= _PAIRS:
        return _solve(rows, columns, gain, (row_count, column_count))
    nodes = row_count + column_count
    links = coo_array((np.ones(len(rows), bool), (rows, columns + row_count)), shape=(nodes, nodes))
    group = connected_components(links, directed=False)[1][rows]
    # A matrix takes whole groups in turn until it holds _PAIRS pairs.
    size = np.bincount(group)
    matrix = ((np.cumsum(size) - size) // _PAIRS)[group]
    order = np.argsort(matrix, kind="stable")
    ends = np.diff(matrix[order]).nonzero()[0] + 1
    taken = []
    for part in np.split(order, ends):
        row, height = _renumbered(rows[part], row_count)
        column, width = _renumbered(columns[part], column_count)
        taken.append(part[_solve(row, column, gain[part], (height, width))])
    return np.concatenate(taken)


def _renumbered(names: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], int]:
    """The numbers below ``count`` that occur in ``names`` become 0, 1, 2...; and how many there are."""
    occurs = np.zeros(count, np.intp)
    occurs[names] = 1
    number = occurs.cumsum()
    return number[names] - 1, int(number[-1])
