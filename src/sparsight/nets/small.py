"""Two small networks to learn and experiment with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.building import InputShape, initialise, is_small


class MLP(nn.Module):
    """(N, C, H, W) → (N, num_classes) logits through fully connected layers."""

    def __init__(self, num_classes: int, input_shape: InputShape, hidden: Sequence[int]) -> None:
        super().__init__()
        is_small("mlp", input_shape, num_classes)
        _check_widths("mlp", "hidden", hidden)
        self.input_shape = input_shape
        widths = [math.prod(input_shape), *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.layers(x.flatten(1))
        return logits


class ConvNet(nn.Module):
    """(N, C, H, W) → (N, num_classes) logits: convolution, batch norm, ReLU and pooling, once per width."""

    def __init__(self, num_classes: int, input_shape: InputShape, widths: Sequence[int]) -> None:
        super().__init__()
        is_small("convnet", input_shape, num_classes)
        _check_widths("convnet", "widths", widths)
        self.input_shape = input_shape
        layers: list[nn.Module] = []
        channels = input_shape[0]
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def mlp(
    num_classes: int = 10, input_shape: InputShape = (1, 28, 28), hidden: Sequence[int] = (300, 100)
) -> MLP:
    """A multilayer perceptron, by default LeCun et al.'s LeNet-300-100 (1998), with ReLUs."""
    return MLP(num_classes, input_shape, hidden)


def convnet(
    num_classes: int = 10, input_shape: InputShape = (3, 32, 32), widths: Sequence[int] = (32, 64, 128)
) -> ConvNet:
    """A small convolutional network; ``widths`` are the output channels of its convolutions."""
    return ConvNet(num_classes, input_shape, widths)


def _check_widths(network: str, option: str, widths: Sequence[int]) -> None:
    if not widths or min(widths) < 1:
        raise SparsightError(f"{network} cannot have {option}={widths}: give one or more positive numbers.")
