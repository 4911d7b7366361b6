"""Image signature: only the signs of a picture's cosine transform are kept, which draws what is sparse in it.

After X. Hou, J. Harel and C. Koch, "Image Signature: Highlighting Sparse Salient Regions" (PAMI 2012).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sparsight.registry import lookup
from sparsight.saliency.classic.colour import lab
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.result import Map, SaliencyResult

COLOURS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "lab": lab,
    "rgb": lambda rgb: np.moveaxis(rgb, -1, 0),
}
"""Colour space → H×W×3 RGB in [0, 1] to (3, H, W)."""


class Signature:
    """An image (H×W×3 uint8 RGB) → the squared inverse transform of its signature, summed over channels.

    Args:
        width: width of the working picture in pixels.
        sigma: the outcome is smoothed by a Gaussian of this fraction of ``width``.
        colour: ``"lab"`` or ``"rgb"``, the channels.

    Raises:
        SparsightError: an option that is not positive, or an unknown colour space.
    """

    def __init__(self, *, width: int = 64, sigma: float = 0.045, colour: str = "lab") -> None:
        check_positive("signature", width=width, sigma=sigma)
        self.width, self.sigma = width, sigma
        self._channels = lookup("colour space", colour, COLOURS)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        channels = self._channels(scaled(image, width=self.width))
        total = signature_energy(channels).sum(axis=0)
        return SaliencyResult(finished(blurred(total, self.sigma * self.width), image))


def signature_energy(channels: NDArray[np.float32]) -> Map:
    """IDCT[sign(DCT(x))]² of each channel (eqs. 1, 2 and 6 of the paper), with orthonormal transforms.

    A coefficient within rounding of zero has no sign, so a channel that is zero gives zero.

    Args:
        channels: (C, H, W).

    Returns:
        (C, H, W) float32 ≥ 0.
    """
    transform = scipy.fft.dctn(channels.astype(np.float64), axes=(1, 2), norm="ortho")
    # Compared over all channels: the colours of a grey picture are nothing but rounding.
    signs = np.where(np.abs(transform) > 1e-6 * np.abs(transform).max(), np.sign(transform), 0)
    return np.asarray(scipy.fft.idctn(signs, axes=(1, 2), norm="ortho") ** 2, np.float32)
