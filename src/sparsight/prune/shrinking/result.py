"""What shrinking gave, in a form that can be read, printed and kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True)
class Skipped:
    """Zeroed channels that had to stay.

    Attributes:
        name: of the layer.
        channels: how many of its filters are zero and still there.
        reason: why, to be read after the name: "reads ...", "is ...".
    """

    name: str
    channels: int
    reason: str

    def __str__(self) -> str:
        count = f"{self.channels} zero {'channel' if self.channels == 1 else 'channels'}"
        return f"{self.name}: {count} kept: {self.reason}" if self.channels else f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class ShrinkResult:
    """A smaller network and what became of each layer.

    Attributes:
        model: the new network; the one that was given is as it was.
        removed: layer → output channels removed, for every layer that lost any.
        kept: layer → output channels left, for every convolution and linear layer.
        skipped: zeroed channels that are still there, and why.
        inputs: per example input, which of its channels (axis 1) the new network takes; all of them, unless
            ``shrink`` was told otherwise.
        parameters: number of parameters before and after.
        difference: largest difference between the outputs of both networks on the example inputs, over the
            largest output.
    """

    model: nn.Module
    removed: dict[str, int]
    kept: dict[str, int]
    skipped: tuple[Skipped, ...]
    inputs: tuple[NDArray[np.int64], ...]
    parameters: tuple[int, int]
    difference: float

    def __str__(self) -> str:
        before, after = self.parameters
        width = max((len(name) for name in self.kept), default=5)
        lines = [
            f"{before:,} parameters became {after:,} ({after / max(before, 1):.1%}); outputs differ by "
            f"{self.difference:.1e} at most",
            f"{'layer':<{width}}  before   after",
        ]
        lines += [
            f"{name:<{width}}  {kept + self.removed.get(name, 0):>6}  {kept:>6}"
            for name, kept in self.kept.items()
        ]
        return "\n".join([*lines, *(["kept though zero:"] if self.skipped else []), *map(str, self.skipped)])
