"""Going through a network's modules and tensors.

PyTorch's own generators are as deep as the network is nested, and asked for parameters and buffers go through
it twice: many such walks take longer than a small network takes to run.
"""

from __future__ import annotations

from torch import Tensor, nn


def walked(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What ``model.named_modules()`` gives: paths and modules, each module once."""
    found = []
    seen: set[int] = set()
    pending: list[tuple[str, nn.Module]] = [("", model)]
    while pending:
        path, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found.append((path, module))
        if module._modules:
            prefix = f"{path}." if path else ""
            children = reversed(module._modules.items())
            pending += [(prefix + name, child) for name, child in children if child is not None]
    return found


def held(model: nn.Module) -> dict[str, Tensor]:
    """Name → tensor of all parameters, then all buffers, each tensor once."""
    parameters: dict[int, tuple[str, Tensor]] = {}
    buffers: dict[int, tuple[str, Tensor]] = {}
    for path, module in walked(model):
        prefix = f"{path}." if path else ""
        for into, kind in ((parameters, module._parameters), (buffers, module._buffers)):
            for name, tensor in kind.items():
                if tensor is not None:
                    into.setdefault(id(tensor), (prefix + name, tensor))
    return {**dict(parameters.values()), **dict(buffers.values())}
