"""Two models made into one: what is rare added to what a network has learnt, say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.saliency.levels import itti_weight, minmax
from sparsight.saliency.models import MODELS, SCHEMES, SaliencyModel, accepts, build, predict
from sparsight.saliency.result import Map, SaliencyResult


def _itti(bottom_up: Map, top_down: Map) -> Map:
    pair = (bottom_up, top_down)
    return np.asarray(sum(itti_weight(values) * values for values in pair), np.float32)


METHODS: dict[str, Callable[[Map, Map], Map]] = {
    "sum": np.add,
    "product": np.multiply,
    "max": np.maximum,
    "itti": _itti,
}
"""Name → how two maps in [0, 1] become one."""


def fuse(bottom_up: Map, top_down: Map, method: str = "sum") -> Map:
    """Two maps of one picture as one.

    Each is scaled to [0, 1] by its extremes (a constant map becomes zero), and so is the outcome.

    Args:
        bottom_up: H×W, finite.
        top_down: the same size.
        method: ``"sum"``, ``"product"`` (what is salient in both), ``"max"`` (in either), or ``"itti"``: the
            sum, each map weighted by its (max − mean)², so that a map of few peaks counts more (L. Itti,
            C. Koch and E. Niebur 1998).

    Returns:
        H×W float32 in [0, 1].

    Raises:
        SparsightError: unknown method, or what is no two arrays of one size with finite numbers.
    """
    join = lookup("way to fuse maps", method, METHODS)
    for values in (bottom_up, top_down):
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
            given = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
            raise SparsightError(f"cannot fuse maps given as {given}: give two NumPy arrays of H×W numbers.")
    if bottom_up.shape != top_down.shape or bottom_up.ndim != 2 or not bottom_up.size:
        raise SparsightError(
            f"maps of shapes {bottom_up.shape} and {top_down.shape} cannot be fused: give two of one size."
        )
    if not (np.isfinite(bottom_up).all() and np.isfinite(top_down).all()):
        raise SparsightError("maps with NaN or infinite values cannot be fused: repair what made them.")
    scaled = [minmax(np.asarray(values, np.float32)) for values in (bottom_up, top_down)]
    return minmax(join(*scaled))


class Fused:
    """An image → the maps of two models as one (``fuse``), which the result keeps as levels.

    Args:
        bottom_up, top_down: the two models.
        method: see ``fuse``.

    Raises:
        SparsightError: unknown method.
    """

    def __init__(self, bottom_up: SaliencyModel, top_down: SaliencyModel, method: str = "sum") -> None:
        lookup("way to fuse maps", method, METHODS)
        self.bottom_up, self.top_down, self.method = bottom_up, top_down, method

    def named(self, name: str) -> SaliencyModel:
        """The model for the image called ``name``, in case one of the two must know."""
        return lambda image: self._fuse(image, name)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The fused map of ``image``, with the two as levels; errors as for the two models."""
        return self._join(self.bottom_up(image), self.top_down(image))

    def _fuse(self, image: NDArray[np.uint8], name: str) -> SaliencyResult:
        return self._join(predict(self.bottom_up, image, name), predict(self.top_down, image, name))

    def _join(self, bottom_up: SaliencyResult, top_down: SaliencyResult) -> SaliencyResult:
        return SaliencyResult(
            fuse(bottom_up.map, top_down.map, self.method),
            levels={
                "bottom_up": bottom_up.map / np.float32(bottom_up.top),
                "top_down": top_down.map / np.float32(top_down.top),
            },
        )


def fused(
    names: str,
    *,
    method: str = "sum",
    bottom_up: Mapping[str, Any] | None = None,
    top_down: Mapping[str, Any] | None = None,
    device: str = "auto",
    resize: bool = False,
) -> Fused:
    """The model ``"fused:A+B"``.

    Args:
        names: ``"A+B"``, two names as ``build`` takes them, such as ``"deeprare2021+onnx:net.onnx"``. A plus
            sign parts them only where the name of a model follows, so paths may hold one.
        method: see ``fuse``.
        bottom_up, top_down: options of the first and of the second model.
        device, resize: for each of the two that has such an option, unless its own options say.

    Raises:
        SparsightError: not two models, one of the two is fused itself, or as for ``build`` and ``fuse``.
    """
    lookup("way to fuse maps", method, METHODS)
    parts = _part(names)
    if len(parts) != 2 or any(part.startswith("fused:") for part in parts):
        raise SparsightError(
            f"fused:{names} does not name two models: give it as fused:A+B, neither of the two fused itself."
        )
    models = []
    for part, options in zip(parts, (bottom_up, top_down), strict=True):
        shared = {"device": device, "resize": resize}
        known = {option: value for option, value in shared.items() if accepts(part, option)}
        models.append(build(part, **{**known, **(options or {})}))
    return Fused(models[0], models[1], method)


def _part(names: str) -> list[str]:
    """``"A+B"`` apart; at the first plus sign where no known name follows one, to say which is unknown."""
    plain = "|".join(map(re.escape, MODELS))
    schemes = "|".join(map(re.escape, SCHEMES))
    parts = re.split(rf"\+(?=(?:{plain})(?:[+(]|$)|(?:{schemes}):)", names)
    return parts if len(parts) > 1 else names.split("+", 1)
