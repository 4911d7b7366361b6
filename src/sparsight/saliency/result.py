"""What a saliency model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.float32]
"""A saliency map: H×W, float32, from 0 (nothing there) upwards."""


@dataclass(frozen=True, eq=False)
class Channel:
    """What one channel of a layer adds to a saliency map.

    Attributes:
        layer: name of the layer.
        index: the channel's number in it, from 0.
        share: its part of what the channels of all layers add to the map at the point asked for.
        map: (h, w) float32 ≥ 0, what the channel adds to its layer's map, on the layer's own grid.
    """

    layer: str
    index: int
    share: float
    map: Map


@dataclass(frozen=True, eq=False)
class SaliencyResult:
    """A saliency map and the stages it was made of.

    Attributes:
        map: H×W float32 from 0 to ``top`` at the image's size; all zero where nothing stands out.
        levels: level name → map in [0, 1] on the level's own grid, finest first; empty if a model has none.
        layers: layer name → map on the layer's own grid, before it was scaled; empty if a model has none.
        weights: layer name → its weight within its level.
        level_weights: level name → its weight within the map, the sum of the levels, in which one that is
            missing here counts once; empty if the map is no such sum.
        layer_levels: layer name → the name of its level.
        processing: what was done to the map after the model's own steps, in order, one phrase each; empty
            when nothing was.
        image: the picture that the map is of, H×W×3 uint8 RGB, not a copy; None if the model does not say.
        strongest: ``strongest(x, y, count)`` gives the channels that add most to the map at a pixel, most
            first; it runs the network again. None if a model has no channels.
        top: what is drawn white: 1, but for maps from elsewhere (``onnx:``, ``maps:``), which keep their
            values, their maximum.
    """

    map: Map
    levels: Mapping[str, Map] = field(default_factory=dict)
    layers: Mapping[str, Map] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    level_weights: Mapping[str, float] = field(default_factory=dict)
    layer_levels: Mapping[str, str] = field(default_factory=dict)
    processing: tuple[str, ...] = ()
    image: NDArray[np.uint8] | None = None
    strongest: Callable[[int, int, int], list[Channel]] | None = None
    top: float = 1.0

    def enlarged_levels(self) -> dict[str, Map]:
        """The levels at the image's size, to be looked at."""
        from sparsight.saliency.levels import resize

        return {name: resize(level, self.map.shape) for name, level in self.levels.items()}
