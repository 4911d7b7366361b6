"""What goes together: how a weight tensor is cut into blocks that are kept or removed whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.spelling import spelled

AXES = "gocdhw"
"""A weight of any layer, seen with six axes: groups, filters and inputs of a group, kernel depth, height,
width. A Linear weight has one group and kernels of size 1; what a convolution lacks has size 1."""

WHOLE = 0
"""A block spans the whole axis."""


@dataclass(frozen=True)
class Granularity:
    """How any weight is cut into blocks, said once for all kinds of layer.

    Attributes:
        name: as the user writes it.
        inside: how far a block reaches along an axis of ``AXES``: ``WHOLE``, or a number of entries; 1 along
            axes not named.
        keep: None where a block is kept or removed as one; otherwise how many weights of each block
            always stay, the others being removed one by one (n of m).
    """

    name: str
    inside: Mapping[str, int] = field(default_factory=dict)
    keep: int | None = None

    @property
    def removes(self) -> str | None:
        """``"outputs"`` or ``"inputs"`` where a removed block makes the layer narrower, otherwise None."""
        return _NARROWING.get(frozenset(self.inside.items()))


@dataclass(frozen=True)
class Blocks:
    """One weight's blocks. Where tiles do not divide an axis, those at its end are smaller.

    Attributes:
        shape: of the weight.
        axes: the weight's size along ``AXES``.
        tile: a block's size along ``AXES``.
        keep: as ``Granularity.keep``.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    tile: tuple[int, ...]
    keep: int | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along ``AXES``."""
        return tuple(-(-size // tile) for size, tile in zip(self.axes, self.tile, strict=True))

    @property
    def count(self) -> int:
        """Number of blocks."""
        return prod(self.grid)

    @property
    def uniform(self) -> bool:
        """Whether all blocks have the same number of weights."""
        return all(size % tile == 0 for size, tile in zip(self.axes, self.tile, strict=True))

    def gather(self, tensor: Tensor, fill: float | bool = 0) -> Tensor:
        """``tensor``, shaped like the weight, as (count, block size); ``fill`` pads smaller blocks.

        A view where memory allows it.
        """
        seen = tensor.reshape(self.axes)
        if not self.uniform:
            pads = [
                grid * tile - size for grid, tile, size in zip(self.grid, self.tile, self.axes, strict=True)
            ]
            flat = [amount for pad in reversed(pads) for amount in (0, pad)]
            seen = torch.nn.functional.pad(seen, flat, value=fill)
        interleaved = [size for pair in zip(self.grid, self.tile, strict=True) for size in pair]
        return seen.reshape(interleaved).permute(_BLOCKS_FIRST).reshape(self.count, prod(self.tile))

    def scatter(self, values: Tensor) -> Tensor:
        """(count, block size) values back in the weight's shape: the inverse of ``gather``."""
        tiles = values.reshape(*self.grid, *self.tile).permute(_INTERLEAVED)
        padded = tiles.reshape([grid * tile for grid, tile in zip(self.grid, self.tile, strict=True)])
        return padded[tuple(slice(size) for size in self.axes)].reshape(self.shape)

    def spread(self, per_block: Tensor) -> Tensor:
        """(count,) values, each at all weights of its block, in the weight's shape."""
        return self.scatter(per_block[:, None].expand(-1, prod(self.tile)))

    def sizes(self, device: torch.device | str = "cpu") -> Tensor:
        """Number of weights in each block, int64 (count,)."""
        if self.uniform:
            return torch.full((self.count,), prod(self.tile), device=device)
        return self.gather(torch.ones(self.shape, dtype=torch.int64, device=device)).sum(1)


_BLOCKS_FIRST = [*range(0, 12, 2), *range(1, 12, 2)]
_INTERLEAVED = [axis + offset for axis in range(6) for offset in (0, 6)]


def _across(axes: str) -> dict[str, int]:
    return dict.fromkeys(axes, WHOLE)


_NARROWING = {
    frozenset(_across("cdhw").items()): "outputs",
    frozenset(_across("odhw").items()): "inputs",
}

GRANULARITIES: dict[str, Granularity] = {
    granularity.name: granularity
    for granularity in (
        Granularity("weight"),
        Granularity("row", _across("cdhw")),
        Granularity("column", _across("o")),
        Granularity("kernel_row", _across("w")),
        Granularity("kernel_column", _across("h")),
        Granularity("kernel", _across("dhw")),
        Granularity("filter", _across("cdhw")),
        Granularity("input_channel", _across("odhw")),
        Granularity("input", _across("odhw")),
        Granularity("shared_kernel", _across("go")),
    )
}
"""The granularities without parameters, by name.

- ``weight``: each weight on its own;
- ``row``, ``column``: of the weight as a matrix (out, in × kernel), each group of a convolution its own;
- ``kernel_row``, ``kernel_column``: one row or column of one kernel;
- ``kernel``: what joins one input channel to one filter;
- ``filter``: what makes one output channel or neuron;
- ``input_channel``: what reads one input channel or feature;
- ``input``: the same, meant for a network's first layer alone;
- ``shared_kernel``: one mask for all filters, in all groups.
"""


def _block(n: int, m: int) -> Granularity:
    """``n`` filters by ``m`` inputs at one place of the kernel."""
    if n < 1 or m < 1:
        raise SparsightError(f"block({n}, {m}) is empty: a block has at least 1 filter and 1 input.")
    return Granularity(f"block({n}, {m})", {"o": n, "c": m})


def _n_of_m(n: int, m: int) -> Granularity:
    """At least ``n`` of each ``m`` neighbouring inputs stay (NVIDIA's 2:4, Mishra et al., 2021)."""
    if not 1 <= n <= m:
        raise SparsightError(f"{n} of {m} cannot stay: n of m needs 1 <= n <= m.")
    return Granularity(f"n_of_m({n}, {m})", {"c": m}, keep=n)


PARAMETRISED: dict[str, Callable[[int, int], Granularity]] = {"block": _block, "n_of_m": _n_of_m}
"""The granularities with parameters: ``"block(4, 4)"``, ``"n_of_m(2, 4)"`` or, the same, ``"2:4"``."""


def parse(name: str | Granularity) -> Granularity:
    """The granularity called ``name``: ``"filter"``, ``"block(4, 4)"``, ``"n_of_m(2, 4)"``, ``"2:4"``.

    Raises:
        SparsightError: no such granularity, or not the parameters it takes.
    """
    if isinstance(name, Granularity):
        return name
    if not isinstance(name, str):
        raise SparsightError(f"a granularity is a name like 'filter', 'block(4, 4)' or '2:4', not {name!r}.")
    short = name.split(":")
    if len(short) == 2 and all(part.strip().isdigit() for part in short):
        return _n_of_m(int(short[0]), int(short[1]))
    base, values, named = spelled(name)
    if base in PARAMETRISED:
        if named or len(values) != 2 or not all(type(value) is int for value in values):
            raise SparsightError(f"{name!r} lacks its two whole numbers: write '{base}(2, 4)'.")
        return PARAMETRISED[base](*values)
    granularity = lookup("granularity", base, {**GRANULARITIES, **PARAMETRISED})
    if values or named or not isinstance(granularity, Granularity):
        raise SparsightError(f"granularity {base} has no parameters, but {name!r} is given.")
    return granularity


def partition(granularity: str | Granularity, shape: Sequence[int], groups: int = 1) -> Blocks:
    """The blocks of a weight of ``shape`` (out, in / groups, *kernel), at most three kernel axes.

    Raises:
        SparsightError: the shape is no weight's.
    """
    granularity = parse(granularity)
    out, inputs, *kernel = shape
    if len(kernel) > 3 or groups < 1 or out % groups:
        raise SparsightError(f"{tuple(shape)} is not the shape of a weight with {groups} groups.")
    axes = (groups, out // groups, inputs, *[1] * (3 - len(kernel)), *kernel)
    tile = tuple(
        size if granularity.inside.get(axis, 1) == WHOLE else granularity.inside.get(axis, 1)
        for axis, size in zip(AXES, axes, strict=True)
    )
    return Blocks(tuple(shape), axes, tile, granularity.keep)
