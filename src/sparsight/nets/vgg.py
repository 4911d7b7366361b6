"""VGG, with torchvision's parameter names and shapes.

Source: Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*
(arXiv 1409.1556), Table 1, columns D and E.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.building import IMAGENET, InputShape, initialise, is_small
from sparsight.nets.hdf5 import read_arrays
from sparsight.nets.weights import fill

_CHANNELS = (64, 128, 256, 512, 512)
_VGG16 = (2, 2, 3, 3, 3)
_VGG19 = (2, 2, 4, 4, 4)
"""Convolutions before each of the five poolings."""

_HED_MEAN = (122.67892, 116.66877, 104.00699)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel, RGB."""


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

    def load_file(self, path: str | Path) -> None:
        """Fill the convolutions from a Keras file of HED's VGG16 (``.h5``); the classifier stays as built.

        HED (Xie and Tu, arXiv 1504.06375) is VGG16 fine-tuned to find edges: real features, but not those of
        the classifier. Its first layer, made for BGR in 0..255 minus a mean, is converted to take what every
        other VGG here takes: RGB in 0..1, standardised with ImageNet's mean and deviation.

        Raises:
            SparsightError: not such a file, or not the convolutions of a VGG16 for RGB images.
        """
        arrays = read_arrays(Path(path))
        convolutions = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        names = [
            f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"
            for block, depth in enumerate(_VGG16, start=1)
            for index in range(depth)
        ]
        state: dict[str, Tensor] = {}
        for index, name in enumerate(names):
            if f"{name}/0" not in arrays or f"{name}/1" not in arrays:
                raise SparsightError(f"{path} lacks {name}: give the weights of HED's VGG16.")
            kernel = torch.from_numpy(arrays[f"{name}/0"].copy())
            if kernel.ndim != 4 or (index == 0 and kernel.shape[2] != 3):
                raise SparsightError(f"{path} has no convolution at {name}: give the weights of HED's VGG16.")
            state[f"{index}.weight"] = kernel.permute(3, 2, 0, 1)
            state[f"{index}.bias"] = torch.from_numpy(arrays[f"{name}/1"].copy())
        state["0.weight"], state["0.bias"] = _from_caffe(state["0.weight"], state["0.bias"])
        fill(nn.Sequential(*convolutions), state, source=str(path))


def vgg16(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG16; for images of at most 64 pixels a side, with one hidden layer of 512 in its classifier."""
    return VGG(_VGG16, num_classes, input_shape, batch_norm=False)


def vgg16_bn(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG16 with batch norms, small variant as for ``vgg16``."""
    return VGG(_VGG16, num_classes, input_shape, batch_norm=True)


def vgg19(num_classes: int = 1000, input_shape: InputShape = IMAGENET) -> VGG:
    """VGG19, small variant as for ``vgg16``."""
    return VGG(_VGG19, num_classes, input_shape, batch_norm=False)


def _from_caffe(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A first convolution for (BGR - mean) as one for (RGB / 255 - mean) / deviation.

    The sums agree wherever the kernel lies inside the image; on its border, the padding's zeros stand for
    means that differ by 1 in 255.
    """
    scale = 255 * weight.new_tensor(_IMAGENET_STD)
    offset = 255 * weight.new_tensor(_IMAGENET_MEAN) - weight.new_tensor(_HED_MEAN)
    weight = weight.flip(1)
    return weight * scale.view(3, 1, 1), bias + (weight.sum((2, 3)) * offset).sum(1)


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
