"""Maps that do not look at the picture: what every other model has to beat."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.intake import check_image
from sparsight.saliency.result import Map, SaliencyResult


def centre_map(shape: tuple[int, int], sigma: float) -> Map:
    """A Gaussian in the middle of ``shape`` (height, width), H×W float32, about one at its top.

    Its deviation is ``sigma`` times the height up and down, ``sigma`` times the width left and right.
    """
    rows, columns = (np.exp(-(((np.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * sigma**2)) for n in shape)
    return np.outer(rows, columns).astype(np.float32)


class CenterBias:
    """An image → a Gaussian in its middle: people look there first, and photographers aim there.

    After B. W. Tatler, "The central fixation bias in scene viewing" (Journal of Vision 2007).

    Args:
        sigma: deviation of the Gaussian, as a fraction of the picture's height and of its width.

    Raises:
        SparsightError: ``sigma`` is not positive.
    """

    def __init__(self, *, sigma: float = 0.25) -> None:
        if not sigma > 0:
            raise SparsightError(f"center_bias cannot have sigma={sigma}: give a positive fraction.")
        self.sigma = sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The Gaussian at the size of ``image``; errors as for every model."""
        check_image(image)
        values = centre_map(image.shape[:2], self.sigma)
        return SaliencyResult(values / values.max())


class Uniform:
    """An image → a map of ones: every place is as good as any other."""

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """Ones at the size of ``image``; errors as for every model."""
        check_image(image)
        return SaliencyResult(np.ones(image.shape[:2], np.float32))


class Random:
    """An image → noise, each pixel uniform in [0, 1) by itself; the same image always gets the same.

    Args:
        seed: a whole number from 0 on; another one gives other noise.

    Raises:
        SparsightError: ``seed`` is negative.
    """

    def __init__(self, *, seed: int = 0) -> None:
        if seed < 0:
            raise SparsightError(f"random cannot have seed={seed}: give a whole number from 0 on.")
        self.seed = seed

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """Noise at the size of ``image``; errors as for every model."""
        check_image(image)
        # One stream for all images would make the map of an image depend on those before it.
        rng = np.random.default_rng([self.seed, zlib.crc32(image.tobytes())])
        return SaliencyResult(rng.random(image.shape[:2], np.float32))
