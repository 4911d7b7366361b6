"""Which layers lose the same channels, in the words of ``Sparsifier``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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
    trace = Tracer(base).run([tensor.cpu() for tensor in sample_inputs(model, example_inputs)], {})
    for slots in trace.inputs:
        trace.pins.append((slots, "is an input of the model"))
    solver = Solver(trace, Rules())
    known = prunable_layers(model)
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, slots in layers(trace):
        classes = solver.classes[slots]
        if name in known and not solver.pinned[classes].any():
            groups[tuple(classes.tolist())].append(name)
    free = {name for names in groups.values() for name in names}
    return Coupling(
        tuple(name for name in known if name in free),
        tuple(tuple(names) for names in groups.values() if len(names) > 1),
    )
