"""SSDLite on MobileNetV2, as trained by TensorFlow's Object Detection API.

Sources: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks* (CVPR 2018, SSDLite in
section 6.2); Liu et al., *SSD: Single Shot MultiBox Detector* (ECCV 2016, equation 2 and section 2.2 for the
anchors). TensorFlow pads "SAME" convolutions at the far side first, which symmetric padding cannot imitate at
stride 2 on even sizes; here that extra row and column is a layer of its own.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.graph_weights import kernel, vector
from sparsight.nets.graphdef import read_graph

BATCH_NORM_EPSILON = 1e-3
MIN_SCALE, MAX_SCALE = 0.2, 0.95
ASPECT_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
LOWEST_LAYER: tuple[tuple[float, float], ...] = ((0.1, 1.0), (MIN_SCALE, 2.0), (MIN_SCALE, 0.5))
"""(scale, aspect ratio) of the finest layer's anchors: fewer than elsewhere, and one small."""
CENTRE_VARIANCE, SIZE_VARIANCE = 10.0, 5.0
"""What box codes are divided by: y and x of the centre, then height and width."""

_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""MobileNetV2's table 2: expansion, channels, repetitions, stride of the first."""
_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Channels between and after, of each stage beyond MobileNetV2."""
_FINEST = 14
"""The block whose expansion (stride 16, before its own stride) feeds the finest head."""


class _ConvUnit(nn.Sequential):
    """Convolution with TensorFlow's "SAME" padding, batch norm, and ReLU6 unless ``linear``."""

    def __init__(
        self, channels: int, out: int, kernel: int, size: int, *, stride: int = 1, depthwise: bool = False,
        linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        # TF pads (ceil(n/s)-1)s + k - n in all, the odd one after: for k=3, s=2 one for even n, else 1+1.
        lopsided = kernel == 3 and stride == 2 and size % 2 == 0
        if lopsided:
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(
            channels, out, kernel, stride,
            padding=0 if lopsided else kernel // 2, groups=channels if depthwise else 1, bias=False,
        )  # fmt: skip
        self.norm = nn.BatchNorm2d(out, eps=BATCH_NORM_EPSILON)
        if not linear:
            self.activation = nn.ReLU6()


class _InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; summed with its input where shapes allow."""

    def __init__(self, channels: int, out: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = _ConvUnit(channels, hidden, 1, size) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvUnit(hidden, hidden, 3, size, stride=stride, depthwise=True)
        self.project = _ConvUnit(hidden, out, 1, size, linear=True)
        self.residual = stride == 1 and channels == out

    def reduce(self, expanded: Tensor) -> Tensor:
        """What follows the expansion."""
        return self.project(self.depthwise(expanded))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce(self.expand(x))
        return x + out if self.residual else out


class _Head(nn.Sequential):
    """A depthwise convolution, then a 1×1 convolution that predicts ``out`` channels."""

    def __init__(self, channels: int, out: int, size: int) -> None:
        super().__init__()
        self.depthwise = _ConvUnit(channels, channels, 3, size, depthwise=True)
        self.predict = nn.Conv2d(channels, out, 1)


class SSDLite(nn.Module):
    """SSDLite-MobileNetV2.

    ``forward`` takes (N, 3, S, S) RGB in [-1, 1] (``x / 127.5 - 1``; the image stretched to the square, not
    letterboxed) and returns a dict of ``boxes``, (N, A, 4) ``xyxy`` as fractions of the image, not clipped,
    and ``scores``, (N, A, num_classes) in [0, 1]. A is 1917 for S = 300. What is left to do is non-maximum
    suppression, at an IoU of 0.6 in the published graph.

    Args:
        num_classes: classes apart from the background.
        input_size: S, the side of the square input.
    """

    def __init__(self, num_classes: int = 1, input_size: int = 300) -> None:
        super().__init__()
        if num_classes < 1 or not 32 <= input_size <= 4096:
            raise SparsightError(
                f"ssdlite_mobilenet_v2 cannot be built with num_classes={num_classes} and"
                f" input_size={input_size}: at least one class, and 32 to 4096 pixels, are needed."
            )
        self.num_classes = num_classes
        self.input_shape = (3, input_size, input_size)

        size = _half(input_size)
        features: list[nn.Module] = [_ConvUnit(3, 32, 3, input_size, stride=2)]
        channels = 32
        taps: list[tuple[int, int]] = []  # (channels, size) of what each head reads
        for expansion, out, repeats, first_stride in _BLOCKS:
            for stride in (first_stride, *[1] * (repeats - 1)):
                if len(features) == _FINEST:
                    taps.append((channels * expansion, size))
                features.append(_InvertedResidual(channels, out, size, stride, expansion))
                channels, size = out, _half(size) if stride == 2 else size
        features.append(_ConvUnit(channels, 1280, 1, size))
        self.features = nn.ModuleList(features)
        channels = 1280
        taps.append((channels, size))

        self.extras = nn.ModuleList()
        for between, out in _EXTRAS:
            self.extras.append(
                nn.Sequential(
                    _ConvUnit(channels, between, 1, size),
                    _ConvUnit(between, between, 3, size, stride=2, depthwise=True),
                    _ConvUnit(between, out, 1, _half(size)),
                )
            )
            channels, size = out, _half(size)
            taps.append((channels, size))

        shapes = anchor_shapes(len(taps))
        self.box_heads = nn.ModuleList(
            _Head(c, 4 * len(shape), s) for (c, s), shape in zip(taps, shapes, strict=True)
        )
        self.class_heads = nn.ModuleList(
            _Head(c, (num_classes + 1) * len(shape), s) for (c, s), shape in zip(taps, shapes, strict=True)
        )
        anchors = torch.from_numpy(make_anchors([s for _, s in taps]))
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Boxes and scores; see the class."""
        finest: _InvertedResidual = self.features[_FINEST]  # type: ignore[assignment]
        for layer in self.features[:_FINEST]:
            x = layer(x)
        expanded = finest.expand(x)
        maps = [expanded]
        x = finest.reduce(expanded)
        for layer in self.features[_FINEST + 1 :]:
            x = layer(x)
        maps.append(x)
        for layer in self.extras:
            x = layer(x)
            maps.append(x)
        codes = [
            head(m).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))
            for head, m in zip(self.box_heads, maps, strict=True)
        ]
        logits = [
            head(m).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.num_classes + 1))
            for head, m in zip(self.class_heads, maps, strict=True)
        ]
        scores = torch.cat(logits, dim=1).sigmoid()[:, :, 1:]  # the background comes first
        return {"boxes": decode_boxes(torch.cat(codes, dim=1), self.get_buffer("anchors")), "scores": scores}

    def load_file(self, path: str | Path) -> None:
        """Fill this network from a frozen TensorFlow graph (``.pb``).

        Raises:
            SparsightError: the file is not such a graph, or its network has other shapes than this one.
        """
        graph = read_graph(path)
        state: dict[str, Tensor] = {}
        epsilons: dict[str, float] = {}
        for prefix, scope in _scopes(self).items():
            module = self.get_submodule(prefix)
            if isinstance(module, nn.Conv2d):
                state[f"{prefix}.weight"] = kernel(graph, f"{scope}/weights")
                state[f"{prefix}.bias"] = vector(graph, f"{scope}/biases")
                continue
            depthwise = f"{scope}/depthwise_weights"
            state[f"{prefix}.conv.weight"] = kernel(
                graph, depthwise if depthwise in graph.nodes else f"{scope}/weights"
            )
            for ours, theirs in _BATCH_NORM.items():
                state[f"{prefix}.norm.{ours}"] = vector(graph, f"{scope}/BatchNorm/{theirs}")
            state[f"{prefix}.norm.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
            epsilon = graph.node(f"{scope}/BatchNorm/FusedBatchNorm").attributes.get("epsilon")
            if isinstance(epsilon, float):
                epsilons[f"{prefix}.norm"] = epsilon
        ours_now = self.state_dict()
        for key, value in state.items():
            if value.shape != ours_now[key].shape:
                raise SparsightError(
                    f"{path} does not fit ssdlite_mobilenet_v2 with num_classes={self.num_classes}: {key} is"
                    f" {tuple(value.shape)} in the file and {tuple(ours_now[key].shape)} in the network."
                )
        self.load_state_dict(state)
        for prefix, epsilon in epsilons.items():
            norm: nn.BatchNorm2d = self.get_submodule(prefix)  # type: ignore[assignment]
            norm.eps = epsilon


def ssdlite_mobilenet_v2(num_classes: int = 1, input_size: int = 300) -> SSDLite:
    """SSDLite on MobileNetV2; see :class:`SSDLite`."""
    return SSDLite(num_classes, input_size)


def anchor_shapes(layers: int = 6) -> list[NDArray[np.float64]]:
    """Per head, the (K, 2) heights and widths of its anchors as fractions of the image.

    Scales run evenly from 0.2 to 0.95; beside the aspect ratios, each layer but the finest has one more
    square, at the geometric mean of its scale and the next (SSD, section 2.2).
    """
    scales = [*np.linspace(MIN_SCALE, MAX_SCALE, layers).tolist(), 1.0]
    shapes = [LOWEST_LAYER]
    for scale, following in itertools.pairwise(scales[1:]):
        between = math.sqrt(scale * following)
        shapes.append((*((scale, ratio) for ratio in ASPECT_RATIOS), (between, 1.0)))
    return [np.array([(s / math.sqrt(r), s * math.sqrt(r)) for s, r in shape]) for shape in shapes]


def make_anchors(sizes: list[int]) -> NDArray[np.float32]:
    """Anchors of square maps of ``sizes``: (A, 4) float32 centre y, centre x, height, width, in [0, 1] units.

    In the order in which heads predict: layer, row, column, shape.
    """
    layers = []
    for size, shape in zip(sizes, anchor_shapes(len(sizes)), strict=True):
        centres = (np.arange(size) + 0.5) / size
        cells = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 1, 2)
        sizes_hw = np.broadcast_to(shape, (len(cells), len(shape), 2))
        layers.append(
            np.concatenate([np.broadcast_to(cells, sizes_hw.shape), sizes_hw], axis=-1).reshape(-1, 4)
        )
    return np.concatenate(layers).astype(np.float32)


def decode_boxes(codes: Tensor, anchors: Tensor) -> Tensor:
    """Box codes (N, A, 4) of ty, tx, th, tw against ``anchors`` (A, 4), as ``xyxy`` (SSD, equation 2)."""
    centre = codes[..., :2] / CENTRE_VARIANCE * anchors[:, 2:] + anchors[:, :2]
    half = torch.exp(codes[..., 2:] / SIZE_VARIANCE) * anchors[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)[..., [1, 0, 3, 2]]


def _half(size: int) -> int:
    return (size + 1) // 2


_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def _scopes(model: SSDLite) -> dict[str, str]:
    """Where each of our units (and each head's 1×1 convolution) is in the published graph."""
    net = "FeatureExtractor/MobilenetV2"
    last = len(model.features) - 1
    scopes = {"features.0": f"{net}/Conv", f"features.{last}": f"{net}/Conv_1"}
    for i in range(1, last):
        scope = f"{net}/expanded_conv" + (f"_{i - 1}" if i > 1 else "")
        for part in ("expand", "depthwise", "project") if i > 1 else ("depthwise", "project"):
            scopes[f"features.{i}.{part}"] = f"{scope}/{part}"
    for i, (between, out) in enumerate(_EXTRAS):
        scopes[f"extras.{i}.0"] = f"{net}/layer_19_1_Conv2d_{i + 2}_1x1_{between}"
        scopes[f"extras.{i}.1"] = f"{net}/layer_19_2_Conv2d_{i + 2}_3x3_s2_{out}_depthwise"
        scopes[f"extras.{i}.2"] = f"{net}/layer_19_2_Conv2d_{i + 2}_3x3_s2_{out}"
    for i in range(len(model.box_heads)):
        for ours, theirs in (("box_heads", "BoxEncodingPredictor"), ("class_heads", "ClassPredictor")):
            scopes[f"{ours}.{i}.depthwise"] = f"BoxPredictor_{i}/{theirs}_depthwise"
            scopes[f"{ours}.{i}.predict"] = f"BoxPredictor_{i}/{theirs}"
    return scopes
