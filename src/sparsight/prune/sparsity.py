"""How sparse a model is, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSparsity:
    """One layer of a report.

    Attributes:
        name: in the model.
        shape: of its weight.
        blocks: how many blocks (for n of m: weights) may be kept or removed.
        kept: how many of them are kept.
        sparsity: fraction of its weights that are zero by the mask.
        target: what the schedule asks for now; of the whole model where the scope is global.
    """

    name: str
    shape: tuple[int, ...]
    blocks: int
    kept: int
    sparsity: float
    target: float


@dataclass(frozen=True)
class SparsityReport:
    """How sparse the sparsified layers are, in the model's order.

    Attributes:
        rows: a layer each.
        widths: what is left of each layer is one of these, in words; empty where any number may be left.
    """

    rows: tuple[LayerSparsity, ...]
    widths: str = ""

    @property
    def sparsity(self) -> float:
        """Fraction of all the layers' weights that are zero."""
        return self._overall([row.sparsity for row in self.rows])

    @property
    def target(self) -> float:
        """What the schedule asks of all of them together, now."""
        return self._overall([row.target for row in self.rows])

    @property
    def shortfall(self) -> str:
        """What was asked and what was reached, in a sentence without its full stop; empty where they agree.

        They do where they differ by no more than one block, or not in whole per cent.
        """
        block = max(math.prod(row.shape) / row.blocks for row in self.rows)
        apart = abs(self.sparsity - self.target)
        asked, reached = f"{self.target:.0%}", f"{self.sparsity:.0%}"
        if asked == reached or apart * sum(math.prod(row.shape) for row in self.rows) <= block:
            return ""
        reason = f": widths stay {self.widths} (round_to)" if self.widths else ""
        return f"asked {asked}, reached {reached}{reason}"

    def _overall(self, fractions: list[float]) -> float:
        weights = [math.prod(row.shape) for row in self.rows]
        return sum(part * count for part, count in zip(fractions, weights, strict=True)) / sum(weights)

    def __str__(self) -> str:
        """A table for people."""
        wide = max(len(row.name) for row in self.rows)
        lines = [
            f"{row.name:{wide}}  {'x'.join(map(str, row.shape)):>16}  {row.kept:>9} of {row.blocks:<9}"
            f" {row.sparsity:7.2%} (target {row.target:.2%})"
            for row in self.rows
        ]
        lines.append(f"{'all':{wide}}  {self.sparsity:.2%} (target {self.target:.2%})")
        return "\n".join([*lines, self.shortfall] if self.shortfall else lines)
