"""Networks by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sparsight.registry import lookup, resolve

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
    "osnet_x0_25": "sparsight.nets.osnet:osnet_x0_25",
    "osnet_x1_0": "sparsight.nets.osnet:osnet_x1_0",
    "osnet_ain_x1_0": "sparsight.nets.osnet:osnet_ain_x1_0",
    "mlfn": "sparsight.nets.mlfn:mlfn",
    "inception_resnet_v1": "sparsight.nets.inception:inception_resnet_v1",
}
"""Network name → "module:function". The function takes the network's options and returns a module."""


def build(name: str, weights: str | Path | None = None, **options: Any) -> torch.nn.Module:
    """Build the network called ``name``, in evaluation mode, with its weights loaded strictly.

    Args:
        name: one of ``NETWORKS``.
        weights: None (random initialisation), the name of an asset, or the path of a weight file.
        options: the network's own options (``num_classes``, ``input_size``, ...).

    Returns:
        A module whose attribute ``input_shape`` is the (C, H, W) of one input sample.

    Raises:
        SparsightError: unknown name or option, or weights that do not fit the network.
    """
    constructor = resolve(lookup("network", name, NETWORKS))
    model: torch.nn.Module = constructor(**options)
    if weights is not None:
        from sparsight.nets.weights import load_into

        load_into(model, weights)
    return model.eval()
