"""MobileNet, versions 1 and 2.

Sources: Howard et al., *MobileNets* (arXiv 1704.04861); Sandler et al., *MobileNetV2* (arXiv 1801.04381).
The second has torchvision's parameter names and shapes; the first, which is not in torchvision, its style.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsight.nets.building import IMAGENET, InputShape, initialise, is_small

_V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of each separable block (Table 1)."""

_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks, stride of the first block (Table 2)."""


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter per channel, narrow again; added to the input if the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        widen = [_unit(inputs, hidden, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _unit(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of the block."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNet(nn.Module):
    """(N, C, H, W) → (N, num_classes) logits: convolutions, their average, a linear classifier."""

    def __init__(
        self, features: nn.Sequential, channels: int, num_classes: int, input_shape: InputShape
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.features = features
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def mobilenet_v1(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> MobileNet:
    """MobileNet; for images of at most 64 pixels a side, the first two strides of 2 are 1."""
    small = is_small("mobilenet_v1", input_shape, num_classes)
    layers: list[nn.Module] = [_unit(input_shape[0], 32, 3, 1 if small else 2, ceiling=None)]
    channels = 32
    for index, (width, stride) in enumerate(_V1_BLOCKS):
        layers.append(_separable(channels, width, 1 if small and index == 1 else stride))
        channels = width
    return MobileNet(nn.Sequential(*layers), channels, num_classes, input_shape)


def mobilenet_v2(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> MobileNet:
    """MobileNetV2; for images of at most 64 pixels a side, the first two strides of 2 are 1."""
    small = is_small("mobilenet_v2", input_shape, num_classes)
    layers: list[nn.Module] = [_unit(input_shape[0], 32, 3, 1 if small else 2)]
    channels = 32
    for stage, (expansion, width, blocks, stride) in enumerate(_V2_STAGES):
        for block in range(blocks):
            first = 1 if small and stage == 1 else stride
            layers.append(InvertedResidual(channels, width, first if block == 0 else 1, expansion))
            channels = width
    layers.append(_unit(channels, 1280, 1))
    return MobileNet(nn.Sequential(*layers), 1280, num_classes, input_shape)


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, ceiling: float | None = 6
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU() if ceiling is None else nn.ReLU6(),
    )


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_unit(inputs, inputs, 3, stride, groups=inputs, ceiling=None),
        *_unit(inputs, outputs, 1, ceiling=None),
    )
