"""One map beside its ground truth, and what several metrics need of them, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from sparsight.errors import SparsightError
from sparsight.saliency.metrics.counting import Region, region_of
from sparsight.saliency.metrics.plane import Array, Distribution, Indices, Mask, Plane, numbers, plane, size
from sparsight.saliency.metrics.presets import Preset, preset_of

T = TypeVar("T")


def given_as(value: T | None, name: str) -> T:
    """A ground truth that a metric cannot do without.

    Raises:
        SparsightError: it is None.
    """
    if value is None:
        raise SparsightError(f"the {name} is None: give one to score the map against.")
    return value


@dataclass(frozen=True, eq=False)
class Case:
    """A map, whatever ground truth there is for it, and the definitions to score by. Built by ``case``."""

    plane: Plane
    preset: Preset
    seed: int
    fixations: Indices | None = None
    other_fixations: Indices | None = None
    density: Plane | None = None
    baseline: Plane | None = None
    mask: Mask | None = None
    target: Mask | None = None
    distractors: Mask | None = None
    distractor_size: float | None = None

    @cached_property
    def fixated(self) -> Indices:
        """Flat indices of the pixels that were fixated, ascending, each once."""
        return np.unique(given_as(self.fixations, "array of fixations"))

    @cached_property
    def positives(self) -> Indices:
        """Flat indices of the fixations that count: each, or (``preset.once``) each pixel once."""
        return self.fixated if self.preset.once else given_as(self.fixations, "array of fixations")

    @cached_property
    def mass(self) -> Distribution:
        """The map as SIM and EMD read it."""
        return self.plane.distribution(lift=self.preset.lift, floor=0.0)

    @cached_property
    def density_mass(self) -> Distribution:
        """The ground truth's density as SIM and EMD read it."""
        return given_as(self.density, "density").distribution(lift=self.preset.lift, floor=0.0)

    @cached_property
    def region(self) -> Region:
        """Map and mask as the region metrics read them."""
        return region_of(self.plane, given_as(self.mask, "mask"))


def _plane_like(values: ArrayLike | None, name: str, shape: tuple[int, int]) -> Plane | None:
    if values is None:
        return None
    checked = plane(values, name)
    _same(name, checked.shape, shape)
    if checked.constant and checked.low == 0:
        raise SparsightError(f"the {name} is zero everywhere: there is nothing to score against.")
    return checked


def _same(name: str, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if tuple(found) != shape:
        raise SparsightError(
            f"the map has {size(shape)} pixels and the {name} {size(found)}: resize one to the other first."
        )


_MASK = "height x width booleans, 0 and 1, or whole numbers from 0 to 255"


def _mask_like(values: ArrayLike | None, name: str, shape: tuple[int, int]) -> Mask | None:
    if values is None:
        return None
    array = numbers(values, name, _MASK)
    if array.ndim != 2:
        raise SparsightError(f"the {name} is an array of shape {array.shape}: give {_MASK}.")
    _same(name, array.shape, shape)
    if array.dtype == bool:
        chosen = array
    elif array.dtype.kind == "f":
        chosen = array == 1
        if not (chosen | (array == 0)).all():
            raise SparsightError(f"the {name} holds other numbers than 0 and 1: give {_MASK}.")
    else:
        highest = array.max(initial=0)
        if highest > 255 or array.min(initial=0) < 0:
            raise SparsightError(f"the {name} holds numbers below 0 or above 255: give {_MASK}.")
        # Grey masks were saved as images: what is brighter than the middle belongs to the region, as in
        # PySODMetrics.
        chosen = array > (128 if highest > 1 else 0)
    mask: Mask = np.ascontiguousarray(chosen).view(np.uint8)
    if not mask.any():
        raise SparsightError(f"the {name} is empty: leave out images without a region.")
    return mask


def inside(xy: ArrayLike, shape: Sequence[int]) -> tuple[Array, int]:
    """The fixations that lie on the image, and how many do not.

    Args:
        xy: (N, 2) pixel coordinates x, y; a fixation belongs to the pixel ``floor(x), floor(y)``.
        shape: height and width.

    Returns:
        (M, 2) float64 in the order given, and N - M. Coordinates that are not finite lie outside.

    Raises:
        SparsightError: ``xy`` is not (N, 2).
    """
    points = _points(xy, "fixations")
    with np.errstate(invalid="ignore"):
        kept = ((points >= 0) & (points < (shape[1], shape[0]))).all(axis=1)
    return points[kept], int(len(points) - np.count_nonzero(kept))


def _points(xy: ArrayLike, name: str) -> Array:
    points = numbers(xy, f"array of {name}", "N rows of x and y in pixels").astype(np.float64)
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise SparsightError(f"the {name} have shape {points.shape}: give N rows of x and y in pixels.")
    return points


def fixated_pixels(xy: ArrayLike, name: str, shape: tuple[int, int]) -> Indices:
    """Flat indices of the pixels that hold the fixations, in their order; errors as for ``nss``."""
    kept, dropped = inside(xy, shape)
    if dropped:
        raise SparsightError(
            f"{dropped} of {dropped + len(kept)} {name} lie outside the {size(shape)} map: drop them with "
            "inside(xy, shape)."
        )
    if not len(kept):
        raise SparsightError(f"there are no {name} on this image: leave it out.")
    column, row = kept.astype(np.intp).T
    where: Indices = row * shape[1] + column
    return where


def case(
    map: ArrayLike,
    *,
    xy: ArrayLike | None = None,
    density: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    other_xy: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    target: ArrayLike | None = None,
    distractors: ArrayLike | None = None,
    distractor_size: float | None = None,
    preset: str = "mit",
    seed: int | None = None,
) -> Case:
    """Check a map and its ground truth, and put them together; arguments as for ``score_map``."""
    chosen = preset_of(preset)
    scored = plane(map)
    shape = scored.shape
    if distractor_size is not None and not (isinstance(distractor_size, Real) and distractor_size > 0):
        said = distractor_size if isinstance(distractor_size, Real) else type(distractor_size).__name__
        raise SparsightError(f"the size of a distractor is {said}: give pixels above zero.")
    return Case(
        plane=scored,
        preset=chosen,
        seed=chosen.seed if seed is None else seed,
        fixations=None if xy is None else fixated_pixels(xy, "fixations", shape),
        other_fixations=None
        if other_xy is None
        else fixated_pixels(other_xy, "fixations of other images", shape),
        density=_plane_like(density, "density", shape),
        baseline=_plane_like(baseline, "baseline", shape),
        mask=_mask_like(mask, "mask", shape),
        target=_mask_like(target, "target mask", shape),
        distractors=_mask_like(distractors, "mask of the distractors", shape),
        distractor_size=distractor_size,
    )
