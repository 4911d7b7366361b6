"""Slots: which channel of which layer every element of an activation comes from.

Each channel that a layer makes is a *slot*, a positive integer. An activation is followed as an array of
slots of the activation's own rank, with size 1 along every axis on which the slot does not change: a map
(N, C, H, W) has slots (1, C, 1, 1). What moves data (a reshape, a concatenation, a channel shuffle) is
followed by doing the same to the array of slots. Slot 0 stands for what cannot change.

Beside its slot, each position has a constant: the value that the channel has whatever the input of the
network is, or NaN where there is no such value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FIXED = 0
"""The slot of whatever cannot be removed and is not worth telling apart."""

MAX_IDS = 1 << 24
"""Largest parameter that is followed element by element; only small ones are used other than as weights."""


@dataclass(frozen=True)
class Source:
    """A tensor that is a parameter or buffer, or that merely rearranges its elements."""

    name: str
    tensor: Tensor
    moves: tuple[Callable[[Tensor], Tensor], ...] = ()

    def moved(self, move: Callable[[Tensor], Tensor]) -> Source:
        """This source rearranged once more."""
        return Source(self.name, self.tensor, (*self.moves, move))

    def ids(self) -> Tensor | None:
        """For each element, its position in the flattened parameter; None if the parameter is too large."""
        if self.tensor.numel() > MAX_IDS:
            return None
        ids = torch.arange(self.tensor.numel()).view(self.tensor.shape)
        for move in self.moves:
            ids = move(ids)
        return ids


@dataclass(eq=False)
class Value:
    """What is known of one tensor of the executed network.

    Attributes:
        slots: int64, of the tensor's rank, each axis full or of size 1.
        constant: float64, shaped like ``slots``; NaN where the channel follows the input.
        static: whether the tensor depends on no input of the network.
        source: the parameter that a static tensor shows.
        inner: the constants inside a border of -inf, which a max pooling will take off again.
        maker: name of the weight whose convolution or product made this tensor.
        uses: how many operations have read it.
    """

    slots: Tensor
    constant: Tensor
    static: bool = False
    source: Source | None = None
    inner: Tensor | None = None
    maker: str | None = None
    uses: int = 0

    @property
    def axes(self) -> list[int]:
        """Axes along which the slot changes."""
        return [axis for axis, size in enumerate(self.slots.shape) if size > 1]


def place(slots: Tensor) -> tuple[int, int, int]:
    """What views of the same slots, (n,), have in common: where they lie in memory."""
    return slots.data_ptr(), len(slots), slots.stride(0)


def zero_rows(weight: Tensor) -> Tensor:
    """Whether each of a weight's rows along axis 0 is zero as a whole: bool (rows,)."""
    rows = weight.detach().flatten(1)
    if not rows.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return (rows.amax(1) == 0) & (rows.amin(1) == 0)  # ten times as fast as any()


def distinct(slots: Tensor) -> Tensor:
    """Each slot once, in ascending order."""
    found: Tensor = slots.unique()  # type: ignore[no-untyped-call]
    return found


def unknown(slots: Tensor) -> Tensor:
    """Constants of channels that all follow the input."""
    return _NAN.expand(slots.shape)


def silence(slots: Tensor) -> Tensor:
    """Constants of channels that all give zero."""
    return _ZERO.expand(slots.shape)


def is_silence(constant: Tensor) -> bool:
    """Whether these constants are what ``silence`` gave, or a view of it."""
    return constant.data_ptr() == _ZERO.data_ptr()


_ZERO = torch.zeros((), dtype=torch.float64)
_NAN = torch.full((), torch.nan, dtype=torch.float64)


def fixed(rank: int, *, static: bool = False, source: Source | None = None) -> Value:
    """A tensor of ``rank`` axes none of which can change."""
    return Value(*_nothing(rank), static, source)


@functools.cache
def _nothing(rank: int) -> tuple[Tensor, Tensor]:
    slots = torch.zeros((1,) * rank, dtype=torch.int64)
    return slots, unknown(slots)


def along(axis: int, rank: int, slots: Tensor, constant: Tensor) -> Value:
    """A tensor of ``rank`` axes whose slots lie along one of them."""
    shape = [1] * rank
    shape[axis] = len(slots)
    return Value(slots.reshape(shape), constant.reshape(shape))


def compress(slots: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Cut every axis along which the slot does not change to size 1.

    A constant that changes along such an axis is none: a channel must have one value everywhere.
    """
    for axis, size in enumerate(slots.shape):
        if size > 1 and bool((slots == slots.narrow(axis, 0, 1)).all()):
            constant = _level(constant, axis)
            slots = slots.narrow(axis, 0, 1)
    return slots, constant


def collapse(slots: Tensor, constant: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Let slots change along ``axes`` only, as for an operation that mixes positions along all others.

    Returns:
        The slots at the first position along the other axes, their constants, and (2, n) pairs of slots that
        now share a channel.
    """
    first = slots
    if slots.numel() == math.prod([slots.shape[axis] for axis in axes]):  # as nearly always
        return slots, constant, _NO_PAIRS
    for axis in range(slots.ndim):
        if axis not in axes and slots.shape[axis] > 1:
            first = first.narrow(axis, 0, 1)
            constant = _level(constant, axis)
    return first, constant, torch.stack([first.expand_as(slots), slots]).reshape(2, -1)


_NO_PAIRS = torch.empty(2, 0, dtype=torch.int64)


def _level(constant: Tensor, axis: int) -> Tensor:
    level = constant.narrow(axis, 0, 1)
    return torch.where((constant == level).all(axis, keepdim=True), level, torch.nan)
