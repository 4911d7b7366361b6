"""Cutting a plan's channels out of a copy of the network, and folding in the constants they carried."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparsight.errors import SparsightError
from sparsight.prune.finite import first_not_finite
from sparsight.prune.shrinking.slots import place
from sparsight.prune.shrinking.solving import Plan
from sparsight.prune.shrinking.tracing import Contraction, Trace
from sparsight.prune.shrinking.walking import held, walked


def sharing_copy(model: nn.Module) -> nn.Module:
    """A copy of the modules around the same parameters and buffers, without the hooks of a sparsifier.

    Raises:
        SparsightError: a part of the model cannot be copied.
    """
    memo: dict[int, Any] = {id(t): t for t in held(model).values()}
    for _, module in walked(model):
        for value in vars(module).values():
            # Weights that other tools compute from others are no leaves, which cannot be copied otherwise.
            if type(value) not in _COMMON and isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        copied = _copied(model, memo)
    except Exception as error:
        raise SparsightError(
            f"{type(model).__name__} cannot be copied ({error}): remove what it holds beside modules and "
            "tensors."
        ) from error
    for _, module in walked(copied):
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            for key, hook in list(hooks.items()) if hooks else ():
                if getattr(hook, "__module__", "").startswith("sparsight.prune."):
                    del hooks[key]
    return copied


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """``copy.deepcopy(model, memo)``, but modules with no way of their own to be copied are made directly.

    A module is some twenty dictionaries and flags, nearly all of them empty: looking at each by itself takes
    longer than running a small network.
    """
    modules = [module for _, module in walked(model)]
    simple = {kind for kind in set(map(type, modules)) if _is_plain(kind)}
    plain = [module for module in modules if type(module) in simple]
    for module in plain:
        memo[id(module)] = module.__class__.__new__(module.__class__)
    for module in plain:
        attributes = memo[id(module)].__dict__
        attributes.update(vars(module))
        for key, value in vars(module).items():
            kind = type(value)
            if kind in _ATOMS or (kind is tuple and all(type(item) in _ATOMS for item in value)):
                continue
            if kind is set and not value:
                attributes[key] = set()
            elif kind not in (dict, OrderedDict) or id(value) in memo:
                attributes[key] = copy.deepcopy(value, memo)
            elif not value:
                memo[id(value)] = attributes[key] = kind()
            else:
                memo[id(value)] = attributes[key] = entries = kind()
                for name, item in value.items():
                    own_name = name if type(name) is str else copy.deepcopy(name, memo)
                    known = memo.get(id(item))
                    entries[own_name] = copy.deepcopy(item, memo) if known is None else known
    return copy.deepcopy(model, memo)


_ATOMS = frozenset((bool, int, float, str, type(None)))
_COMMON = _ATOMS | {tuple, set, dict, OrderedDict}
"""Kinds of what a module holds, nearly always."""


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether copying a module of this kind is copying what it holds."""
    if any(hasattr(kind, name) for name in ("__deepcopy__", "__slots__")):
        return False
    usual = all(getattr(kind, name, None) == getattr(nn.Module, name, None) for name in _MAKING)
    return usual and getattr(kind.__setstate__, "__module__", "").startswith("torch.nn.modules.")


_MAKING = ("__new__", "__reduce_ex__", "__reduce__", "__getstate__")


def followable(model: nn.Module) -> None:
    """Whether a network's operations can be seen one by one at all.

    Raises:
        SparsightError: it is no module of PyTorch, or a part of it is compiled to TorchScript.
    """
    if not isinstance(model, nn.Module):
        raise SparsightError(
            f"a network must be a module of PyTorch (nn.Module), not a {type(model).__name__}."
        )
    for path, module in [("", model)] if isinstance(model, torch.jit.ScriptModule) else walked(model):
        if isinstance(module, torch.jit.ScriptModule):
            raise SparsightError(
                f"{path or 'the model'} is compiled to TorchScript, which cannot be followed or cut: give "
                "the module that it was made from."
            )


def ready(model: nn.Module) -> nn.Module:
    """A copy to work on: on the CPU, in evaluation mode, masks and parametrisations of PyTorch baked in.

    Raises:
        SparsightError: a part cannot be copied, or a weight is not finite.
    """
    tensors = held(model)
    named = [(name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point()]
    if (wrong := first_not_finite(tensor for _, tensor in named)) is not None:
        raise SparsightError(
            f"{named[wrong][0]} holds NaN or infinite values: train again from before they came."
        )
    computed = any(parametrize.is_parametrized(module) or _masked(module) for _, module in walked(model))
    copied = sharing_copy(model)
    if computed:  # baking writes into the parameters
        copied = copy.deepcopy(copied)
        _bake(copied)
    if any(tensor.device.type != "cpu" for tensor in tensors.values()):
        copied = copied.cpu() if computed else copy.deepcopy(copied).cpu()
    if any(module.training for _, module in walked(copied)):  # telling each module takes its time
        copied.eval()
    return copied


def _masked(module: nn.Module) -> bool:
    return any(isinstance(hook, prune.BasePruningMethod) for hook in module._forward_pre_hooks.values())


def _bake(model: nn.Module) -> None:
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
            # PyTorch's own way would change the class, which the original shares.
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def cut(model: nn.Module, trace: Trace, plan: Plan) -> Callable[[], None]:
    """Take out of a model the channels that the plan gives up; its old tensors are left as they are.

    Returns:
        What puts the model back as it was.
    """
    tensors = held(model)
    made: dict[str, Tensor] = {}
    groups: dict[str, int] = {}

    def changed(name: str) -> Tensor:
        return made.get(name, tensors[name].detach())

    for contraction in trace.contractions.values():
        weight, shift, groups[contraction.name] = _reduce(contraction, changed(contraction.name), plan)
        made[contraction.name] = weight
        outs = plan.kept[contraction.outs]
        if shift is None:
            continue
        bias = contraction.bias or _added_later(contraction, tensors)
        name = bias or contraction.norm
        if name is None:
            made[f"{contraction.layer}.bias".lstrip(".")] = shift.to(weight.dtype)
            continue
        values = changed(name).double().clone()
        values[outs] += shift if bias else -shift
        made[name] = values.to(changed(name).dtype)
    stays: dict[tuple[int, int, int], Tensor] = {}  # a norm and the layer before it have the same slots
    for (name, axis), slots in trace.axes.items():
        if name in trace.contractions:
            continue
        if (where := place(slots)) not in stays:
            stays[where] = plan.kept[slots].nonzero().reshape(-1)
        if len(stay := stays[where]) < len(slots):
            made[name] = changed(name).index_select(axis, stay)
    for name in trace.depthwise:
        groups[name] = len(made[name]) // _multiplier(model, name) if name in made else -1
    return _install(model, made, groups)


def _added_later(contraction: Contraction, tensors: dict[str, Tensor]) -> str | None:
    """A layer's bias where it is added by an operation of its own, as after a product of views."""
    name = f"{contraction.layer}.bias".lstrip(".")
    return name if name in tensors and contraction.norm is None else None


def _reduce(contraction: Contraction, weight: Tensor, plan: Plan) -> tuple[Tensor, Tensor | None, int]:
    """A weight without what the plan gives up.

    Returns:
        The weight; per kept filter, what removed constant inputs add to its output, None if nothing; and the
        groups that are left.
    """
    ins, outs = plan.kept[contraction.ins], plan.kept[contraction.outs]
    constants = contraction.constants.nan_to_num(0.0)
    if contraction.groups == 1 and not bool(constants.any()):
        rows = _select(weight, contraction.out_axis, outs)
        return _select(rows, contraction.in_axis, ins), None, 1
    ins, outs, constants = (each.reshape(contraction.groups, -1) for each in (ins, outs, constants))
    parts, shifts = [], []
    blocks = contraction.by_group(weight)
    for block, rows, columns, given in zip(blocks, outs, ins, constants, strict=True):
        if bool(rows.any()):
            part, shift = _reduce_group(_select(block, 0, rows), columns, given, padded=contraction.padded)
            parts.append(part.transpose(0, 1) if contraction.out_axis == 1 else part)
            shifts.append(shift)
    weight = torch.cat(parts) if len(parts) > 1 else parts[0]
    shift = torch.cat(shifts)
    return weight, shift if bool(shift.any()) else None, len(parts)


def _reduce_group(rows: Tensor, columns: Tensor, given: Tensor, *, padded: bool) -> tuple[Tensor, Tensor]:
    """The kept columns of (filters, inputs, *kernel), and what constant inputs that go add to each filter.

    Where padding forbids to add it up, a constant input that stays takes over the weights of those that go.
    """
    lost = ~columns & (given != 0)
    carriers = columns & (given != 0)
    shift = torch.zeros(len(rows), dtype=torch.float64)
    kept = _select(rows, 1, columns)
    if not bool(lost.any()) or (padded and not bool(carriers.any())):
        return kept, shift  # without a carrier, no filter that matters reads them
    sums = torch.tensordot(_select(rows, 1, lost).double(), given[lost], ([1], [0]))
    if not padded:
        return kept, sums.reshape(len(rows), -1).sum(1)
    carrier = int(torch.where(carriers, given.abs(), -1.0).argmax())
    place = int(columns[:carrier].sum())
    kept = kept.clone()
    kept[:, place] = (kept[:, place].double() + sums / given[carrier]).to(kept.dtype)
    return kept, shift


def _select(tensor: Tensor, axis: int, wanted: Tensor) -> Tensor:
    return tensor if bool(wanted.all()) else tensor.index_select(axis, wanted.nonzero().reshape(-1))


def _multiplier(model: nn.Module, name: str) -> int:
    """Filters per channel of a depthwise convolution."""
    layer = model.get_submodule(name.rpartition(".")[0])
    return int(layer.out_channels) // int(layer.groups)  # type: ignore[arg-type]


def _install(model: nn.Module, made: dict[str, Tensor], groups: dict[str, int]) -> Callable[[], None]:
    """Put new tensors into a model, and tell its modules their new sizes."""
    saved: list[tuple[nn.Module, dict[str, Any], dict[str, Any], dict[str, Any]]] = []
    old = held(model)
    new: dict[int, Tensor] = {}
    for name, tensor in made.items():
        if name in old:
            fresh = tensor.contiguous()
            before = old[name]
            is_parameter = isinstance(before, nn.Parameter)
            new[id(before)] = nn.Parameter(fresh, before.requires_grad) if is_parameter else fresh
    wanted = {id(old[name]): count for name, count in groups.items()}
    for path, module in walked(model):
        kinds: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        if not any(kinds):
            continue
        saved.append((module, dict(vars(module)), dict(module._parameters), dict(module._buffers)))
        count = wanted.get(id(module._parameters.get("weight")), -1)
        for kind in kinds:
            kind.update({key: new[id(tensor)] for key, tensor in kind.items() if id(tensor) in new})
        bias = f"{path}.bias".lstrip(".")
        if bias in made and bias not in old and module._parameters.get("bias") is None:
            module._parameters["bias"] = nn.Parameter(made[bias])
        settle(module, count)

    def undo() -> None:
        for module, settings, parameters, buffers in saved:
            vars(module).update(settings)
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)

    return undo


def own(small: nn.Module, model: nn.Module) -> None:
    """Copy those tensors of a shrunk model that are still those of the one it came from."""
    theirs = {t.untyped_storage().data_ptr() for t in held(model).values()}
    made: dict[int, Tensor] = {}
    for _, module in walked(small):
        kinds: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for kind in kinds:
            for key, tensor in kind.items():
                if tensor is None or tensor.untyped_storage().data_ptr() not in theirs:
                    continue
                if id(tensor) not in made:
                    fresh = tensor.detach().clone()
                    is_parameter = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = nn.Parameter(fresh, tensor.requires_grad) if is_parameter else fresh
                kind[key] = made[id(tensor)]


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


def layers(trace: Trace) -> Iterator[tuple[str, Tensor]]:
    """Name and output slots of every layer whose width can change."""
    for contraction in trace.contractions.values():
        yield contraction.layer, contraction.outs
    for name in sorted(trace.depthwise):
        yield name.rpartition(".")[0], trace.axes[(name, 0)]
