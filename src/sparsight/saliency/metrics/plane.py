"""A map, checked, with the sums that several metrics share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.uint8]
"""0 and 1."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """A map read as probabilities, ``(map - base + floor) * scale + level``, made only when asked for."""

    values: Array
    base: float
    floor: float
    scale: float
    level: float

    def at(self, where: Indices) -> Array:
        """The probabilities of the pixels ``where`` (flat indices)."""
        return (self.values.ravel()[where] - self.base + self.floor) * self.scale + self.level

    @cached_property
    def pixels(self) -> Array:
        """H×W float64 with sum one."""
        lifted = self.values - self.base if self.base else self.values
        lifted = lifted + self.floor if self.floor else lifted
        scaled: Array = lifted * self.scale
        return scaled + self.level if self.level else scaled


# Where the mean is this many deviations or more, sums of squares lose too many digits.
_FAR = 1e3


@dataclass(frozen=True, eq=False)
class Plane:
    """A finite H×W map; what metrics ask of it is computed on first use.

    ``native`` is C-contiguous float32 or float64 as it was given, integers as float64; ``byte``: it was
    uint8.
    """

    native: NDArray[Any]
    byte: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.native.shape[0], self.native.shape[1]

    @cached_property
    def values(self) -> Array:
        """H×W float64."""
        return self.native.astype(np.float64, copy=False)

    @cached_property
    def flat(self) -> Array:
        """``values``, flat."""
        return self.values.ravel()

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
        return float(self.flat.sum()) / self.flat.size

    @cached_property
    def variance(self) -> float:
        """The variance with N in the divisor; exactly 0 if, and only if, the map is constant."""
        square = self.mean**2
        variance = float(np.dot(self.flat, self.flat)) / self.flat.size - square
        if square < _FAR**2 * variance < math.inf:
            return variance
        return 0.0 if self.constant else float(self.flat.var())

    def covariance(self, other: Plane) -> float:
        """The covariance with another map of the same size, with N in the divisor."""
        first, second = self.mean, other.mean
        if abs(first * second) < _FAR**2 * math.sqrt(self.variance * other.variance):
            return float(np.dot(self.flat, other.flat)) / self.flat.size - first * second
        return float(np.dot(self.flat - first, other.flat - second)) / self.flat.size

    def distribution(self, *, lift: bool, floor: float) -> Distribution:
        """The map divided by its sum, after its minimum was subtracted (``lift``; else only where it is
        negative).

        ``floor`` is added to every pixel first. A map without any mass, or without contrast, is uniform.
        """
        count = self.flat.size
        base = self.low if lift or self.low < 0 else 0.0
        total = (self.mean - base + floor) * count
        if self.constant or total <= 0:
            return Distribution(self.values, 0.0, 0.0, 0.0, 1.0 / count)
        return Distribution(self.values, base, floor, 1.0 / total, 0.0)


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
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "buif":
        raise SparsightError(
            f"the {name} is an array of shape {array.shape} and type {array.dtype}: "
            "give height x width real numbers."
        )
    native = array
    if array.dtype not in (np.float32, np.float64):
        native = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    native = np.ascontiguousarray(native)
    checked = Plane(native, array.dtype == np.uint8)
    # NaN and infinity survive a sum, and the mean is wanted later anyway.
    if not math.isfinite(checked.mean):
        raise SparsightError(f"the {name} holds NaN or infinite pixels: mend them before scoring.")
    return checked
