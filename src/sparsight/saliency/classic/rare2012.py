"""RARE2012: what is rare in colour or in orientation, at several scales, is salient.

After N. Riche, M. Mancas, M. Duvinage, M. Mibulumukini, B. Gosselin and T. Dutoit, "RARE2012: A multi-scale
rarity-based saliency detection with its comparative statistical analysis" (Signal Processing: Image
Communication, 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.classic.pyramid import orientation_energy
from sparsight.saliency.classic.rarities import efficiency_sum, multiscale_rarity
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.levels import minmax
from sparsight.saliency.result import Map, SaliencyResult

ORIENTATIONS = 8
PERIODS = (4.0, 8.0, 16.0)
"""Of the Gabor filters, in pixels of the working picture."""

_FLAT = 1e-3
"""A feature in [0, 1] that varies by less is noise, whose rarity would count in full."""


class Rare2012:
    """An image (H×W×3 uint8 RGB) → the rarity of its colours and orientations.

    Three uncorrelated colours (``principal_colours``) each give four maps: the colour itself, and for each of
    three periods the energy of eight orientations. The rarity of each feature is the mean over ``scales`` of
    −ln p. Orientations are fused within their period, the four maps within their colour, and the colours with
    each other by ``efficiency_sum``. The result keeps the three colours' maps as levels.

    Args:
        size: the picture is scaled so that its longer side has this many pixels.
        bins: bins of the histograms, at least 2.
        scales: number of scales.
        threshold: maps whose efficiency is below this fraction of the best one's are left out.
        sigma: the outcome is smoothed by a Gaussian of this fraction of the longer side.

    Raises:
        SparsightError: an option out of its range.
    """

    def __init__(
        self,
        *,
        size: int = 256,
        bins: int = 11,
        scales: int = 4,
        threshold: float = 0.3,
        sigma: float = 0.02,
    ) -> None:
        check_positive("rare2012", size=size, scales=scales, sigma=sigma)
        if bins < 2:
            raise SparsightError(f"rare2012 cannot have bins={bins}: give at least 2.")
        if not 0 <= threshold <= 1:
            raise SparsightError(f"rare2012 cannot have threshold={threshold}: give 0 (all maps) to 1.")
        self.size, self.bins, self.scales, self.threshold, self.sigma = size, bins, scales, threshold, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        colours = principal_colours(scaled(image, side=self.size))
        plain = multiscale_rarity(colours, self.bins, self.scales, _FLAT)
        levels = {
            f"colour {index}": minmax(self._colour(values, rare))
            for index, (values, rare) in enumerate(zip(colours, plain, strict=True))
        }
        total = efficiency_sum(list(levels.values()), self.threshold)
        return SaliencyResult(finished(blurred(total, self.sigma * self.size), image), levels=levels)

    def _colour(self, colour: Map, plain: Map) -> Map:
        """What is rare in one colour, given what is rare in its values alone."""
        angles = np.arange(ORIENTATIONS) * 180 / ORIENTATIONS
        energies = np.stack(
            [orientation_energy(colour, float(a), period) for period in PERIODS for a in angles]
        )
        rare = multiscale_rarity(energies, self.bins, self.scales, _FLAT)
        periods = [
            minmax(efficiency_sum(list(rare[i : i + ORIENTATIONS]), self.threshold))
            for i in range(0, len(rare), ORIENTATIONS)
        ]
        return efficiency_sum([plain, *periods], self.threshold)


def principal_colours(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three uncorrelated colours: the projections on the principal axes of this picture's pixels.

    Args:
        rgb: H×W×3.

    Returns:
        (3, H, W) float32, by falling variance; in a picture without colour the second and third are flat.
    """
    pixels = rgb.reshape(-1, 3).astype(np.float64)
    pixels -= pixels.mean(axis=0)
    _, axes = np.linalg.eigh(pixels.T @ pixels)
    return np.asarray((pixels @ axes[:, ::-1]).T.reshape(3, *rgb.shape[:2]), np.float32)
