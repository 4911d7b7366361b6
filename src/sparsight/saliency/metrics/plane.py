"""A map, checked, and the sums that several metrics share.

Pixels are gone through in blocks that stay in the processor's cache and need no temporary arrays of the map's
size: on maps of a megapixel the making of those costs more than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.uint8]
"""0 and 1."""

BLOCK = 1 << 16
# OpenBLAS hands products of vectors of more than 10,000 elements to threads, which wait for one another for
# milliseconds where the processor is busy.
_SHORT = 1 << 13
# Where the mean is this many deviations or more, sums of squares lose too many digits.
_FAR = 1e3


def slices(count: int, block: int = BLOCK) -> Iterator[slice]:
    """The blocks of a flat array of ``count`` elements."""
    for start in range(0, count, block):
        yield slice(start, min(start + block, count))


def dot(first: NDArray[Any], second: NDArray[Any]) -> float:
    """The inner product of two flat arrays of one length, one of them float64, in one thread."""
    whole = len(first) - len(first) % _SHORT
    sums = np.matmul(first[:whole].reshape(-1, 1, _SHORT), second[:whole].reshape(-1, _SHORT, 1))
    return float(sums.sum() + first[whole:] @ second[whole:])


def total(values: Array) -> float:
    """The sum of a flat float64 array, row by row: faster than NumPy's sum, and as exact."""
    whole = len(values) - len(values) % _SHORT
    return float(np.einsum("ij->i", values[:whole].reshape(-1, _SHORT)).sum() + values[whole:].sum())


@dataclass(frozen=True, eq=False)
class Plane:
    """A finite H×W map; what metrics ask of it is computed on first use.

    ``native`` is C-contiguous uint8, float32 or float64 as it was given; other types as float64.
    """

    native: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.native.shape[0], self.native.shape[1]

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.native.size

    @property
    def flat(self) -> NDArray[Any]:
        """``native``, flat."""
        return self.native.ravel()

    def at(self, where: Indices) -> Array:
        """The values of the pixels ``where`` (flat indices)."""
        return self.flat[where].astype(np.float64)

    def blocks(self) -> Iterator[Array]:
        """The pixels as float64, block by block; only to be read, and before the next one is asked for."""
        flat = self.flat
        room = np.empty(0 if flat.dtype == np.float64 else min(BLOCK, flat.size))
        for block in slices(flat.size):
            if flat.dtype == np.float64:
                yield flat[block]
            else:
                converted = room[: block.stop - block.start]
                converted[:] = flat[block]
                yield converted

    @cached_property
    def low(self) -> float:
        """The minimum."""
        return float(self.native.min())

    @cached_property
    def high(self) -> float:
        """The maximum."""
        return float(self.native.max())

    @property
    def constant(self) -> bool:
        """Whether all pixels are equal."""
        return self.low == self.high

    @cached_property
    def mean(self) -> float:
        """The mean."""
        with np.errstate(over="ignore", invalid="ignore"):
            # OpenCV adds in float64 whatever it is given.
            given = self.native.dtype == np.float64
            whole = total(self.flat) if given else float(cv2.sumElems(self.native)[0])
        return whole / self.size

    @cached_property
    def variance(self) -> float:
        """The variance with N in the divisor; exactly 0 if the map is constant."""
        square = self.mean**2
        with np.errstate(over="ignore"):
            # What needs no conversion needs no blocks.
            pieces = [self.flat] if self.native.dtype == np.float64 else self.blocks()
            variance = sum(dot(values, values) for values in pieces) / self.size - square
        if square < _FAR**2 * variance < math.inf:
            return variance
        return 0.0 if self.constant else self._centred(self)

    def covariance(self, other: Plane) -> float:
        """The covariance with another map of the same size, with N in the divisor."""
        product = self.mean * other.mean
        if abs(product) >= _FAR**2 * math.sqrt(self.variance * other.variance):
            return self._centred(other)
        if self.native.dtype == other.native.dtype == np.float64:
            return dot(self.flat, other.flat) / self.size - product
        pairs = zip(self.blocks(), other.blocks(), strict=True)
        return sum(dot(a, b) for a, b in pairs) / self.size - product

    def _centred(self, other: Plane) -> float:
        pairs = zip(self.blocks(), other.blocks(), strict=True)
        return sum(dot(a - self.mean, b - other.mean) for a, b in pairs) / self.size

    def distribution(self, *, lift: bool, floor: float) -> Distribution:
        """The map divided by its sum, after its minimum was subtracted (``lift``; else only where it is
        negative).

        ``floor`` is added to every pixel first. A map without any mass, or without contrast, is uniform.
        """
        base = self.low if lift or self.low < 0 else 0.0
        mass = (self.mean - base + floor) * self.size
        if self.constant or mass <= 0:
            return Distribution(self, 0.0, 0.0, 0.0, 1.0 / self.size)
        return Distribution(self, base, floor, 1.0 / mass, 0.0)


@dataclass(frozen=True, eq=False)
class Distribution:
    """A map read as probabilities that sum to one: ``(map - base + floor) * scale + level``."""

    plane: Plane
    base: float
    floor: float
    scale: float
    level: float

    def _of(self, values: Array, out: Array) -> Array:
        np.subtract(values, self.base, out=out)
        if self.floor:
            out += self.floor
        out *= self.scale
        if self.level:
            out += self.level
        return out

    def at(self, where: Indices) -> Array:
        """The probabilities of the pixels ``where`` (flat indices)."""
        values = self.plane.at(where)
        return self._of(values, values)

    def blocks(self) -> Iterator[Array]:
        """The probabilities block by block; to be used, or overwritten, before the next one is asked for."""
        room = np.empty(min(BLOCK, self.plane.size))
        for values in self.plane.blocks():
            yield self._of(values, room[: len(values)])

    def averaged(self, grid: tuple[int, int]) -> Array:
        """The distribution over a coarser grid of (width, height) cells, each the mean of its pixels."""
        native = self.plane.native
        averages = cv2.resize(native.astype(np.float64, copy=False), grid, interpolation=cv2.INTER_AREA)
        masses: Array = self._of(averages.astype(np.float64), np.empty(averages.shape))
        # Averages of rounding errors.
        np.maximum(masses, 0.0, out=masses)
        masses /= masses.sum()
        return masses


def numbers(values: ArrayLike, name: str, wanted: str) -> NDArray[Any]:
    """``values`` as an array of real numbers.

    Raises:
        SparsightError: they are none; the sentence asks for ``wanted``.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        raise SparsightError(f"the {name} is no array of numbers: give {wanted}.") from None
    if array.dtype.kind not in "buif":
        given = "is None" if values is None else f"has shape {array.shape} and type {array.dtype}"
        raise SparsightError(f"the {name} {given}: give {wanted}.")
    return array


def size(shape: Sequence[int]) -> str:
    """Width by height, for sentences."""
    return f"{shape[1]}x{shape[0]}"


def plane(values: ArrayLike, name: str = "map") -> Plane:
    """Check a map and measure it.

    Args:
        values: H×W of any real dtype, finite.
        name: what to call it in an error.

    Raises:
        SparsightError: not two-dimensional, empty, not numbers, NaN or infinite.
    """
    array = numbers(values, name, "height x width real numbers")
    if array.ndim != 2 or array.size == 0:
        raise SparsightError(
            f"the {name} is an array of shape {array.shape}: give height x width real numbers."
        )
    if array.dtype not in (np.uint8, np.float32, np.float64):
        array = array.astype(np.float64)
    checked = Plane(np.ascontiguousarray(array))
    # NaN and infinity survive a sum, and the mean is wanted later anyway.
    if not math.isfinite(checked.mean):
        raise SparsightError(f"the {name} holds NaN or infinite pixels: mend them before scoring.")
    return checked
