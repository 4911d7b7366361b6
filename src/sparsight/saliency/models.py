"""Saliency models by name."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.saliency.result import SaliencyResult

MODELS: dict[str, str] = {
    "deeprare": "sparsight.saliency.deeprare:deeprare2021",
    "deeprare2019": "sparsight.saliency.deeprare:deeprare2019",
    "deeprare2021": "sparsight.saliency.deeprare:deeprare2021",
}
"""Model name → "module:constructor". The constructor takes the model's options as keywords."""


class SaliencyModel(Protocol):
    """What every model is: a function from an image to a map."""

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image`` (H×W×3 uint8 RGB, any size).

        Raises:
            SparsightError: ``image`` is something else.
        """
        ...


def build(name: str, **options: Any) -> SaliencyModel:
    """The saliency model called ``name``, ready to be called on images.

    Args:
        name: one of ``MODELS``.
        options: the model's own, see its constructor.

    Raises:
        SparsightError: unknown name or option, or an option out of its range.
    """
    constructor = resolve(lookup("saliency model", name, MODELS))
    known = inspect.signature(constructor).parameters
    for option in options:
        if option not in known:
            raise SparsightError(unknown(f"option of the saliency model {name!r}", option, known))
    model: SaliencyModel = constructor(**options)
    return model
