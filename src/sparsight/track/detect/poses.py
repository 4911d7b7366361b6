"""From maps of body parts and part affinity fields to people, and from their key points to boxes.

Source: Cao et al., *Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields* (CVPR 2017),
sections 2.2 to 2.4: parts are the peaks of their maps; two of them may be the ends of a limb if the field
between them points along it (equation 10); each limb's ends are matched to one another (equations 13 and 14);
what hangs together is a person. The matching is optimal, limb by limb.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float32]

PARTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow",
    "left wrist", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""The key points, in the order of their maps."""

LIMBS: NDArray[np.int64] = np.array([
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
])  # fmt: skip
"""The parts at both ends of each limb. They make a tree, so what hangs together has no part twice."""

FIELDS: NDArray[np.int64] = np.array([12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36])
"""The map of each limb's field along x; that along y follows it. (The two fields from shoulder to ear, which
would close rings, are left out.)"""

ENLARGED = 4
"""Maps of parts are enlarged so much before peaks are sought: people side by side share a cell."""
LEAST_PEAK = 0.1
LEAST_ALONG = 0.05
"""The least part of the field's strength along a limb, at a point of it."""
POINTS = 10
LEAST_POINTS = 0.8
"""The least share of a limb's points at which the field must point along it."""
LEAST_PARTS = 4
"""Fewer parts than these are no person."""
MOST_PEAKS = 128
"""The best of each part that are looked at: an untrained network must not cost memory without bound."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Candidates for body parts.

    Attributes:
        part: (P,) int64 which part, rising.
        xy: (P, 2) float32 place, in cells of the maps (0 is the middle of the first).
        score: (P,) float32.
    """

    part: NDArray[np.int64]
    xy: Floats
    score: Floats


def people(parts: Floats, fields: Floats) -> Floats:
    """Find people.

    Args:
        parts: (18 or more, h, w) float32 confidence maps of the body parts.
        fields: (38, h, w) float32 part affinity fields.

    Returns:
        (N, 18, 3) float32: x and y in cells of the maps (0 is the middle of the first one), and score; zeros
        for parts that were not found.
    """
    found = peaks(parts[: len(PARTS)])
    first, second = limbs(found, fields)
    count = len(found.part)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    groups, group = connected_components(links, directed=False)
    poses = np.zeros((groups, len(PARTS), 3), np.float32)
    poses[group, found.part, :2] = found.xy
    poses[group, found.part, 2] = found.score
    kept: Floats = poses[(poses[:, :, 2] > 0).sum(axis=1) >= LEAST_PARTS]
    return kept


def peaks(maps: Floats) -> Peaks:
    """The local maxima of each map (K, h, w), after it was enlarged."""
    height, width = maps.shape[1:]
    layers = np.ascontiguousarray(maps.transpose(1, 2, 0))
    large = cv2.resize(layers, (width * ENLARGED, height * ENLARGED), interpolation=cv2.INTER_CUBIC).reshape(
        height * ENLARGED, width * ENLARGED, len(maps)
    )
    # Of neighbours of one height, the last one counts.
    before = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)
    high = (large > cv2.dilate(large, before[::-1, ::-1].copy()).reshape(large.shape)) & (large > LEAST_PEAK)
    high &= large >= cv2.dilate(large, before).reshape(large.shape)
    row, column, part = high.nonzero()
    score = large[row, column, part]
    order = np.lexsort((-score, part))
    part = part[order]
    place = np.arange(len(part)) - np.searchsorted(part, part)
    order, part = order[place < MOST_PEAKS], part[place < MOST_PEAKS]
    xy = np.stack([column[order], row[order]], axis=1)
    return Peaks(part, ((xy + 0.5) / ENLARGED - 0.5).astype(np.float32), score[order].astype(np.float32))


def limbs(found: Peaks, fields: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of peaks that are the ends of a limb: their rows, (L,) and (L,)."""
    first, second, limb = _pairs(found.part)
    score = along(found.xy[first], found.xy[second], limb, fields)
    likely = score > 0
    first, second, limb, score = first[likely], second[likely], limb[likely], score[likely]
    bounds = np.searchsorted(limb, np.arange(len(LIMBS) + 1)).tolist()
    chosen = [
        low + _match(first[low:high], second[low:high], score[low:high])
        for low, high in itertools.pairwise(bounds)
    ]
    kept = np.concatenate(chosen)
    return first[kept], second[kept]


def along(start: Floats, end: Floats, limb: NDArray[np.int64], fields: Floats) -> Floats:
    """How far the fields point along limbs: the line integral of equation 10.

    Args:
        start: (K, 2) places of the limbs' first ends, in cells.
        end: (K, 2) of their second ends.
        limb: (K,) which limb each would be.
        fields: (38, h, w).

    Returns:
        (K,) the mean over the points of a limb; 0 where too few of them agree.
    """
    line = end - start
    length = np.linalg.norm(line, axis=1, keepdims=True)
    direction = line / np.maximum(length, np.float32(1e-6))
    share = np.linspace(0, 1, POINTS, dtype=np.float32)
    xy = start[:, None] + line[:, None] * share[:, None]
    field = np.stack([_sample(fields, FIELDS[limb] + axis, xy) for axis in (0, 1)], axis=2)
    dots = (field * direction[:, None]).sum(axis=2)
    agreeing = (dots > LEAST_ALONG).mean(axis=1) >= LEAST_POINTS
    score: Floats = np.where(agreeing, dots.mean(axis=1), 0).astype(np.float32)
    return score


def _pairs(part: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Every pair of peaks that could be a limb, by limb: rows of both, and the limb."""
    bounds = np.searchsorted(part, np.arange(len(PARTS) + 1))
    begin, size = bounds[:-1], np.diff(bounds)
    counts = size[LIMBS[:, 0]] * size[LIMBS[:, 1]]
    limb = np.repeat(np.arange(len(LIMBS)), counts)
    inner = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    others = size[LIMBS[limb, 1]]
    return begin[LIMBS[limb, 0]] + inner // others, begin[LIMBS[limb, 1]] + inner % others, limb


def _match(first: NDArray[np.intp], second: NDArray[np.intp], score: Floats) -> NDArray[np.intp]:
    """The pairs of one limb such that each peak is in one at most and the scores' sum is greatest."""
    if not len(first):
        return np.zeros(0, np.intp)
    rows, row = np.unique(first, return_inverse=True)
    columns, column = np.unique(second, return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    number = np.full(table.shape, -1)
    table[row, column], number[row, column] = score, np.arange(len(first))
    matched = number[linear_sum_assignment(table, maximize=True)]
    return matched[matched >= 0]


def _sample(maps: Floats, which: NDArray[np.int64], xy: Floats) -> Floats:
    """Map ``which`` (K,) at the places (K, points, 2), between cells, at the border as the nearest cell."""
    height, width = maps.shape[1:]
    x, y = np.clip(xy[..., 0], 0, width - 1), np.clip(xy[..., 1], 0, height - 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    dx, dy, m = x - left, y - top, which[:, None]
    upper = maps[m, top, left] * (1 - dx) + maps[m, top, right] * dx
    lower = maps[m, bottom, left] * (1 - dx) + maps[m, bottom, right] * dx
    value: Floats = upper * (1 - dy) + lower * dy
    return value


# --- Boxes -----------------------------------------------------------------------------------------------

_HEIGHT = np.array([
    0.08, 0.18, 0.18, np.nan, np.nan, 0.18, np.nan, np.nan, 0.47, 0.715, 0.96, 0.47, 0.715, 0.96, 0.065,
    0.065, 0.07, 0.07,
])  # fmt: skip
"""Where each part of somebody who stands is, from the top of the head (0) to the soles (1); arms move.

Source: Drillis and Contini, *Body Segment Parameters* (1966)."""
_HEAD, _ANKLES = [0, 14, 15, 16, 17], [10, 13]
_TELLING = 0.25
"""Parts that are at least this far apart tell how tall somebody is."""
_SLIM = 0.3
"""The least width of a box, as a share of the height of who stands in it."""
_MARGIN = 0.06
"""Flesh and clothes around the key points, as a share of the height."""


def boxes(poses: Floats) -> Floats:
    """Boxes around whole bodies, also where key points are missing.

    How tall somebody is, and where the head and the feet must be, is told from all parts found of head,
    trunk and legs at once, by a line fitted to their heights in the picture over those of somebody who
    stands. Where the head or an ankle was found, the box ends there. Where there is too little to tell by,
    the box is that of the key points, and a little more.

    Args:
        poses: (N, 18, 3) of x, y, score (0: not found), at least one part each.

    Returns:
        (N, 4) float32 ``xyxy`` in the units of the key points.
    """
    known = poses[:, :, 2] > 0
    x, y = np.where(known, poses[:, :, 0], np.nan), np.where(known, poses[:, :, 1], np.nan)
    x1, x2, y1, y2 = (reach(v, axis=1) for v in (x, y) for reach in (np.nanmin, np.nanmax))

    used = known & np.isfinite(_HEIGHT)
    h, v = np.where(used, _HEIGHT, 0.0), np.where(used, y, 0.0)
    n = np.maximum(used.sum(axis=1), 1)
    mean_h, mean_v = h.sum(axis=1) / n, v.sum(axis=1) / n
    off = np.where(used, h - mean_h[:, None], 0)
    tall = (off * (v - mean_v[:, None])).sum(axis=1) / np.maximum(np.square(off).sum(axis=1), 1e-9)
    spread = np.where(used, _HEIGHT, -np.inf).max(axis=1) - np.where(used, _HEIGHT, np.inf).min(axis=1)
    # Somebody who lies or stands on the head is not taller than what is seen.
    told = (spread >= _TELLING) & (tall > 0)
    tall = np.where(told, np.maximum(tall, y2 - y1), np.maximum(y2 - y1, x2 - x1))
    margin = _MARGIN * tall
    top, bottom = mean_v - tall * mean_h, mean_v + tall * (1 - mean_h)
    top = np.where(told & ~known[:, _HEAD].any(axis=1), np.minimum(top, y1), y1 - margin)
    bottom = np.where(told & ~known[:, _ANKLES].any(axis=1), np.maximum(bottom, y2), y2 + margin)
    half = np.maximum((x2 - x1) / 2 + margin / 2, np.where(told, _SLIM * tall / 2, 0))
    middle = (x1 + x2) / 2
    return np.stack([middle - half, top, middle + half, bottom], axis=1).astype(np.float32)
