"""Which layers lose the same channels, in the words of ``Sparsifier``, and silence for the lost ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparsight.prune.layer import prunable_layers
from sparsight.prune.profiling import sample_inputs
from sparsight.prune.shrinking.solving import Rules, Solver
from sparsight.prune.shrinking.surgery import layers, ready
from sparsight.prune.shrinking.tracing import Tracer


@dataclass(frozen=True)
class Coupling:
    """How the output channels of a network's layers hang together.

    Attributes:
        layers: names of the layers whose channels may go: all but those that make what the network gives.
        coupled: names of layers that lose the same channels, two or more in each: those summed by a residual
            connection, a depthwise convolution and what it reads.
    """

    layers: tuple[str, ...]
    coupled: tuple[tuple[str, ...], ...]
    _channels: dict[str, Tensor] = field(repr=False)
    _voices: dict[str, Tensor] = field(repr=False)

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
        parameters = dict(model.named_parameters())
        dead, silent = self._dead(model)
        with torch.no_grad():
            for name, indices in self._indices(dead).items():
                parameters[name][indices.to(parameters[name].device)] = 0
        return silent

    def voices(self, model: nn.Module) -> dict[str, Tensor]:
        """What ``silence`` would set to zero: name of a bias, scale or shift → indices (n,) int64, n > 0."""
        return self._indices(self._dead(model)[0])

    def _dead(self, model: nn.Module) -> tuple[Tensor, int]:
        """Classes of the channels whose filters are all zero, and how many channels that is."""
        modules = dict(model.named_modules())
        alive: set[int] = set()
        known: set[int] = set()
        silent = 0
        for name, classes in self._channels.items():
            lives = modules[name].get_parameter("weight").detach().flatten(1).any(1).cpu()
            alive.update(classes[lives].tolist())
            known.update(classes.tolist())
            silent += int((~lives).sum())
        return torch.tensor(sorted(known - alive), dtype=torch.int64), silent

    def _indices(self, dead: Tensor) -> dict[str, Tensor]:
        found = {name: torch.isin(classes, dead).nonzero()[:, 0] for name, classes in self._voices.items()}
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
        SparsightError: the network does not run on these inputs or cannot be copied, or its weights are not
            finite.
    """
    base = ready(model)
    trace = Tracer(base, constants=False).run(
        [tensor.cpu() for tensor in sample_inputs(model, example_inputs)], {}
    )
    for slots in trace.inputs:
        trace.pins.append((slots, "is an input of the model"))
    parameters = dict(base.named_parameters())
    solver = Solver(trace, Rules())
    known = prunable_layers(model)
    channels: dict[str, Tensor] = {}
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, slots in layers(trace):
        classes = solver.classes[slots]
        if name in known and not solver.pinned[classes].any():
            channels[name] = classes
            groups[tuple(classes.tolist())].append(name)
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
    )
