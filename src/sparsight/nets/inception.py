"""Inception-ResNet-v1, the FaceNet network that embeds faces.

Sources: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", AAAI 2017 (arXiv 1602.07261), figures 10 to 15, in the variant of the FaceNet reimplementations:
Schroff et al., "FaceNet", CVPR 2015 (arXiv 1503.03832). Parameter names and shapes are facenet-pytorch's, so
that its published files load strictly; ``num_classes`` sets the size of the classifier (8631 in the VGGFace2
file, 10575 in the CASIA-WebFace file, 0 for none).

Input: a face crop, RGB, (pixel - 127.5) / 128, 160 by 160.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsight.nets.embedding import check_classes, classifier


class ConvBlock(nn.Module):
    """Convolution, batch norm, rectifier. ``kernel`` is (height, width); no padding unless ``same``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, same: bool = False
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class ResidualBlock(nn.Module):
    """Branches side by side, joined, projected back, scaled and added to the input.

    Args:
        channels: width of the input and of the output.
        branches: the branches, in the order in which they are joined.
        joined: their widths, summed.
        scale: what the residual is multiplied by before it is added.
        rectify: whether a rectifier follows.
    """

    def __init__(
        self, channels: int, branches: list[nn.Module], joined: int, scale: float, *, rectify: bool = True
    ) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)
        self._branches = len(branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale = scale
        self.relu = nn.ReLU() if rectify else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        joined = torch.cat(
            [self.get_submodule(f"branch{index}")(x) for index in range(self._branches)], dim=1
        )
        out: Tensor = self.conv2d(joined) * self.scale + x
        return out if self.relu is None else self.relu(out)


class Reduction(nn.Module):
    """Branches that each halve the map, joined; the last is a maximum pooling."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self._branches = len(branches) + 1
        for index, branch in enumerate((*branches, nn.MaxPool2d(3, stride=2))):
            self.add_module(f"branch{index}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, sum of the branches, H', W')."""
        return torch.cat([self.get_submodule(f"branch{index}")(x) for index in range(self._branches)], dim=1)


class InceptionResnetV1(nn.Module):
    """Stem, 5 + 10 + 5 residual blocks with two reductions between, pooling, a 512-d feature layer.

    ``forward`` maps (N, 3, 160, 160) float32 to the (N, 512) float32 embedding of length 1 in evaluation
    mode or when there is no classifier; in training mode to (N, num_classes) logits.
    """

    input_shape = (3, 160, 160)

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv2d_1a = ConvBlock(3, 32, 3, stride=2)
        self.conv2d_2a = ConvBlock(32, 32, 3)
        self.conv2d_2b = ConvBlock(32, 64, 3, same=True)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvBlock(64, 80, 1)
        self.conv2d_4a = ConvBlock(80, 192, 3)
        self.conv2d_4b = ConvBlock(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            ConvBlock(256, 384, 3, stride=2),
            nn.Sequential(
                ConvBlock(256, 192, 1), ConvBlock(192, 192, 3, same=True), ConvBlock(192, 256, 3, stride=2)
            ),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            nn.Sequential(ConvBlock(896, 256, 1), ConvBlock(256, 384, 3, stride=2)),
            nn.Sequential(ConvBlock(896, 256, 1), ConvBlock(256, 256, 3, stride=2)),
            nn.Sequential(
                ConvBlock(896, 256, 1), ConvBlock(256, 256, 3, same=True), ConvBlock(256, 256, 3, stride=2)
            ),
        )
        self.repeat_3 = nn.Sequential(*(_block8(0.2) for _ in range(5)))
        self.block8 = _block8(1.0, rectify=False)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=1e-3)
        self.logits = classifier(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.mixed_6a(self.repeat_1(x))
        x = self.mixed_7a(self.repeat_2(x))
        x = self.block8(self.repeat_3(x))
        x = self.dropout(torch.flatten(self.avgpool_1a(x), 1))
        x = self.last_bn(self.last_linear(x))
        if self.training and self.logits is not None:
            logits: Tensor = self.logits(x)
            return logits
        return nn.functional.normalize(x, dim=1)

    def rename_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a weight file as it is, once its classifier is known to have the network's size."""
        check_classes(self, "logits", state)
        return state


def inception_resnet_v1(num_classes: int = 8631, dropout: float = 0.6) -> InceptionResnetV1:
    """Inception-ResNet-v1: 23 million parameters without its classifier."""
    return InceptionResnetV1(num_classes, dropout)


def _block35() -> ResidualBlock:
    return ResidualBlock(
        256,
        [
            ConvBlock(256, 32, 1),
            nn.Sequential(ConvBlock(256, 32, 1), ConvBlock(32, 32, 3, same=True)),
            nn.Sequential(
                ConvBlock(256, 32, 1), ConvBlock(32, 32, 3, same=True), ConvBlock(32, 32, 3, same=True)
            ),
        ],
        96,
        0.17,
    )


def _block17() -> ResidualBlock:
    return ResidualBlock(896, _cross(896, 128, 7), 256, 0.1)


def _block8(scale: float, *, rectify: bool = True) -> ResidualBlock:
    return ResidualBlock(1792, _cross(1792, 192, 3), 384, scale, rectify=rectify)


def _cross(inputs: int, width: int, reach: int) -> list[nn.Module]:
    """A 1x1 branch, and one that sees a square by a row and then a column of ``reach`` pixels."""
    return [
        ConvBlock(inputs, width, 1),
        nn.Sequential(
            ConvBlock(inputs, width, 1),
            ConvBlock(width, width, (1, reach), same=True),
            ConvBlock(width, width, (reach, 1), same=True),
        ),
    ]
