"""What the benchmarks of pruning share."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
from torch import nn

from sparsight import nets


def processor() -> str:
    """Its name."""
    cpus = Path("/proc/cpuinfo")
    for line in cpus.read_text().splitlines() if cpus.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def network(name: str, size: int, seed: int = 0) -> nn.Module:
    """A network with filters and layers of different strength, and statistics, as after training."""
    torch.manual_seed(seed)
    model = nets.build(name, input_shape=(3, size, size))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            shape = (-1, *[1] * (module.weight.ndim - 1))
            module.weight.data *= torch.empty(module.weight.shape[0]).uniform_(0.2, 1.8).view(shape)
    return model.eval()
