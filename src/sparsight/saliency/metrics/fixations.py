"""Values of a map at fixations: NSS, log-likelihood, information gain."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sparsight.saliency.metrics.case import Case, case, given_as
from sparsight.saliency.metrics.plane import Distribution


def score_nss(given: Case) -> float:
    """``nss`` of a case."""
    plane, where = given.plane, given.positives
    if plane.variance == 0:
        return 0.0
    deviation = math.sqrt(plane.variance * plane.size / (plane.size - given.preset.ddof))
    return float((plane.at(where).mean() - plane.mean) / deviation)


def nss(map: ArrayLike, xy: ArrayLike, *, preset: str = "mit") -> float:
    """Normalised scanpath saliency: the mean of ``(map - mean) / deviation`` at the fixations.

    Args:
        map: H×W saliency.
        xy: (N, 2) fixations, pixels.
        preset: ``"mit"`` and ``"pysod"``: a fixated pixel counts once, deviation with N - 1;
            ``"pysaliency"``: every fixation counts, deviation with N.

    Returns:
        Standard deviations above the mean; a constant map scores 0 (the MATLAB code gives NaN).

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: Peters et al., Vision Research 2005.
    """
    return score_nss(case(map, xy=xy, preset=preset))


def _mean_log(density: Distribution, given: Case) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(density.at(given.positives) + given.preset.epsilon).mean())


def score_log_likelihood(given: Case) -> float:
    """``log_likelihood`` of a case."""
    preset = given.preset
    return _mean_log(given.plane.distribution(lift=preset.lift, floor=preset.floor), given)


def log_likelihood(map: ArrayLike, xy: ArrayLike, *, preset: str = "mit") -> float:
    """Mean natural logarithm of the probability that the map, divided by its sum, gives to the fixated
    pixels.

    Args:
        map: H×W saliency, read as a density over pixels.
        xy: (N, 2) fixations, pixels.
        preset: ``"mit"`` and ``"pysod"``: the minimum is subtracted first, 2^-52 is added inside the
            logarithm, a fixated pixel counts once; ``"pysaliency"``: the minimum is subtracted only where
            negative, 1e-20 is added to the map, every fixation counts.

    Returns:
        Nats per fixation; a uniform map scores ``-log(H * W)``.

    Raises:
        SparsightError: no fixations, one outside the map, NaN in the map.

    Source: Kümmerer, Wallis and Bethge, PNAS 2015.
    """
    return score_log_likelihood(case(map, xy=xy, preset=preset))


def score_information_gain(given: Case) -> float:
    """``information_gain`` of a case."""
    preset = given.preset
    baseline = given_as(given.baseline, "baseline").distribution(lift=preset.lift, floor=preset.floor)
    return (score_log_likelihood(given) - _mean_log(baseline, given)) / math.log(2)


def information_gain(map: ArrayLike, xy: ArrayLike, baseline: ArrayLike, *, preset: str = "mit") -> float:
    """How many bits per fixation the map knows more than the baseline: the difference of log-likelihoods,
    base 2.

    Args:
        map: H×W saliency.
        xy: (N, 2) fixations, pixels.
        baseline: H×W density to beat, usually a centre prior.
        preset: as for ``log_likelihood``, for both maps.

    Returns:
        Bits per fixation; 0 where the map equals the baseline.

    Raises:
        SparsightError: no fixations, one outside the map, sizes that differ, NaN.

    Source: Kümmerer, Wallis and Bethge, PNAS 2015; the MATLAB code ``InfoGain.m``.
    """
    return score_information_gain(case(map, xy=xy, baseline=baseline, preset=preset))
