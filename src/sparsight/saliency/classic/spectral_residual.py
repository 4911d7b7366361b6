"""Spectral residual: what the spectrum of a picture has beyond that of pictures in general.

After X. Hou and L. Zhang, "Saliency Detection: A Spectral Residual Approach" (CVPR 2007).
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sparsight.saliency.classic.colour import luma
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.result import Map, SaliencyResult


class SpectralResidual:
    """An image (H×W×3 uint8 RGB) → where its log spectrum departs from its own local mean.

    The picture is scaled to ``width`` in grey, so that only what is large enough to be looked at counts.

    Args:
        width: width of the working picture in pixels.
        sigma: the outcome is smoothed by a Gaussian of this many working pixels.

    Raises:
        SparsightError: an option that is not positive.
    """

    def __init__(self, *, width: int = 64, sigma: float = 2.5) -> None:
        check_positive("spectral_residual", width=width, sigma=sigma)
        self.width, self.sigma = width, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        grey = luma(scaled(image, width=self.width))
        return SaliencyResult(finished(blurred(spectral_residual(grey), self.sigma), image))


def spectral_residual(grey: Map) -> Map:
    """|F⁻¹[exp(R + iP)]|², R = L − (L averaged over 3×3), L the log amplitude, P the phase (eqs. 5 to 10).

    Frequencies without energy (of a picture of one colour, or of exact stripes) say nothing and stay out.

    Args:
        grey: H×W.

    Returns:
        H×W float32 ≥ 0; zero where ``grey`` is constant.
    """
    spectrum = scipy.fft.fft2(grey.astype(np.float64))
    amplitude = np.abs(spectrum)
    silent = amplitude <= 1e-8 * max(amplitude.max(), 1.0)
    if silent.sum() >= amplitude.size - 1:
        return np.zeros(grey.shape, np.float32)
    log = np.log(np.where(silent, amplitude[~silent].min(), amplitude))
    residual = log - cv2.blur(log, (3, 3), borderType=cv2.BORDER_REPLICATE)
    unit = np.divide(spectrum, amplitude, out=np.zeros_like(spectrum), where=~silent)
    return np.asarray(np.abs(scipy.fft.ifft2(np.exp(residual) * unit)) ** 2, np.float32)
