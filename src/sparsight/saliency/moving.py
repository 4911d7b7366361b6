"""Saliency of moving pictures: a model frame by frame, with what moves unlike the rest, eased over time.

Motion is salient where it is rare in its frame, by the same histograms as in DeepRare: when the camera pans,
all moves alike and nothing stands out; whoever stands still then does.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.blending import fuse
from sparsight.saliency.levels import itti_weight, minmax, resize
from sparsight.saliency.models import SaliencyModel
from sparsight.saliency.rarity import rarity_map
from sparsight.saliency.result import Map, SaliencyResult

_SIDE = 160  # pixels of the longer side that motion is found at
_STILL = 0.25  # pixels of those per frame: what flow finds in noise
_SAME = 8.0  # grey levels: how much noise and compression change a pixel that stays the same
_NODE = 4  # pixels of the motion's grid that make one node of its map


class Moving:
    """A model for the frames of one video, in order: ``model(image, time)`` → ``SaliencyResult``.

    Args:
        model: what finds the salient places of each frame.
        smooth: seconds over which the map follows a change by 63%; 0 shows each frame's own map.
        motion: add what moves as nothing else does (``motion_map``), as a level called ``"motion"``. The two
            maps are fused by their Itti weights, so a frame in which nothing moves keeps its own map.

    Raises:
        SparsightError: ``smooth`` is negative or not finite.
    """

    def __init__(self, model: SaliencyModel, *, smooth: float = 0.0, motion: bool = False) -> None:
        if not (math.isfinite(smooth) and smooth >= 0):
            raise SparsightError(f"cannot smooth over {smooth} seconds: give 0 (off) or more.")
        self.model, self.smooth, self.motion = model, smooth, motion
        self._grey: NDArray[np.uint8] | None = None
        self._map: Map | None = None
        self._time = 0.0

    def __call__(self, image: NDArray[np.uint8], time: float) -> SaliencyResult:
        """The saliency of the next frame.

        Args:
            image: H×W×3 uint8 RGB. A frame of another size than the one before begins anew.
            time: its time in seconds, later than that of the frame before.
        """
        result = self.model(image)
        if self.motion:
            result = self._with_motion(result, image)
        if self.smooth:
            result = self._smoothed(result, time)
        return result

    def _with_motion(self, result: SaliencyResult, image: NDArray[np.uint8]) -> SaliencyResult:
        grey = _small_grey(image)
        before, self._grey = self._grey, grey
        if before is None or before.shape != grey.shape:
            moved = np.zeros((1, 1), np.float32)
        else:
            moved = motion_map(before, grey)
        large = resize(moved, result.map.shape)
        own = result.level_weights or dict.fromkeys(result.levels, 1.0)
        return dataclasses.replace(
            result,
            map=fuse(result.map, large, "itti"),
            top=1.0,
            levels={**result.levels, "motion": moved},
            level_weights={**own, "motion": itti_weight(moved)},
            strongest=None,  # shares of a map that motion has no part in would be wrong
        )

    def _smoothed(self, result: SaliencyResult, time: float) -> SaliencyResult:
        values = result.map
        if self._map is not None and self._map.shape == values.shape:
            new = np.float32(-math.expm1(-max(0.0, time - self._time) / self.smooth))
            values = self._map + new * (values - self._map)
        self._map, self._time = values, time
        done = (*result.processing, f"smoothed over {self.smooth:g} s")
        return dataclasses.replace(result, map=values, processing=done)


def motion_map(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> Map:
    """How rare the motion from one frame to the next is at each place.

    Four channels go through ``rarity_map``: the speed of the optical flow (Farnebäck 2003), its two
    components, which hold the direction, and the change of brightness, each averaged over 4×4 pixels. Where
    a picture moves by less than a quarter of a pixel or changes by less than 8 grey levels, that is zero.

    Args:
        before, now: H×W uint8 grey, the same size, of some 160 pixels a side.

    Returns:
        (⌈H/4⌉, ⌈W/4⌉) float32 in [0, 1]; all zero where nothing moves.
    """
    flow = np.asarray(
        cv2.calcOpticalFlowFarneback(before, now, None, 0.5, 3, 15, 3, 5, 1.2, 0),  # type: ignore[call-overload]
        np.float32,
    )
    change = cv2.absdiff(before, now).astype(np.float32)
    grid = (max(1, -(-now.shape[1] // _NODE)), max(1, -(-now.shape[0] // _NODE)))
    nodes = cv2.resize(np.dstack([flow, change]), grid, interpolation=cv2.INTER_AREA)
    speed = np.hypot(nodes[..., 0], nodes[..., 1])
    # On means of nodes, where the noise of single pixels has gone.
    moves, changes = speed >= _STILL, nodes[..., 2] >= _SAME
    channels = np.stack(
        [speed * moves, nodes[..., 0] * moves, nodes[..., 1] * moves, nodes[..., 2] * changes]
    )
    return minmax(rarity_map(channels, border=0))


def _small_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
