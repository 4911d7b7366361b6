"""Cutting a plan's channels out of a copy of the network, and folding in the constants they carried."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparsight.errors import SparsightError
from sparsight.prune.shrinking.solving import Plan, reading
from sparsight.prune.shrinking.tracing import Contraction, Trace


def sharing_copy(model: nn.Module) -> nn.Module:
    """A copy of the modules around the same parameters and buffers, without the hooks of a sparsifier.

    Raises:
        SparsightError: a part of the model cannot be copied.
    """
    memo: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        for value in vars(module).values():
            # Weights that other tools compute from others are no leaves, which cannot be copied otherwise.
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:
        raise SparsightError(
            f"{type(model).__name__} cannot be copied ({error}): remove what it holds beside modules and "
            "tensors."
        ) from error
    for module in copied.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            for key, hook in list(hooks.items()):
                if getattr(hook, "__module__", "").startswith("sparsight.prune."):
                    del hooks[key]
    return copied


def ready(model: nn.Module) -> nn.Module:
    """A copy to work on: on the CPU, in evaluation mode, masks and parametrisations of PyTorch baked in.

    Raises:
        SparsightError: a part cannot be copied, or a weight is not finite.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and tensor.numel():
            low, high = torch.aminmax(tensor.detach())
            if not (low.isfinite() and high.isfinite()):
                raise SparsightError(
                    f"{name} holds NaN or infinite values: train again from before they came."
                )
    computed = any(parametrize.is_parametrized(module) or _masked(module) for module in model.modules())
    copied = sharing_copy(model)
    if computed:  # baking writes into the parameters
        copied = copy.deepcopy(copied)
        _bake(copied)
    if any(tensor.device.type != "cpu" for tensor in (*copied.parameters(), *copied.buffers())):
        copied = copied.cpu() if computed else copy.deepcopy(copied).cpu()
    return copied.eval()


def _masked(module: nn.Module) -> bool:
    return any(isinstance(hook, prune.BasePruningMethod) for hook in module._forward_pre_hooks.values())


def _bake(model: nn.Module) -> None:
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)


def cut(model: nn.Module, trace: Trace, plan: Plan) -> nn.Module:
    """A copy of the model without the channels that the plan gives up; its parameters are its own."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    made: dict[str, Tensor] = {}
    groups: dict[str, int] = {}

    def changed(name: str) -> Tensor:
        return made.get(name, tensors[name].detach())

    for contraction in trace.contractions.values():
        weight, shift = _fold(contraction, changed(contraction.name), plan)
        if shift is not None:
            if contraction.bias is not None:
                made[contraction.bias] = _add(changed(contraction.bias), shift)
            elif contraction.norm is not None:
                made[contraction.norm] = _add(changed(contraction.norm), -shift)
            else:
                made[f"{contraction.layer}.bias".lstrip(".")] = shift.to(weight.dtype)
        made[contraction.name], groups[contraction.name] = _slice(contraction, weight, plan)
    for (name, axis), slots in trace.axes.items():
        if not bool((kept := plan.kept[slots]).all()):
            made[name] = changed(name).index_select(axis, kept.nonzero().reshape(-1))
    for contraction in trace.contractions.values():
        name = f"{contraction.layer}.bias".lstrip(".")
        if contraction.bias is None and name in made:
            made[name] = made[name][plan.kept[contraction.outs]]
    for name in trace.depthwise:
        groups[name] = len(made[name]) // _multiplier(model, name) if name in made else -1
    return _rebuild(model, made, groups)


def _add(values: Tensor, shift: Tensor) -> Tensor:
    return (values.double() + shift).to(values.dtype)


def _fold(contraction: Contraction, weight: Tensor, plan: Plan) -> tuple[Tensor, Tensor | None]:
    """Take removed constant inputs into account: in the weight of a carrier, or as a shift of the output.

    Returns:
        The weight and, per filter, what is to be added to its output; None if nothing.
    """
    gone = ~plan.kept[contraction.ins]
    lost = gone & (contraction.constants.nan_to_num(0.0) != 0)
    if not bool(lost.any()):
        return weight, None
    transposed = contraction.out_axis == 1
    rows = weight.transpose(0, 1) if transposed else weight
    groups = contraction.groups
    constants = contraction.constants.reshape(groups, -1)
    lost = lost.reshape(groups, -1)
    per_group = rows.flatten(2) if rows.ndim > 2 else rows.unsqueeze(2)
    per_group = per_group.double().clone().reshape(groups, -1, *per_group.shape[1:])
    given = torch.where(lost, constants, 0.0)
    if not contraction.padded:
        return weight, torch.einsum("goit,gi->go", per_group, given).reshape(-1)
    carried = torch.einsum("goit,gi->got", per_group, given)
    for group in range(groups):
        usable = (~gone).reshape(groups, -1)[group] & (constants[group].nan_to_num(0.0) != 0)
        if not bool(usable.any()):
            continue  # no filter that matters reads them, or the plan would have kept one
        carrier = int(torch.where(usable, constants[group].abs(), -1.0).argmax())
        per_group[group, :, carrier] += carried[group] / constants[group, carrier]
    rows = per_group.reshape(rows.shape).to(weight.dtype)
    return (rows.transpose(0, 1) if transposed else rows), None


def _slice(contraction: Contraction, weight: Tensor, plan: Plan) -> tuple[Tensor, int]:
    """The kept filters and inputs of a weight, and its groups."""
    ins, outs = plan.kept[contraction.ins], plan.kept[contraction.outs]
    if contraction.groups == 1:
        if not bool(outs.all()):
            weight = weight.index_select(contraction.out_axis, outs.nonzero().reshape(-1))
        if not bool(ins.all()):
            weight = weight.index_select(contraction.in_axis, ins.nonzero().reshape(-1))
        return weight, 1
    outs, ins = outs.reshape(contraction.groups, -1), ins.reshape(contraction.groups, -1)
    present = [group for group in range(contraction.groups) if bool(outs[group].any())]
    blocks = weight.reshape(contraction.groups, -1, *weight.shape[1:])
    parts = [blocks[group][outs[group]][:, ins[group]] for group in present]
    return torch.cat(parts), len(present)


def _multiplier(model: nn.Module, name: str) -> int:
    """Filters per channel of a depthwise convolution."""
    layer = model.get_submodule(name.rpartition(".")[0])
    return int(layer.out_channels) // int(layer.groups)  # type: ignore[arg-type]


def _rebuild(model: nn.Module, made: dict[str, Tensor], groups: dict[str, int]) -> nn.Module:
    """Put new tensors into a copy, and tell its modules their new sizes."""
    old = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    names = {id(tensor): name for name, tensor in old.items()}
    new: dict[int, Tensor] = {}
    for identity, name in names.items():
        tensor = old[name]
        fresh = made[name].contiguous() if name in made else tensor.detach().clone()
        if fresh.data_ptr() == tensor.data_ptr():
            fresh = fresh.clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        new[identity] = nn.Parameter(fresh, tensor.requires_grad) if is_parameter else fresh
    result = sharing_copy(model)
    for path, module in result.named_modules():
        for kind in (module._parameters, module._buffers):
            for attribute, tensor in kind.items():
                if tensor is not None:
                    kind[attribute] = new[id(tensor)]
        bias = f"{path}.bias".lstrip(".")
        if bias in made and bias not in old and module._parameters.get("bias") is None:
            module._parameters["bias"] = nn.Parameter(made[bias].contiguous())
        weight = f"{path}.weight".lstrip(".")
        weight = names.get(id(getattr(_original(model, path), "weight", None)), weight)
        settle(module, groups.get(weight, -1))
    return result


def _original(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path) if path else model


def settle(module: nn.Module, groups: int = -1) -> None:
    """Make a layer's settings agree with the shape of its parameters; ``groups`` of a convolution if new."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.conv._ConvNd) and isinstance(weight, Tensor):
        if groups > 0:
            module.groups = groups
        first, second = weight.shape[0], weight.shape[1]
        module.in_channels = first if module.transposed else second * module.groups
        module.out_channels = second * module.groups if module.transposed else first
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        known = [t for t in (weight, module.running_mean) if isinstance(t, Tensor)]
        if known:
            module.num_features = len(known[0])
    elif isinstance(module, nn.PReLU) and isinstance(weight, Tensor):
        module.num_parameters = len(weight)
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]


def removed_rows(contraction: Contraction, weight: Tensor) -> Tensor:
    """Which filters are zero as a whole: bool (filters,)."""
    return ~reading(contraction, weight).any(2).reshape(-1)


def layers(trace: Trace) -> Iterator[tuple[str, Tensor]]:
    """Name and output slots of every layer whose width can change."""
    for contraction in trace.contractions.values():
        yield contraction.layer, contraction.outs
    for name in sorted(trace.depthwise):
        yield name.rpartition(".")[0], trace.axes[(name, 0)]
