"""What each operation does to slots and constants: one small rule per kind of operation.

An operation without a rule is not an error: the channels that go into it stay.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsight.prune.shrinking.slots import (
    FIXED,
    Source,
    Value,
    along,
    collapse,
    compress,
    distinct,
    fixed,
    is_silence,
    silence,
    unknown,
)
from sparsight.prune.shrinking.tracing import Contraction, Equal, Rule, Tracer, operands, takes_bias

aten = torch.ops.aten


def follow(
    tracer: Tracer,
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
    *,
    static: bool,
) -> None:
    """Give a value to everything that ``func`` made; ``static`` if its operands depend on no input."""
    name = _name(func)
    if static:
        _static(tracer, func, args, kwargs, result)
        return
    if name in RESHAPES:
        tracer.step.sized = result.ndim >= args[0].ndim
    else:
        tracer.step.sized = name not in UNSIZED and not _is_plain_pointwise(func)
    tracer.trace.quiet = tracer.trace.quiet and _keeps_zeros(tracer, name, args)
    if "out" in kwargs or tracer.step.where in tracer.recurrent:
        opaque(tracer, func, args, kwargs, result)
    elif name in RULES:
        RULES[name](tracer, func, args, kwargs, result)
    elif torch.Tag.pointwise in func.tags:
        pointwise(tracer, func, args, kwargs, result)
    else:
        opaque(tracer, func, args, kwargs, result)


# --- Kinds of operation ------------------------------------------------------------------------------------


def opaque(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Whatever is not followed: its inputs stay as they are."""
    inputs = operands(args) + operands(kwargs)
    for tensor in operands(result):
        if any(tensor is x for x in inputs):  # written in place, or to an ``out`` that was given
            _overwrite(tracer, tensor, [])
    _stay(tracer, [*args, *kwargs.values()], result, f"goes through {tracer.here}, which is not followed")


def movement(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Operations that only rearrange elements are done to the slots themselves."""
    tracer.step.strict = False
    tensor, *rest = args
    value = tracer.value(tensor)
    shape = tensor.shape if tracer.shape is None else tracer.shape

    def move(array: Tensor) -> Any:
        if _name(func) in RESHAPES:  # the slots need not lie in memory as the tensor does
            return array.expand(shape).reshape(result.shape)
        return func(array.expand(shape), *rest, **kwargs)

    parts = result if isinstance(result, (list, tuple)) else [result]
    if value.slots.numel() == 1:
        for part in parts:
            shape = (1,) * part.ndim
            tracer.give(part, Value(value.slots.reshape(shape), value.constant.reshape(shape)))
        return
    slots, constants = move(value.slots), move(value.constant)
    if not isinstance(slots, (list, tuple)):
        slots, constants = [slots], [constants]
    made = []
    for part, part_slots, part_constant in zip(parts, slots, constants, strict=True):
        made.append(Value(*compress(part_slots, part_constant)))
        tracer.give(part, made[-1])
    if _name(func) == "channel_shuffle":
        if value.axes == [1]:
            tracer.trace.equals.append(Equal(value.slots.reshape(rest[0], -1), tracer.here))
        return
    _equal_parts(tracer, value, made)


def passing(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
    """Copies, also to other types."""
    value = tracer.value(args[0])
    constant = value.constant if result.is_floating_point() else unknown(value.slots)
    tracer.give(result, Value(value.slots, constant))


def _equal_parts(tracer: Tracer, value: Value, made: list[Value]) -> None:
    """Parts of a tensor that was cut evenly must remain even."""
    if len(made) == 1 and made[0].slots.numel() < value.slots.numel():
        tracer.cuts.setdefault(id(value), (value, tracer.here, []))[2].append(made[0].slots.reshape(-1))
    if len(made) > 1:
        if all(part.slots.numel() == value.slots.numel() for part in made):
            return  # cut along another axis than the channels'
        tracer.equal_parts([part.slots.reshape(-1) for part in made], tracer.here, value.slots)
    elif len(made[0].axes) > len(value.axes):
        sets = made[0].slots.reshape(-1, made[0].slots.shape[made[0].axes[-1]])
        tracer.trace.equals.append(Equal(sets, tracer.here))


def joining(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
    """Concatenation and stacking."""
    tracer.step.strict = False
    parts, *rest = args
    parts = [part for part in parts if part.ndim == parts[-1].ndim]  # an old habit lets empty ones be joined
    values = [tracer.value(part) for part in parts]
    slots = func([v.slots.expand(p.shape) for v, p in zip(values, parts, strict=True)], *rest, **kwargs)
    constant = func([v.constant.expand(p.shape) for v, p in zip(values, parts, strict=True)], *rest, **kwargs)
    if slots.shape != result.shape:
        opaque(tracer, func, args, kwargs, result)
        return
    tracer.give(result, Value(*compress(slots, constant)))


def pointwise(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Operations on elements at the same place: their channels stand or fall together."""
    out = result[0] if isinstance(result, (list, tuple)) else result
    changed = args[0] if _in_place(func) else None
    tensors = operands(args) + operands(kwargs)
    dynamic = [x for x in tensors if not tracer.value(x).static]
    slots = _meet(tracer, dynamic, out.ndim, changed)
    if slots is None:
        _stay(
            tracer,
            [*args, *kwargs.values()],
            result,
            f"is combined with channels of another layout in {tracer.here}",
        )
        return
    if tracer.before is not None:
        if changed is not None:
            _overwrite(tracer, changed, dynamic)
        tracer.give(out, Value(slots, unknown(slots)))
        _give_extras(tracer, result, slots)
        return
    if len(dynamic) < len(tensors):
        for tensor in tensors:
            if tracer.value(tensor).static:
                _meet_static(tracer, tensor, slots, out.ndim)
    constant = _constant(tracer, func, args, kwargs, slots, out)
    if changed is not None:
        _overwrite(tracer, changed, dynamic)
    tracer.give(out, Value(slots, constant))
    _give_extras(tracer, result, slots)


def gated(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
    """``glu``: one half of the channels times the sigmoid of the other."""
    x = args[0]
    value = tracer.value(x)
    axis = int(_argument(args, 1, -1)) % x.ndim
    slots, constant = value.slots, value.constant
    if slots.shape[axis] > 1:
        firsts, seconds = slots.chunk(2, axis)
        tracer.equal_parts([firsts.reshape(-1), seconds.reshape(-1)], tracer.here, slots)
        _tie_pairs(tracer, firsts, seconds)
        first, second = constant.chunk(2, axis)
        slots, constant = firsts, torch.where(first == 0, 0.0, first * second.sigmoid())
    else:
        constant = constant * constant.sigmoid()
    tracer.give(result, Value(slots, constant))


def likeness(
    tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> None:
    """``zeros_like`` and the like: one number in the layout of another tensor."""
    slots = tracer.value(args[0]).slots
    constant = unknown(slots)
    if result.numel() and result.is_floating_point():
        constant = result.reshape(-1)[0].double().expand(slots.shape)
    tracer.give(result, Value(slots, constant))


def _meet(tracer: Tracer, tensors: list[Tensor], rank: int, changed: Tensor | None) -> Tensor | None:
    """Tie the operands' slots where they meet; return those of the result, None where they cannot be."""
    if len(tensors) == 1 and tensors[0].ndim == rank:
        return tracer.value(tensors[0]).slots
    slots, shapes = [], []
    for tensor in tensors:
        lead = (1,) * (rank - tensor.ndim)
        own = tracer.value(tensor).slots
        slots.append(own.reshape((*lead, *own.shape)))
        shapes.append((*lead, *tensor.shape))
    sizes = [max(axis) for axis in zip(*(s.shape for s in slots), strict=True)]
    for own, shape in zip(slots, shapes, strict=True):
        if any(size > 1 and own.shape[a] == 1 and shape[a] > 1 for a, size in enumerate(sizes)):
            return None
    # The operand that tells most channels apart leads; one changed in place keeps its slots.
    order = sorted(range(len(slots)), key=lambda i: (tensors[i] is not changed, -slots[i].numel()))
    lead_slots = slots[order[0]]
    for index in order[1:]:
        own = slots[index]
        if own.numel() == 1 and lead_slots.numel() > 1:
            tracer.pin(own, f"scales or shifts several channels in {tracer.here}")
        elif any(own.shape[axis] == 1 < lead_slots.shape[axis] for axis in range(rank)) or any(
            lead_slots.shape[axis] == 1 < own.shape[axis] for axis in range(rank)
        ):
            return None
        else:
            _tie_pairs(tracer, lead_slots, own)
    return lead_slots


def _tie_pairs(tracer: Tracer, first: Tensor, second: Tensor) -> None:
    if tracer.before is not None or torch.equal(first, second):
        return
    first, second = first.reshape(-1), second.reshape(-1)
    if len(distinct(first)) == len(distinct(second)) == len(first):  # as in most sums
        tracer.tie(first, second)
        return
    # Pairs as single numbers, which are sorted many times as fast.
    keys = distinct(first * tracer.trace.slots + second)
    pairs = torch.stack([keys // tracer.trace.slots, keys % tracer.trace.slots])
    for many, one in ((pairs[0], pairs[1]), (pairs[1], pairs[0])):
        owners, counts = one.unique(return_counts=True)  # type: ignore[no-untyped-call]
        once = len(distinct(many)) == pairs.shape[1]
        if once and len(owners) < len(one) and len(counts.unique()) == 1 and not (owners == FIXED).any():
            # Each slot of the one is repeated over equally many of the other, as group by group.
            tracer.pin(owners, f"scales or shifts several channels in {tracer.here}")
            sets = many[one.argsort(stable=True)].reshape(len(owners), -1)
            tracer.trace.equals.append(Equal(sets, tracer.here))
            return
    tracer.tie(pairs[0], pairs[1])


def _meet_static(tracer: Tracer, tensor: Tensor, slots: Tensor, rank: int) -> None:
    """A parameter or constant that meets channels is cut along with them, or holds them."""
    shape = (1,) * (rank - tensor.ndim) + tuple(tensor.shape)
    axes = [axis for axis in range(rank) if slots.shape[axis] > 1]
    if all(shape[axis] == 1 for axis in axes):
        return
    source = tracer.value(tensor).source
    ids = source.ids() if source else None
    if source is None or ids is None or ids.shape != tensor.shape:
        tracer.pin(slots, f"meets a constant of fixed size in {tracer.here}")
        return
    # Positions along other axes repeat the same slots: one of each is enough.
    ids = ids.reshape(shape)
    for axis in range(rank):
        if slots.shape[axis] == 1:
            ids = ids.narrow(axis, 0, 1)
    shape = torch.Size(map(max, ids.shape, slots.shape))
    ids, meeting = ids.expand(shape).reshape(-1), slots.expand(shape).reshape(-1)
    stride = 1
    for axis in reversed(range(source.tensor.ndim)):
        size = source.tensor.shape[axis]
        position = (ids // stride) % size
        stride *= size
        if size == 1:
            continue
        order = torch.zeros(size, dtype=torch.int64).scatter_(0, position, meeting)
        complete = len(distinct(position)) == size
        if complete and bool((order[position] == meeting).all()):
            tracer.tie_axis(source.name, axis, order)
            return
    tracer.pin(slots, f"meets the parameter {source.name} in a way not followed in {tracer.here}")


def _constant(
    tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], slots: Tensor, out: Tensor
) -> Tensor:
    """The constants of a pointwise operation's result: the operation done to the operands' constants."""
    nothing = unknown(slots)
    if not tracer.constants:
        return nothing
    values = [tracer.value(x) for x in operands(args) + operands(kwargs)]
    known = [value.constant for value in values if not value.static]
    if tracer.silent and all(map(is_silence, known)) and _keeps_zeros(tracer, _name(func), args):
        return silence(slots)
    product = _name(func) in ("mul", "mul_")
    settled = (not c.isnan().all() for c in known)
    if (
        not (out.is_floating_point() or out.dtype == torch.bool)
        or torch.Tag.nondeterministic_seeded in func.tags
    ):
        return nothing
    if not (any(settled) if product else all(settled)):
        return nothing

    def swap(item: Any) -> Any:
        if isinstance(item, Tensor):
            value = tracer.value(item)
            array = item.detach() if value.static else value.constant
            if item.dtype == torch.bool and not product:  # where NaN is none; of a product it must remain
                return array.bool()
            return array.double() if array.is_floating_point() else array
        return [swap(x) for x in item] if isinstance(item, (list, tuple)) else item

    plain = getattr(getattr(aten, _name(func).rstrip("_")), func._overloadname) if _in_place(func) else func
    arguments = [swap(x) for x in args]
    options = {key: swap(x) for key, x in kwargs.items() if key != "dtype"}
    given = plain(*arguments, **options)
    numbers: Tensor = (given[0] if isinstance(given, (list, tuple)) else given).double()
    if product:
        for factor in arguments[:2]:
            if isinstance(factor, Tensor):
                numbers = torch.where(factor == 0, 0.0, numbers)
    # What the operands do not say, a comparison inside the operation may have hidden.
    unsure = torch.zeros((), dtype=torch.bool)
    for value in known:
        unsure = unsure | value.isnan()
    if not product:
        numbers = torch.where(unsure, torch.nan, numbers)
    numbers = numbers.reshape((1,) * (slots.ndim - numbers.ndim) + numbers.shape)
    for axis in range(slots.ndim):
        if slots.shape[axis] == 1 and numbers.shape[axis] > 1:
            level = numbers.narrow(axis, 0, 1)
            numbers = torch.where((numbers == level).all(axis, keepdim=True), level, torch.nan)
    numbers = numbers.expand(slots.shape)
    return torch.where(numbers.isfinite(), numbers, torch.nan)


def _overwrite(tracer: Tracer, changed: Tensor, tensors: list[Tensor]) -> None:
    """An operation in place changes whatever else lies in the same memory."""
    value = tracer.value(changed)
    others = [x for x in tensors if x is not changed]
    for alias in tracer.aliases(changed):
        alias.constant, alias.inner = unknown(alias.slots), None
        if value.static:
            alias.static, alias.source = False, None
    if value.static and tracer.aliases(changed):
        for other in others:
            tracer.pin(tracer.value(other).slots, f"is written into a buffer of fixed size in {tracer.here}")


def copying(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """``copy_``: what is written takes the place of what was there."""
    target, written = args[0], args[1]
    if tracer.value(target).static:
        _overwrite(tracer, target, [written])
        tracer.pin(tracer.value(written).slots, f"is written into a buffer of fixed size in {tracer.here}")
        tracer.give(result, fixed(result.ndim))
        return
    kept = tracer.value(target).slots
    dynamic = [x for x in (target, written) if not tracer.value(x).static]
    if _meet(tracer, dynamic, target.ndim, target) is None:
        tracer.pin(kept, f"is overwritten by channels of another layout in {tracer.here}")
        tracer.pin(tracer.value(written).slots, f"overwrites channels of another layout in {tracer.here}")
    _overwrite(tracer, target, [])
    tracer.give(result, Value(kept, unknown(kept)))


def filling(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """``fill_`` and ``zero_`` on an activation."""
    kept = tracer.value(args[0]).slots
    _overwrite(tracer, args[0], [])
    tracer.give(result, Value(kept, unknown(kept)))


# --- Layers ------------------------------------------------------------------------------------------------


def convolution(
    tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> None:
    """Convolutions of every rank, transposed ones included."""
    x, weight, bias, stride, padding, _, transposed, output_padding, groups = args
    padded = any(padding)
    if transposed:
        padded = padded or any(output_padding) or any(s > 1 for s in stride)
        padded = padded or any(k > 1 for k in weight.shape[2:])
    source = _whole(tracer, weight)
    channels = x.shape[1]
    depthwise = not transposed and groups == channels and groups > 1
    if tracer.before is not None and source is not None:  # few channels left make one kind look like another
        depthwise = source.name in tracer.before.depthwise
    if source is None or not _direct_bias(tracer, bias):
        _stay(tracer, [x], result, f"goes through {tracer.here}, whose weight is computed while it runs")
        return
    slots, constant = _along(tracer, tracer.value(x), 1, channels)
    if depthwise:
        multiplier = weight.shape[0] // channels
        outs = slots
        if multiplier > 1:
            outs, constant = slots.repeat_interleave(multiplier), constant.repeat_interleave(multiplier)
        tracer.trace.depthwise[source.name] = weight
        tracer.tie_axis(source.name, 0, outs)
        if bias is not None:
            tracer.tie_axis(_source_name(tracer, bias), 0, outs)
        if tracer.silent and is_silence(constant):
            values = silence(outs)
        elif tracer.constants:
            values = _depthwise_constant(weight.detach().flatten(2), bias, padded, constant)
        else:
            values = unknown(outs)
        if not tracer.silent:
            tracer.note(outs[values.isnan() & ~constant.isnan()], _padding_note(source))
        tracer.give(result, along(1, result.ndim, outs, values))
        return
    axes = (1, 0) if transposed else (0, 1)
    contraction = _contraction(tracer, source, bias, axes, groups, slots, constant, padded=padded)
    if contraction is None:  # no module convolves by one weight both ways
        opaque(tracer, func, args, kwargs, result)
        return
    _contract(tracer, contraction, bias, constant, result)


def _padding_note(source: Source) -> str:
    return f"the zero padding of {source.name.rpartition('.')[0]} reaches its constant"


def _depthwise_constant(taps: Tensor, bias: Tensor | None, padded: bool, constant: Tensor) -> Tensor:
    weight = taps.double().sum((1, 2))
    zero = (taps == 0).all(2).all(1)
    settled = zero | (constant == 0)
    if not padded:
        settled = settled | ~constant.isnan()
    values = torch.where(zero | (constant == 0), 0.0, weight * constant)
    values = values if bias is None else values + bias.detach().double()
    return torch.where(settled, values, torch.nan)


def _contraction(
    tracer: Tracer, source: Source, bias: Tensor | None, axes: tuple[int, int], groups: int,
    slots: Tensor, constant: Tensor, *, padded: bool,
) -> Contraction | None:  # fmt: skip
    """The record of a weight, made or met again; None where it is used the other way round before."""
    name = source.name
    found = tracer.trace.contractions.get(name)
    if found is not None and found.out_axis != axes[0]:
        return None
    if found is not None:
        tracer.tie(found.ins, slots)
        found.constants = torch.where(found.constants == constant, constant, torch.nan)
        found.padded |= padded
        found.calls += 1
        if bias is not None and _source_name(tracer, bias) != found.bias:  # there is no one place for a shift
            tracer.tie_axis(_source_name(tracer, bias), 0, found.outs)
        if (None if bias is None else _source_name(tracer, bias)) != found.bias:
            found.can_add = False
        return found
    count = source.tensor.shape[axes[0]] * (groups if axes[0] == 1 else 1)
    outs = tracer.filters(name, count)
    owner, attribute = tracer.owners[name]
    can_add = bias is not None or (takes_bias(owner) and attribute == "weight")
    bias_name = None if bias is None else _source_name(tracer, bias)
    found = Contraction(
        name, bias_name, *axes, groups, slots, outs, constant, source.tensor, padded, can_add
    )  # fmt: skip
    tracer.trace.contractions[name] = found
    if bias_name is not None:
        tracer.tie_axis(bias_name, 0, outs)
    for axis in range(2):
        if (name, axis) in tracer.trace.axes:
            tracer.tie(found.along(axis), tracer.trace.axes[(name, axis)])
    if groups > 1:
        where = f"the groups of {found.layer}"
        tracer.trace.equals.append(Equal(slots.reshape(groups, -1), where, outs.reshape(groups, -1)))
    return found


def _contract(
    tracer: Tracer, contraction: Contraction, bias: Tensor | None, constant: Tensor, result: Tensor
) -> None:
    """Give a value to what a weight has made of its input."""
    if not tracer.constants:
        values = unknown(contraction.outs)
    elif tracer.silent:
        values = silence(contraction.outs)
    else:
        values = _contracted(contraction, constant)
        values = values if bias is None else values + bias.detach().double()
    made = along(1, result.ndim, contraction.outs, values)
    made.maker = contraction.name
    contraction.result = made
    tracer.give(result, made)


def _contracted(contraction: Contraction, constant: Tensor) -> Tensor:
    """Per filter, the constant that it makes, without the bias: NaN where it reads what follows the input.

    Zero padding lets a filter that reads a constant other than zero differ from place to place.
    """
    groups = contraction.groups
    per_group = constant.reshape(groups, -1)
    moving = ~(per_group == 0) if contraction.padded else per_group.isnan()
    live = contraction.reading(moving)
    values = torch.zeros(len(live), dtype=torch.float64)
    given = per_group.nan_to_num(0.0)
    resting = (~live & ~contraction.zero).nonzero().reshape(-1)
    if len(resting) and not contraction.padded and bool(given.any()):
        sums = contraction.blocks.flatten(0, 1)[resting].sum(2, dtype=torch.float64)
        group = resting // (len(live) // groups)
        values[resting] = (sums * given[group]).sum(1)
    return torch.where(live, torch.nan, values)


def linear(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
    """``addmm`` and ``mm`` with a weight: linear layers."""
    bias, x, weight = args if _name(func) == "addmm" else (None, *args)
    value, source = tracer.value(x), tracer.value(weight).source
    moves = len(source.moves) if source else 2
    transposed = bool(moves)
    usable = source is not None and source.tensor.ndim == 2 and moves < 2 and not value.static
    if not usable or source is None or kwargs or not _direct_bias(tracer, bias) or (
        transposed and weight.shape != source.tensor.t().shape
    ):  # fmt: skip
        _stay(tracer, [args], result, f"goes through {tracer.here}, a product with what is not a weight")
        return
    slots, constant = _along(tracer, value, 1, x.shape[1])
    axes = (0, 1) if transposed else (1, 0)
    contraction = _contraction(tracer, source, bias, axes, 1, slots, constant, padded=False)
    if contraction is None:
        other = tracer.trace.contractions[source.name]
        for held in (other.ins, other.outs):
            tracer.pin(held, f"belongs to {source.name}, which is used in two ways")
        _stay(tracer, [args], result, f"goes through {source.name}, which is used in two ways")
        return
    _contract(tracer, contraction, bias, constant, result)


def batch_norm(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Batch norm, and instance norm, which is a batch norm by statistics of the batch at hand."""
    x, weight, bias, mean, variance, training, _, epsilon = args
    value = tracer.value(x)
    slots, constant = _along(tracer, value, 1, x.shape[1])
    for tensor in (weight, bias, mean, variance):
        if tensor is not None:
            source = _whole(tracer, tensor)
            if source is not None:
                tracer.tie_axis(source.name, 0, slots)
            elif tracer.before is None:
                _meet_static(tracer, tensor, slots.reshape(1, -1), 2)
    voiced = tracer.silent and isinstance(weight, torch.nn.Parameter)
    if voiced or not tracer.constants:
        _give_norm(tracer, x, result, slots, silence(slots) if voiced else unknown(slots))
        return
    live = training or mean is None
    gain = torch.ones(()) if weight is None else weight.detach().double()
    shift = torch.zeros(()) if bias is None else bias.detach().double()
    if live:  # a constant channel is its own mean
        values = torch.where(constant.isnan() & (gain != 0), torch.nan, shift.expand(len(slots)))
    else:
        scale = gain / torch.sqrt(variance.double() + epsilon)
        values = torch.where(gain == 0, shift, (constant - mean.double()) * scale + shift)
        source = _whole(tracer, mean)
        if source:
            tracer.norms[source.name] += 1
        if value.maker and source:
            tracer.trace.contractions[value.maker].norm = source.name
    _give_norm(tracer, x, result, slots, values.double())


def _give_norm(tracer: Tracer, x: Tensor, result: Any, slots: Tensor, values: Tensor) -> None:
    tracer.give(result[0], along(1, x.ndim, slots, values))
    for extra in result[1:]:
        tracer.give(extra, along(0, 1, slots, unknown(slots)) if extra.numel() else fixed(1))


def embedding(
    tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> None:
    """A table of vectors, read by indices."""
    source = _whole(tracer, args[0])
    if source is None:
        opaque(tracer, func, args, kwargs, result)
        return
    slots = tracer.table(source.name, args[0].shape[1])
    tracer.tie_axis(source.name, 1, slots)
    rows = tracer.new_slots(len(args[0]))
    tracer.tie_axis(source.name, 0, rows)
    tracer.pin(rows, f"is looked up in {tracer.here}")
    values = torch.where((args[0] == 0).all(0), 0.0, torch.nan).double()
    tracer.give(result, along(result.ndim - 1, result.ndim, slots, values))


def pooling(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Poolings, resizings and paddings that keep a constant map constant."""
    x, name = args[0], _name(func)
    out = result[0] if isinstance(result, (list, tuple)) else result
    value = tracer.value(x)
    slots, constant = value.slots, value.constant
    if value.inner is not None and name.startswith("max_pool"):
        constant = value.inner
    if name.startswith("avg_pool"):
        padding, counted = _argument(args, 3, (0,)), _argument(args, 5, True)
        if (any(padding) and counted) or _argument(args, 6, None) is not None:
            constant = _only_zeros(tracer, slots, constant, "padded average pooling")
    spatial = next(int(digit) for digit in "123" if f"{digit}d" in name)
    slots, constant, tied = collapse(slots, constant, range(x.ndim - spatial))
    tracer.tie(tied[0], tied[1])
    tracer.give(out, Value(slots, constant))
    _give_extras(tracer, result, slots)


def padding(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
    """Padding with a number."""
    x, amounts, number = args[0], args[1], float(_argument(args, 2, 0.0))
    value = tracer.value(x)
    tracer.step.strict = False
    sizes = list(value.slots.shape)
    new = list(amounts)
    for index in range(len(amounts) // 2):
        axis = x.ndim - 1 - index
        if any(amounts[2 * index : 2 * index + 2]) and sizes[axis] == 1 and (axis != 1 or x.shape[1] > 1):
            new[2 * index : 2 * index + 2] = [0, 0]
            if axis == 1:
                tracer.pin(value.slots, f"is padded with more channels in {tracer.here}")
    if not any(new):
        same = value.constant == number
        constant = torch.where(same, value.constant, torch.nan)
        padded = Value(value.slots, constant)
        if math.isinf(number) and number < 0:
            padded.inner = value.constant
        else:
            tracer.note(
                value.slots[~same & ~value.constant.isnan()], f"its constant is padded in {tracer.here}"
            )
        tracer.give(result, padded)
        return
    slots = torch.nn.functional.pad(value.slots, new, value=FIXED)
    constant = torch.nn.functional.pad(value.constant, new, value=number)
    if new != list(amounts):
        constant = torch.where(constant == number, constant, torch.nan)
    tracer.give(result, Value(*compress(slots, constant)))


def reduction(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Means, sums, maxima and norms along axes."""
    x, name = args[0], _name(func)
    out = result[0] if isinstance(result, (list, tuple)) else result
    value = tracer.value(x)
    place = 2 if name == "linalg_vector_norm" else 1
    dims = _argument(args, place, kwargs.get("dim"))
    keep = bool(_argument(args, place + 1, kwargs.get("keepdim", False)))
    if dims is None or dims == []:
        dims = list(range(x.ndim))
    dims = [int(d) % max(x.ndim, 1) for d in (dims if isinstance(dims, (list, tuple)) else [dims])]
    if any(value.slots.shape[d] > 1 for d in dims):
        _stay(tracer, [x], result, f"is summed up with other channels in {tracer.here}")
        return
    constant = value.constant
    if name not in ("mean", "amax", "amin", "max", "min"):
        constant = _only_zeros(tracer, value.slots, constant, name)
    slots = value.slots
    if not keep:
        rest = [size for axis, size in enumerate(slots.shape) if axis not in dims]
        slots, constant = slots.reshape(rest), constant.reshape(rest)
    tracer.give(out, Value(slots, constant))
    _give_extras(tracer, result, slots)


def normalising(
    tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    """Softmax and layer norm: harmless to channels unless along them."""
    x = args[0]
    value = tracer.value(x)
    if _name(func) == "native_layer_norm":
        dims = list(range(x.ndim - len(args[1]), x.ndim))
    else:
        dims = [int(args[1]) % x.ndim]
    if any(value.slots.shape[d] > 1 for d in dims):
        _stay(tracer, [x], result, f"is normalised together with other channels in {tracer.here}")
        return
    out = result[0] if isinstance(result, (list, tuple)) else result
    tracer.give(out, Value(value.slots, unknown(value.slots)))
    _give_extras(tracer, result, value.slots)


# --- Helpers -----------------------------------------------------------------------------------------------


def _static(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """What no input has touched; a rearranged parameter is remembered as one."""
    tensors = operands(args) + operands(kwargs)
    source = tracer.value(tensors[0]).source if len(tensors) == 1 else None
    if _in_place(func):
        # Writing a constant changes a view's neighbours too, but they hold no channel.
        tracer.give(result, fixed(result.ndim, static=True))
        return
    if source is not None and tensors[0] is args[0] and isinstance(result, Tensor):
        if _name(func) in (*MOVEMENTS, "clone"):
            source = source.moved(lambda ids: func(ids.contiguous(), *args[1:], **kwargs))
        elif torch.Tag.pointwise not in func.tags or result.shape != tensors[0].shape:
            source = None
        tracer.give(result, fixed(result.ndim, static=True, source=source))
        return
    for tensor in operands(result):
        tracer.give(tensor, fixed(tensor.ndim, static=True))


def _stay(tracer: Tracer, inputs: Any, result: Any, reason: str) -> None:
    for tensor in operands(inputs):
        value = tracer.value(tensor)
        tracer.pin(value.slots, reason)
        if value.source is not None:
            tracer.whole.add(value.source.name)
    for tensor in operands(result):
        tracer.give(tensor, fixed(tensor.ndim))


def _give_extras(tracer: Tracer, result: Any, slots: Tensor) -> None:
    """What an operation gives beside its result, such as the places of maxima, lies in the same channels."""
    for extra in result[1:] if isinstance(result, (list, tuple)) else ():
        tracer.give(extra, Value(slots, unknown(slots)) if extra.ndim == slots.ndim else fixed(extra.ndim))


def _along(tracer: Tracer, value: Value, axis: int, size: int) -> tuple[Tensor, Tensor]:
    slots, constant, tied = collapse(value.slots, value.constant, [axis])
    if tied.numel():
        tracer.tie(tied[0], tied[1])
    if slots.numel() == size:
        return slots.reshape(-1), constant.reshape(-1)
    return slots.reshape(-1).expand(size), constant.reshape(-1).expand(size)


def _only_zeros(tracer: Tracer, slots: Tensor, constant: Tensor, what: str) -> Tensor:
    tracer.note(slots[(constant != 0) & ~constant.isnan()], f"its constant changes in {tracer.here} ({what})")
    return torch.where(constant == 0, constant, torch.nan)


def _whole(tracer: Tracer, tensor: Tensor) -> Source | None:
    """The parameter that a tensor is, unchanged."""
    source = tracer.value(tensor).source
    return source if source is not None and not source.moves and source.name in tracer.owners else None


def _direct_bias(tracer: Tracer, bias: Tensor | None) -> bool:
    return bias is None or _whole(tracer, bias) is not None


def _source_name(tracer: Tracer, tensor: Tensor) -> str:
    source = _whole(tracer, tensor)
    assert source is not None
    return source.name


def _argument(args: Sequence[Any], index: int, default: Any) -> Any:
    return args[index] if len(args) > index else default


@functools.cache
def _name(func: Any) -> str:
    name: str = func.overloadpacket.__name__
    return name


def _keeps_zeros(tracer: Tracer, name: str, args: tuple[Any, ...]) -> bool:
    """Whether a channel of zeros gives zeros, if biases, and scales and shifts of norms, are zero for it."""
    if name in RESHAPES or name in POOLINGS or name in QUIET:
        return True
    if name in ("convolution", "addmm"):
        return _may_be_silenced(args[2 if name == "convolution" else 0])
    if name == "native_batch_norm":
        return args[1] is not None and all(map(_may_be_silenced, args[1:3]))
    if name in ("hardtanh", "hardtanh_"):
        return float(_argument(args, 1, -1)) <= 0 <= float(_argument(args, 2, 1))
    if name in ("add", "add_", "sub", "sub_"):
        return all(isinstance(x, Tensor) and not tracer.value(x).static for x in args[:2])
    return False


def _may_be_silenced(voice: Tensor | None) -> bool:
    return voice is None or isinstance(voice, torch.nn.Parameter)


@functools.cache
def _is_plain_pointwise(func: Any) -> bool:
    return torch.Tag.pointwise in func.tags and torch.Tag.nondeterministic_seeded not in func.tags


def _in_place(func: Any) -> bool:
    name = _name(func)
    return name.endswith("_") and not name.endswith("__")


RESHAPES = ("view", "_unsafe_view", "_reshape_alias", "reshape")

MOVEMENTS = (
    *RESHAPES, "permute", "transpose", "t", "unsqueeze", "squeeze",
    "slice", "select", "split", "split_with_sizes", "unbind", "expand", "flip", "roll", "repeat", "detach",
    "alias", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "transpose_", "t_", "squeeze_",
    "unsqueeze_", "detach_",
)  # fmt: skip

POOLINGS = (
    "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d",
    "upsample_trilinear3d", "_upsample_nearest_exact2d", "_upsample_bilinear2d_aa",
)  # fmt: skip

UNSIZED = frozenset((
    *POOLINGS, "convolution", "native_batch_norm", "addmm", "mm", "cat", "mean", "sum", "amax", "amin",
    "clone", "_to_copy", "detach", "hardswish", "hardswish_", "_prelu_kernel", "_softmax", "_log_softmax",
))  # fmt: skip
"""Operations whose sizes along the channels follow from those of their operands alone. So do those of
pointwise ones, and of a reshape that flattens, before a layer that counts."""

QUIET = frozenset((
    "mm", "cat", "mean", "sum", "clone", "detach", "relu", "relu_", "leaky_relu", "leaky_relu_", "elu",
    "elu_", "silu", "silu_", "gelu", "tanh", "hardswish", "hardswish_", "mul", "mul_", "_prelu_kernel",
))  # fmt: skip
"""Operations that make zeros of zeros."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVEMENTS, movement),
    **dict.fromkeys(("clone", "_to_copy", "lift_fresh"), passing),
    **dict.fromkeys(("hardswish", "hardswish_", "_prelu_kernel", "log_sigmoid_forward"), pointwise),
    **dict.fromkeys(("cat", "stack"), joining),
    "glu": gated,
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), likeness),
    "copy_": copying,
    **dict.fromkeys(("fill_", "zero_"), filling),
    "convolution": convolution,
    **dict.fromkeys(("addmm", "mm"), linear),
    "native_batch_norm": batch_norm,
    "embedding": embedding,
    **dict.fromkeys(POOLINGS, pooling),
    "constant_pad_nd": padding,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "linalg_vector_norm"), reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "native_layer_norm"), normalising),
}  # fmt: skip
"""Operation's name → its rule. Pointwise operations need none."""
