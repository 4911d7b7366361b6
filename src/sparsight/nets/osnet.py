"""OSNet and OSNet-AIN, person re-identification networks that mix four scales in every block.

Sources: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019
(arXiv 1905.00953), and Zhou et al., "Learning Generalisable Omni-Scale Representations for Person
Re-Identification", TPAMI 2021 (arXiv 1910.06827). Parameter names and shapes are torchreid's, so that
its published files load strictly; they differ in nothing but the size of the classifier, which the
option ``num_classes`` sets (1000 in the ImageNet files, 4101 in those of all of MSMT17, 0 for
a file without one).

Input: RGB in [0, 1], less the ImageNet mean and over its deviation, 256 high and 128 wide.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparsight.nets.embedding import check_classes, classifier, initialise

STREAMS = 4
"""Scales per block: stream t, from 1, is t light convolutions deep and sees (2t + 1) x (2t + 1) pixels."""


class ConvLayer(nn.Module):
    """Convolution, batch norm (or instance norm), rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, instance_norm: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        # The published files call it bn whichever norm it is.
        self.bn: nn.Module = _instance_norm(outputs) if instance_norm else nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class LinearConv(nn.Module):
    """1x1 convolution and batch norm, without a rectifier; ``norm=False`` leaves the norm out too."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        out: Tensor = self.conv(x)
        return out if self.bn is None else self.bn(out)


class LightConv(nn.Module):
    """A 3x3 convolution factored into a 1x1 and a depthwise 3x3 (the paper's Lite 3x3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out: Tensor = self.relu(self.bn(self.conv2(self.conv1(x))))
        return out


class LightConvStream(nn.Module):
    """``depth`` light convolutions in a row."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = _stream(channels, depth)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out: Tensor = self.layers(x)
        return out


class ChannelGate(nn.Module):
    """The aggregation gate: weighs each channel of a stream by what the whole stream holds."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)
        self.gate_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        gate: Tensor = self.gate_activation(self.fc2(self.relu(self.fc1(self.global_avgpool(x)))))
        return x * gate


class OmniScaleBlock(nn.Module):
    """Residual block whose middle is the gated sum of ``STREAMS`` streams; one gate serves them all."""

    def __init__(self, inputs: int, outputs: int, *, instance_norm: bool = False) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = ConvLayer(inputs, middle)
        self.gate = ChannelGate(middle)
        self.conv3 = LinearConv(middle, outputs, norm=not instance_norm)
        self.downsample = LinearConv(inputs, outputs) if inputs != outputs else None
        self.IN = _instance_norm(outputs) if instance_norm else None
        self.relu = nn.ReLU()

    def mix(self, x: Tensor) -> Tensor:
        """The gated sum of the streams: (N, outputs / 4, H, W) to the same shape."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        out: Tensor = self.conv3(self.mix(self.conv1(x)))
        if self.IN is not None:
            out = self.IN(out)
        residual = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(out + residual)
        return summed


class OSBlock(OmniScaleBlock):
    """The block of OSNet."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        middle = outputs // 4
        self.conv2a = LightConv(middle)
        self.conv2b = _stream(middle, 2)
        self.conv2c = _stream(middle, 3)
        self.conv2d = _stream(middle, 4)

    def mix(self, x: Tensor) -> Tensor:
        """The gated sum of the streams, all streams first: the order of the official files' layers."""
        a, b, c, d = self.conv2a(x), self.conv2b(x), self.conv2c(x), self.conv2d(x)
        mixed: Tensor = self.gate(a) + self.gate(b) + self.gate(c) + self.gate(d)
        return mixed


class AINBlock(OmniScaleBlock):
    """The block of OSNet-AIN, with or without an instance norm inside the residual."""

    def __init__(self, inputs: int, outputs: int, *, instance_norm: bool) -> None:
        super().__init__(inputs, outputs, instance_norm=instance_norm)
        self.conv2 = nn.ModuleList(LightConvStream(outputs // 4, depth) for depth in range(1, STREAMS + 1))

    def mix(self, x: Tensor) -> Tensor:
        """The gated sum of the streams, stream by stream: the order of the official files' layers."""
        mixed: Tensor = self.gate(self.conv2[0](x))
        for stream in self.conv2[1:]:
            mixed = mixed + self.gate(stream(x))
        return mixed


class OSNet(nn.Module):
    """Stem, stages of omni-scale blocks, a 1x1 convolution, pooling, a feature layer and a classifier.

    ``forward`` maps (N, 3, 256, 128) float32 to the (N, feature_dim) float32 embedding, not normalised,
    in evaluation mode or when there is no classifier; in training mode to (N, num_classes) logits.

    Args:
        stem: the first convolution, from the 3 colours.
        stages: name of the parameter group → module, in order.
        channels: the width of the last stage.
        num_classes: identities the classifier tells apart; 0 leaves it out.
        feature_dim: length of the embedding.
    """

    input_shape = (3, 256, 128)

    def __init__(
        self,
        stem: nn.Module,
        stages: Mapping[str, nn.Module],
        channels: int,
        *,
        num_classes: int,
        feature_dim: int,
    ) -> None:
        super().__init__()
        self.conv1 = stem
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._stages = tuple(stages)
        self.conv5 = ConvLayer(channels, channels)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, feature_dim), nn.BatchNorm1d(feature_dim), nn.ReLU())
        self.classifier = classifier(feature_dim, num_classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.maxpool(self.conv1(x))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        x = self.global_avgpool(self.conv5(x))
        embedding: Tensor = self.fc(torch.flatten(x, 1))
        if self.training and self.classifier is not None:
            logits: Tensor = self.classifier(embedding)
            return logits
        return embedding

    def rename_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a weight file as it is, once its classifier is known to have the network's size."""
        check_classes(self, "classifier", state)
        return state


def osnet_x0_25(num_classes: int = 1000, feature_dim: int = 512) -> OSNet:
    """OSNet with a quarter of the channels: 0.2 million parameters without its classifier."""
    return _osnet((16, 64, 96, 128), num_classes, feature_dim)


def osnet_x1_0(num_classes: int = 1000, feature_dim: int = 512) -> OSNet:
    """OSNet at full width: 2.2 million parameters without its classifier."""
    return _osnet((64, 256, 384, 512), num_classes, feature_dim)


def osnet_ain_x1_0(num_classes: int = 1000, feature_dim: int = 512) -> OSNet:
    """OSNet-AIN at full width: the placement of instance norms that the paper's search found."""
    return OSNet(
        ConvLayer(3, 64, 7, stride=2, instance_norm=True),
        {
            "conv2": nn.Sequential(
                AINBlock(64, 256, instance_norm=True), AINBlock(256, 256, instance_norm=True)
            ),
            "pool2": _transition(256),
            "conv3": nn.Sequential(
                AINBlock(256, 384, instance_norm=False), AINBlock(384, 384, instance_norm=True)
            ),
            "pool3": _transition(384),
            "conv4": nn.Sequential(
                AINBlock(384, 512, instance_norm=True), AINBlock(512, 512, instance_norm=False)
            ),
        },
        512,
        num_classes=num_classes,
        feature_dim=feature_dim,
    )


def _osnet(channels: tuple[int, int, int, int], num_classes: int, feature_dim: int) -> OSNet:
    stem, first, second, third = channels
    return OSNet(
        ConvLayer(3, stem, 7, stride=2),
        {
            "conv2": nn.Sequential(OSBlock(stem, first), OSBlock(first, first), _transition(first)),
            "conv3": nn.Sequential(OSBlock(first, second), OSBlock(second, second), _transition(second)),
            "conv4": nn.Sequential(OSBlock(second, third), OSBlock(third, third)),
        },
        third,
        num_classes=num_classes,
        feature_dim=feature_dim,
    )


def _stream(channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(LightConv(channels) for _ in range(depth)))


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(ConvLayer(channels, channels), nn.AvgPool2d(2, stride=2))


def _instance_norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)
