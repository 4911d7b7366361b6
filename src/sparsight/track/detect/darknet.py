"""Darknet detectors: any cfg with ``[yolo]`` layers and its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight import assets
from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.track.detect.detector import IOU, PERSON, NetworkDetector, try_out
from sparsight.track.detect.fitting import Placement, channels_first, stretch
from sparsight.track.types import Image

if TYPE_CHECKING:
    from torch import nn


def darknet(
    network: nn.Module | Path | None = None,
    device: str = "auto",
    score: float = 0.5,
    iou: float = IOU,
    classes: Collection[int] | None = (PERSON,),
) -> NetworkDetector:
    """Yolo-Fastest-1.1-xl with COCO's 80 classes; ``network`` takes its place.

    ``network`` is a module, or a cfg whose weights lie beside it under the same name. Images are stretched to
    the input, as Darknet does unless told to letterbox.
    """
    if network is None:
        network = _load(assets.path("yolo_fastest_xl.cfg"), assets.path("yolo_fastest_xl.weights"))
    elif isinstance(network, Path):
        network = _load(network, network.with_suffix(".weights"))
    session = Session(network, device)
    shapes = [output.shape for output in try_out(session).values()]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][2] < 6:
        raise SparsightError(
            f"the network given to darknet has outputs of shape {shapes}, but (1, boxes, 5 + classes) is"
            " needed: give one with [yolo] layers."
        )

    def decode(outputs: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        (found,) = outputs.values()
        centre, half = found[..., :2], found[..., 2:4] / 2
        return np.concatenate([centre - half, centre + half], axis=-1), found[..., 5:] * found[..., 4:5]

    return NetworkDetector("darknet", session, _prepare, decode, shapes[0][2] - 5, score, iou, classes)


def _load(cfg: Path, weights: Path) -> nn.Module:
    if not weights.is_file():
        raise SparsightError(f"the weights {weights} do not exist: put them beside the cfg, under its name.")
    from sparsight.nets import build

    return build("darknet", weights=weights, cfg=cfg)


def _prepare(image: Image, height: int, width: int) -> tuple[NDArray[np.float32], Placement]:
    stretched, placement = stretch(image, height, width)
    return channels_first(stretched, 1 / 255), placement
