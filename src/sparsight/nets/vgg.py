"""VGG, with torchvision's parameter names and shapes.

Source: Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*
(arXiv 1409.1556), Table 1, columns D and E.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sparsight.nets.building import IMAGENET, InputShape, initialise, is_small

_CHANNELS = (64, 128, 256, 512, 512)
_VGG16 = (2, 2, 3, 3, 3)
_VGG19 = (2, 2, 4, 4, 4)
"""Convolutions before each of the five poolings."""


class VGG(nn.Module):
    """(N, C, H, W) → (N, num_classes) logits."""

    def __init__(
        self, depths: Sequence[int], num_classes: int, input_shape: InputShape, *, batch_norm: bool
    ) -> None:
        super().__init__()
        small = is_small("VGG", input_shape, num_classes)
        self.input_shape = input_shape
        self.features = _features(depths, input_shape[0], batch_norm=batch_norm, small=small)
        if small:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Sequential(
                nn.Linear(512, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, num_classes)
            )
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(),
                nn.Dropout(),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(),
                nn.Linear(4096, num_classes),
            )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        features: Tensor = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


def vgg16(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG16; for images of at most 64 pixels a side, with one hidden layer of 512 in its classifier."""
    return VGG(_VGG16, num_classes, input_shape, batch_norm=False)


def vgg16_bn(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG16 with batch norms, small variant as for ``vgg16``."""
    return VGG(_VGG16, num_classes, input_shape, batch_norm=True)


def vgg19(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG19, small variant as for ``vgg16``."""
    return VGG(_VGG19, num_classes, input_shape, batch_norm=False)


def _features(depths: Sequence[int], channels: int, *, batch_norm: bool, small: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for depth, width in zip(depths, _CHANNELS, strict=True):
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        # Rounding up keeps a 28-pixel image alive through five poolings.
        layers.append(nn.MaxPool2d(2, ceil_mode=small))
    return nn.Sequential(*layers)
