"""What a saliency model gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.float32]
"""A saliency map: H×W, float32, from 0 (nothing there) upwards."""


@dataclass(frozen=True, eq=False)
class SaliencyResult:
    """A saliency map and the stages it was made of.

    Attributes:
        map: H×W float32 in [0, 1] at the image's size; all zero where nothing stands out.
        levels: level name → map in [0, 1] on the level's own grid, finest first; empty if a model has none.
        layers: layer name → map on the layer's own grid, before it was scaled; empty if a model has none.
        weights: layer name → its weight within its level.
    """

    map: Map
    levels: Mapping[str, Map] = field(default_factory=dict)
    layers: Mapping[str, Map] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def enlarged_levels(self) -> dict[str, Map]:
        """The levels at the image's size, to be looked at."""
        from sparsight.saliency.fuse import resize

        return {name: resize(level, self.map.shape) for name, level in self.levels.items()}
