"""Weights of frozen TensorFlow graphs as PyTorch lays them out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsight.errors import SparsightError
from sparsight.nets.graphdef import Graph


def kernel(graph: Graph, name: str) -> Tensor:
    """A TensorFlow kernel as PyTorch lays it out: (out, in, H, W), depthwise (channels, 1, H, W)."""
    array = graph.constant(name)
    if array.ndim != 4:
        raise SparsightError(
            f"{graph.source}: {name} is not a convolution's kernel but has shape {array.shape}."
        )
    order = (2, 3, 0, 1) if name.endswith("depthwise_weights") else (3, 2, 0, 1)
    # A copy: the graph's own bytes must not be written to, and PyTorch cannot promise that.
    return torch.from_numpy(np.array(array.transpose(order), np.float32, order="C"))


def vector(graph: Graph, name: str) -> Tensor:
    """A constant as float32."""
    return torch.from_numpy(np.array(graph.constant(name), np.float32))
