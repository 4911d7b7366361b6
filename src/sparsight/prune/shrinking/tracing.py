"""Running a network once, and writing down where every channel of every activation comes from.

The network is run on its example inputs; below PyTorch's composite functions, each operation passes through
``Tracer``, which looks up the rule of that operation in ``rules``. Nothing depends on how the network is
written: what is seen is what runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sparsight.errors import SparsightError
from sparsight.prune.shrinking.asking import UnseenReads, asks_size, asks_value
from sparsight.prune.shrinking.slots import FIXED, Source, Value, distinct, fixed, unknown, zero_rows
from sparsight.prune.shrinking.walking import held, walked

_FEW = 4


@dataclass
class Contraction:
    """A weight that mixes channels: of a convolution (not a depthwise one) or of a linear layer.

    Attributes:
        name: the weight's name in the model.
        bias: the bias's name, or None.
        out_axis: axis of the weight along which its filters lie.
        in_axis: axis along which its input channels (those of one group) lie.
        groups: groups of the convolution.
        ins: slot of each input channel, all groups'.
        outs: slot of each filter.
        constants: value of each input channel where it is the same whatever the input, in every call.
        weight: the weight as it was.
        padded: whether zero padding (or a stride in a transposed convolution) makes what a constant input
            gives differ from place to place.
        calls: how many times it ran.
        result: the activation it made, the last time.
        norm: name of the running mean of a batch norm that alone reads what this makes.
        can_add: whether there is a place for a bias.
    """

    name: str
    bias: str | None
    out_axis: int
    in_axis: int
    groups: int
    ins: Tensor
    outs: Tensor
    constants: Tensor
    weight: Tensor
    padded: bool
    can_add: bool
    calls: int = 1
    result: Value | None = None
    norm: str | None = None

    @property
    def layer(self) -> str:
        """The module's name; of a parameter that is no module's ``weight``, its own."""
        path, _, attribute = self.name.rpartition(".")
        return path if attribute == "weight" else self.name

    @functools.cached_property
    def zero(self) -> Tensor:
        """Whether each filter is zero as a whole: bool (filters,)."""
        return zero_rows(self.blocks.flatten(0, 1))

    def reading(self, columns: Tensor) -> Tensor:
        """Which filters read any of these input channels.

        Args:
            columns: bool (groups, inputs), the inputs of each group.

        Returns:
            bool (filters,).
        """
        if bool(columns.all()):
            return ~self.zero
        if self.groups == 1:
            return _crossing(self.blocks[0], ~self.zero, columns[0])
        open_rows = ~self.zero.reshape(self.groups, -1)
        found = [_crossing(*group) for group in zip(self.blocks, open_rows, columns, strict=True)]
        return torch.cat(found)

    def read(self, rows: Tensor) -> Tensor:
        """Which input channels are read by any of these filters.

        Args:
            rows: bool (filters,).

        Returns:
            bool (inputs,), all groups'.
        """
        blocks = self.blocks.transpose(1, 2)
        rows = rows & ~self.zero
        if self.groups == 1:
            return _crossing(blocks[0], torch.ones((), dtype=torch.bool), rows)
        rows = rows.reshape(self.groups, -1)
        open_columns = torch.ones(blocks.shape[:2], dtype=torch.bool)
        return torch.cat([_crossing(*group) for group in zip(blocks, open_columns, rows, strict=True)])

    @functools.cached_property
    def blocks(self) -> Tensor:
        """The weight as (groups, filters, inputs, taps), per group."""
        blocks = self.by_group(self.weight.detach())
        return blocks.reshape(*blocks.shape[:3], -1)

    def by_group(self, weight: Tensor) -> Tensor:
        """A weight of this layer as (groups, filters, inputs, *kernel), per group."""
        blocks = weight.reshape(self.groups, weight.shape[0] // self.groups, *weight.shape[1:])
        return blocks.transpose(1, 2) if self.out_axis == 1 else blocks

    def along(self, axis: int) -> Tensor:
        """Slots along an axis of a weight without groups."""
        return self.outs if axis == self.out_axis else self.ins


@dataclass(frozen=True)
class Equal:
    """Sets of slots that must keep equally many, because the network cuts a tensor into equal parts.

    Attributes:
        sets: (n, m) slots.
        where: what cuts them.
        outs: of a grouped convolution, its (n, k) filters; a group that loses all of both may go altogether.
    """

    sets: Tensor
    where: str
    outs: Tensor | None = None


@dataclass
class Step:
    """One operation that ran.

    Attributes:
        name: of the operation.
        where: the innermost module.
        strict: whether its inputs meet position by position, so that their order counts.
        sized: whether a size of what it makes along the channels may be written into the network's code.
        inputs: slots and shape of each input that depends on the network's.
        outputs: the same of each output.
    """

    name: str
    where: str
    strict: bool = True
    sized: bool = True
    inputs: list[tuple[Tensor, torch.Size]] = field(default_factory=list)
    outputs: list[tuple[Tensor, torch.Size]] = field(default_factory=list)


@dataclass
class Trace:
    """All that one run of the network told.

    Attributes:
        steps: the operations in order.
        contractions: by weight name, in order of first use.
        axes: (parameter name, axis) → slot of each position along it, for parameters used channel by channel.
        depthwise: name of each depthwise convolution's weight → the weight as it was.
        edges: (2, n) arrays of slots that stand or fall together.
        pins: (slots, reason) that must stay.
        notes: (slots, reason) why a dead channel is not constant.
        equals: sets that must keep equally many.
        inputs: slots along axis 1 of each input tensor.
        outputs: what the network returned, flattened.
        slots: how many slots there are, slot 0 included.
        quiet: whether a channel that a layer makes zero stays zero, up to what next reads it.
    """

    steps: list[Step] = field(default_factory=list)
    contractions: dict[str, Contraction] = field(default_factory=dict)
    axes: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    depthwise: dict[str, Tensor] = field(default_factory=dict)
    edges: list[Tensor] = field(default_factory=list)
    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    notes: list[tuple[Tensor, str]] = field(default_factory=list)
    equals: list[Equal] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    slots: int = 1
    quiet: bool = True


class ConflictError(Exception):
    """A shrunk network does not run as the plan said.

    Attributes:
        step: number of the operation at which that was seen.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(reason)
        self.step = step


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows one run of a network; with ``before``, the run of a shrunk network, checked against it.

    Args:
        model: the network, in evaluation mode.
        before: the trace of the network as it was.
        kept: bool per slot of ``before``.
        constants: whether to find out which channels are constant; without, only which belong together.
        silent: whether to take every channel that a layer makes for one that was zeroed and silenced. What is
            not constant then cannot be removed.
        values: whether to compute what layers give. Without, it is anything, which takes no time to make:
            enough to see what belongs together, unless the network's code asks for a value: then the run
            fails.
    """

    def __init__(
        self,
        model: nn.Module,
        before: Trace | None = None,
        kept: Tensor | None = None,
        *,
        constants: bool = True,
        silent: bool = False,
        values: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.before = before
        self.constants = constants and before is None
        self.silent = silent
        self.computes = values
        self.kept = kept if kept is not None else torch.ones(1, dtype=torch.bool)
        self.step = Step("", "")
        self.values: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self.owners: dict[str, tuple[nn.Module, str]] = {}
        modules = walked(model)
        self._paths = {id(module): path for path, module in modules}
        self.norms: Counter[str] = Counter()
        self.whole: set[str] = set()  # parameters that are used in a way that is not followed
        self.cuts: dict[int, tuple[Value, str, list[Tensor]]] = {}
        self.shape: torch.Size | None = None  # of a tensor before it was turned in place
        self.sized_by = ""  # the last operation whose size the code may have decided by
        self._model = model
        self.recurrent = {path for path, module in modules if isinstance(module, nn.RNNBase)}
        for name, tensor in held(model).items():
            self.give(tensor, fixed(tensor.ndim, static=True, source=Source(name, tensor)))
        for path, module in modules:
            for attribute in (*module._parameters, *module._buffers):
                self.owners.setdefault(f"{path}.{attribute}" if path else attribute, (module, attribute))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The guard against compiling this class imports the whole compiler, which takes seconds.
        return False

    # --- Running ---------------------------------------------------------------------------------------

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Trace:
        """Run the network and return what was seen.

        Raises:
            SparsightError: it fails on these inputs, decides by values of what it computes, or returns what
                cannot be looked into.
            ConflictError: it is a shrunk network and does not behave like the one before.
        """
        for tensor in tensors([args, kwargs], "the example inputs"):
            self._register_input(tensor)
        try:
            # The values that the code of a shrunk network reads are those that it read before.
            reads = UnseenReads(self._refuse_read) if self.before is None else contextlib.nullcontext()
            with torch.no_grad(), unfused(), reads, self:
                result = self._model(*args, **kwargs)
        except (ConflictError, SparsightError):
            raise
        except Exception as error:
            reason = _reason(error)
            if self.before is not None:
                raise ConflictError(len(self.trace.steps), reason) from error
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            path = self._module(reversed(frames))
            where = f" in {path}" if path else ""
            raise SparsightError(
                f"{type(self._model).__name__} does not run on the example inputs{where} ({reason}): "
                "give inputs as its forward method takes them."
            ) from error
        self.trace.outputs = list(tensors(result, f"what {type(self._model).__name__} returns"))
        for index, tensor in enumerate(self.trace.outputs):
            value = self.value(tensor)
            value.uses += 1
            self.pin(value.slots, "is an output of the model")
            if self.before is not None:
                self._same_output(index, tensor)
        for contraction in self.trace.contractions.values():
            if contraction.name in self.whole:
                for slots in (contraction.ins, contraction.outs):
                    self.pin(slots, f"belongs to {contraction.name}, which is also used in another way")
            alone = contraction.calls == 1 and contraction.result is not None and contraction.result.uses == 1
            if not alone or self.norms[contraction.norm or ""] != 1:
                contraction.norm = None
        for value, where, parts in self.cuts.values():
            self.equal_parts(parts, where, value.slots)
        return self.trace

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        from sparsight.prune.shrinking.rules import follow

        kwargs = kwargs or {}
        inputs = operands(args) + operands(kwargs) if kwargs else operands(args)
        if asks_value(func) and self.before is None:
            for tensor in inputs:
                self._refuse_read(tensor, "a number or a truth value")
        if not inputs:  # a fresh tensor: fixed, once anybody asks
            return func(*args, **kwargs)
        values = [self.value(x) for x in inputs]
        static = all(value.static for value in values)
        self.shape = args[0].shape if _turns(func) else None
        known = self.computes or static
        result = func(*args, **kwargs) if known else self._stand_in(func, args, kwargs)
        name = _step_name(func)
        self.step = Step(name, self._module(_callers(sys._getframe(1))))
        for tensor, value in zip(inputs, values, strict=True):
            value.uses += 1
            if not value.static:
                self.step.inputs.append((value.slots, tensor.shape))
        try:
            follow(self, func, args, kwargs, result, static=static)
        except (ConflictError, SparsightError):
            raise
        except Exception as error:
            raise SparsightError(
                f"{self.here} could not be followed ({_reason(error)}): write that part otherwise, or leave "
                "this network as it is."
            ) from error
        if self.step.inputs and asks_size(func, args) and self.before is None:
            self._keep_all_from_here()
        for tensor in operands(result):
            if not (value := self.value(tensor)).static:
                self.step.outputs.append((value.slots, tensor.shape))
        # Whether a copy is made may depend on how elements lie in memory.
        if (self.step.inputs or self.step.outputs) and not name.startswith("aten.clone"):
            if self.before is not None:
                self._same_step()
            self.trace.steps.append(self.step)
        return result

    def _stand_in(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Memory in which nothing was written in place of what a layer gives; the rest is done.

        Clearing it would take as long as all else: most of a network's time without its layers.
        """
        if not kwargs and (result := _unwritten(_step_name(func), args)) is not None:
            return result
        if asks_size(func, args):
            raise SparsightError(f"the size of {_step_name(func)} depends on values.")
        return func(*args, **kwargs)

    def _refuse_read(self, tensor: Tensor, what: str) -> None:
        """Numbers that follow the input may decide what runs, and only one of the ways was seen.

        Raises:
            SparsightError: ``tensor`` follows the input.
        """
        if self.value(tensor).static:
            return
        path = self._module(_callers(sys._getframe(1)))
        raise SparsightError(
            f"{path or type(self._model).__name__} decides by the values of its input, which cannot be "
            f"followed (its code reads {what} from what it computes): choose with torch.where, which keeps "
            "all ways, or shrink the parts by themselves."
        )

    def _keep_all_from_here(self) -> None:
        """Where a size follows the input, code may decide by it: what is there now may be used otherwise."""
        self.sized_by = self.here
        for reference, value in self.values.values():
            if not value.static and reference() is not None:
                self.pin(
                    value.slots, f"is there when the size of {self.here} is seen, which follows the input"
                )

    # --- What rules use --------------------------------------------------------------------------------

    def value(self, tensor: Tensor) -> Value:
        """What is known of a tensor; one never seen before is taken for a constant of fixed size."""
        held = self.values.get(id(tensor))
        # The number of a tensor that is gone may be given again.
        if held is None or held[0]() is not tensor:
            value = fixed(tensor.ndim, static=True)
            self.give(tensor, value)
            return value
        return held[1]

    def give(self, tensor: Tensor, value: Value) -> None:
        """Say what is known of a tensor that an operation made."""
        self.values[id(tensor)] = (weakref.ref(tensor), value)

    def aliases(self, tensor: Tensor) -> list[Value]:
        """What is known of other tensors in the same memory."""
        memory = tensor.untyped_storage()._cdata
        held = [(reference(), value) for reference, value in self.values.values()]
        return [
            value
            for other, value in held
            if other is not None and other is not tensor and other.untyped_storage()._cdata == memory
        ]

    def new_slots(self, count: int) -> Tensor:
        """Slots that no other channel has."""
        start = self.trace.slots
        self.trace.slots += count
        return torch.arange(start, start + count)

    def pin(self, slots: Tensor, reason: str) -> None:
        """Slots that must stay."""
        if self.before is not None:
            return
        slots = distinct(slots)
        if len(slots := slots[slots != FIXED]):
            self.trace.pins.append((slots, reason))

    def note(self, slots: Tensor, reason: str) -> None:
        """Why these channels, though dead, are not constant."""
        if slots.numel():
            self.trace.notes.append((slots.reshape(-1), reason))

    def tie(self, first: Tensor, second: Tensor) -> None:
        """Slots that stand or fall together, pairwise."""
        if self.before is not None or torch.equal(first, second):
            return
        pairs = torch.stack([first.reshape(-1), second.reshape(-1)])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if not pairs.numel():
            return
        loose = (pairs == FIXED).any(0)
        if loose.any():
            self.pin(pairs[:, loose], f"meets channels of a fixed number in {self.here}")
        self.trace.edges.append(pairs[:, ~loose])

    def tie_axis(self, name: str, axis: int, slots: Tensor) -> None:
        """The positions along an axis of a parameter belong to these slots."""
        if self.before is not None and (name, axis) in self.trace.axes:
            return
        known = self.trace.axes.setdefault((name, axis), slots)
        if known is not slots:
            self.tie(known, slots)
        if name in self.trace.contractions:
            self.tie(self.trace.contractions[name].along(axis), slots)

    def equal_parts(self, parts: list[Tensor], where: str, whole: Tensor) -> None:
        """Parts of a tensor that is cut in code: if even, they must remain so, otherwise they must stay."""
        if len(parts) > 1 and len({len(part) for part in parts}) == 1:
            self.trace.equals.append(Equal(torch.stack(parts), where))
        else:
            self.pin(whole, f"is cut at a fixed place by {where}")

    @property
    def here(self) -> str:
        """Where the run is, for people."""
        if self.step.where in self.recurrent:
            return f"the recurrent layer {self.step.where}".rstrip()
        operation = self.step.name.removeprefix("aten.").partition(".")[0]
        return f"{operation} in {self.step.where}" if self.step.where else operation

    def filters(self, name: str, count: int) -> Tensor:
        """Slots for the channels that a weight makes: new ones, or in a shrunk network those kept."""
        if self.before is None:
            slots = self.new_slots(count)
            if self.sized_by:
                self.pin(slots, f"runs after the size of {self.sized_by} is seen, which follows the input")
            return slots
        outs = self.before.contractions[name].outs
        return outs[self.kept[outs]]

    def table(self, name: str, width: int) -> Tensor:
        """Slots along axis 1 of a table of vectors, likewise."""
        if self.before is None:
            known = self.trace.axes.get((name, 1))
            return self.new_slots(width) if known is None else known
        slots = self.before.axes[(name, 1)]
        return slots[self.kept[slots]]

    # --- Checking a shrunk network ---------------------------------------------------------------------

    def _same_step(self) -> None:
        assert self.before is not None
        index = len(self.trace.steps)
        expected = self.before.steps[index] if index < len(self.before.steps) else None
        if expected is None or _alike(expected.name) != _alike(self.step.name):
            name = expected.name if expected else "the end"
            raise ConflictError(index, f"{self.here} runs where {name} did")
        if len(expected.inputs) != len(self.step.inputs) or len(expected.outputs) != len(self.step.outputs):
            raise ConflictError(index, f"{self.here} takes or gives another number of tensors")
        if expected.strict:
            pairs = zip(expected.inputs, self.step.inputs, strict=True)
            found = _meeting([_as_wide(after, new, before) for (before, _), (after, new) in pairs], None)
            wanted = _meeting([before for before, _ in expected.inputs], self.kept)
            if not all(map(torch.equal, wanted, found)):
                raise ConflictError(index, f"{self.here} meets channels in another order")
        for (before, old), (after, new) in zip(expected.outputs, self.step.outputs, strict=True):
            if len(old) != len(new):
                raise ConflictError(index, f"{self.here} gives another rank")
            # A reshape by numbers in the code moves elements into axes that hold no channels.
            reshaped = "view" in self.step.name or "reshape" in self.step.name
            for axis, (was, now) in enumerate(zip(old, new, strict=True) if reshaped else ()):
                if before.shape[axis] == 1 and was != now:
                    raise ConflictError(index, f"{self.here} gives another size along axis {axis}")
            stay = before[self.kept[before]]
            # Sorting is needed only where channels are repeated or moved.
            if not torch.equal(stay, after.reshape(-1)) and not torch.equal(distinct(stay), distinct(after)):
                raise ConflictError(index, f"{self.here} selects other channels")

    def _same_output(self, index: int, tensor: Tensor) -> None:
        assert self.before is not None
        if index >= len(self.before.outputs) or self.before.outputs[index].shape != tensor.shape:
            raise ConflictError(len(self.trace.steps), "the shape of an output changed")

    # --- Inside ----------------------------------------------------------------------------------------

    def _register_input(self, tensor: Tensor) -> None:
        """Input channels lie along axis 1; an input of whole numbers (indices, say) has none."""
        if tensor.ndim < 2 or not tensor.is_floating_point():
            self.give(tensor, fixed(tensor.ndim))
            self.trace.inputs.append(torch.zeros(0, dtype=torch.int64))
            return
        if self.before is None:
            slots = self.new_slots(tensor.shape[1])
        else:
            slots = self.before.inputs[len(self.trace.inputs)]
            slots = slots[self.kept[slots]]
        self.trace.inputs.append(slots)
        shaped = slots.reshape(1, -1, *[1] * (tensor.ndim - 2))
        self.give(tensor, Value(shaped, unknown(shaped)))

    def _module(self, frames: Iterable[FrameType]) -> str:
        """The innermost module of the model whose forward method is running; "" for the model itself."""
        for frame in frames:
            if frame.f_code.co_name == "forward":
                path: str | None = self._paths.get(id(frame.f_locals.get("self")))
                if path is not None:
                    return path
        return ""


def _crossing(block: Tensor, open_rows: Tensor, wanted: Tensor) -> Tensor:
    """Which of some rows of (rows, columns, taps) hold anything but zero in the wanted columns: bool (rows,).

    A few columns are enough for most rows, and large weights are slow to read.
    """
    columns = wanted.nonzero().reshape(-1)
    found = block[:, columns[:_FEW]].flatten(1).any(1) & open_rows
    rest = (open_rows & ~found).nonzero().reshape(-1)
    if len(rest) and len(columns) > _FEW:
        found[rest] = block[rest][:, columns[_FEW:]].flatten(1).any(1)
    return found


@functools.cache
def _step_name(func: Any) -> str:
    """An operation's name; a reshape that copies is the same as one that does not."""
    return str(func).replace("_unsafe_view", "view").replace("_reshape_alias", "view")


def _alike(name: str) -> str:
    """A product to which a folded constant gave a bias is still the same operation."""
    return "aten.addmm.default" if name == "aten.mm.default" else name


@functools.cache
def _turns(func: Any) -> bool:
    """Whether an operation changes the shape of the tensor that it is given."""
    return torch.Tag.inplace_view in func.tags


def _unwritten(name: str, args: tuple[Any, ...]) -> Any:
    """What a layer gives, but for the values; None for all else."""
    if name in _ACTIVATIONS and args[0].is_floating_point():
        return torch.empty_like(args[0])
    if name in _ACTIVATIONS_IN_PLACE:
        return args[0]
    if name == "aten.native_batch_norm.default":
        x, _, _, mean, _, training = args[:6]
        usual = not training and mean is not None and len(mean) == x.shape[1]
        return (torch.empty_like(x), x.new_empty(0), x.new_empty(0)) if usual else None
    shape = _shape_of_layer(name, args)
    return None if shape is None else args[0].new_empty(shape)


_NAMES = ("relu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "silu", "gelu", "sigmoid")
_ACTIVATIONS = frozenset(f"aten.{name}.default" for name in _NAMES)
_ACTIVATIONS_IN_PLACE = frozenset(f"aten.{name}_.default" for name in _NAMES)


def _shape_of_layer(name: str, args: tuple[Any, ...]) -> tuple[int, ...] | None:
    """Shape of what a convolution or linear layer gives; None for all else, and where that is to fail."""
    if name in ("aten.addmm.default", "aten.mm.default"):
        first, second = args[-2:]
        return (len(first), second.shape[1]) if first.shape[1] == len(second) else None
    if name != "aten.convolution.default":
        return None
    x, weight, _, stride, padding, dilation, transposed, _, groups = args
    rank = x.ndim - 2
    usual = not transposed and weight.ndim == x.ndim and x.dtype == weight.dtype
    if (
        not usual
        or x.shape[1] != weight.shape[1] * groups
        or {*map(len, (stride, padding, dilation))} != {rank}
    ):
        return None
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    sizes = [(size + 2 * pad - gap * (taps - 1) - 1) // step + 1 for size, taps, step, pad, gap in axes]
    return (len(x), len(weight), *sizes) if min(sizes) > 0 else None


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Attention and encoder layers take their usual way: fused as one operation, they hide their neurons."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _reason(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__


def takes_bias(module: nn.Module) -> bool:
    """Whether a bias can be put into a module that has none."""
    return isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))


def operands(tree: Any) -> list[Tensor]:
    """The tensors among an operation's arguments or results, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return []
    found = []
    for item in tree:
        kind = type(item)
        if kind in _PLAIN:
            continue
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (list, tuple)) and not (item and type(item[0]) in _NUMBERS):
            found += operands(item)
    return found


_NUMBERS = frozenset((bool, int, float))
"""A list that begins with one holds no tensors."""
_PLAIN = _NUMBERS | {type(None)}


def tensors(tree: Any, what: str) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and dataclasses, in order.

    Raises:
        SparsightError: there is something else in it that might hold tensors.
    """
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from tensors(item, what)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from tensors(item, what)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for entry in dataclasses.fields(tree):
            yield from tensors(getattr(tree, entry.name), what)
    elif tree is not None and not isinstance(tree, (bool, int, float, str)):
        raise SparsightError(
            f"{what} holds a {type(tree).__name__}, which cannot be looked into: "
            "use tensors in tuples, lists, dicts or dataclasses."
        )


def _as_wide(slots: Tensor, shape: torch.Size, before: Tensor) -> Tensor:
    """Slots that did not change along an axis since all but one were removed, at full length again."""
    if slots.ndim != before.ndim:
        return slots
    sizes = [shape[axis] if before.shape[axis] > 1 else slots.shape[axis] for axis in range(slots.ndim)]
    return slots.expand(sizes)


def _meeting(operands: list[Tensor], kept: Tensor | None) -> list[Tensor]:
    """The slots of each operand at the positions at which they meet, less those that are removed."""
    if len(operands) == 1:
        return [operands[0].reshape(-1) if kept is None else operands[0][kept[operands[0]]]]
    rank = max((slots.ndim for slots in operands), default=0)
    full = [slots.reshape((1,) * (rank - slots.ndim) + slots.shape) for slots in operands]
    # Operations that do not broadcast, as a product of matrices, keep their operands apart.
    with contextlib.suppress(RuntimeError):
        full = list(torch.broadcast_tensors(*full))  # type: ignore[no-untyped-call]
    if kept is None:
        return [slots.reshape(-1) for slots in full]
    if len({slots.shape for slots in full}) > 1:
        return [slots[kept[slots]] for slots in full]
    stay = torch.stack([kept[slots] for slots in full]).all(0) if full else None
    return [slots[stay] for slots in full]


Rule = Callable[[Tracer, Any, tuple[Any, ...], dict[str, Any], Any], None]
