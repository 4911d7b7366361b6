"""What sparsification adds to a training step of ResNet18 while the masks stay as they are.

    python benchmarks/prune/overhead.py [--size 224] [--batch 128] [--rounds 5] [--device cpu] [--out FILE]

Steps with and without a sparsifier alternate in one run; printed are the median of either and of their ratio,
and beside them what the sparsifier's own work takes: re-applying masks, and choosing them anew. On a CPU one
thread is used and its processor time is taken, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import processor
from torch import nn

from sparsight import nets
from sparsight.files import write_text
from sparsight.prune import Sparsifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--granularity", default="weight")
    parser.add_argument("--out", type=Path, help="a JSON file to write the figures to")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    # For small images the usual variant, which does not halve them at once.
    model = nets.build("resnet18", input_shape=(3, options.size, options.size)).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    labels = torch.randint(1000, (options.batch,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def seconds(work: Callable[[], object]) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - begin

    step()
    plain, sparse, holding, choosing = [], [], [], []
    for _ in range(options.rounds):
        plain.append(seconds(step))
        with Sparsifier(model, 0.9, granularity=options.granularity) as sparsifier:
            sparsifier.mask()
            sparsifier.step(1.0)

            def both(sparsifier: Sparsifier = sparsifier) -> None:
                step()
                sparsifier.step(1.0)

            sparse.append(seconds(both))
            holding.append(seconds(sparsifier._hold))
            choosing.append(seconds(sparsifier.mask))
    ratios = [ours / alone for ours, alone in zip(sparse, plain, strict=True)]
    median = statistics.median
    text = (
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if device.type == "cuda" else processor(),
                "torch": torch.__version__,
                "rounds": options.rounds,
                "batch": options.batch,
                "size": options.size,
                "granularity": options.granularity,
                "plain step ms": round(1e3 * median(plain), 2),
                "sparsified step ms": round(1e3 * median(sparse), 2),
                "median ratio": round(median(ratios), 4),
                "re-applying masks ms": round(1e3 * median(holding), 3),
                "re-applying share": round(median(holding) / median(plain), 5),
                "choosing masks ms": round(1e3 * median(choosing), 2),
            },
            indent=1,
        )
        + "\n"
    )
    print(text)
    if options.out is not None:
        write_text(options.out, text)


if __name__ == "__main__":
    main()
