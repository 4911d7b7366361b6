"""Which layers of a model are sparsified, and how their names are given."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sparsight.errors import SparsightError
from sparsight.prune.granularity import Blocks, Granularity
from sparsight.prune.layer import prunable_layers

Layers = str | Sequence[str] | Callable[[str, nn.Module], bool]
"""Names, patterns or a predicate, as ``Sparsifier`` takes them."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DDP, data parallel, ``torch.compile`` or averaged-model wrappers.

    Raises:
        SparsightError: it is no module, or TorchScript, whose layers are no modules of Python's.
    """
    if not isinstance(model, nn.Module):
        raise SparsightError(f"the model must be a torch.nn.Module, but is of type {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise SparsightError(
            "the model is TorchScript, whose layers cannot be changed: give the module that it was made of, "
            "and script the result."
        )
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel, AveragedModel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def chosen_layers(
    model: nn.Module, layers: Layers | None, sparsity: float | Mapping[str, float], granularity: Granularity
) -> dict[str, float]:
    """Name → final sparsity of the layers to sparsify, in the model's order.

    Raises:
        SparsightError: there are none, a name or pattern matches nothing, or a weight is no plain parameter.
    """
    known = prunable_layers(model)
    if not known:
        raise SparsightError("the model has no Linear or convolution layer, so there is nothing to sparsify.")
    if isinstance(sparsity, Mapping):
        each: dict[str, float] = {}
        for pattern, value in sparsity.items():
            each.update(dict.fromkeys(_matching(pattern, known), value))
        names = list(known) if layers is None else _named(layers, known)
        picked = {name: each[name] for name in names if name in each}
    else:
        names = _usual(list(known), granularity) if layers is None else _named(layers, known)
        picked = dict.fromkeys(names, sparsity)
    if not picked:
        raise SparsightError(f"layers={layers!r} leaves no layer to sparsify.")
    chosen: dict[str, float] = {}
    seen: set[int] = set()
    for name, value in picked.items():
        weight = known[name]._parameters.get("weight")
        if weight is None or isinstance(weight, nn.UninitializedParameter):
            raise SparsightError(
                f"the weight of layer {name!r} is computed or not there yet: remove its parametrization "
                "(weight norm, torch pruning), or run the model once first, or leave it out by layers=."
            )
        if id(weight) not in seen:  # Layers that share a weight share its mask.
            seen.add(id(weight))
            chosen[name] = value
    return chosen


def _usual(names: list[str], granularity: Granularity) -> list[str]:
    """The layers taken where none are named: the network's own inputs and outputs are left whole."""
    if granularity.name == "input":
        return names[:1]
    if len(names) == 1 or granularity.removes is None:
        return names
    return names[:-1] if granularity.removes == "outputs" else names[1:]


def _named(layers: Layers, known: Mapping[str, nn.Module]) -> list[str]:
    if callable(layers) and not isinstance(layers, (type, nn.Module)):
        return [name for name, module in known.items() if layers(name, module)]
    given: Any = layers  # whatever its type says
    patterns: list[Any] = (
        [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    )
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise SparsightError(
                "layers are names or patterns, as ['features.*', '!head'], or a function of a name and a "
                f"module, but there is one of type {type(pattern).__name__}."
            )
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    if patterns and not wanted:  # All but some.
        wanted = ["*"]
    taken = {name for pattern in wanted for name in _matching(pattern, known)}
    for pattern in patterns:
        if pattern.startswith("!"):
            taken -= set(_matching(pattern[1:], known))
    return [name for name in known if name in taken]


def _matching(pattern: str, known: Mapping[str, nn.Module]) -> list[str]:
    if pattern in known and not set(pattern) & set("*?["):
        return [pattern]
    names = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
    if not names:
        near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"they are named like {', '.join([*known][:3])}."
        raise SparsightError(f"no Linear or convolution layer matches {pattern!r}: {hint}")
    return names


def checked_sparsity(sparsity: float, layer: str = "") -> float:
    """``sparsity`` if it is in [0, 1).

    Raises:
        SparsightError: it is not; the sentence names ``layer``.
    """
    where = f" of layer {layer!r}" if layer else ""
    if not isinstance(sparsity, Real) or not 0 <= sparsity < 1:
        raise SparsightError(
            f"the sparsity{where} is a fraction in [0, 1), as 0.9 for 90%, but is {sparsity!r}."
        )
    return float(sparsity)


def coupled_units(
    model: nn.Module,
    granularity: Granularity,
    names: Sequence[str],
    blocks: Sequence[Blocks],
    coupled: Sequence[Sequence[str]] | None,
) -> list[list[int]]:
    """Layers whose blocks are chosen together, as indices into ``names``; most stand alone.

    Args:
        model: what the layers are in.
        granularity: how they are cut.
        names: of the layers to sparsify.
        blocks: theirs.
        coupled: names that go together; None: depthwise convolutions with the layers before them.

    Raises:
        SparsightError: a name is not in ``names``, or layers differ in their number of blocks.
    """
    place = {name: index for index, name in enumerate(names)}
    if coupled is None:
        pairs = _producers(model).items() if granularity.removes == "outputs" else ()
        coupled = [pair for pair in pairs if place.keys() >= set(pair)]
    owner = list(range(len(names)))
    for group in coupled:
        if missing := [name for name in group if name not in place]:
            raise SparsightError(f"coupled names {missing[0]!r}, which is not among the sparsified layers.")
        indices = [place[name] for name in group]
        if len({blocks[index].count for index in indices}) > 1 or granularity.removes is None:
            raise SparsightError(
                f"layers {', '.join(group)} cannot be coupled: at granularity {granularity.name!r} they do "
                "not have the same channels."
            )
        roots = {owner[index] for index in indices}
        owner = [min(roots) if root in roots else root for root in owner]
    return [[index for index, root in enumerate(owner) if root == unit] for unit in sorted(set(owner))]


def _producers(model: nn.Module) -> dict[str, str]:
    """Depthwise convolution → the layer defined right before it, if that makes as many channels."""
    found = {}
    for (before, producer), (name, module) in pairwise(prunable_layers(model).items()):
        weight, made = module.weight, producer.weight
        assert isinstance(weight, Tensor) and isinstance(made, Tensor)
        groups = getattr(module, "groups", 1)
        if groups > 1 and groups == weight.shape[0] == made.shape[0] and weight.shape[1] == 1:
            found[name] = before
    return found
