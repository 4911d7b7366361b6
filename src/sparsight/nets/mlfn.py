"""MLFN, the Multi-Level Factorisation Net for person re-identification.

Source: Chang, Hospedales and Xiang, "Multi-Level Factorisation Net for Person Re-Identification",
CVPR 2018 (arXiv 1803.09132). Parameter names and shapes are torchreid's, so that its published files load
strictly; ``num_classes`` sets the size of the classifier (1000 in the ImageNet file, 0 for none).

Input: RGB in [0, 1], less the ImageNet mean and over its deviation, 256 high and 128 wide.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsight.nets.embedding import check_classes, classifier, initialise

GROUPS = 32
"""Factor modules per block: the groups of its middle convolution, each switched by one selection value."""

# Blocks per stage, channels out, and the two hidden widths of the factor selection module.
STAGES = ((3, 256, (128, 64)), (4, 512, (256, 128)), (6, 1024, (512, 128)), (3, 2048, (512, 128)))


class MLFNBlock(nn.Module):
    """A ResNeXt block whose groups are weighed, image by image, by a factor selection module."""

    def __init__(self, inputs: int, outputs: int, stride: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        middle = outputs // 2
        self.fm_conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.fm_bn1 = nn.BatchNorm2d(middle)
        self.fm_conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=GROUPS, bias=False)
        self.fm_bn2 = nn.BatchNorm2d(middle)
        self.fm_conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.fm_bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.fsm = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inputs, hidden[0], 1),
            nn.BatchNorm2d(hidden[0]),
            nn.ReLU(),
            nn.Conv2d(hidden[0], hidden[1], 1),
            nn.BatchNorm2d(hidden[1]),
            nn.ReLU(),
            nn.Conv2d(hidden[1], GROUPS, 1),
            nn.BatchNorm2d(GROUPS),
            nn.Sigmoid(),
        )
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if inputs != outputs or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride) and the (N, 32, 1, 1) selection."""
        selection: Tensor = self.fsm(x)
        factors = self.relu(self.fm_bn1(self.fm_conv1(x)))
        factors = self.relu(self.fm_bn2(self.fm_conv2(factors)))
        # Neighbouring channels share a group, so each selection value is repeated over its neighbours.
        factors = factors * selection.repeat_interleave(self.fm_conv2.out_channels // GROUPS, dim=1)
        out = self.relu(self.fm_bn3(self.fm_conv3(factors)))
        residual = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(residual + out)
        return summed, selection


class MLFN(nn.Module):
    """Sixteen blocks; the embedding is the mean of the deep features and of all selections, projected.

    ``forward`` maps (N, 3, 256, 128) float32 to the (N, feature_dim) float32 embedding, not normalised,
    in evaluation mode or when there is no classifier; in training mode to (N, num_classes) logits.
    """

    input_shape = (3, 256, 128)

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.feature = nn.ModuleList()
        inputs = 64
        for stage, (blocks, outputs, hidden) in enumerate(STAGES):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                self.feature.append(MLFNBlock(inputs, outputs, stride, hidden))
                inputs = outputs
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc_x = _projection(inputs, feature_dim)
        self.fc_s = _projection(GROUPS * len(self.feature), feature_dim)
        self.classifier = classifier(feature_dim, num_classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        selections = []
        for block in self.feature:
            x, selection = block(x)
            selections.append(selection)
        deep = self.fc_x(self.global_avgpool(x))
        signature = self.fc_s(torch.cat(selections, dim=1))
        embedding = torch.flatten((deep + signature) * 0.5, 1)
        if self.training and self.classifier is not None:
            logits: Tensor = self.classifier(embedding)
            return logits
        return embedding

    def rename_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a weight file as it is, once its classifier is known to have the network's size."""
        check_classes(self, "classifier", state)
        return state


def mlfn(num_classes: int = 1000, feature_dim: int = 1024) -> MLFN:
    """MLFN with 32 groups: 32 million parameters without its classifier."""
    return MLFN(num_classes, feature_dim)


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
