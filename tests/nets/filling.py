"""Numbers that two implementations of one network can both be filled with, and what the other one gave.

``peers.json`` holds, per network, what the implementation that published the weights gives for ``fill`` and
``sample``: its parameter names and shapes as a digest, and the head, norm and mean of its output. Versions:
torchreid 0.2.5, facenet-pytorch 2.6.0, yolox 0.3.0 (without decoding).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

PEERS: dict[str, Any] = json.loads((Path(__file__).parent / "peers.json").read_text())


def fill(network: nn.Module) -> None:
    """Set every parameter and statistic from its name and shape alone, keeping activations near one."""
    state = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        # RandomState's stream is frozen for good, default_rng's is not.
        random = np.random.RandomState(zlib.crc32(name.encode()))
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, tensor.shape)
        elif tensor.ndim > 1:
            values = random.standard_normal(tensor.shape) * np.sqrt(2 / tensor[0].numel())
        elif name.endswith("weight"):
            values = random.uniform(0.5, 1.0, tensor.shape)
        else:
            values = random.standard_normal(tensor.shape) * 0.1
        state[name] = torch.from_numpy(values.astype(np.float32))
    network.load_state_dict(state, strict=False)


def sample(shape: tuple[int, int, int]) -> Tensor:
    """One input of that (C, H, W)."""
    values = np.random.RandomState(0).standard_normal((1, *shape))
    return torch.from_numpy(values.astype(np.float32))


def layout(network: nn.Module) -> str:
    """Digest of all names and shapes, less the batch counters that old files lack."""
    lines = sorted(
        f"{name} {tuple(tensor.shape)}"
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def measure(output: Tensor) -> dict[str, Any]:
    """What is kept of an output: some of its values and what all of them add up to."""
    flat = output.detach().double().flatten()
    step = max(1, flat.numel() // 16)
    return {
        "shape": list(output.shape),
        "values": flat[::step][:16].tolist(),
        "norm": float(flat.norm()),
        "mean": float(flat.mean()),
    }


def matches(output: Tensor, recorded: dict[str, Any]) -> None:
    """Assert that an output is the one recorded, but for the order in which floats were summed."""
    measured = measure(output)
    assert measured["shape"] == recorded["shape"]
    assert measured["values"] == pytest.approx(recorded["values"], rel=1e-3, abs=1e-4)
    assert measured["norm"] == pytest.approx(recorded["norm"], rel=1e-4)
    assert measured["mean"] == pytest.approx(recorded["mean"], rel=1e-3, abs=1e-4)


def logits(network: nn.Module, x: Tensor) -> Tensor:
    """The output in training mode, of a network whose norms and dropout stay as in evaluation mode."""
    network.train()
    for module in network.modules():
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.Dropout)):
            module.eval()
    with torch.no_grad():
        out: Tensor = network(x)
    return out


def save_like_torchreid(network: nn.Module, path: Path) -> None:
    """A checkpoint as torchreid's training writes it: prefixed, a NumPy number beside the state."""
    state = {
        f"module.{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": state, "epoch": 60, "rank1": np.float32(0.5)}, path)
