"""The widths of a shrunk network as plain numbers, to give another copy of the network the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sparsight.errors import SparsightError
from sparsight.prune.shrinking.surgery import settle


def layout(model: nn.Module) -> dict[str, Any]:
    """What distinguishes a shrunk network from the one it came from: shapes and groups, ready for JSON.

    Returns:
        ``{"shapes": {tensor name: [sizes]}, "groups": {layer name: groups}}``.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        "shapes": {name: list(tensor.shape) for name, tensor in named},
        "groups": {
            name: module.groups
            for name, module in model.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd)
        },
    }


def apply_layout(model: nn.Module, widths: Mapping[str, Any]) -> nn.Module:
    """Give a freshly built network the shapes of a shrunk one, so that its state dict can be loaded.

    Args:
        model: the network as it is built, changed in place; its parameters are left to be loaded.
        widths: what ``layout`` returned.

    Returns:
        ``model``.

    Raises:
        SparsightError: the layout is of another network.
    """
    try:
        shapes = {str(name): tuple(map(int, shape)) for name, shape in widths["shapes"].items()}
        groups = {str(name): int(count) for name, count in widths["groups"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SparsightError("this is no layout of a network: give what layout() returned.") from None
    seen: set[str] = set()
    for path, module in model.named_modules():
        for kind in (module._parameters, module._buffers):
            for attribute, tensor in kind.items():
                name = f"{path}.{attribute}" if path else attribute
                shape = shapes.get(name)
                seen.add(name)
                if shape is None or (tensor is not None and tensor.ndim != len(shape)):
                    if tensor is not None:
                        raise SparsightError(f"the layout is of another network: {name} does not fit it.")
                    continue
                if tensor is None:  # a bias that a folded constant made necessary
                    kind[attribute] = nn.Parameter(torch.zeros(shape))
                elif tensor.shape != shape:
                    fresh = tensor.detach().new_zeros(shape)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    kind[attribute] = nn.Parameter(fresh, tensor.requires_grad) if is_parameter else fresh
        settle(module, groups.get(path, -1))
    if unknown := sorted(shapes.keys() - seen):
        raise SparsightError(f"the layout is of another network: this one has no {unknown[0]}.")
    return model
