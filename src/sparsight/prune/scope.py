"""Which blocks go: scores of blocks, made comparable, and the lowest of them up to a target.

A *unit* is what is chosen from: the blocks of one layer, or of several layers that lose the same channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsight.errors import SparsightError
from sparsight.prune.granularity import Blocks


def _mean(gathered: Tensor, sizes: Tensor | int) -> Tensor:
    return gathered.sum(1) / sizes


def _sum(gathered: Tensor, sizes: Tensor | int) -> Tensor:
    return gathered.sum(1)


AGGREGATIONS: dict[str, Callable[[Tensor, Tensor | int], Tensor]] = {"mean": _mean, "sum": _sum}
"""Name → a block's score from its weights' scores; sums favour large blocks, means compare across layers."""


def per_block(
    scores: Tensor, blocks: Blocks, aggregation: str = "mean", normalisation: str = "none"
) -> Tensor:
    """A score per block, (blocks.count,), from one per weight; signs are kept.

    Where single weights of a block go (``blocks.keep``), what is returned is a score per weight, flat, in the
    order of ``blocks.gather``, padding included.
    """
    normalise = NORMALISATIONS[normalisation]
    if blocks.keep is not None:
        return blocks.gather(normalise(scores.flatten()).view(blocks.shape)).flatten()
    gathered = blocks.gather(scores)
    if gathered.shape[1] == 1:
        return normalise(gathered[:, 0])
    sizes = gathered.shape[1] if blocks.uniform else blocks.sizes(scores.device)
    return normalise(AGGREGATIONS[aggregation](gathered, sizes))


def no_scores(blocks: Blocks) -> Tensor:
    """What ``per_block`` gives for scores that are all zero."""
    return torch.zeros(blocks.count * (1 if blocks.keep is None else math.prod(blocks.tile)))


def _none(scores: Tensor) -> Tensor:
    return scores


def _by_max(scores: Tensor) -> Tensor:
    return scores / scores.abs().max().clamp_min(_tiny(scores))


def _by_mean(scores: Tensor) -> Tensor:
    return scores / scores.abs().mean().clamp_min(_tiny(scores))


def _standardised(scores: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(scores, correction=0)
    return (scores - mean) / deviation.clamp_min(_tiny(scores))


def _lamp(scores: Tensor) -> Tensor:
    ascending, order = scores.sort(stable=True)
    squares = ascending.square()
    remaining = squares.flip(0).cumsum(0).flip(0).clamp_min(_tiny(scores))
    return torch.empty_like(scores).scatter_(0, order, ascending.sign() * squares / remaining)


def _tiny(scores: Tensor) -> float:
    return torch.finfo(scores.dtype).tiny


NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": _none,
    "max": _by_max,
    "mean": _by_mean,
    "standardised": _standardised,
    "lamp": _lamp,
}
"""Name → scores (n,) of one layer made comparable with those of others.

- ``none``: as they are;
- ``max``, ``mean``: over the layer's largest or mean absolute score;
- ``standardised``: mean 0, deviation 1;
- ``lamp``: x² over the sum of y² of all y not lower, x included, with the sign of x; for single weights and
  the l1 criterion this is LAMP as published (Lee et al., *Layer-adaptive Sparsity*, 2021).
"""


@dataclass(frozen=True)
class Unit:
    """What is chosen from.

    Attributes:
        scores: (n,) the higher, the more it is kept; +inf where it must stay.
        free: how many of them may go.
        sizes: how many weights go with each: one number for all, or int64 (n,).
        weights: how many weights the unit has in all.
    """

    scores: Tensor
    free: int
    sizes: Tensor | int
    weights: int

    @property
    def reach(self) -> int:
        """How many weights may go."""
        if isinstance(self.sizes, int):
            return self.free * self.sizes
        return int(self.sizes[~self.scores.isposinf()].sum())


def protected(scores: Tensor, blocks: Sequence[Blocks]) -> Unit:
    """The unit of layers cut into ``blocks``, with what must stay set to +inf.

    That is the best block, so that no layer is cut through, or the best ``keep`` weights of each block.

    Args:
        scores: as from ``per_block``, averaged over the layers.
        blocks: one per layer, all of the same number.
    """
    first = blocks[0]
    scores = scores.float().clamp(max=torch.finfo(torch.float32).max)
    sizes: Tensor | int = 1
    if first.keep is None:
        if all(cut.uniform for cut in blocks):
            sizes = sum(math.prod(cut.tile) for cut in blocks)
        else:
            sizes = torch.stack([cut.sizes(scores.device) for cut in blocks]).sum(0)
        stay = scores.argmax(keepdim=True)
        free = first.count - 1
    else:
        width = math.prod(first.tile)
        padding = first.gather(scores.new_zeros(first.shape), fill=1).bool()
        best = scores.view(-1, width).masked_fill(padding, -math.inf).topk(first.keep, 1, sorted=False)
        rows = torch.arange(0, scores.numel(), width, device=scores.device)[:, None]
        fixed = padding.flatten().index_fill_(0, (best.indices + rows).flatten(), True)
        stay, free = fixed.nonzero()[:, 0], int((~fixed).sum())
    return Unit(
        scores.index_fill_(0, stay, math.inf), free, sizes, sum(math.prod(cut.shape) for cut in blocks)
    )


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at the ``count`` lowest of ``scores`` (n,); of equal ones the first. In linear time."""
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(min(count, scores.numel())).values
    gone = scores <= threshold
    if int(gone.sum()) <= count:
        return gone
    gone = scores < threshold
    ties = (scores == threshold).nonzero()[:, 0]
    gone[ties[: count - int(gone.sum())]] = True
    return gone


def _nearest(unit: Unit, target: float) -> Tensor:
    """True at the lowest scores of ``unit`` that together have the number of weights nearest ``target``."""
    if isinstance(unit.sizes, int):
        return lowest(unit.scores, min(math.floor(target / unit.sizes + 0.5), unit.free))
    order = unit.scores.argsort(stable=True)[: unit.free]
    gone = unit.sizes.new_zeros(len(order) + 1, dtype=torch.float64)
    torch.cumsum(unit.sizes[order], 0, out=gone[1:])
    count = int((gone - target).abs().argmin())
    return torch.zeros_like(unit.scores, dtype=torch.bool).index_fill_(0, order[:count], True)


@dataclass(frozen=True)
class Widths:
    """How many blocks may be left of a unit: all of them, or certain numbers.

    Attributes:
        multiple: multiples of this.
        halves: also its half, a quarter, ... down to 1; else at least one multiple is left.
    """

    multiple: int
    halves: bool = False

    def nearest(self, blocks: int, kept: float) -> int:
        """The width nearest ``kept`` that may be left of ``blocks``; of two as near the wider."""
        choices = {blocks}
        below = math.floor(kept / self.multiple) * self.multiple
        choices |= {below, below + self.multiple} if below else {self.multiple}
        if self.halves and not below:
            part = self.multiple
            while part > max(kept, 1):
                part //= 2
                choices.add(part)
        return min((width for width in choices if width <= blocks), key=lambda w: (abs(w - kept), -w))

    def __str__(self) -> str:
        return f"multiples of {self.multiple}" + (" or, below that, powers of two" if self.halves else "")


def local(units: Sequence[Unit], targets: Sequence[float], widths: Widths | None = None) -> list[Tensor]:
    """Choose within each unit.

    Args:
        units: what to choose from.
        targets: for each unit the sparsity, the fraction of its weights that goes.
        widths: what stays of a unit is the nearest of these.

    Returns:
        For each unit bool (n,), True where it goes; within half a block of the target unless rounded.
    """
    if widths is None:
        return [_nearest(unit, target * unit.weights) for unit, target in zip(units, targets, strict=True)]
    chosen = []
    for unit, target in zip(units, targets, strict=True):
        count = unit.scores.numel()
        chosen.append(lowest(unit.scores, count - widths.nearest(count, (1 - target) * count)))
    return chosen


def across(units: Sequence[Unit], targets: Sequence[float], widths: Widths | None = None) -> list[Tensor]:
    """Choose among all units at once, to the sparsity that ``targets`` make together; else as ``local``."""
    lengths = [unit.scores.numel() for unit in units]
    target = sum(target * unit.weights for unit, target in zip(units, targets, strict=True))
    scores = torch.cat([unit.scores for unit in units])
    if widths is None:
        same = {unit.sizes for unit in units if isinstance(unit.sizes, int)}
        sizes: Tensor | int
        if len(same) == 1 and all(isinstance(unit.sizes, int) for unit in units):
            (sizes,) = same
        else:
            sizes = torch.cat(
                [torch.as_tensor(u.sizes, device=scores.device).expand_as(u.scores) for u in units]
            )
        merged = Unit(scores, sum(unit.free for unit in units), sizes, sum(unit.weights for unit in units))
        return list(torch.split(_nearest(merged, target), lengths))
    owner = torch.repeat_interleave(torch.tensor(lengths)).to(scores.device)
    ranked = owner[scores.argsort(stable=True)].cpu()

    def left(prefix: int) -> list[int]:
        gone = torch.bincount(ranked[:prefix], minlength=len(units)).tolist()
        return [widths.nearest(n, n - lost) for n, lost in zip(lengths, gone, strict=True)]

    def removed(kept: Sequence[int]) -> float:
        shares = (1 - width / n for width, n in zip(kept, lengths, strict=True))
        return sum(share * unit.weights for share, unit in zip(shares, units, strict=True))

    # What goes grows with the number of lowest blocks looked at: bisect for the first that is enough.
    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if removed(left(middle)) >= target else (middle + 1, high)
    enough, less = left(low), left(max(low - 1, 0))
    kept = min(enough, less, key=lambda kept: abs(removed(kept) - target))
    return [lowest(unit.scores, n - width) for unit, n, width in zip(units, lengths, kept, strict=True)]


Choose = Callable[[Sequence[Unit], Sequence[float], "Widths | None"], list[Tensor]]

SCOPES: dict[str, Choose] = {"local": local, "global": across}
"""Name → what chooses the blocks that go."""


def reachable(units: Sequence[Unit], widths: Widths | None = None) -> float:
    """The highest sparsity that can be had from ``units``."""
    if widths is None:
        gone = float(sum(unit.reach for unit in units))
    else:
        gone = sum(
            unit.weights * (1 - widths.nearest(len(unit.scores), 0) / len(unit.scores)) for unit in units
        )
    return gone / sum(unit.weights for unit in units)


def multiple(round_to: int | str | None, device: torch.device) -> int | None:
    """The widths that ``device`` likes: ``"auto"`` is 16 on CUDA and processors with AVX-512, else 8.

    Raises:
        SparsightError: neither a positive whole number nor ``"auto"``.
    """
    if round_to == "auto":
        wide = device.type == "cuda" or "AVX512" in torch.backends.cpu.get_cpu_capability()
        return 16 if wide else 8
    if round_to is not None and (not isinstance(round_to, int) or round_to < 1):
        raise SparsightError(f"round_to is a whole number from 1, 'auto' or None, but is {round_to!r}.")
    return round_to


NEAR = 0.9
"""Share of its target that a network must reach for ``"auto"`` to leave it at multiples."""


def widths(
    round_to: int | str | None,
    device: torch.device,
    choose: Choose,
    unscored: Callable[[], Sequence[Unit]],
    targets: Sequence[float],
) -> Widths | None:
    """The widths that the units may be left with that ``unscored`` gives.

    With ``"auto"`` these are multiples of what the device likes. A network so narrow that it misses its
    target by more than a tenth may be left with halves of that, too.

    Raises:
        SparsightError: see ``multiple``.
    """
    found = multiple(round_to, device)
    if found is None:
        return None
    plain = Widths(found)
    if round_to != "auto":
        return plain
    units = unscored()
    gone = choose(units, targets, plain)
    shares = [int(lost.sum()) / lost.numel() for lost in gone]
    reached = sum(share * unit.weights for share, unit in zip(shares, units, strict=True))
    asked = sum(target * unit.weights for target, unit in zip(targets, units, strict=True))
    return Widths(found, halves=reached < NEAR * asked)
