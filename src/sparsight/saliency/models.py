"""Saliency models by name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.saliency.result import SaliencyResult
from sparsight.spelling import spelled, trailing_brackets

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
            ``"onnx:FILE"``, ``"maps:FOLDER"``, or two models as ``"fused:A+B"``, likewise, as
            ``"onnx:net.onnx(range=byte)"``. After two models, options that the pair has itself are its own
            (``"fused:A+B(method=max)"``), others those of the second.
        options: the model's own, see its constructor; they go before those in the name.

    Raises:
        SparsightError: unknown name or option, or an option out of its range.
    """
    plain, own = _apart(name)
    constructor, rest, known = _constructor(plain)
    function = getattr(constructor, "func", constructor)
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    for option, value in (own | options).items():
        if option not in known:
            raise SparsightError(unknown(f"option of the saliency model {plain!r}", option, known))
        _check_type(plain, option, value, hints.get(option))
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
    """``"deeprare(size=320)"`` → ``("deeprare", {"size": 320})``, likewise ``"onnx:net.onnx(range=byte)"``.

    A path may end in brackets of its own: they are options only where there is no such path.
    """
    if not isinstance(name, str):
        raise SparsightError(f"a saliency model goes by its name, not {type(name).__name__}: give a text.")
    scheme, colon, rest = name.partition(":")
    if colon and scheme in SCHEMES:
        return _scheme_apart(scheme, rest)
    if not re.match(r"\w+\(", name):
        return name, {}
    plain, values, options = spelled(name, words=True)
    if values:
        raise SparsightError(f"{name} has options without names: give them as {plain}(size=320), say.")
    return plain, options


def _scheme_apart(scheme: str, rest: str) -> tuple[str, dict[str, Any]]:
    """As ``_apart``, of a name with a colon."""
    name = f"{scheme}:{rest}"
    bare, brackets = trailing_brackets(rest)
    if not brackets or (scheme != "fused" and Path(rest).exists()):
        return name, {}
    sure = scheme != "fused" and Path(bare).exists()
    try:
        _, values, options = spelled(f"{scheme}{brackets}", words=True)
    except SparsightError:
        if not sure:
            return name, {}
        raise
    if values and sure:
        raise SparsightError(f"{name} has options without names: give them as {scheme}:{bare}(name=value).")
    if values or not options:
        return name, {}
    if scheme != "fused":
        return f"{scheme}:{bare}", options
    # What the pair does not know is for the last of the two.
    known = _constructor(f"{scheme}:{bare}")[2]
    theirs = ", ".join(f"{option}={value!r}" for option, value in options.items() if option not in known)
    own = {option: value for option, value in options.items() if option in known}
    return f"{scheme}:{bare}({theirs})" if theirs else f"{scheme}:{bare}", own


def _check_type(name: str, option: str, value: Any, hint: Any) -> None:
    """Refuse a value of an option that is of none of the types it takes; types of other kinds go unchecked.

    Raises:
        SparsightError: it is.
    """
    hints = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [get_origin(each) or each for each in hints]
    if not all(kind in _KINDS for kind in kinds) or any(_fits(value, kind) for kind in kinds):
        return
    takes = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds if kind is not NoneType))
    raise SparsightError(f"the saliency model {name!r} cannot have {option}={value!r}: give {takes}.")


_KINDS: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
    tuple: "numbers in brackets",
    Sequence: "several in brackets",
    Mapping: "a dict",
    NoneType: "nothing",
}


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind in (tuple, Sequence):
        return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    return isinstance(value, kind)


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
