"""Rarity compiled for the processor: the same numbers as ``rarity``, in half the time.

It is compiled once (seconds), then taken from numba's cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.rarity import BELOW_ONE, EPSILON, TINY, Features

_ENDS = 256  # tables as long as a byte can count: no value whatever leads out of them
_FAR = 1e30  # beyond every rarity
_LANES = 64  # extremes followed side by side
_WAYS = 4  # histograms counted side by side: neighbours in one bin need not wait for each other

_compiled: Callable[..., Any] = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


def add(features: Features, bins: int, border: int, total: NDArray[np.float32]) -> None:
    """As ``rarity.add_numpy``; ``features`` must be contiguous. Other threads run meanwhile."""
    _add(features, bins, border, total)


@_compiled
def _add(features: Features, bins: int, border: int, total: NDArray[np.float32]) -> None:
    channels, height, width = features.shape
    tall, wide = height - 2 * border, width - 2 * border
    size, outside = height * width, height * width - tall * wide
    values = np.empty(tall * wide, np.float32)
    sums = np.zeros(tall * wide, np.float32)
    codes = np.empty(tall * wide, np.uint8)
    lanes = np.empty((2, _LANES), np.float32)
    counts = np.zeros((_WAYS, _ENDS), np.int32)
    table = np.zeros(_ENDS, np.float32)
    rarities = _rarities(size, channels * bins)
    for channel in range(channels):
        # Without its border a channel lies in one piece: what follows are plain loops over it.
        for y in range(tall):
            row = features[channel, y + border, border : border + wide]
            piece = values[y * wide : (y + 1) * wide]
            for x in range(wide):
                piece[x] = row[x]
        low, high = _extremes(values, np.float32(0) if border else values[0], lanes)
        if not high > low:
            continue  # a channel of one value adds nothing, and many are all zero after their ReLU
        scale = np.float32(bins * BELOW_ONE) / max(high - low, np.float32(TINY))
        for place in range(len(values)):
            codes[place] = np.uint8(np.int32((values[place] - low) * scale))
        _count(codes, counts, bins)
        zero = int(min(max(-low, np.float32(0)), high - low) * scale)
        if _contributions(counts[0], table, bins, zero, outside, size, rarities):
            for place in range(len(values)):
                sums[place] += table[codes[place]]
    for y in range(tall):
        for x in range(wide):
            total[y + border, x + border] += sums[y * wide + x]


@_compiled
def _extremes(
    values: NDArray[np.float32], first: np.float32, lanes: NDArray[np.float32]
) -> tuple[np.float32, np.float32]:
    """The least and the greatest of ``values`` and ``first``, by lanes that the processor takes at once."""
    low = high = first
    whole = len(values) // _LANES * _LANES
    if whole:
        lows, highs = lanes[0], lanes[1]
        lows[:] = first
        highs[:] = first
        for start in range(0, whole, _LANES):
            piece = values[start : start + _LANES]
            for lane in range(_LANES):
                lows[lane] = min(lows[lane], piece[lane])
                highs[lane] = max(highs[lane], piece[lane])
        for lane in range(_LANES):
            low, high = min(low, lows[lane]), max(high, highs[lane])
    for place in range(whole, len(values)):
        low, high = min(low, values[place]), max(high, values[place])
    return low, high


@_compiled
def _rarities(size: int, wanted: int) -> NDArray[np.float64]:
    """−ln(n / size + ε) for n up to ``size`` if that takes fewer logarithms than ``wanted``, else none."""
    if size >= wanted:
        return np.empty(0, np.float64)
    return -np.log(np.arange(size + 1) / size + EPSILON)


@_compiled
def _count(codes: NDArray[np.uint8], counts: NDArray[np.int32], bins: int) -> None:
    """The histogram of ``codes`` into the first row of ``counts``, through all its rows."""
    counts[:, :bins] = 0
    whole = len(codes) // _WAYS * _WAYS
    for place in range(0, whole, _WAYS):
        counts[0, codes[place]] += 1
        counts[1, codes[place + 1]] += 1
        counts[2, codes[place + 2]] += 1
        counts[3, codes[place + 3]] += 1
    for place in range(whole, len(codes)):
        counts[0, codes[place]] += 1
    for bin_ in range(bins):
        counts[0, bin_] += counts[1, bin_] + counts[2, bin_] + counts[3, bin_]


@_compiled
def _contributions(
    inner: NDArray[np.int32],
    table: NDArray[np.float32],
    bins: int,
    zero: int,
    outside: int,
    size: int,
    rarities: NDArray[np.float64],
) -> bool:
    """``rarity.contributions`` of one channel into ``table``; False where all of them are zero."""
    least, most = _FAR, -_FAR  # infinity is not to be had with fast arithmetic
    for bin_ in range(bins):
        count = inner[bin_] + (outside if bin_ == zero else 0)
        if count:
            table[bin_] = rarities[count] if len(rarities) else -math.log(count / size + EPSILON)
            least, most = min(least, table[bin_]), max(most, table[bin_])
    stretch = 1 / max(most - least, TINY)
    mean = 0.0
    for bin_ in range(bins):
        count = inner[bin_] + (outside if bin_ == zero else 0)
        table[bin_] = (table[bin_] - least) * stretch if count else 0
        mean += table[bin_] * count
    shrink = (1 - mean / size) ** 2
    top = total = 0.0
    for bin_ in range(bins):
        q = (table[bin_] * shrink) ** 2 if inner[bin_] else 0.0
        table[bin_] = q
        top = max(top, q)
        total += q * inner[bin_]
    weight = (top - total / size) ** 2 / max(top, TINY)
    for bin_ in range(bins):
        table[bin_] *= weight
    return top > 0
