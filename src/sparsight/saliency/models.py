"""Saliency models by name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.saliency.result import SaliencyResult
from sparsight.spelling import spelled

MODELS: dict[str, str] = {
    "aim": "sparsight.saliency.classic.aim:Aim",
    "center_bias": "sparsight.saliency.priors:CenterBias",
    "covsal": "sparsight.saliency.classic.covsal:CovSal",
    "deeprare": "sparsight.saliency.deeprare:deeprare2021",
    "deeprare2019": "sparsight.saliency.deeprare:deeprare2019",
    "deeprare2021": "sparsight.saliency.deeprare:deeprare2021",
    "face": "sparsight.saliency.face:Face",
    "gbvs": "sparsight.saliency.classic.gbvs:Gbvs",
    "itti": "sparsight.saliency.classic.itti:Itti",
    "random": "sparsight.saliency.priors:Random",
    "rare2007": "sparsight.saliency.classic.rare2007:Rare2007",
    "rare2012": "sparsight.saliency.classic.rare2012:Rare2012",
    "signature": "sparsight.saliency.classic.signature:Signature",
    "spectral_residual": "sparsight.saliency.classic.spectral_residual:SpectralResidual",
    "uniform": "sparsight.saliency.priors:Uniform",
}
"""Model name → "module:constructor". The constructor takes the model's options as keywords."""

SCHEMES: dict[str, str] = {
    "fused": "sparsight.saliency.blending:fused",
    "maps": "sparsight.saliency.external:StoredMaps",
    "onnx": "sparsight.saliency.external:OnnxModel",
}
"""What stands before the colon of a name such as ``"maps:FOLDER"`` → "module:constructor".

The constructor takes what stands behind the colon, then the model's options as keywords.
"""


class SaliencyModel(Protocol):
    """What every model is: a function from an image to a map."""

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image`` (H×W×3 uint8 RGB, any size).

        Raises:
            SparsightError: ``image`` is something else.
        """
        ...


@runtime_checkable
class NamedModel(Protocol):
    """A model that must know which image it is given, such as one that reads its maps from a folder."""

    def named(self, name: str) -> SaliencyModel:
        """The model for the image whose file is called ``name``, with or without its ending."""
        ...


def build(name: str, **options: Any) -> SaliencyModel:
    """The saliency model called ``name``, ready to be called on images.

    Args:
        name: one of ``MODELS``, with options of its own or without, as ``"deeprare(size=320)"``; or
            ``"onnx:FILE"``, ``"maps:FOLDER"``, or two models as ``"fused:A+B"``.
        options: the model's own, see its constructor; they go before those in the name.

    Raises:
        SparsightError: unknown name or option, or an option out of its range.
    """
    plain, own = _apart(name)
    constructor, rest, known = _constructor(plain)
    for option in own | options:
        if option not in known:
            raise SparsightError(unknown(f"option of the saliency model {plain!r}", option, known))
    model: SaliencyModel = constructor(*rest, **(own | options))
    return model


def accepts(name: str, option: str) -> bool:
    """Whether the saliency model called ``name`` has an option called ``option``.

    Raises:
        SparsightError: unknown name.
    """
    return option in _constructor(_apart(name)[0])[2]


def predict(model: SaliencyModel, image: NDArray[np.uint8], name: str) -> SaliencyResult:
    """The saliency of ``image`` (H×W×3 uint8 RGB), whose file is called ``name``, whatever the model.

    The result keeps ``image``, so it can be explained.

    Raises:
        SparsightError: ``image`` is something else, or the model has nothing for an image of this name.
    """
    result = (model.named(name) if isinstance(model, NamedModel) else model)(image)
    return result if result.image is not None else dataclasses.replace(result, image=image)


def _apart(name: str) -> tuple[str, dict[str, Any]]:
    """``"deeprare(size=320)"`` → ``("deeprare", {"size": 320})``; a path may hold brackets of its own."""
    if not re.match(r"\w+\(", name):
        return name, {}
    plain, values, options = spelled(name)
    if values:
        raise SparsightError(f"{name} has options without names: give them as {plain}(size=320), say.")
    return plain, options


def _constructor(name: str) -> tuple[Any, tuple[str, ...], Mapping[str, inspect.Parameter]]:
    """What makes the model called ``name``, what to give it first, and the options it takes besides."""
    table = MODELS | {f"{scheme}:...": target for scheme, target in SCHEMES.items()}
    scheme, _, rest = name.partition(":")
    constructor = resolve(lookup("saliency model", f"{scheme}:..." if rest else name, table))
    parameters = dict(inspect.signature(constructor).parameters)
    if not rest:
        return constructor, (), parameters
    del parameters[next(iter(parameters))]
    return constructor, (rest,), parameters
