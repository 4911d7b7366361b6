"""AIM: the self-information of local features, the independent components of small patches of photographs.

After N. Bruce and J. Tsotsos, "Saliency Based on Information Maximization" (NIPS 2005) and "Saliency,
attention, and visual search: An information theoretic approach" (Journal of Vision 2009).
"""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.classic.rarities import self_information
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.result import SaliencyResult

_FLAT = 1e-3
"""A response, of unit filters to values in [0, 1], that varies by less is noise."""


class Aim:
    """An image (H×W×3 uint8 RGB) → −Σ ln p of the responses of the basis at each place.

    p is the fraction of this picture's places whose response of the same filter falls into the same bin.

    Args:
        size: the picture is scaled so that its longer side has this many pixels.
        bins: bins of the histograms, at least 2.
        sigma: the outcome is smoothed by a Gaussian of this fraction of the longer side.

    Raises:
        SparsightError: an option out of its range.
    """

    def __init__(self, *, size: int = 320, bins: int = 100, sigma: float = 0.02) -> None:
        check_positive("aim", size=size, sigma=sigma)
        if bins < 2:
            raise SparsightError(f"aim cannot have bins={bins}: give at least 2.")
        self.size, self.bins, self.sigma = size, bins, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        answers = responses(scaled(image, side=self.size), basis())
        information = self_information(answers, self.bins, _FLAT).sum(axis=0)
        return SaliencyResult(finished(blurred(information, self.sigma * self.size), image))


@functools.cache
def basis() -> NDArray[np.float32]:
    """The filters, (K, 3, k, k) float32 of length one, k odd.

    Independent components (FastICA) of patches of Caltech-101's photographs (CC BY 4.0), as computed by
    ``benchmarks/saliency/aim_basis.py``.
    """
    with files(__package__).joinpath("aim_basis.npy").open("rb") as stream:
        return np.asarray(np.load(stream, allow_pickle=False), np.float32)


def responses(rgb: NDArray[np.float32], filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correlation of a picture with each filter, summed over its channels; mirrored at the borders.

    Args:
        rgb: H×W×3.
        filters: (K, 3, k, k), k odd.

    Returns:
        (K, H, W) float32.
    """
    height, width = rgb.shape[:2]
    reach = filters.shape[-1] // 2
    padded = np.pad(np.moveaxis(rgb, -1, 0), ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    size = tuple(scipy.fft.next_fast_len(side, real=True) for side in padded.shape[1:])
    # Around the circle, what wraps falls on the padding, which is cut off.
    picture = scipy.fft.rfft2(padded, size)
    kernels = scipy.fft.rfft2(filters, size)
    spectrum = np.einsum("chw,kchw->khw", picture, kernels.conj())
    return np.asarray(scipy.fft.irfft2(spectrum, size)[:, :height, :width], np.float32)
