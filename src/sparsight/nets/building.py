"""Networks by name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown

InputShape: TypeAlias = tuple[int, int, int]
"""Channels, height, width of one input sample."""

IMAGENET: InputShape = (3, 224, 224)
SMALL_SIDE = 64
"""Images whose sides are at most this long get a network's small variant."""

NETWORKS: dict[str, str] = {
    "vgg16": "sparsight.nets.vgg:vgg16",
    "vgg16_bn": "sparsight.nets.vgg:vgg16_bn",
    "vgg19": "sparsight.nets.vgg:vgg19",
    "resnet18": "sparsight.nets.resnet:resnet18",
    "mobilenet_v1": "sparsight.nets.mobilenet:mobilenet_v1",
    "mobilenet_v2": "sparsight.nets.mobilenet:mobilenet_v2",
    "mlp": "sparsight.nets.small:mlp",
    "convnet": "sparsight.nets.small:convnet",
    "ssdlite_mobilenet_v2": "sparsight.nets.ssdlite:ssdlite_mobilenet_v2",
    "darknet": "sparsight.nets.darknet:darknet",
    "yolox_nano": "sparsight.nets.yolox:yolox_nano",
    "yolox_tiny": "sparsight.nets.yolox:yolox_tiny",
    "yolox_s": "sparsight.nets.yolox:yolox_s",
    "openpose_thin": "sparsight.nets.openpose:openpose_thin",
    "osnet_x0_25": "sparsight.nets.osnet:osnet_x0_25",
    "osnet_x1_0": "sparsight.nets.osnet:osnet_x1_0",
    "osnet_ain_x1_0": "sparsight.nets.osnet:osnet_ain_x1_0",
    "mlfn": "sparsight.nets.mlfn:mlfn",
    "inception_resnet_v1": "sparsight.nets.inception:inception_resnet_v1",
}
"""Network name → "module:function". The function takes the network's options and returns a module."""


def build(name: str, weights: str | Path | None = None, **options: Any) -> nn.Module:
    """Build the network called ``name``, in evaluation mode, with its weights loaded strictly.

    Args:
        name: one of ``NETWORKS``.
        weights: None (random initialisation), the name of an asset, or the path of a weight file.
        options: the network's own options (``num_classes``, ``input_shape``, ...).

    Returns:
        A module whose attribute ``input_shape`` is the (C, H, W) of one input sample.

    Raises:
        SparsightError: unknown name or option, or weights that do not fit the network.
    """
    constructor = resolve(lookup("network", name, NETWORKS))
    parameters = inspect.signature(constructor).parameters
    for option in options:
        if option not in parameters:
            raise SparsightError(unknown(f"option of {name}", option, parameters))
    needed = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if needed:
        raise SparsightError(f"network {name} needs the option {needed[0]!r}: pass {needed[0]}=...")
    model: nn.Module = constructor(**options)
    if weights is not None:
        from sparsight.nets.weights import load_into

        load_into(model, weights)
    return model.eval()


def is_small(network: str, input_shape: InputShape, num_classes: int) -> bool:
    """Whether images of this shape ask for the network's small variant; bad options are refused.

    Raises:
        SparsightError: not three positive numbers, a side under 8 pixels, or fewer than one class.
    """
    if len(input_shape) != 3 or input_shape[0] < 1 or min(input_shape[1:]) < 8:
        raise SparsightError(
            f"{network} cannot take input_shape={input_shape}: give channels, height and width, "
            "of at least 1, 8 and 8."
        )
    if num_classes < 1:
        raise SparsightError(f"{network} cannot have num_classes={num_classes}: give at least 1.")
    return max(input_shape[1:]) <= SMALL_SIDE


def initialise(model: nn.Module) -> None:
    """Random weights to train from: He et al.'s (arXiv 1502.01852) for convolutions, else N(0, 0.01²).

    The scale of a convolution follows its inputs, so that features neither vanish nor grow in a network of
    depthwise convolutions.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
