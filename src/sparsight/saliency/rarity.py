"""Rarity of feature maps: one layer's channels in, one map of how unusual each place is out.

After M. Mancas, P. Kong and B. Gosselin, "Visual Attention: Deep Rare Features" (2020), and P. Kong,
M. Mancas, B. Gosselin and K. Po, "DeepRare: Generic Unsupervised Visual Attention Models"
(arXiv 2109.11439).

Within one channel the rarity takes as many values as the histogram has bins. So every mean, maximum and
weight follows from the histogram, and a pixel needs only its bin: one pass to find the extremes, one to find
and count the bins, one to look the results up. Channels do not depend on one another until they are added,
so they are taken in blocks that stay in the cache, by several threads at once.

Three ways lead to the same map: ``rarity_numba``, this file's NumPy where numba does not run (half as fast),
and ``rarity_torch`` for features that lie on a GPU.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-4
"""What keeps the rarity −ln(p + ε) of an empty bin finite."""

MAX_BINS = 64
"""Bins are numbered in a byte; more than a few dozen tell nothing apart in a map of a few hundred pixels."""

Features: TypeAlias = NDArray[np.float32]
"""The channels of one layer, (C, H, W) float32."""

Adder: TypeAlias = Callable[[Features, int, int, NDArray[np.float32]], None]
"""``add(features, bins, border, total)`` adds what each channel gives onto ``total`` (H, W)."""

BELOW_ONE = 1 - 4e-7
"""Scaled by this much less, the greatest value falls into the last bin, which is closed."""

TINY = 1e-30
"""Divides a channel without range, whose values are all zero, to zero."""

_MAX_JOINT = 4096  # a joint histogram larger than this no longer stays in the first-level cache
_BLOCK = 1 << 18  # values handled at once: a megabyte of float32, about a core's own cache
_PIECES = 6  # for each thread: so many that all are done at nearly the same time
_FEW = 1 << 18  # values a thread at least: fewer, and waking it costs more than it saves


class Part(NamedTuple):
    """Channels ``start`` to ``stop`` of a layer, which one thread adds onto ``total`` in one go."""

    layer: str
    start: int
    stop: int
    total: NDArray[np.float32]


def rarity_map(features: Features, *, bins: int = 11, border: int = 1) -> NDArray[np.float32]:
    """How rare a layer's features are at each place.

    For each channel:

    1. a border of ``border`` pixels is set to zero, and the map is scaled to [0, 1] by its extremes;
    2. each pixel gets R = −ln(p + 1e-4), where p is the fraction of all pixels, border included, that
       share its bin among ``bins`` equal ones (the last closed), and R is scaled to r in [0, 1];
    3. r ← r·(1 − mean r)², the mean over all pixels; the border is set to zero again.

    Then, with q = r², the channels are added as (max q − mean q)² · q / max q, again over all pixels.
    A channel whose r is zero everywhere adds nothing. (min q is always zero, so q / max q is its min-max.)
    A value within float32 rounding of the edge of two bins may fall into either.

    Args:
        features: (C, H, W) float32, any finite range; left as it is.
        bins: number of histogram bins, 2 to ``MAX_BINS``.
        border: width in pixels of the border that is ignored, 0 or more.

    Returns:
        (H, W) float32 ≥ 0, zero on the border; all zero where no pixel lies inside the border.
    """
    return rarity_maps({"": features}, bins=bins, border=lambda _: border)[""]


def rarity_maps(
    layers: Mapping[str, Features], *, bins: int, border: Callable[[int], int], threads: int = 1
) -> dict[str, NDArray[np.float32]]:
    """``rarity_map`` of several layers, by ``threads`` threads.

    Args:
        layers: name → (C, H, W).
        bins: as for ``rarity_map``.
        border: the border by the width of a map.
        threads: at least 1.

    Returns:
        The same names, in order → (H, W).
    """
    totals: dict[str, NDArray[np.float32]] = {
        name: np.zeros(features.shape[1:], np.float32) for name, features in layers.items()
    }
    borders = {name: border(total.shape[-1]) for name, total in totals.items()}
    contiguous = {
        name: np.ascontiguousarray(layers[name])
        for name, total in totals.items()
        if min(total.shape) > 2 * borders[name]  # there is something inside the border
    }
    add = adder()
    values = sum(features.size for features in contiguous.values())
    helpers = max(1, min(threads, values // _FEW)) - 1
    parts = _parts(contiguous, helpers + 1)
    waiting = deque(parts)

    def work() -> None:
        while waiting:
            try:
                part = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            add(contiguous[part.layer][part.start : part.stop], bins, borders[part.layer], part.total)

    others = [_pool(threads).submit(work) for _ in range(helpers)]
    work()
    for other in others:
        other.result()
    for part in parts:  # in order, so that rounding is the same whoever did it
        totals[part.layer] += part.total
    return totals


def channel_maps(features: Features, *, bins: int = 11, border: int = 1) -> NDArray[np.float32]:
    """What each channel adds to ``rarity_map``: (C, H, W) float32, with that map as their sum."""
    channels, height, width = features.shape
    maps = np.zeros((channels, height, width), np.float32)
    if min(height, width) > 2 * border:
        inner = (slice(None), slice(border, height - border), slice(border, width - border))
        values = np.ascontiguousarray(features[inner]).reshape(channels, -1)
        codes, counts, zero = _bin(values, bins, border, 1)
        table = contributions(counts, zero, height * width - values.shape[1])
        maps[inner] = table.T.ravel().take(codes, mode="clip").reshape(maps[inner].shape)
    return maps


@functools.cache
def adder() -> Adder:
    """The fastest way there is here to add up a layer's channels."""
    try:
        from sparsight.saliency.rarity_numba import add
    except ImportError:
        return add_numpy
    return add


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="rarity")


def _parts(layers: Mapping[str, Features], threads: int) -> list[Part]:
    """The channels of all layers, in pieces of about as many values; one thread takes whole layers."""
    piece = sum(features.size for features in layers.values()) // (_PIECES * threads)
    parts = []
    for name, features in layers.items():
        step = max(1, piece // features[0].size) if threads > 1 else len(features)
        for start in range(0, len(features), step):
            total = np.zeros(features.shape[1:], np.float32)
            parts.append(Part(name, start, min(start + step, len(features)), total))
    return parts


def add_numpy(features: Features, bins: int, border: int, total: NDArray[np.float32]) -> None:
    """Add what each channel gives onto ``total``, in NumPy alone.

    Neighbouring channels are counted and looked up together: three channels of 11 bins are one joint code of
    11³ values, whose histogram holds the three and whose table holds their sum.

    Args:
        features: (C, H, W) float32.
        bins: 2 to ``MAX_BINS``.
        border: leaves at least one pixel inside.
        total: (H, W) float32, changed in place inside the border.
    """
    channels, height, width = features.shape
    inner = (slice(border, height - border), slice(border, width - border))
    target = total[inner]
    group = _group_size(bins, target.size)
    block = max(1, _BLOCK // (group * target.size)) * group
    for start in range(0, channels, block):
        values = features[start : start + block, inner[0], inner[1]].reshape(-1, target.size)
        codes, counts, zero = _bin(values, bins, border, group)
        table = _joint_sums(contributions(counts, zero, height * width - target.size), group)
        # "clip" spares NumPy the copy that guards against bad indices: these are in range.
        target += table.ravel().take(codes, mode="clip").sum(axis=0).reshape(target.shape)


def _group_size(bins: int, pixels: int) -> int:
    """How many channels share a code: as many as keep the joint histogram small beside the map."""
    limit = min(pixels, _MAX_JOINT)
    return max(size for size in (1, 2, 3) if size == 1 or bins**size <= limit)


def _bin(
    values: NDArray[np.float32], bins: int, border: int, group: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """The bin of every pixel inside the border, and how many pixels share it.

    Channels are taken in groups, the last one filled up with channels of zeros.

    Args:
        values: (channels, pixels) inside the border.
        bins: how many.
        border: its width; only whether there is one matters.
        group: how many channels share a code.

    Returns:
        codes: (groups, pixels) places in a flat table of (groups, bins**group);
        counts: (bins, channels filled up), how many pixels inside the border there are in each bin;
        zero: (channels filled up,), the bin of the value zero, where the border's pixels are.
    """
    channels, size = values.shape
    rows, joint = -(-channels // group), bins**group
    low, high = values.min(axis=1), values.max(axis=1)
    if border:  # its zeros are among the extremes
        low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    span = high - low
    scale = np.float32(bins * BELOW_ONE) / np.maximum(span, np.float32(TINY))
    zero = np.zeros(rows * group, np.int64)
    zero[:channels] = np.clip(-low, 0, span) * scale
    if low.any():  # not so after a ReLU with a border, whose zeros are the minimum already
        values = values - low[:, None]
    digits = np.zeros((rows * group, size), np.uint8)
    np.multiply(values, scale[:, None], out=digits[:channels], casting="unsafe")
    code = digits[0::group].astype(np.uint16)
    for place in range(1, group):
        code *= np.uint16(bins)
        code += digits[place::group]
    codes = code.astype(np.int64)
    codes += np.arange(rows)[:, None] * joint
    counts = np.bincount(codes.ravel(), minlength=rows * joint).reshape(rows, joint)
    return codes, _marginals(counts.astype(np.float32), bins, group), zero


def zero_border(maps: NDArray[np.float32], border: int) -> None:
    """Set the outer ``border`` pixels of maps (..., H, W) to zero, in place."""
    if border:
        maps[..., :border, :] = maps[..., -border:, :] = 0
        maps[..., :border] = maps[..., -border:] = 0


def zero_corners(
    maps: NDArray[np.float32], border: int, spared: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Set the four corner pixels inside the border of maps (..., H, W) to zero, in place.

    There a network sees its padding from two sides, and finds it rare; along the sides it is common. Maps of
    less than four pixels a side inside the border are left alone.

    Args:
        maps: (..., H, W), none of them below zero.
        border: its width in pixels; without a border there is no inside.
        spared: row and column of a pixel that keeps its value.

    Returns:
        (...) the highest value that each map lost.
    """
    height, width = maps.shape[-2:]
    lost = np.zeros(maps.shape[:-2], np.float32)
    if border and min(height, width) - 2 * border >= 4:
        for y in (border, height - border - 1):
            for x in (border, width - border - 1):
                if (y, x) != spared:
                    lost = np.maximum(lost, maps[..., y, x])
                    maps[..., y, x] = 0
    return lost


def contributions(inner: NDArray[np.float32], zero: NDArray[np.int64], outside: int) -> NDArray[np.float32]:
    """What a pixel in each bin adds to the map.

    Args:
        inner: (bins, channels), how many pixels inside the border there are in each bin.
        zero: (channels,), the bin that the border's pixels are in.
        outside: how many pixels the border has.

    Returns:
        (bins, channels) float32.
    """
    counts = inner.copy()
    counts[zero, np.arange(len(zero))] += outside
    size = counts[:, 0].sum()
    rarity = -np.log(counts / size + np.float32(EPSILON))
    # The rarest bin that is not empty gets one, the least rare zero.
    r = (rarity - rarity.min(axis=0)) * (counts > 0)
    r /= np.maximum(r.max(axis=0), np.float32(TINY))
    r *= (1 - (r * counts).sum(axis=0) / size) ** 2
    q = r**2 * (inner > 0)
    top = q.max(axis=0)
    weight = (top - (q * inner).sum(axis=0) / size) ** 2
    each: NDArray[np.float32] = weight * q / np.maximum(top, np.float32(TINY))
    return each


def _marginals(joint: NDArray[np.float32], bins: int, group: int) -> NDArray[np.float32]:
    """(groups, bins**group) joint counts → (bins, channels) counts of each channel."""
    each: list[NDArray[np.float32]] = []
    for _ in range(group):
        apart = joint.reshape(len(joint), bins, -1)
        each.append(apart.sum(axis=2))
        joint = apart.sum(axis=1)
    # Bins first, because NumPy is slow to sum along a short last axis.
    return np.ascontiguousarray(np.stack(each, axis=1).reshape(-1, bins).T)


def _joint_sums(table: NDArray[np.float32], group: int) -> NDArray[np.float32]:
    """(bins, channels) values → (groups, bins**group): their sum for each combination of a group's bins."""
    digits = table.T.reshape(-1, group, len(table))
    sums: NDArray[np.float32] = digits[:, 0]
    for place in range(1, group):
        sums = (sums[:, :, None] + digits[:, place, None, :]).reshape(len(digits), -1)
    return sums
