"""YOLOX, an anchor-free one-stage detector: nano, tiny and s.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), on a CSPDarknet backbone
(Wang et al., arXiv 1911.11929) with a path aggregation neck (Liu et al., arXiv 1803.01534). Parameter names
and shapes are the official ones, so that the published files load strictly.

Input: BGR, 0 to 255 as float32, scaled to fit and padded with 114 at the right and the bottom.

Output: (N, cells, 5 + classes) float32, the cells of the strides 8, 16 and 32 one after the other, each map
row by row. Columns: x, y, w, h in grid units, objectness, class scores; both kinds of score are in [0, 1] and
their product ranks the boxes. To decode, in pixels of the input: centre = (xy + (column, row)) * stride,
size = exp(wh) * stride.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError

STRIDES = (8, 16, 32)


class ConvBlock(nn.Module):
    """Convolution that keeps the size (over ``stride``), batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class SeparableConvBlock(nn.Module):
    """A depthwise block and a 1x1 block: what nano has wherever the others have a 3x3 block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvBlock(inputs, inputs, kernel, stride=stride, groups=inputs)
        self.pconv = ConvBlock(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.pconv(self.dconv(x))
        return out


class Focus(nn.Module):
    """Fold each 2x2 patch into channels, then convolve."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBlock(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        even, odd = x[:, :, ::2], x[:, :, 1::2]
        patches = torch.cat([even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2]], dim=1)
        out: Tensor = self.conv(patches)
        return out


class Bottleneck(nn.Module):
    """1x1 block, then a spatial block, with a shortcut around both when asked for."""

    def __init__(self, channels: int, *, shortcut: bool, separable: bool) -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, channels, 1)
        self.conv2 = _spatial(channels, channels, separable=separable)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.shortcut else out


class CSPLayer(nn.Module):
    """Cross stage partial layer: half of the channels pass through ``depth`` bottlenecks, half pass by."""

    def __init__(
        self, inputs: int, outputs: int, depth: int, *, shortcut: bool = False, separable: bool
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = ConvBlock(inputs, half, 1)
        self.conv2 = ConvBlock(inputs, half, 1)
        self.conv3 = ConvBlock(2 * half, outputs, 1)
        self.m = nn.Sequential(
            *(Bottleneck(half, shortcut=shortcut, separable=separable) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        through = self.conv1(x)
        past = self.conv2(x)
        out: Tensor = self.conv3(torch.cat([self.m(through), past], dim=1))
        return out


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling: the map beside its maxima over 5, 9 and 13 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvBlock(channels, half, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in (5, 9, 13))
        self.conv2 = ConvBlock(4 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        x = self.conv1(x)
        out: Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], dim=1))
        return out


class CSPDarknet(nn.Module):
    """The backbone: (N, 3, H, W) to three maps at the strides 8, 16 and 32."""

    def __init__(self, width: int, depth: int, *, separable: bool) -> None:
        super().__init__()
        self.stem = Focus(3, width)
        self.dark2 = nn.Sequential(
            _spatial(width, 2 * width, stride=2, separable=separable),
            CSPLayer(2 * width, 2 * width, depth, shortcut=True, separable=separable),
        )
        self.dark3 = nn.Sequential(
            _spatial(2 * width, 4 * width, stride=2, separable=separable),
            CSPLayer(4 * width, 4 * width, 3 * depth, shortcut=True, separable=separable),
        )
        self.dark4 = nn.Sequential(
            _spatial(4 * width, 8 * width, stride=2, separable=separable),
            CSPLayer(8 * width, 8 * width, 3 * depth, shortcut=True, separable=separable),
        )
        self.dark5 = nn.Sequential(
            _spatial(8 * width, 16 * width, stride=2, separable=separable),
            SPPBottleneck(16 * width),
            CSPLayer(16 * width, 16 * width, depth, separable=separable),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of 4, 8 and 16 times ``width`` channels."""
        fine = self.dark3(self.dark2(self.stem(x)))
        middle = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class PathAggregation(nn.Module):
    """The backbone and its neck: coarse features are added to fine ones on the way down, then back up."""

    def __init__(self, width: int, depth: int, *, separable: bool) -> None:
        super().__init__()
        fine, middle, coarse = 4 * width, 8 * width, 16 * width
        self.backbone = CSPDarknet(width, depth, separable=separable)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.lateral_conv0 = ConvBlock(coarse, middle, 1)
        self.C3_p4 = CSPLayer(2 * middle, middle, depth, separable=separable)
        self.reduce_conv1 = ConvBlock(middle, fine, 1)
        self.C3_p3 = CSPLayer(2 * fine, fine, depth, separable=separable)
        self.bu_conv2 = _spatial(fine, fine, stride=2, separable=separable)
        self.C3_n3 = CSPLayer(2 * fine, middle, depth, separable=separable)
        self.bu_conv1 = _spatial(middle, middle, stride=2, separable=separable)
        self.C3_n4 = CSPLayer(2 * middle, coarse, depth, separable=separable)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three maps at the strides 8, 16 and 32, of 4, 8 and 16 times ``width`` channels."""
        fine, middle, coarse = self.backbone(x)
        coarse = self.lateral_conv0(coarse)
        middle = self.reduce_conv1(self.C3_p4(torch.cat([self.upsample(coarse), middle], dim=1)))
        fine = self.C3_p3(torch.cat([self.upsample(middle), fine], dim=1))
        middle = self.C3_n3(torch.cat([self.bu_conv2(fine), middle], dim=1))
        coarse = self.C3_n4(torch.cat([self.bu_conv1(middle), coarse], dim=1))
        return fine, middle, coarse


class DecoupledHead(nn.Module):
    """Per stride, one branch that classifies and one that finds the box and whether there is an object."""

    def __init__(self, width: int, num_classes: int, *, separable: bool) -> None:
        super().__init__()
        hidden = 4 * width
        inputs = (4 * width, 8 * width, 16 * width)

        def branch() -> nn.Sequential:
            return nn.Sequential(*(_spatial(hidden, hidden, separable=separable) for _ in range(2)))

        self.cls_convs = nn.ModuleList(branch() for _ in inputs)
        self.reg_convs = nn.ModuleList(branch() for _ in inputs)
        self.cls_preds = nn.ModuleList(nn.Conv2d(hidden, num_classes, 1) for _ in inputs)
        self.reg_preds = nn.ModuleList(nn.Conv2d(hidden, 4, 1) for _ in inputs)
        self.obj_preds = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in inputs)
        self.stems = nn.ModuleList(ConvBlock(channels, hidden, 1) for channels in inputs)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Map the neck's maps to (N, cells, 5 + classes)."""
        levels = []
        for level, features in enumerate(maps):
            x = self.stems[level](features)
            scores = self.cls_preds[level](self.cls_convs[level](x))
            x = self.reg_convs[level](x)
            box, objectness = self.reg_preds[level](x), self.obj_preds[level](x)
            levels.append(torch.cat([box, objectness.sigmoid(), scores.sigmoid()], dim=1).flatten(2))
        return torch.cat(levels, dim=2).transpose(1, 2)


class YOLOX(nn.Module):
    """Backbone, neck and head; input and output as described at the top of this file.

    Args:
        width: channels of the stem.
        depth: bottlenecks per short layer.
        separable: depthwise separable convolutions in place of 3x3 ones.
        num_classes: 80 in the published files.
        input_size: side of the square input in pixels, a multiple of 32.
    """

    def __init__(self, width: int, depth: int, *, separable: bool, num_classes: int, input_size: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise SparsightError(f"num_classes is {num_classes}: a detector needs at least one class.")
        if input_size < STRIDES[-1] or input_size % STRIDES[-1]:
            raise SparsightError(
                f"input_size is {input_size}: YOLOX takes a positive multiple of {STRIDES[-1]}."
            )
        self.input_shape = (3, input_size, input_size)
        self.backbone = PathAggregation(width, depth, separable=separable)
        self.head = DecoupledHead(width, num_classes, separable=separable)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), both sides multiples of 32, to (N, cells, 5 + classes)."""
        out: Tensor = self.head(self.backbone(x))
        return out


def yolox_nano(num_classes: int = 80, input_size: int = 416) -> YOLOX:
    """YOLOX-Nano: 0.9 million parameters, depthwise separable."""
    return YOLOX(16, 1, separable=True, num_classes=num_classes, input_size=input_size)


def yolox_tiny(num_classes: int = 80, input_size: int = 416) -> YOLOX:
    """YOLOX-Tiny: 5.1 million parameters."""
    return YOLOX(24, 1, separable=False, num_classes=num_classes, input_size=input_size)


def yolox_s(num_classes: int = 80, input_size: int = 640) -> YOLOX:
    """YOLOX-S: 9.0 million parameters."""
    return YOLOX(32, 1, separable=False, num_classes=num_classes, input_size=input_size)


def _spatial(inputs: int, outputs: int, *, stride: int = 1, separable: bool) -> nn.Module:
    block = SeparableConvBlock if separable else ConvBlock
    return block(inputs, outputs, 3, stride=stride)
