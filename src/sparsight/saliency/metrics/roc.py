"""Areas under the ROC curve of a map that tells fixated from other pixels.

Only the values at the fixations are thresholds, so no image is sorted: pixels are counted in fine bins, and
only those that share a bin with a fixation are looked at again (``_counts``). The counts are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.metrics.case import Case, case, given_as
from sparsight.saliency.metrics.plane import BLOCK, Array, Indices, slices

JITTER = 1e-7
SPLITS = 100
_BINS = 1 << 16


def _counts(values: NDArray[Any], low: float, high: float, where: Indices) -> tuple[Array, Array]:
    """How many of all pixels are below, and how many equal to, each of the pixels ``where``.

    ``values`` is a flat array with minimum ``low`` and maximum ``high``; ``where`` are K flat indices;
    returns two (K,) float64 arrays of whole numbers.
    """
    wanted = values[where]
    if values.dtype == np.uint8:
        tallies = sum(
            (np.bincount(values[block], minlength=256) for block in slices(values.size)), np.zeros(256)
        )
        return (np.cumsum(tallies) - tallies)[wanted], tallies[wanted]
    kind = values.dtype.type
    with np.errstate(over="ignore", divide="ignore"):
        scale = kind(_BINS - 1) / (kind(high) - kind(low))
    if not 0 < scale < np.inf:
        return _below_equal(np.sort(values), wanted)
    bins = np.empty(values.size, dtype=np.uint16)
    histogram = np.zeros(_BINS)
    room = np.empty(min(BLOCK, values.size), dtype=kind)
    for block in slices(values.size):
        # Subtraction, product and truncation are monotone: a pixel in a lower bin has a lower value.
        scaled = np.subtract(values[block], kind(low), out=room[: block.stop - block.start])
        scaled *= scale
        bins[block] = scaled
        histogram += np.bincount(bins[block], minlength=_BINS)
    mine = bins[where]
    shared = np.zeros(_BINS, dtype=bool)
    shared[mine] = True
    near = [values[block][shared.take(bins[block])] for block in slices(values.size)]
    below, equal = _below_equal(np.sort(np.concatenate(near)), wanted)
    return below + np.cumsum(np.where(shared, 0.0, histogram))[mine], equal


def _below_equal(ordered: NDArray[Any], wanted: NDArray[Any]) -> tuple[Array, Array]:
    below = np.searchsorted(ordered, wanted, "left")
    equal = np.searchsorted(ordered, wanted, "right") - below
    return below.astype(np.float64), equal.astype(np.float64)


def _area(false: Array, true: Array) -> NDArray[np.float64]:
    """The area under the points joined by straight lines, along the last axis."""
    area: Array = np.asarray(np.diff(false) @ ((true[1:] + true[:-1]) / 2))
    return area


def score_auc(given: Case) -> float:
    """``auc`` of a case."""
    plane, where = given.plane, given.positives
    if plane.constant:
        return 0.5
    values = plane.flat
    below, equal = _counts(values, plane.low, plane.high, where)
    negatives = values.size
    if given.preset.unfixated:
        negatives = _unfixated(given)
        own_below, own_equal = _below_equal(np.sort(values[given.fixated]), values[where])
        below, equal = below - own_below, equal - own_equal
    return float((below + equal / 2).mean() / negatives)


def _unfixated(given: Case) -> int:
    count = given.plane.size - len(given.fixated)
    if not count:
        raise SparsightError(
            "every pixel of the map is fixated: no pixels are left to tell the fixations from."
        )
    return count


def auc(map: ArrayLike, xy: ArrayLike, *, preset: str = "mit") -> float:
    """Exact area under the ROC curve: how often a fixated pixel beats another one, a tie counted half.

    Args:
        map: H×W saliency; only its order matters.
        xy: (N, 2) fixations, pixels.
        preset: ``"mit"`` and ``"pysod"``: a fixated pixel counts once, against the pixels that nobody
            fixated; ``"pysaliency"``: every fixation counts, against all pixels.

    Returns:
        0 to 1; a constant map scores exactly 0.5.

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: the Mann-Whitney form of the area, Green and Swets 1966.
    """
    return score_auc(case(map, xy=xy, preset=preset))


def score_auc_judd(given: Case) -> float:
    """``auc_judd`` of a case."""
    return _judd(given, jitter=True)


def _judd(given: Case, *, jitter: bool) -> float:
    plane, where = given.plane, given.positives
    if plane.constant:
        return 0.5
    values = plane.flat
    low, high = plane.low, plane.high
    if jitter:
        # pysaliency draws from NumPy's old generator, with seed 42 unless told otherwise.
        if given.preset.noise == "normal":
            noise = np.random.RandomState(given.seed).randn(values.size)
        else:
            noise = np.random.default_rng(given.seed).random(values.size)
        noise *= JITTER
        noise += values
        values, low, high = noise, float(noise.min()), float(noise.max())
    negatives = _unfixated(given)
    positives = values[where]
    below, _ = _counts(values, low, high, where)
    own_below, _ = _below_equal(np.sort(values[given.fixated]), positives)
    order = np.argsort(positives)[::-1]
    false = 1.0 - (below - own_below)[order] / negatives
    ranked = positives[order]
    true = np.searchsorted(-ranked, -ranked, "right") / len(ranked)
    return float(_area(np.r_[0.0, false, 1.0], np.r_[0.0, true, 1.0]))


def auc_judd(
    map: ArrayLike, xy: ArrayLike, *, preset: str = "mit", jitter: bool = True, seed: int | None = None
) -> float:
    """Area under the ROC curve whose thresholds are the values at the fixations (``AUC_Judd.m``).

    True positives are fixations at or above the threshold, false positives the unfixated pixels at or above
    it; the corners (0, 0) and (1, 1) are added and the points joined by straight lines.

    Args:
        map: H×W saliency.
        xy: (N, 2) fixations, pixels.
        preset: ``"mit"`` and ``"pysod"``: a fixated pixel counts once, jitter uniform in [0, 1e-7), as in the
            MATLAB code, whose random numbers themselves cannot be had; ``"pysaliency"``: every fixation
            counts, jitter normal with deviation 1e-7 and pysaliency's own random numbers.
        jitter: break ties by noise, as both tools do unless told otherwise. Without it, tied fixations pass
            the threshold together.
        seed: of the noise; ``None``: 0 (pysaliency: 42).

    Returns:
        0 to 1; a constant map scores exactly 0.5 (both tools give a random number).

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: Judd et al., ICCV 2009; Bylinskii et al., PAMI 2019.
    """
    return _judd(case(map, xy=xy, preset=preset, seed=seed), jitter=jitter)


def _stepped(positives: Array, negatives: Array, step: float) -> float:
    """Mean area over the columns of ``negatives`` (K, S), thresholds ``step`` apart, all values in [0, 1]."""
    thresholds = np.arange(int(1 / step + 1e-9) + 1) * step
    levels = len(thresholds)
    splits = negatives.shape[1]
    passed = np.searchsorted(thresholds, positives, "right") - 1
    true = np.bincount(passed, minlength=levels)[::-1].cumsum() / len(positives)
    passed = np.searchsorted(thresholds, negatives, "right") - 1 + levels * np.arange(splits)
    counts = np.bincount(passed.ravel(), minlength=levels * splits).reshape(splits, levels)
    false = counts[:, ::-1].cumsum(axis=1) / len(negatives)
    # At the threshold 0 everything passes, so the corner (1, 1) is there already.
    corner = np.zeros((splits, 1))
    return float(_area(np.concatenate([corner, false], axis=1), np.r_[0.0, true]).mean())


def _sampled(given: Case, negatives: Indices) -> float:
    """The area with the pixels ``negatives`` (K, S) drawn for the S splits."""
    plane, step = given.plane, given.preset.step
    positives = plane.at(given.positives)
    if step is None:
        # Splits of one size have one mean: that of all of them together.
        below, equal = _below_equal(np.sort(plane.at(negatives.ravel())), positives)
        return float((below + equal / 2).mean() / negatives.size)
    span = plane.high - plane.low
    drawn = (plane.at(negatives) - plane.low) / span
    return _stepped((positives - plane.low) / span, drawn, step)


def score_auc_borji(given: Case) -> float:
    """``auc_borji`` of a case."""
    count = len(given.positives)
    if given.plane.constant:
        return 0.5
    rng = np.random.default_rng(given.seed)
    drawn = rng.integers(0, given.plane.size, (count, SPLITS))
    return _sampled(given, drawn)


def auc_borji(map: ArrayLike, xy: ArrayLike, *, preset: str = "mit", seed: int | None = None) -> float:
    """Area under the ROC curve against as many random pixels as fixations, mean of 100 draws
    (``AUC_Borji.m``).

    Args:
        map: H×W saliency.
        xy: (N, 2) fixations, pixels.
        preset: ``"mit"`` and ``"pysod"``: a fixated pixel counts once; the map is stretched to [0, 1] and
            thresholds are 0.1 apart, which flatters no map and blunts peaked ones; ``"pysaliency"`` (which
            has no such metric): every fixation counts, every value is a threshold, ties half.
        seed: of the draws; ``None``: 0 (pysaliency: 42).

    Returns:
        0 to 1; a constant map scores exactly 0.5 (the MATLAB code gives NaN).

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: Borji, Sihite and Itti, TIP 2013.
    """
    return score_auc_borji(case(map, xy=xy, preset=preset, seed=seed))


def score_shuffled_auc(given: Case) -> float:
    """``shuffled_auc`` of a case."""
    others = given_as(given.other_fixations, "array of fixations of other images")
    positives = given.positives
    if given.plane.constant:
        return 0.5
    if given.preset.step is None:
        return _sampled(given, others[:, None])
    others = np.unique(others) if given.preset.once else others
    count = min(len(positives), len(others))
    rng = np.random.default_rng(given.seed)
    draws = [rng.choice(len(others), count, replace=False, shuffle=False) for _ in range(SPLITS)]
    return _sampled(given, others[np.stack(draws, axis=1)])


def shuffled_auc(
    map: ArrayLike, xy: ArrayLike, other_xy: ArrayLike, *, preset: str = "mit", seed: int | None = None
) -> float:
    """Area under the ROC curve against the fixations made on other images, so that a centre prior earns
    nothing.

    Args:
        map: H×W saliency.
        xy: (N, 2) fixations, pixels.
        other_xy: (M, 2) fixations of other images, scaled to this map's size, pixels.
        preset: ``"mit"`` and ``"pysod"``: a pixel counts once on either side; mean of 100 draws of as many of
            the others as there are fixations, without replacement; the map is stretched to [0, 1] and
            thresholds are 0.1 apart (``AUC_shuffled.m``). ``"pysaliency"``: exact, all fixations against all
            others, ties half.
        seed: of the draws; ``None``: 0 (pysaliency: 42).

    Returns:
        0 to 1; a constant map scores exactly 0.5 (the MATLAB code gives NaN).

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: Tatler et al., Vision Research 2005; Zhang et al., Journal of Vision 2008.
    """
    return score_shuffled_auc(case(map, xy=xy, other_xy=other_xy, preset=preset, seed=seed))
