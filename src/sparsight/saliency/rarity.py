"""Rarity of feature maps: one layer's channels in, one map of how unusual each place is out.

After M. Mancas, P. Kong and B. Gosselin, "Visual Attention: Deep Rare Features" (2020), and P. Kong,
M. Mancas, B. Gosselin and K. Po, "DeepRare: Generic Unsupervised Visual Attention Models"
(arXiv 2109.11439).

Within one channel the rarity takes as many values as the histogram has bins. So every mean, maximum and
weight follows from the histogram, and a pixel needs only its bin: one pass to find the bins, one to count
them, one to look the results up. Neighbouring channels are counted and looked up together: three channels of
11 bins are one joint code of 11³ values, whose histogram holds the three and whose table holds their sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-4
"""What keeps the rarity −ln(p + ε) of an empty bin finite."""

MAX_BINS = 64
"""Bins are numbered in a byte; more than a few dozen tell nothing apart in a map of a few hundred pixels."""

_TINY = np.float32(1e-30)  # divides a channel without range, whose values are all zero, to zero
_MAX_JOINT = 4096  # a joint histogram larger than this no longer stays in the first-level cache
_CHUNK = 1 << 16  # values handled at once: 256 KiB of float32 stay in the second-level cache


def rarity_map(features: NDArray[np.float32], *, bins: int = 11, border: int = 1) -> NDArray[np.float32]:
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
        features: (C, H, W) float32, any range; left as it is.
        bins: number of histogram bins, 2 to ``MAX_BINS``.
        border: width in pixels of the border that is ignored, 0 or more.

    Returns:
        (H, W) float32 ≥ 0, zero on the border; all zero where no pixel lies inside the border.
    """
    height, width = features.shape[1:]
    size = height * width
    inside = max(0, height - 2 * border) * max(0, width - 2 * border)
    if inside == 0:
        return np.zeros((height, width), np.float32)
    group = _group_size(bins, size)
    codes, counts, zero = _bin(features, bins, border, group)
    values = _joint_sums(_contributions(counts, zero, size, inside), group)
    total = np.zeros(size, np.float32)
    for part in _chunks(len(codes), group * size):
        # "clip" spares NumPy the copy that guards against bad indices: these are in range.
        total += values[part].ravel().take(_indices(codes[part], bins**group), mode="clip").sum(axis=0)
    result = total.reshape(height, width)
    _zero_border(result, border)
    return result


def _group_size(bins: int, pixels: int) -> int:
    """How many channels share a code: as many as keep the joint histogram small beside the map."""
    limit = min(pixels, _MAX_JOINT)
    return max(size for size in (1, 2, 3) if size == 1 or bins**size <= limit)


def _chunks(rows: int, width: int) -> list[slice]:
    """Slices over ``rows`` rows of ``width`` values, each small enough for the cache."""
    step = max(1, _CHUNK // width)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _indices(codes: NDArray[np.uint16], joint: int) -> NDArray[np.int64]:
    """The place of each code in a flat table that has ``joint`` entries for each row of ``codes``."""
    places = codes.astype(np.int64)
    places += np.arange(len(codes))[:, None] * joint
    return places


def _zero_border(maps: NDArray[np.float32], border: int) -> None:
    """Set the outer ``border`` pixels of maps (..., H, W) to zero, in place."""
    if border:
        maps[..., :border, :] = maps[..., -border:, :] = 0
        maps[..., :border] = maps[..., -border:] = 0


def _bin(
    features: NDArray[np.float32], bins: int, border: int, group: int
) -> tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.int64]]:
    """The bin of every pixel, the border set to zero, and how many pixels share it.

    Channels are taken in groups, the last one filled up with channels of zeros.

    Returns:
        codes: (groups, pixels), the bins of a group's channels as digits of base ``bins``;
        counts: (bins, channels), how many pixels there are in each bin, the border's among them;
        zero: (channels,), the bin of the value zero, where the border's pixels are.
    """
    channels, height, width = features.shape
    size = height * width
    rows, joint = -(-channels // group), bins**group
    codes = np.empty((rows, size), np.uint16)
    counts = np.empty((rows, joint), np.float32)  # exact: whole numbers far below 2**24
    zero = np.zeros(rows * group, np.int64)
    parts = _chunks(rows, group * size)
    scratch = np.empty((parts[0].stop * group, height, width), np.float32)
    for part in parts:
        block = slice(part.start * group, min(part.stop * group, channels))
        maps = scratch[: block.stop - block.start]
        np.copyto(maps, features[block])
        _zero_border(maps, border)
        values = maps.reshape(-1, size)
        low = values.min(axis=1)
        span = values.max(axis=1) - low
        scale = bins / np.maximum(span, _TINY)
        zero[block] = np.minimum(np.clip(-low, 0, span) * scale, bins - 1)
        if low.any():  # not so after a ReLU, whose zeros are the minimum already
            values -= low[:, None]
        taken = part.stop - part.start
        digits = np.zeros((taken * group, size), np.uint8)
        np.multiply(values, scale[:, None], out=digits[: len(values)], casting="unsafe")
        digits -= digits == bins  # the last bin is closed
        code = codes[part]
        code[:] = digits[0::group]
        for place in range(1, group):
            code *= np.uint16(bins)
            code += digits[place::group]
        places = _indices(code, joint).ravel()
        counts[part] = np.bincount(places, minlength=taken * joint).reshape(taken, joint)
    return codes, _marginals(counts, bins, group), zero


def _contributions(
    counts: NDArray[np.float32], zero: NDArray[np.int64], size: int, inside: int
) -> NDArray[np.float32]:
    """What a pixel in each bin adds to the map, (bins, channels), from what ``_bin`` counted.

    ``size`` pixels in all, ``inside`` of them inside the border.
    """
    inner = counts.copy()
    inner[zero, np.arange(len(zero))] -= size - inside
    rarity = -np.log(counts / size + np.float32(EPSILON))
    r = (rarity - rarity.min(axis=0)) * (counts > 0)
    r /= np.maximum(r.max(axis=0), _TINY)
    r *= (1 - (r * counts).sum(axis=0) / size) ** 2
    q = r**2 * (inner > 0)
    top = q.max(axis=0)
    weight = (top - (q * inner).sum(axis=0) / size) ** 2
    contributions: NDArray[np.float32] = weight * q / np.maximum(top, _TINY)
    return contributions


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
