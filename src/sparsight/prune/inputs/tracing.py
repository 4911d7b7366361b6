"""Where in a network the input arrives: from zeroed weights back to input features, and their removal."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.export import evaluating
from sparsight.prune.inputs.front_ends import Shape
from sparsight.prune.layer import prunable_layers


@dataclass(frozen=True)
class Reader:
    """A layer that reads the input as it is.

    Attributes:
        name: of the layer in the model.
        kind: "pixels" for a Linear layer, whose inputs are the image's values; "channels" for a convolution.
        feature: (inputs,), the feature that each input of the layer is: a place in the image's memory order,
            or a channel.
    """

    name: str
    kind: str
    feature: NDArray[np.int64]


def readers(model: nn.Module, input_shape: Shape) -> list[Reader]:
    """The layers that read the input itself, however it was reshaped on its way to them.

    They are found by showing the model an input all of whose values differ and looking which layers see these
    very values.

    Raises:
        SparsightError: the model does not run on such an input, no layer sees it unchanged, or those that do
            differ in kind or see its values in different orders.
    """
    count = math.prod(input_shape)
    order = torch.arange(1, count + 1, dtype=torch.float32)
    probe = (order / count).reshape(1, *input_shape)
    found: dict[str, Reader] = {}

    def look(name: str, module: nn.Module, seen: Tensor) -> None:
        if isinstance(module, nn.Linear):
            feature = _places(seen, probe)
            if seen.dim() == 2 and feature is not None:
                found.setdefault(name, Reader(name, "pixels", feature))
        elif torch.equal(seen.cpu(), probe):
            if getattr(module, "groups", 1) != 1:
                raise SparsightError(
                    f"layer {name!r} reads the input channels in groups, which must all stay: "
                    "use a first convolution with groups=1."
                )
            found.setdefault(name, Reader(name, "channels", np.arange(input_shape[0])))

    layers = prunable_layers(model)
    hooks = [
        module.register_forward_pre_hook(lambda module, seen, name=name: look(name, module, seen[0]))
        for name, module in layers.items()
    ]
    try:
        run(model, probe)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise SparsightError(
            f"no Linear or convolution of {type(model).__name__} reads the input as it is: prepare the input "
            "(normalise it, say) before the model, not inside it."
        )
    first = next(iter(found.values()))
    if any(not np.array_equal(reader.feature, first.feature) for reader in found.values()):
        raise SparsightError(
            f"the layers of {type(model).__name__} that read its input ({', '.join(found)}) differ in what "
            "they see in it or in which order, so input features have no common meaning there: let all of "
            "them read the same."
        )
    return list(found.values())


def surviving(model: nn.Module, found: Sequence[Reader], count: int) -> NDArray[np.float32]:
    """How strongly each of ``count`` features is read: the l2 norm of its weights; 0 where all are zero."""
    squares = np.zeros(count)
    for reader in found:
        weight = _weight(model, reader).detach()
        per_input = weight.double().square().transpose(0, 1).flatten(1).sum(1)
        np.add.at(squares, reader.feature, per_input.cpu().numpy())
    return np.sqrt(squares).astype(np.float32)


def cut(
    model: nn.Module, found: Sequence[Reader], kept: NDArray[np.bool_], gains: Tensor | None = None
) -> nn.Module:
    """A copy of ``model`` whose first layers read only the kept features.

    Args:
        model: left as it is.
        found: from ``readers``.
        kept: bool, one per feature.
        gains: one factor per feature, to be multiplied into the weights, where what is left of the input is
            an image again and takes the same way to the layer. Without them it is the bare features in
            ascending order.
    """
    smaller = copy.deepcopy(model)
    for reader in found:
        chosen = np.flatnonzero(kept[reader.feature])
        if gains is None:
            chosen = chosen[np.argsort(reader.feature[chosen])]
        layer = smaller.get_submodule(reader.name)
        weight = _weight(smaller, reader)
        fewer = weight.detach()[:, torch.from_numpy(chosen).to(weight.device)]
        if gains is not None:
            fewer = fewer * gains[torch.from_numpy(reader.feature[chosen])].to(weight)
        layer.weight = nn.Parameter(fewer.contiguous(), weight.requires_grad)
        setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", len(chosen))
    return smaller


def run(model: nn.Module, inputs: Tensor) -> Tensor | Mapping[str, Tensor] | Sequence[Tensor]:
    """The model's output in evaluation mode, without gradients, on the model's device.

    Raises:
        SparsightError: the model does not run on such an input.
    """
    parameter = next(model.parameters(), inputs)
    try:
        with evaluating(model), torch.no_grad():
            output: Tensor = model(inputs.to(parameter.device, parameter.dtype))
            return output
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = "x".join(map(str, inputs.shape[1:]))
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise SparsightError(
            f"{type(model).__name__} does not run on inputs of shape {shape} ({reason}): "
            "check input_shape, or reshape inputs in the model without fixed sizes."
        ) from error


def _weight(model: nn.Module, reader: Reader) -> nn.Parameter:
    weight = model.get_submodule(reader.name).weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _places(seen: Tensor, probe: Tensor) -> NDArray[np.int64] | None:
    """For each value that a layer saw, its place in the probe; None unless all of it arrived unchanged."""
    if seen.numel() != probe.numel():
        return None
    values = probe.reshape(-1).numpy()
    arrived = seen.detach().reshape(-1).cpu().numpy()
    places = np.searchsorted(values, arrived).clip(max=len(values) - 1)
    if not np.array_equal(values[places], arrived) or len(np.unique(places)) != len(values):
        return None
    return places.astype(np.int64)
