"""Which layers lose the same channels, in the words of ``Sparsifier``, and silence for the lost ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.prune.layer import prunable_layers
from sparsight.prune.profiling import sample_inputs
from sparsight.prune.shrinking.slots import is_silence, zero_rows
from sparsight.prune.shrinking.solving import Rules, Solver
from sparsight.prune.shrinking.surgery import followable, layers, ready
from sparsight.prune.shrinking.tracing import Contraction, Trace, Tracer
from sparsight.prune.shrinking.walking import held, walked


@dataclass(frozen=True)
class Coupling:
    """How the output channels of a network's layers hang together.

    Attributes:
        layers: names of the layers whose channels ``shrink`` can take away one by one: not those that make
            what the network gives, go through what is not followed, or share a channel with several others.
        coupled: names of layers that lose the same channels, two or more in each: those summed by a residual
            connection, a depthwise convolution and what it reads.
    """

    layers: tuple[str, ...]
    coupled: tuple[tuple[str, ...], ...]
    _channels: dict[str, Tensor] = field(repr=False)
    _voices: dict[str, Tensor] = field(repr=False)
    _trace: Trace = field(repr=False)
    _classes: Tensor = field(repr=False)
    _pinned: Tensor = field(repr=False)
    _shapes: dict[str, torch.Size] = field(repr=False)

    def silence(self, model: nn.Module) -> int:
        """Make channels whose filters are all zero give zero: their biases, and scales and shifts of norms.

        What such a channel still says is a constant, but one that zero padding makes differ from place to
        place, so that ``shrink`` must keep a channel to carry it and a width of 32 becomes 33. Silence
        changes what the network computes wherever that constant was not zero: it is to be done before
        training, or before the training goes on.

        Args:
            model: the network that this was made from, or a copy of it; changed in place.

        Returns:
            How many channels of all layers are zero.
        """
        parameters = held(model)
        dead, silent = self._dead(model)
        with torch.no_grad():
            for name, indices in self._indices(dead).items():
                parameters[name].index_fill_(0, indices.to(parameters[name].device), 0)
        return silent

    def voices(self, model: nn.Module) -> dict[str, Tensor]:
        """What ``silence`` would set to zero: name of a bias, scale or shift → indices (n,) int64, n > 0."""
        return self._indices(self._dead(model)[0])

    def trace_of(self, model: nn.Module) -> Trace | None:
        """What a run of ``model`` would tell now, where that can be known without one; else None.

        It can where the only channels that do not follow the input are those of filters that are zero, and
        all of these were silenced: then they are zero all the way, and nothing else is constant.

        Args:
            model: the network that this was made from, or a copy of it, with other weights.
        """
        tensors = held(model)
        if not self._trace.quiet or {name: tensor.shape for name, tensor in tensors.items()} != self._shapes:
            return None
        contractions = {
            name: replace(c, weight=tensors[name]) for name, c in self._trace.contractions.items()
        }
        depthwise = {name: tensors[name] for name in self._trace.depthwise}
        zero = torch.cat([*(c.zero for c in contractions.values()), *map(zero_rows, depthwise.values())])
        slots = [c.outs for c in contractions.values()] + [self._trace.axes[name, 0] for name in depthwise]
        classes = self._classes[torch.cat(slots)]
        silent = torch.zeros_like(self._pinned)
        silent[classes[zero]] = True
        silent[classes[~zero]] = False
        silent &= ~self._pinned
        if not torch.equal(silent[classes], zero):
            return None
        if self._voices:
            voices = torch.cat([tensors[name].detach() for name in self._voices])
            if bool(voices[silent[torch.cat([*self._voices.values()])]].any()):
                return None
        silent = silent[self._classes]
        made: dict[str, Contraction] = {}
        for name, contraction in contractions.items():
            lost = silent[contraction.ins]
            if not torch.equal(contraction.reading(~lost.reshape(contraction.groups, -1)), ~contraction.zero):
                return None  # a filter that reads nothing but zeros
            contraction.constants = torch.where(lost, 0.0, torch.nan).double()
            made[name] = contraction
        return replace(self._trace, contractions=made, depthwise=depthwise)

    def _dead(self, model: nn.Module) -> tuple[Tensor, int]:
        """Per class, whether all filters of its channels are zero; and how many filters are."""
        modules = dict(walked(model))
        if not self._channels:
            return torch.zeros(0, dtype=torch.bool), 0
        zero = torch.cat([zero_rows(modules[name].get_parameter("weight")).cpu() for name in self._channels])
        classes = torch.cat([*self._channels.values()])
        dead = torch.zeros(int(classes.max()) + 1, dtype=torch.bool)
        dead[classes] = True
        dead[classes[~zero]] = False
        return dead, int(zero.sum())

    def _indices(self, dead: Tensor) -> dict[str, Tensor]:
        """Where the classes of voices are ``dead``; those beyond are of channels that no layer here makes."""
        if not self._voices:
            return {}
        sizes = [len(classes) for classes in self._voices.values()]
        classes = torch.cat([*self._voices.values()])
        known = classes < len(dead)
        silent = torch.zeros_like(known)
        silent[known] = dead[classes[known]]
        parts = zip(self._voices, torch.split(silent, sizes), strict=True)
        found = {name: part.nonzero()[:, 0] for name, part in parts}
        return {name: indices for name, indices in found.items() if len(indices)}


def coupling(
    model: nn.Module, example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None = None
) -> Coupling:
    """Run the network once and see which of its filters meet.

    ``Sparsifier(model, ..., granularity="filter", layers=found.layers, coupled=found.coupled)`` then masks
    what ``shrink`` can remove.

    Args:
        model: the network; the same after as before.
        example_inputs: as for ``profile``.

    Raises:
        SparsightError: the network does not run on these inputs or cannot be copied, its weights are not
            finite, or its code decides by values of what it computes.
    """
    followable(model)
    base = ready(model)
    inputs = [tensor.cpu() for tensor in sample_inputs(model, example_inputs)]
    try:
        trace = Tracer(base, silent=True, values=False).run(inputs, {})
    except SparsightError:  # its sizes depend on values, or there is something wrong with it
        trace = Tracer(base, silent=True).run(inputs, {})
    for slots in trace.inputs:
        trace.pins.append((slots, "is an input of the model"))
    parameters = dict(base.named_parameters())
    solver = Solver(trace, Rules())
    known = prunable_layers(model)
    made = {name: solver.classes[slots] for name, slots in layers(trace)}
    keys = {name: tuple(classes.tolist()) for name, classes in made.items()}
    fixed = solver.pinned.clone()
    for contraction in trace.contractions.values():  # what does not fall silent is read
        if not is_silence(contraction.constants):
            fixed[solver.classes[contraction.ins[~solver.foldable(contraction)]]] = True
    # No mask of whole filters frees a channel that layers share without being alike.
    alike = {keys[contraction.layer]: made[contraction.layer] for contraction in trace.contractions.values()}
    if alike:
        fixed[torch.cat([*alike.values()]).bincount(minlength=len(fixed)) > 1] = True
    channels: dict[str, Tensor] = {}
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, classes in made.items():
        # A depthwise convolution may make several channels of one, which go with what it reads.
        if name in known and not fixed[classes].any() and len(set(keys[name])) == len(classes):
            channels[name] = classes
            groups[keys[name]].append(name)
    # What is given per channel and is no kernel: biases, and what norms multiply by and add.
    voices = {
        name: solver.classes[slots]
        for (name, axis), slots in trace.axes.items()
        if axis == 0 and name in parameters and parameters[name].ndim == 1
    }
    for contraction in trace.contractions.values():
        if contraction.bias in parameters:
            voices[contraction.bias] = solver.classes[contraction.outs]
    return Coupling(
        tuple(name for name in known if name in channels),
        tuple(tuple(names) for names in groups.values() if len(names) > 1),
        channels,
        voices,
        replace(trace, outputs=[], notes=[]),  # no activation is kept
        solver.classes,
        solver.pinned,
        {name: tensor.shape for name, tensor in held(base).items()},
    )
