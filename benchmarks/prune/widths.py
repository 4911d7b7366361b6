"""What ragged widths cost: networks of nearly the same widths, ragged and in multiples of 8, 16 and 32.

Channels are chosen over the whole network by the L1 norm, which leaves each layer another width. Networks
take turns in ONNX Runtime, because the speed of a shared machine drifts; what counts is the median of the
ratios to the ragged one. From this comes what ``round_to="auto"`` stands for.

    python benchmarks/prune/widths.py --size 224 --batch 16

Writes ``results/widths.json`` and ``results/widths.md``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--networks", nargs="+", default=["mobilenet_v2", "resnet18", "vgg16_bn"])
parser.add_argument("--multiples", type=int, nargs="+", default=[8, 16, 32])
parser.add_argument("--fraction", type=float, default=0.5, help="of the channels, to remove")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=20)
parser.add_argument("--seconds", type=float, default=60, help="of timed runs for each network")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "widths.json")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import numpy as np  # noqa: E402  (after the number of threads is set)
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from common import network, processor  # noqa: E402
from peers import ours  # noqa: E402

from sparsight import nets  # noqa: E402
from sparsight.files import write_text  # noqa: E402
from sparsight.nets.export import export  # noqa: E402
from sparsight.prune import profile  # noqa: E402
from sparsight.prune.profiling import interleave, session_call  # noqa: E402

DENSE, RAGGED = "dense", "ragged"


def measure(name: str) -> dict[str, Any]:
    shape = (3, arguments.size, arguments.size)
    dense = network(name, arguments.size)
    example = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    models = {DENSE: dense, RAGGED: ours("global", None)(copy.deepcopy(dense), example, arguments.fraction)}
    for multiple in arguments.multiples:
        models[f"multiples of {multiple}"] = ours("global", multiple)(
            copy.deepcopy(dense), example, arguments.fraction
        )
    with tempfile.TemporaryDirectory() as folder:
        calls = {}
        for index, (key, model) in enumerate(models.items()):
            path = Path(folder) / f"{index}.onnx"
            path.write_bytes(export(model, shape))
            session = nets.Session(path, "cpu", input_shape=shape, threads=arguments.threads)
            calls[key] = session_call(session, arguments.batch)
        times = interleave(calls, arguments.rounds, arguments.seconds)
    rows = {}
    for key, model in models.items():
        cost = profile(model, shape, batches=())
        ratios = times[key] / times[RAGGED]
        rows[key] = {
            "parameters": cost.parameters,
            "macs": cost.macs,
            "ms": float(np.median(times[key])),
            "ratio": float(np.median(ratios)),
            "ratios": [round(float(ratio), 4) for ratio in ratios],
        }
    return rows


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# Widths",
        "",
        f"{result['input']} px, batch {result['batch']}, {result['processor']}, "
        f"{result['threads']} thread(s), "
        f"ONNX Runtime {result['onnxruntime']}; {result['fraction']:.0%} of the channels removed over the "
        "whole network. The ratio is the median of the ratios to the ragged network, turn by turn.",
    ]
    for name, rows in result["networks"].items():
        lines += ["", f"## {name}", "", "| | parameters, M | MACs, G | ms | ratio |", "| --- " * 5 + "|"]
        lines += [
            f"| {key} | {row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.3f} | {row['ms']:.2f} "
            f"| {row['ratio']:.2f} |"
            for key, row in rows.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {
        "input": arguments.size,
        "batch": arguments.batch,
        "fraction": arguments.fraction,
        "threads": arguments.threads,
        "processor": processor(),
        "onnxruntime": onnxruntime.__version__,
        "networks": {},
    }
    for name in arguments.networks:
        result["networks"][name] = measure(name)
        write_text(arguments.out, json.dumps(result, indent=1) + "\n")
        write_text(arguments.out.with_suffix(".md"), table(result))
    print(table(result))


if __name__ == "__main__":
    main()
