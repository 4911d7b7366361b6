"""What the maps of one image are scored against, computed once for all models."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media import Image
from sparsight.saliency.datasets.dataset import Dataset, Mask
from sparsight.saliency.intake import lifted
from sparsight.saliency.levels import resize as stretched
from sparsight.saliency.metrics import METRICS, density_map, score_map
from sparsight.saliency.priors import centre_map
from sparsight.saliency.result import Map

DEFAULT_SIGMA = 0.03
"""Deviation of the Gaussian around a fixation where no degree is known, as a share of the longer side."""

CENTRE_SIGMA = 0.25
"""Deviation of the centre prior, as a share of height and width."""

OTHER_IMAGES = 10
"""How many images lend their fixations to the shuffled AUC, as in the MIT benchmark's ``AUC_shuffled.m``."""

UNIFORM_SHARE = 0.01
"""Share of the information gain's baseline that is even all over, lest a place has no chance at all."""

_GRID = 256
"""Longer side of the grid on which the centre bias is computed: it has no detail."""


@dataclass(frozen=True, eq=False)
class Field:
    """What there is to score against on a data set, for all images of it.

    Attributes:
        dataset: all its images, with the fixations that lie on them.
        sizes: (images, 2) height and width.
        sigma: in pixels; None for the default.
        seed: of the images that lend fixations.
        resize: stretch masks and densities to their image's size, rather than refuse them.
        relative: (N, 2) the fixations as shares of width and height.
    """

    dataset: Dataset
    sizes: NDArray[np.int64]
    sigma: float | None
    seed: int
    resize: bool
    relative: NDArray[np.float64]


def make_field(
    dataset: Dataset, sizes: NDArray[np.int64], sigma: float | None, seed: int, resize: bool
) -> Field:
    """A ``Field``; fixations must lie on their images."""
    looked = dataset.fixations
    relative = np.zeros((0, 2))
    if looked is not None:
        relative = np.stack([looked.x, looked.y], axis=1) / sizes[looked.image][:, ::-1]
    return Field(dataset, sizes, dataset.sigma if sigma is None else sigma, seed, resize, relative)


def sigma_of(field: Field, shape: tuple[int, int]) -> float:
    """The deviation in pixels of the Gaussian around a fixation, on an image of this height and width."""
    return DEFAULT_SIGMA * max(shape) if field.sigma is None else field.sigma


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the files of an image hold: the picture, and the density and regions there are."""

    image: Image
    density: Map | None
    regions: Mapping[str, Mask]


def read_pictures(dataset: Dataset, index: int) -> Pictures:
    """Read the files of an image; regions without a pixel are none.

    Raises:
        SparsightError: one of them is missing, cut short or not a picture.
    """
    regions = {
        "mask": dataset.mask(index),
        "target": dataset.target(index),
        "distractors": dataset.distractor(index),
    }
    some = {name: region for name, region in regions.items() if region is not None and region.any()}
    return Pictures(dataset.image(index), dataset.density(index), some)


def truth_of(field: Field, index: int, pictures: Pictures) -> dict[str, Any]:
    """Arguments of ``score_map`` that the data set has for an image; those it has not are left out.

    Raises:
        SparsightError: a density or region is not of the image's size.
    """
    dataset = field.dataset
    height, width = (int(side) for side in field.sizes[index])
    shape = (height, width)
    truth: dict[str, Any] = {}
    if dataset.fixations is not None:
        here = dataset.fixations.of(index)
        if here.stop > here.start:
            truth["xy"] = dataset.fixations.xy(index)
            truth["density"] = density_map(truth["xy"], shape, sigma_of(field, shape))
            if len(field.relative) > here.stop - here.start:
                truth["other_xy"] = _others(field, index) * (width, height)
                truth["baseline"] = _centre_bias(field, index, shape)
    if pictures.density is not None and pictures.density.any():
        truth["density"] = _fitted(pictures.density, "density", field, index)
    for name, region in pictures.regions.items():
        truth[name] = _fitted(region.astype(np.float32), name, field, index) >= 0.5
    if "distractors" in truth:
        truth["distractor_size"] = _side(truth["distractors"])
    return truth


def with_centre_prior(values: Map) -> Map:
    """A map times a Gaussian in its middle; a minimum below zero is lifted first."""
    product: Map = (lifted(values) * centre_map(values.shape, CENTRE_SIGMA)).astype(np.float32)
    return product


def fitted_map(values: Map, image: Image, model: str, name: str, resize: bool) -> Map:
    """A model's map at its image's size.

    Raises:
        SparsightError: the sizes differ and ``resize`` is false, or the map has NaN or infinite values.
    """
    if values.ndim != 2 or not np.isfinite(values).all():
        raise SparsightError(
            f"{model} gives NaN, infinite values or no H×W map for the image {name}: repair it or leave "
            "it out."
        )
    if values.shape == image.shape[:2]:
        return values
    if not resize:
        raise SparsightError(
            f"the map of {model} for the image {name} is {_said(values.shape)}, the image "
            f"{_said(image.shape)}: make it of that size, or give --resize."
        )
    return stretched(values, image.shape[:2])


def score_one(
    values: Map, truth: Mapping[str, Any], metrics: tuple[str, ...], preset: str, seed: int
) -> list[float]:
    """The scores of one map, NaN for metrics that this image has nothing to score by."""

    able = [name for name in metrics if truth.keys() >= set(METRICS[name].needs)]
    found = score_map(values, metrics=able, preset=preset, seed=seed, **truth)
    return [found.get(name, math.nan) for name in metrics]


def _others(field: Field, index: int) -> NDArray[np.float64]:
    """Fixations of other images, drawn for this one and the seed, as shares of width and height."""
    looked = field.dataset.fixations
    assert looked is not None
    counts = looked.counts(len(field.dataset))
    counts[index] = 0
    candidates = np.flatnonzero(counts)
    rng = np.random.default_rng([field.seed, zlib.crc32(field.dataset.names[index].encode())])
    drawn = rng.choice(candidates, min(OTHER_IMAGES, len(candidates)), replace=False)
    return np.concatenate([field.relative[looked.of(int(other))] for other in np.sort(drawn)])


def _centre_bias(field: Field, index: int, shape: tuple[int, int]) -> Map:
    """Where people look on all other images: the density of their fixations, scaled to this image's size."""
    looked = field.dataset.fixations
    assert looked is not None
    here = looked.of(index)
    others = np.concatenate([field.relative[: here.start], field.relative[here.stop :]])
    share = min(1.0, _GRID / max(shape))
    grid = max(1, round(shape[0] * share)), max(1, round(shape[1] * share))
    coarse = density_map(others * grid[::-1], grid, sigma_of(field, shape) * share)
    bias = stretched(coarse.astype(np.float32), shape)
    mixed: Map = bias * ((1 - UNIFORM_SHARE) / bias.sum()) + np.float32(UNIFORM_SHARE / bias.size)
    return mixed


def _fitted(values: Map, kind: str, field: Field, index: int) -> Map:
    """A mask or density at its image's size."""
    height, width = field.sizes[index].tolist()
    if values.shape != (height, width) and not field.resize:
        raise SparsightError(
            f"the {kind} of the image {field.dataset.names[index]} is {_said(values.shape)}, the image "
            f"{_said((height, width))}: make it of that size, or give --resize."
        )
    return stretched(values, (height, width))


def _side(mask: NDArray[np.bool_]) -> float:
    """The side of a square as large as the typical connected region of ``mask``, in pixels."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    boxes = statistics[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return float(np.median(boxes.max(axis=1))) if len(boxes) else 1.0


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
