"""What may be done to a finished map: nothing unless asked for, and the result says what was done."""

from __future__ import annotations

import dataclasses
import math

from sparsight.errors import SparsightError
from sparsight.saliency.classic.working import blurred
from sparsight.saliency.levels import minmax
from sparsight.saliency.priors import centre_map
from sparsight.saliency.result import SaliencyResult


def check_processing(blur: float, centre_prior: float) -> None:
    """Refuse deviations that are none.

    Raises:
        SparsightError: one is negative or not finite.
    """
    for name, sigma in (("blur", blur), ("centre prior", centre_prior)):
        if not (math.isfinite(sigma) and sigma >= 0):
            raise SparsightError(
                f"a {name} of {sigma} is out of range: give its deviation as a fraction of the picture's "
                "width, such as 0.03, or 0 for none."
            )


def processed(result: SaliencyResult, *, blur: float = 0.0, centre_prior: float = 0.0) -> SaliencyResult:
    """``result`` with its map smoothed, then weighted towards the middle; 0 leaves a step out.

    Both lift most scores against fixations, because eyes are measured to about a degree and rest in the
    middle of a photograph whatever is there; so a score is only worth something beside this choice.

    Args:
        result: from any model.
        blur: deviation of a Gaussian low-pass, as a fraction of the picture's width.
        centre_prior: deviation of a Gaussian that the map is multiplied by, as a fraction of the picture's
            height up and down and of its width left and right.

    Returns:
        The same, with a map in [0, 1] where anything is done, and that added to its ``processing``.

    Raises:
        SparsightError: a deviation is negative or not finite.
    """
    check_processing(blur, centre_prior)
    if not (blur or centre_prior):
        return result
    values, steps = result.map, list(result.processing)
    if blur:
        values = minmax(blurred(values, blur * values.shape[1]))
        steps.append(f"low-pass, sigma {blur:g} of the width")
    if centre_prior:
        height, width = values.shape
        values = minmax(values * centre_map((height, width), centre_prior))
        steps.append(f"centre prior, sigma {centre_prior:g} of the size")
    return dataclasses.replace(result, map=values, top=1.0, processing=tuple(steps))
