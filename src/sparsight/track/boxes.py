"""Arithmetic on boxes: ``xyxy`` in pixels, end exclusive, in arrays whose last dimension is 4.

A box whose end does not lie behind its start is degenerate: its area is 0 and it overlaps nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

Floats: TypeAlias = NDArray[np.floating[Any]]

_BLOCK = 64
"""Rows compared at once when candidate pairs are sought among many boxes."""
_FEW = 1 << 16
"""Pairs that are compared directly: sorting first would take longer."""
_TINY = float(np.finfo(np.float32).tiny)
"""Smaller than any area of pixels: keeps the union of two degenerate boxes from being divided by."""


def area(xyxy: Floats) -> Floats:
    """The area of each box: (..., 4) → (...) in square pixels, 0 for degenerate boxes."""
    size = xyxy[..., 2:] - xyxy[..., :2]
    np.maximum(size, 0, out=size)
    product: Floats = size[..., 0] * size[..., 1]
    return product


def clip(xyxy: Floats, width: int, height: int) -> Floats:
    """The part of each box inside an image of ``width`` × ``height`` pixels; a box outside gets area 0."""
    inside: Floats = np.clip(xyxy, 0, np.array([width, height, width, height], xyxy.dtype))
    return inside


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes that broadcast against each other: (..., 4), (..., 4) → (...).

    ``iou(a, b)`` compares row with row, ``iou(a[:, None], b)`` every row of ``a`` with every row of ``b``.
    Degenerate boxes have IoU 0 with everything, themselves included.
    """
    return _iou(a, b)[0]


def giou(a: Floats, b: Floats) -> Floats:
    """Generalised IoU in [-1, 1], boxes broadcast as in :func:`iou` (Rezatofighi et al., CVPR 2019)."""
    overlap, union = _iou(a, b)
    size = _hull(a, b)
    hull = np.maximum(size[..., 0] * size[..., 1], _TINY)
    generalised: Floats = overlap - (hull - union) / hull
    return generalised


def diou(a: Floats, b: Floats) -> Floats:
    """Distance IoU in [-1, 1], boxes broadcast as in :func:`iou` (Zheng et al., AAAI 2020)."""
    between = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    apart = np.square(between).sum(-1)
    # Boxes that end before they start can lie outside their hull.
    diagonal = np.maximum(np.square(_hull(a, b)).sum(-1), apart)
    distance: Floats = _iou(a, b)[0] - apart / np.maximum(diagonal, _TINY)
    return distance


def _iou(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """IoU and area of the union."""
    size = np.minimum(a[..., 2:], b[..., 2:])
    size -= np.maximum(a[..., :2], b[..., :2])
    np.maximum(size, 0, out=size)
    shared = size[..., 0] * size[..., 1]
    union = area(a) + area(b)
    union -= shared
    return shared / np.maximum(union, _TINY), union


def _hull(a: Floats, b: Floats) -> Floats:
    """Width and height of the smallest box around both: (..., 2)."""
    size: Floats = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    return size


def overlapping(a: Floats, b: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of boxes that share any area: (N, 4), (M, 4) → rows of ``a`` and rows of ``b``, both (P,).

    Only comparisons are made over all pairs, so that costs need be computed for the few that are left. (A
    degenerate box inside another is listed too.) Large sets are sorted from left to right and compared block
    by block: boxes far apart never meet.
    """
    if len(a) * len(b) <= _FEW:
        return _touching(a, b)
    a_order = np.argsort(a[:, 0], kind="stable")
    b_order = np.argsort(b[:, 0], kind="stable")
    a, b = a[a_order], b[b_order]
    widest = (b[:, 2] - b[:, 0]).max()
    starts = range(0, len(a), _BLOCK)
    lefts = a[::_BLOCK, 0]
    rights = np.maximum.reduceat(a[:, 2], starts)
    first = np.searchsorted(b[:, 0], lefts - widest).tolist()
    last = np.searchsorted(b[:, 0], rights).tolist()
    pairs = [
        _touching(a[start : start + _BLOCK], b[low:high])
        for start, low, high in zip(starts, first, last, strict=True)
    ]
    rows = np.concatenate([row + start for (row, _), start in zip(pairs, starts, strict=True)])
    columns = np.concatenate([column + low for (_, column), low in zip(pairs, first, strict=True)])
    return a_order[rows], b_order[columns]


def _touching(a: Floats, b: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """As :func:`overlapping`, by comparing every box of ``a`` with every box of ``b``."""
    left, top, right, bottom = np.ascontiguousarray(b.T)
    flags: NDArray[np.bool_] = a[:, 0:1] < right
    flags &= a[:, 2:3] > left
    flags &= a[:, 1:2] < bottom
    flags &= a[:, 3:4] > top
    # In two dimensions, nonzero takes ten times as long.
    rows, columns = np.divmod(flags.ravel().nonzero()[0], len(b))
    return rows, columns


def valid(xyxy: Floats) -> NDArray[np.bool_]:
    """Which boxes (N, 4) are finite and end no earlier than they start: (N,)."""
    ordered = xyxy[:, 2:] >= xyxy[:, :2]
    flags: NDArray[np.bool_] = np.logical_and(np.isfinite(xyxy).all(axis=1), ordered.all(axis=1))
    return flags


def check(xyxy: Floats) -> None:
    """Refuse detected boxes (N, 4) that are not finite or whose end lies before their start.

    Raises:
        SparsightError: names the first such row.
    """
    # What is not a number compares with nothing, and what is infinite has an infinite size or none.
    size = xyxy[:, 2:] - xyxy[:, :2]
    if not len(size) or (
        np.minimum.reduce(size, axis=None) >= 0 and np.maximum.reduce(size, axis=None) < np.inf
    ):
        return
    bad = ~valid(xyxy)
    if not bad.any():  # sizes beyond what float32 can hold
        return
    row = int(np.argmax(bad))
    infinite = ~np.isfinite(xyxy).all(axis=1)
    if infinite.any():
        row = int(np.argmax(infinite))
    fault = "is not finite" if infinite.any() else "ends before it starts"
    raise SparsightError(
        f"the box of detection {row} {fault}: {xyxy[row].tolist()}; boxes are x1, y1, x2, y2 in pixels, with "
        "x2 >= x1 and y2 >= y1."
    )
