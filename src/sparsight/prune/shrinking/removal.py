"""``shrink``: from a network with zeroed channels to one without them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.prune.profiling import sample_inputs
from sparsight.prune.scope import multiple
from sparsight.prune.selection import unwrapped
from sparsight.prune.shrinking.coupling import Coupling
from sparsight.prune.shrinking.result import ShrinkResult, Skipped
from sparsight.prune.shrinking.slots import zero_rows
from sparsight.prune.shrinking.solving import Plan, Rules, Solver, learn
from sparsight.prune.shrinking.surgery import cut, followable, layers, own, ready
from sparsight.prune.shrinking.tracing import ConflictError, Trace, Tracer, tensors, unfused
from sparsight.prune.shrinking.walking import walked

MAX_PLANS = 64
"""Plans tried before giving up on a network whose code fixes its sizes."""

TOLERANCE = 1e-5
"""Largest difference allowed between the outputs of both networks, relative to the largest output; where
there is more, both are computed in float64, where rounding is far below ``_EXACT`` and a mistake is not."""
_EXACT = 1e-9
_LOOSE = {torch.float16: 0.1, torch.bfloat16: 0.1}
"""The same for outputs of half precision, of networks that cannot be computed in float64."""
_CORNER = 64
"""Pixels of the side of an image that is run to compare two networks whose channels are known."""


def shrink(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    round_to: int | str | None = None,
    inputs: bool = False,
    found: Coupling | None = None,
) -> ShrinkResult:
    """Remove every channel that a network can do without, and leave its outputs as they were.

    A channel goes when nothing reads it (all weights that would are zero), or when it is constant: when its
    filter is zero, it still carries a bias through batch norm and activation, and this constant is folded
    into the layers that read it. Channels that meet in sums, or in depthwise convolutions, go together. The
    network is run once to see what its channels do, and the smaller one is run to check that it does the
    same.

    Args:
        model: any network; it is left as it was. Zeros may come from a ``Sparsifier``, from
            ``torch.nn.utils.prune`` or from anywhere else.
        example_inputs: a tensor, positional arguments, or keyword arguments, as the model takes them, or the
            (C, H, W) of one sample; a batch of one is enough.
        round_to: keep zeroed channels where needed for widths that are multiples of this; ``"auto"``: of 16
            on CUDA and processors with AVX-512, else of 8.
        inputs: also remove channels (along axis 1) of the input that nothing reads; the new network then
            takes only those in ``ShrinkResult.inputs``.
        found: what ``coupling`` found in this network. Where all that was pruned is whole filters, and
            silenced, it saves following the network once more, and the networks are compared on a corner of
            the example; the result is the same.

    Returns:
        The new network, in the same modes (training or evaluation) and on the same device, and an account.

    Raises:
        SparsightError: the model does not run on these inputs or cannot be copied, its weights or outputs are
            not finite, its code decides by values of what it computes, or fixes sizes in a way that was not
            understood.
    """
    model = unwrapped(model)
    followable(model)
    args, kwargs = _arguments(model, example_inputs)
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    multiple_of = multiple(round_to, device)
    small = ready(model)
    before = _count(small)
    args, kwargs = _on_cpu(args), _on_cpu(kwargs)
    with _one_at_a_time():
        fitted = None
        if found is not None and not inputs and (known := found.trace_of(small)) is not None:
            fitted = _fit_known(small, known, args, kwargs, multiple_of)
        if fitted is None:
            trace = Tracer(small).run(args, kwargs)
            if not inputs:
                for slots in trace.inputs:
                    trace.pins.append((slots, "is an input of the model"))
            fitted = trace, *_fit(small, trace, args, kwargs, multiple_of)
    trace, plan, after = fitted
    difference = _difference(trace.outputs, after)
    if difference > TOLERANCE:
        with _one_at_a_time():
            _check_exactly(model, trace, plan, args, kwargs, difference)
    own(small, model)
    _restore(small, model)
    return ShrinkResult(
        model=small if device.type == "cpu" else small.to(device),
        removed={name: lost for name, slots in layers(trace) if (lost := int((~plan.kept[slots]).sum()))},
        kept={name: int(plan.kept[slots].sum()) for name, slots in layers(trace)},
        skipped=tuple(_skipped(small, trace, plan)),
        inputs=tuple(plan.kept[slots].nonzero().reshape(-1).numpy() for slots in trace.inputs),
        parameters=(before, _count(small)),
        difference=difference,
    )


def _fit(
    model: nn.Module, trace: Trace, args: Any, kwargs: Any, multiple_of: int | None
) -> tuple[Plan, list[Tensor]]:
    """Plan, cut and run; where the network's code contradicts the plan, learn from it and plan again.

    Returns:
        The plan, and what the network gives.
    """
    rules = Rules()
    reason = ""
    for _ in range(MAX_PLANS):
        plan = Solver(trace, rules).solve(multiple_of)
        undo = cut(model, trace, plan)
        try:
            return plan, _outputs(model, trace, plan, *_cut_inputs(args, kwargs, trace, plan))
        except ConflictError as conflict:
            undo()
            reason = str(conflict)
            if not learn(trace, plan, rules, conflict.step, reason):
                break
    raise SparsightError(
        f"{type(model).__name__} cannot be shrunk, because its code does not follow its own sizes "
        f"({reason}): let it read sizes from its tensors."
    )


def _fit_known(
    model: nn.Module, trace: Trace, args: Any, kwargs: Any, multiple_of: int | None
) -> tuple[Trace, Plan, list[Tensor]] | None:
    """The same from what is known of an earlier run; None, and the model as it was, where it does not fit."""
    undo: Callable[[], None] | None = None
    with contextlib.suppress(Exception):  # whatever is wrong shows again, and is told, step by step
        trace.outputs = []
        # What is compared is filters, not places: a corner shows them all, and has borders too.
        for part_args, part_kwargs in ((_corner(args), _corner(kwargs)), (args, kwargs)):
            with contextlib.suppress(Exception), torch.no_grad():  # some networks take one size only
                trace.outputs = list(tensors(model(*part_args, **part_kwargs), "what the network returns"))
                args, kwargs = part_args, part_kwargs
            if trace.outputs and all(output.numel() for output in trace.outputs):
                break
        else:
            return None
        plan = Solver(trace, Rules()).solve(multiple_of)
        undo = cut(model, trace, plan)
        after = _outputs(model, trace, plan, *_cut_inputs(args, kwargs, trace, plan))
        if _difference(trace.outputs, after) <= TOLERANCE:
            return trace, plan, after
    if undo is not None:
        undo()
    return None


def _corner(item: Any) -> Any:
    """Like ``item``, but of images no more than a corner."""
    if isinstance(item, Tensor):
        return item[..., :_CORNER, :_CORNER] if item.ndim == 4 and item.is_floating_point() else item
    if isinstance(item, Mapping):
        return {key: _corner(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return type(item)(_corner(value) for value in item)
    return item


def _outputs(model: nn.Module, trace: Trace, plan: Plan, args: Any, kwargs: Any) -> list[Tensor]:
    """What the cut network gives.

    Raises:
        ConflictError: not every operation does what it did before.
    """
    # Where nothing in the code can fix a size, no channel meets another unseen: the outputs tell it all.
    if not any(step.sized for step in trace.steps):
        with contextlib.suppress(Exception), torch.no_grad():  # what fails is looked at step by step
            outputs = list(tensors(model(*args, **kwargs), "what the network returns"))
            if [x.shape for x in outputs] == [x.shape for x in trace.outputs] and (
                _difference(trace.outputs, outputs) <= TOLERANCE
            ):
                return outputs
    return Tracer(model, trace, plan.kept).run(args, kwargs).outputs


def _cut_inputs(args: Any, kwargs: Any, trace: Trace, plan: Plan) -> tuple[Any, Any]:
    slots = iter(trace.inputs)

    def narrow(item: Any) -> Any:
        if isinstance(item, Tensor):
            kept = plan.kept[next(slots)]
            return item if bool(kept.all()) else item[:, kept]
        if isinstance(item, Mapping):
            return {key: narrow(value) for key, value in item.items()}
        if isinstance(item, (list, tuple)):
            return type(item)(narrow(value) for value in item)
        return item

    return narrow(args), narrow(kwargs)


def _skipped(model: nn.Module, trace: Trace, plan: Plan) -> Iterator[Skipped]:
    """Layers with zero filters that stay, once per reason, and layers that did not run."""
    notes: dict[int, str] = {}
    for slots, note in trace.notes:
        for slot in slots.tolist():
            notes.setdefault(slot, note)
    for name, slots in _zero_filters(trace):
        reasons: dict[str, int] = {}
        for slot in slots[plan.kept[slots]].tolist():
            reason = notes.get(slot) or plan.reasons.get(int(plan.classes[slot]), "is read by a live layer")
            reasons[reason] = reasons.get(reason, 0) + 1
        for reason, count in reasons.items():
            yield Skipped(name, count, reason)
    ran = {name.rpartition(".")[0] for name in trace.contractions} | {
        name.rpartition(".")[0] for name, _ in trace.axes
    }
    for name, module in walked(model):
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and name not in ran:
            yield Skipped(name, 0, "did not run on the example inputs in a way that can be followed")


def _zero_filters(trace: Trace) -> Iterator[tuple[str, Tensor]]:
    for contraction in trace.contractions.values():
        yield contraction.layer, contraction.outs[contraction.zero]
    for name, weight in trace.depthwise.items():
        yield name.rpartition(".")[0], trace.axes[(name, 0)][zero_rows(weight)]


def _arguments(model: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Sequence) and example and all(type(item) is int for item in example):
        return sample_inputs(model, tuple(example)), {}
    if isinstance(example, Sequence) and not isinstance(example, str):
        return tuple(example), {}
    raise SparsightError(
        f"example_inputs must be a tensor, a shape, a tuple or a dict, not a {type(example).__name__}."
    )


def _on_cpu(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().cpu()
    if isinstance(tree, dict):
        return {key: _on_cpu(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_on_cpu(value) for value in tree)
    return tree


def _difference(before: list[Tensor], after: list[Tensor]) -> float:
    """Largest difference of two lists of outputs, over the largest output; infinite where one is NaN."""
    worst = scale = 0.0
    for old, new in zip(before, after, strict=True):
        if old.numel():
            first, second = old.double(), new.double()
            # Infinite values, as of what a mask takes out, differ by nothing from their like.
            gaps = torch.where(first == second, 0.0, (first - second).abs()).nan_to_num(torch.inf)
            worst = max(worst, float(gaps.max()))
            scale = max(scale, float(first.abs().nan_to_num(0.0, 0.0).max()))
    return worst / scale if scale else worst


def _check_exactly(
    model: nn.Module, trace: Trace, plan: Plan, args: Any, kwargs: Any, difference: float
) -> None:
    """Tell rounding from a mistake: carry out the plan in float64, and compare there.

    Raises:
        SparsightError: the networks do not give the same.
    """
    if any(bool(output.isnan().any()) for output in trace.outputs):
        raise SparsightError(
            f"{type(model).__name__} gives NaN on the example inputs, with which nothing can be compared: "
            "give an example on which its outputs are numbers, or repair it."
        )
    kinds = {output.dtype for output in trace.outputs if output.is_floating_point()}
    precise = copy.deepcopy(ready(model)).double()
    args, kwargs = _precise(args), _precise(kwargs)
    try:
        with torch.no_grad(), unfused():
            before = list(tensors(precise(*args, **kwargs), "what the network returns"))
            cut(precise, trace, plan)
            args, kwargs = _cut_inputs(args, kwargs, trace, plan)
            after = list(tensors(precise(*args, **kwargs), "what the shrunk network returns"))
    except Exception as error:
        if difference <= max((_LOOSE.get(kind, 0.0) for kind in kinds), default=0.0):
            return
        raise SparsightError(
            f"the shrunk network's outputs differ by {difference:.1e}, so it was thrown away: "
            f"{type(model).__name__} does not run in float64, so that this cannot be told from a mistake."
        ) from error
    if not _difference(before, after) <= _EXACT:
        raise SparsightError(
            f"the shrunk network's outputs differ by {difference:.1e}, so it was thrown away: the network "
            "gives other outputs from run to run, or computes with the numbers of its channels."
        )


def _precise(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.double() if tree.is_floating_point() else tree
    if isinstance(tree, dict):
        return {key: _precise(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_precise(value) for value in tree)
    return tree


def _restore(small: nn.Module, model: nn.Module) -> None:
    """The modes of the network that was given."""
    modes = dict(walked(model))
    for name, module in walked(small):
        if name in modes:
            module.training = modes[name].training


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Random numbers drawn while tracing do not disturb the caller's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
