"""Graph-based visual saliency: where a walker ends up who is drawn to what differs from where he stands.

After J. Harel, C. Koch and P. Perona, "Graph-Based Visual Saliency" (NIPS 2006).

Both chains of the paper are walks on graphs whose weights are symmetric, so they are reversible, and their
equilibrium needs no eigenvector: a node's share is the sum of its weights.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.classic.pyramid import early_features
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.levels import minmax
from sparsight.saliency.result import Map, SaliencyResult

LEVELS = (2, 3, 4)
"""Levels of the feature pyramids whose maps are looked at."""

_FAINT = 1e-4
"""A feature in [0, 1] that varies by less is flat."""


class Gbvs:
    """An image (H×W×3 uint8 RGB) → the mean equilibrium of its intensity, colour and orientation maps.

    The result keeps the mean of each of the three as a level.

    Args:
        size: the picture is scaled so that its longer side has this many pixels.
        side: longer side of the graph, in nodes.
        reach: deviation of the Gaussian of distance between nodes in the first chain, as a fraction of the
            mean of the graph's height and width.
        gathering: the same of the second chain, which gathers what the first found into few places.
        blur: the outcome is smoothed by a Gaussian of this fraction of the graph's width.

    Raises:
        SparsightError: an option that is not positive.
    """

    def __init__(
        self,
        *,
        size: int = 640,
        side: int = 32,
        reach: float = 0.15,
        gathering: float = 0.06,
        blur: float = 0.02,
    ) -> None:
        check_positive("gbvs", size=size, side=side, reach=reach, gathering=gathering, blur=blur)
        self.size, self.side, self.reach, self.gathering, self.blur = size, side, reach, gathering, blur

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        features = early_features(scaled(image, side=self.size), max(LEVELS), min(LEVELS))
        height, width = features.intensity[0].shape
        longer = max(height, width)
        shape = (max(2, round(height / longer * self.side)), max(2, round(width / longer * self.side)))
        channels = {
            "intensity": [features.intensity],
            "colour": [features.red_green, features.blue_yellow],
            "orientation": features.orientation,
        }
        levels = {
            name: np.mean(
                [self._equilibrium(pyramid[level], shape) for pyramid in pyramids for level in LEVELS], axis=0
            )
            for name, pyramids in channels.items()
        }
        total = np.mean(list(levels.values()), axis=0)
        return SaliencyResult(
            finished(blurred(total, self.blur * shape[1]), image),
            levels={name: minmax(values) for name, values in levels.items()},
        )

    def _equilibrium(self, feature: Map, shape: tuple[int, int]) -> Map:
        nodes = np.asarray(cv2.resize(feature, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
        if not np.ptp(nodes) > _FAINT:
            return np.zeros(shape, np.float32)
        mean = sum(shape) / 2
        return gathered(activated(nodes, self.reach * mean), self.gathering * mean)


def activated(nodes: Map, sigma: float) -> Map:
    """Equilibrium of the chain from i to j with weight |M(i) − M(j)| · exp(−d²/2σ²) (eqs. 1 to 3).

    Args:
        nodes: H×W, the feature M; not constant.
        sigma: in nodes.

    Returns:
        H×W float32 ≥ 0 with sum 1.
    """
    values = nodes.ravel()
    weights = np.abs(values[:, None] - values)
    weights *= _nearness(nodes.shape, sigma)
    share = weights.sum(axis=1).reshape(nodes.shape)
    return np.asarray(share / share.sum(), np.float32)


def gathered(activation: Map, sigma: float) -> Map:
    """Equilibrium of the chain from i to j with weight A(j) · exp(−d²/2σ²) (eq. 4).

    With symmetric nearness F the balance A(i) F A(j) holds in both directions, so i's share is A(i)·Σ F A.

    Args:
        activation: H×W ≥ 0, not zero everywhere.
        sigma: in nodes.

    Returns:
        H×W float32 ≥ 0 with sum 1.
    """
    values = activation.ravel()
    share = (values * (_nearness(activation.shape, sigma) @ values)).reshape(activation.shape)
    return np.asarray(share / share.sum(), np.float32)


@functools.lru_cache(maxsize=8)
def _nearness(shape: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """exp(−d²/2σ²) between all nodes of a grid, (H·W)×(H·W)."""
    rows, columns = (
        np.exp(-(np.subtract.outer(np.arange(n), np.arange(n)) ** 2) / (2 * sigma**2)) for n in shape
    )
    return np.kron(rows, columns).astype(np.float32)
