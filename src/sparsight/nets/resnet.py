"""ResNet-18, with torchvision's parameter names and shapes.

Source: He et al., *Deep Residual Learning for Image Recognition* (arXiv 1512.03385), Table 1 and, for small
images, section 4.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsight.nets.building import IMAGENET, InputShape, initialise, is_small


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features of the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        activated: Tensor = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return activated


class ResNet18(nn.Module):
    """(N, C, H, W) → (N, num_classes) logits."""

    def __init__(self, num_classes: int, input_shape: InputShape) -> None:
        super().__init__()
        small = is_small("resnet18", input_shape, num_classes)
        self.input_shape = input_shape
        if small:
            self.conv1 = nn.Conv2d(input_shape[0], 64, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(input_shape[0], 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet18(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> ResNet18:
    """ResNet-18; for images of at most 64 pixels a side, with a 3x3 stem of stride 1 and no max-pooling."""
    return ResNet18(num_classes, input_shape)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))
