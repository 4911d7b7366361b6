"""Does the one that differs stand out? Metrics of the P3 and O3 data sets.

Maps are non-negative there; a map with negative values is lifted to zero first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sparsight.errors import SparsightError
from sparsight.saliency.metrics.case import Case, case, given_as
from sparsight.saliency.metrics.plane import Array, Mask

MAX_TRIES = 99
MISS = -1.0


def _lifted(given: Case) -> Array:
    plane = given.plane
    values: Array = plane.native.astype(np.float64)
    return values - plane.low if plane.low < 0 else values


def _masks(given: Case) -> tuple[Mask, Mask]:
    return given_as(given.target, "target mask"), given_as(given.distractors, "mask of the distractors")


def score_fixations_to_target(given: Case, max_tries: int = MAX_TRIES) -> float:
    """``fixations_to_target`` of a case."""
    values, target = _lifted(given), given_as(given.target, "target mask")
    half = given_as(given.distractor_size, "size of a distractor") / 2
    for tries in range(1, max_tries + 1):
        row, column = np.unravel_index(values.argmax(), values.shape)
        if target[row, column]:
            return float(tries)
        if values[row, column] == 0:
            break
        top, left = max(0, int(row - half)), max(0, int(column - half))
        values[top : max(top, int(row + half)), left : max(left, int(column + half))] = 0.0
    return float(max_tries + 1)


def fixations_to_target(
    map: ArrayLike, target_mask: ArrayLike, distractor_size: float, max_tries: int = MAX_TRIES
) -> int:
    """How many of the map's maxima must be looked at until one lies on the target.

    The highest pixel (the first in reading order of equal ones) is fixated; unless it is on the target, a
    square of the distractors' size around it is set to zero, and so on.

    Args:
        map: H×W saliency.
        target_mask: H×W, the target.
        distractor_size: side of the square, pixels.
        max_tries: fixations before giving up.

    Returns:
        1 at best; a miss is ``max_tries + 1``: 100, as published. So is a map whose maxima are used up.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map, a size or a number of tries not
        above 0.

    Source: Kotseruba, Wloka, Rasouli and Tsotsos, BMVC 2019, and their code.
    """
    if max_tries < 1:
        raise SparsightError(f"{max_tries} tries find nothing: give 1 or more.")
    given = case(map, target=target_mask, distractor_size=distractor_size)
    return int(score_fixations_to_target(given, max_tries))


def score_gsi(given: Case) -> float:
    """``gsi`` of a case."""
    values, (target_mask, distractor_mask) = _lifted(given), _masks(given)
    target = float(values[target_mask.view(bool)].mean())
    distractors = float(values[distractor_mask.view(bool)].mean())
    return (target - distractors) / (target + distractors) if target + distractors > 0 else MISS


def gsi(map: ArrayLike, target_mask: ArrayLike, distractor_mask: ArrayLike) -> float:
    """Global saliency index, ``(T - D) / (T + D)`` of the mean saliency of the target T and of the
    distractors D.

    Args:
        map: H×W saliency.
        target_mask, distractor_mask: H×W.

    Returns:
        -1 to 1, above 0 if the target stands out; -1 where both means are 0, as published.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.

    Source: Soltani and Koch, Journal of Neuroscience 2010; Kotseruba et al., BMVC 2019.
    """
    return score_gsi(case(map, target=target_mask, distractors=distractor_mask))


def score_msr_target(given: Case) -> float:
    """``msr_target`` of a case."""
    values, (target_mask, distractor_mask) = _lifted(given), _masks(given)
    distractors = float(values[distractor_mask.view(bool)].max())
    return float(values[target_mask.view(bool)].max()) / distractors if distractors > 0 else MISS


def msr_target(map: ArrayLike, target_mask: ArrayLike, distractor_mask: ArrayLike) -> float:
    """Maximum saliency ratio: the target's maximum over the distractors' maximum; arguments as for ``gsi``.

    Returns:
        Above 1 if the target stands out; -1 where the distractors' maximum is 0, as published.

    Source: Wloka and Tsotsos, Journal of Vision 2016; Kotseruba et al., BMVC 2019.
    """
    return score_msr_target(case(map, target=target_mask, distractors=distractor_mask))


def score_msr_background(given: Case) -> float:
    """``msr_background`` of a case."""
    values, (target_mask, distractor_mask) = _lifted(given), _masks(given)
    target = float(values[target_mask.view(bool)].max())
    background = values[(target_mask | distractor_mask) == 0]
    return float(background.max(initial=0.0)) / target if target > 0 else MISS


def msr_background(map: ArrayLike, target_mask: ArrayLike, distractor_mask: ArrayLike) -> float:
    """Maximum saliency ratio: the maximum outside target and distractors over the target's maximum.

    Arguments as for ``gsi``.

    Returns:
        Below 1 if the target stands out, 0 at best; -1 where the target's maximum is 0, as published.

    Source: Kotseruba et al., BMVC 2019.
    """
    return score_msr_background(case(map, target=target_mask, distractors=distractor_mask))
