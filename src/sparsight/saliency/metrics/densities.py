"""A map beside a density of fixations: CC, SIM, KL; and the density itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparsight.errors import SparsightError
from sparsight.saliency.metrics.case import Case, case, fixated_pixels, given_as
from sparsight.saliency.metrics.plane import Array, dot


def density_map(xy: ArrayLike, shape: Sequence[int], sigma: float) -> Array:
    """The density of fixations: a Gaussian around each, together divided by their sum on the image.

    Args:
        xy: (N, 2) fixations, pixels; a fixation sits in the middle of its pixel.
        shape: height and width.
        sigma: the Gaussian's standard deviation in pixels. The custom is one degree of visual angle, about
            the size of the fovea and the eye tracker's error: the pixels per degree of the set-up (OSIE: 24;
            MIT1003: 35).

    Returns:
        H×W float64, sums to 1. What a Gaussian leaves beyond the border is lost, not mirrored.

    Raises:
        SparsightError: no fixations, one outside the image, or sigma not above 0.
    """
    if not 0 < sigma < math.inf:
        raise SparsightError(
            f"sigma is {sigma}: give the Gaussian's standard deviation in pixels, above zero."
        )
    height, width = int(shape[0]), int(shape[1])
    row, column = np.divmod(fixated_pixels(xy, "fixations", (height, width)), width)

    def bells(size: int, centres: Array) -> Array:
        distance = np.arange(size)[:, None] - centres[None, :]
        bell: Array = np.exp(distance**2 / (-2.0 * sigma**2))
        return bell

    # A Gaussian is a product of a column and a row, so a sum of them is one product of matrices: exact, no
    # kernel cut.
    if len(row) <= height:
        density = bells(height, row.astype(np.float64)) @ bells(width, column.astype(np.float64)).T
    else:
        counts = np.bincount(row * width + column, minlength=height * width).reshape(height, width)
        rows, columns = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
        density = bells(height, rows) @ counts.astype(np.float64) @ bells(width, columns)
    normalised: Array = density / density.sum()
    return normalised


def score_cc(given: Case) -> float:
    """``cc`` of a case."""
    plane, density = given.plane, given_as(given.density, "density")
    if plane.variance == 0 or density.variance == 0:
        return 0.0
    return plane.covariance(density) / math.sqrt(plane.variance * density.variance)


def cc(map: ArrayLike, density: ArrayLike, *, preset: str = "mit") -> float:
    """Pearson's correlation coefficient of map and density over all pixels.

    Args:
        map: H×W saliency.
        density: H×W density of fixations, any scale.
        preset: ``"mit"``, ``"pysaliency"`` or ``"pysod"``; all agree, so it makes no difference.

    Returns:
        -1 to 1; 0 if either is constant (the MATLAB code gives NaN, and so does pysaliency for a constant
        density).

    Raises:
        SparsightError: sizes that differ, NaN, a density that is zero everywhere.

    Source: Le Meur, Le Callet and Barba, Vision Research 2007.
    """
    return score_cc(case(map, density=density, preset=preset))


def score_sim(given: Case) -> float:
    """``sim`` of a case."""
    pairs = zip(given.mass.blocks(), given.density_mass.blocks(), strict=True)
    return sum(float(np.minimum(p, q, out=p).sum()) for p, q in pairs)


def sim(map: ArrayLike, density: ArrayLike, *, preset: str = "mit") -> float:
    """Similarity: the mass that map and density share when each is divided by its sum.

    Args:
        map: H×W saliency.
        density: H×W density of fixations, any scale.
        preset: ``"mit"`` and ``"pysod"``: the minimum of each is subtracted first; ``"pysaliency"``: only
            where it is negative.

    Returns:
        0 to 1. A map that is constant counts as uniform (the MATLAB code gives NaN, and 0 for zeros).

    Raises:
        SparsightError: sizes that differ, NaN, a density that is zero everywhere.

    Source: Judd, Durand and Torralba, MIT technical report 2012; ``similarity.m``.
    """
    return score_sim(case(map, density=density, preset=preset))


def score_kl(given: Case) -> float:
    """``kl`` of a case."""
    preset = given.preset
    density = given_as(given.density, "density")
    predicted = given.plane.distribution(lift=False, floor=preset.floor)
    wanted = density.distribution(lift=False, floor=preset.floor)
    divergence = 0.0
    for quotient, q in zip(predicted.blocks(), wanted.blocks(), strict=True):
        if preset.epsilon:
            np.add(quotient, preset.epsilon, out=quotient)
        np.divide(q, quotient, out=quotient)
        if preset.epsilon:
            np.add(quotient, preset.epsilon, out=quotient)
        divergence += dot(q, np.log(quotient, out=quotient))
    return divergence


def kl(map: ArrayLike, density: ArrayLike, *, preset: str = "mit") -> float:
    """Kullback-Leibler divergence from the map to the density, each divided by its sum: ``sum q log(q / p)``.

    Args:
        map: H×W saliency, p.
        density: H×W density of fixations, q, any scale.
        preset: ``"mit"`` and ``"pysod"``: ``sum q log(e + q / (p + e))`` with e = 2^-52, as ``KLdiv.m``;
            ``"pysaliency"``: 1e-20 is added to both maps before they are divided. Both subtract a minimum
            below zero.

    Returns:
        Nats, 0 at best. A map that is constant counts as uniform.

    Raises:
        SparsightError: sizes that differ, NaN, a density that is zero everywhere.

    Source: Kullback and Leibler 1951; Bylinskii et al., PAMI 2019.
    """
    return score_kl(case(map, density=density, preset=preset))
