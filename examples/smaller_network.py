"""Train a small network while half of its filters go, cut them out, write ONNX, and say what that saved.

python examples/smaller_network.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from sparsight import nets
from sparsight.nets.export import export
from sparsight.prune import Sparsifier, coupling, profile, shrink

STEPS, BATCH, SIDE = 100, 32, 32


def stripes(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy stripes in one of four directions: images (BATCH, 1, SIDE, SIDE) and which of the four."""
    label = torch.randint(4, (BATCH,), generator=generator)
    angle = label * torch.pi / 4
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    along = x * torch.cos(angle)[:, None, None] + y * torch.sin(angle)[:, None, None]
    phase = torch.rand(BATCH, 1, 1, generator=generator) * 6.3
    noise = torch.randn(BATCH, SIDE, SIDE, generator=generator)
    return (torch.sin(along * 0.8 + phase) + noise)[:, None], label


def accuracy(model: nn.Module, generator: torch.Generator) -> float:
    images, labels = stripes(generator)
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


def main(folder: str) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = nets.build("convnet", input_shape=(1, SIDE, SIDE), widths=(32, 64, 64), num_classes=4).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    layers = coupling(model, (1, SIDE, SIDE)).layers  # all but the one that makes the output

    sparsifier = Sparsifier(model, 0.5, granularity="filter", layers=layers, total_steps=STEPS)
    for _ in range(STEPS):
        images, labels = stripes(generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        sparsifier.step()
    sparsifier.remove()

    result = shrink(model.eval(), images[:1])
    file = Path(folder) / "stripes.onnx"
    file.write_bytes(export(result.model, (1, SIDE, SIDE)))
    before, after = (profile(one, (1, SIDE, SIDE), batches=(64,), seconds=3.0) for one in (model, file))
    print(f"right: {accuracy(result.model, generator):.0%}; filters gone: {dict(result.removed)}")
    print(
        f"parameters: {before.parameters:,} to {after.parameters:,}, MACs: {before.macs:,} to {after.macs:,}"
    )
    print(f"batch of 64: {before.latency[64].median_ms:.1f} to {after.latency[64].median_ms:.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
