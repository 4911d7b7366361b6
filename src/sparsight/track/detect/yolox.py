"""YOLOX detectors: the published nano, tiny and s, or any network with their outputs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight import assets
from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.track.detect.detector import IOU, PERSON, Decode, NetworkDetector, try_out
from sparsight.track.detect.fitting import Placement, channels_first, letterbox
from sparsight.track.types import Image

if TYPE_CHECKING:
    from torch import nn

STRIDES = (8, 16, 32)
FILL = 114


def yolox(
    name: str,
    network: nn.Module | Path | None = None,
    device: str = "auto",
    score: float = 0.5,
    iou: float = IOU,
    classes: Collection[int] | None = (PERSON,),
) -> NetworkDetector:
    """The YOLOX called ``name``, with COCO's 80 classes; ``network`` (ONNX file or module) takes its place.

    Source: Ge et al., *YOLOX: Exceeding YOLO Series in 2021* (arXiv 2107.08430); input and outputs are
    described in :mod:`sparsight.nets.yolox`.
    """
    session = Session(_published(name, device) if network is None else network, device)
    shapes = [output.shape for output in try_out(session).values()]
    cells = len(grid(session)[0])
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1] != cells or shapes[0][2] < 6:
        raise SparsightError(
            f"the network given to {name} has outputs of shape {shapes}, but YOLOX's one output of"
            f" (1, {cells}, 5 + classes) is needed: export it without decoding or suppression."
        )
    decode = decoder(session)
    return NetworkDetector(name, session, prepare, decode, shapes[0][2] - 5, score, iou, classes)


def decoder(session: Session) -> Decode:
    """What decodes the one output of a YOLOX with the input size of ``session``, in units of its grid."""
    cells, stride = grid(session)

    def decode(outputs: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        (raw,) = outputs.values()
        with np.errstate(over="ignore"):  # an absurd size becomes infinite, and is dropped later
            half = np.exp(raw[..., 2:4]) * (stride / 2)
        centre = (raw[..., :2] + cells) * stride
        return np.concatenate([centre - half, centre + half], axis=-1), raw[..., 5:] * raw[..., 4:5]

    return decode


def prepare(image: Image, height: int, width: int) -> tuple[NDArray[np.float32], Placement]:
    """Fit an image to a YOLOX's input: letterboxed, BGR from 0 to 255."""
    fitted, placement = letterbox(image, height, width, FILL)
    return channels_first(fitted[:, :, ::-1]), placement  # trained on OpenCV's BGR


yolox_nano = functools.partial(yolox, "yolox_nano")
yolox_tiny = functools.partial(yolox, "yolox_tiny")
yolox_s = functools.partial(yolox, "yolox_s")


def _published(name: str, device: str) -> nn.Module | Path:
    """The ONNX file, which starts at once, on the CPU; the same network in PyTorch on a GPU."""
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        from sparsight.nets import build

        return build(name, weights=name)
    return assets.path(name)


def grid(session: Session) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each cell, (cells, 2), and its stride, (cells, 1)."""
    _, height, width = session.input_shape
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise SparsightError(
            f"YOLOX takes an input whose sides are multiples of {STRIDES[-1]}, not {height}x{width}."
        )
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
