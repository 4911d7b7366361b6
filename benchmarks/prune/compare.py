"""Removing half of the channels: ours beside Torch-Pruning 1.6.1 and fasterai 0.4.1.

All start from the same weights and choose by the L1 norm, within each layer or over the whole network. For
each network the contenders take turns at pruning, and then the networks that they made take turns at running,
because the speed of a shared machine drifts; what counts is the median of the ratios to the dense network
(for pruning, to ours). How to get the peers: ``peers.txt``.

    python benchmarks/prune/compare.py --peers /tmp/peers --size 224 --batches 1 16

Writes ``results/compare.json`` and ``results/compare.md``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--peers", type=Path, help="folder that the peers are in")
parser.add_argument("--networks", nargs="+", default=["vgg16_bn", "resnet18", "mobilenet_v2"])
parser.add_argument("--fraction", type=float, default=0.5, help="of the channels, to remove")
parser.add_argument("--size", type=int, default=224, help="height and width of the input")
parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
parser.add_argument("--seed", type=int, default=0, help="of the weights: which channels go, and how ragged")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--prunings", type=int, default=5, help="times that each contender prunes each network")
parser.add_argument("--rounds", type=int, default=20, help="timed runs of each network, at most")
parser.add_argument(
    "--seconds", type=float, default=120, help="of timed runs for each network and batch size"
)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "compare.json")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import numpy as np  # noqa: E402  (after the number of threads is set)
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from common import network, processor  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from peers import Prune, contenders, versions  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from sparsight import nets  # noqa: E402
from sparsight.files import write_text  # noqa: E402
from sparsight.nets.export import export  # noqa: E402
from sparsight.prune import profile  # noqa: E402
from sparsight.prune.layer import prunable_layers  # noqa: E402
from sparsight.prune.profiling import eager_call, interleave, session_call  # noqa: E402
from sparsight.prune.scope import multiple  # noqa: E402

TOLERANCE = 0.01
"""How much less than asked may be removed where the target counts as met."""
DENSE = "dense"
REFERENCE = "ours, local"
"""Whose time to prune is 1."""


def channels(model: nn.Module) -> int:
    """Output channels of all layers but the last."""
    return sum(module.weight.shape[0] for module in list(prunable_layers(model).values())[:-1])


def prune_in_turns(
    dense: nn.Module, example: Tensor, how: dict[str, Prune]
) -> tuple[dict[str, nn.Module], dict[str, NDArray[np.float64]], dict[str, str]]:
    """The networks made, the seconds that it took, (prunings,) each, and who failed, and how."""
    made: dict[str, nn.Module] = {}
    seconds: dict[str, list[float]] = {name: [] for name in how}
    failed: dict[str, str] = {}
    for _ in range(arguments.prunings + 1):
        for name, prune in how.items():
            if name in failed:
                continue
            model = copy.deepcopy(dense)
            begin = time.perf_counter()
            try:
                made[name] = prune(model, example, arguments.fraction).eval()
                seconds[name].append(time.perf_counter() - begin)
                with torch.no_grad():
                    made[name](example)
            except Exception as error:  # a peer's failure is a result
                failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                made.pop(name, None)
    # The first turn fills caches.
    return made, {name: np.array(seconds[name][1:]) for name in made}, failed


def measure(name: str, how: dict[str, Prune]) -> dict[str, Any]:
    dense = network(name, arguments.size, arguments.seed)
    example = torch.rand(1, 3, arguments.size, arguments.size, generator=torch.Generator().manual_seed(0))
    made, seconds, failed = prune_in_turns(dense, example, how)
    if REFERENCE in failed:
        raise SystemExit(f"{REFERENCE} failed on {name}: {failed[REFERENCE]}")
    models = {DENSE: dense, **made}
    rows: dict[str, dict[str, Any]] = {}
    for key, model in models.items():
        cost = profile(model, example, batches=())
        removed = 1 - channels(model) / channels(dense)
        rows[key] = {"parameters": cost.parameters, "macs": cost.macs, "removed": removed}
        if key != DENSE:
            rows[key]["met"] = removed >= arguments.fraction - TOLERANCE
            rows[key]["prune_seconds"] = statistics.median(seconds[key])
            rows[key]["prune_ratio"] = float(np.median(seconds[key] / seconds[REFERENCE]))
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for index, (key, model) in enumerate(models.items()):
            path = Path(folder) / f"{index}.onnx"
            path.write_bytes(export(model, (3, arguments.size, arguments.size)))
            rows[key]["onnx_bytes"] = path.stat().st_size
            sessions[key] = nets.Session(
                path, "cpu", input_shape=tuple(example.shape[1:]), threads=arguments.threads
            )
        for batch in arguments.batches:
            calls = {("onnxruntime", key): session_call(session, batch) for key, session in sessions.items()}
            calls |= {("eager", key): eager_call(model, [example], batch) for key, model in models.items()}
            times = interleave(calls, arguments.rounds, arguments.seconds)
            for (runtime, key), samples in times.items():
                rows[key][f"{runtime}_ms_{batch}"] = float(np.median(samples))
                ratios = samples / times[runtime, DENSE]
                rows[key][f"{runtime}_ratio_{batch}"] = float(np.median(ratios))
                rows[key][f"{runtime}_ratios_{batch}"] = [round(float(ratio), 4) for ratio in ratios]
    return {"rows": rows, "failed": failed}


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# Half of the channels removed",
        "",
        f"{result['input']} px, {result['processor']}, {result['threads']} thread(s); "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + ". Times are medians; a time in brackets is the median ratio to the dense network, turn by turn. "
        f"Asked: {result['fraction']:.0%} of the output channels of all layers but the last. Met: so much "
        f"was removed, but for {100 * TOLERANCE:.0f} point at most, or more, and the network is then faster "
        "for that reason, too.",
    ]
    for name, text in result["missing"].items():
        lines += ["", f"{name} could not be imported: {text}"]
    heads = ["", "prune, s", "x ours", "removed", "met", "parameters, M", "MACs, G"]
    heads += [f"{runtime}, batch {batch}, ms" for batch in result["batches"] for runtime in ("ORT", "eager")]
    for name, found in result["networks"].items():
        lines += ["", f"## {name}", "", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
        for key, row in found["rows"].items():
            cells = [key]
            if key == DENSE:
                cells += [""] * 4
            else:
                cells += [f"{row['prune_seconds']:.2f}", f"{row['prune_ratio']:.2f}"]
                cells += [f"{row['removed']:.1%}", "yes" if row["met"] else "no"]
            cells += [f"{row['parameters'] / 1e6:.2f}", f"{row['macs'] / 1e9:.3f}"]
            for batch in result["batches"]:
                for runtime in ("onnxruntime", "eager"):
                    ratio = row[f"{runtime}_ratio_{batch}"]
                    cells.append(f"{row[f'{runtime}_ms_{batch}']:.2f} ({ratio:.2f})")
            lines.append("| " + " | ".join(cells) + " |")
        lines += [f"\n{key} failed: {text}" for key, text in found["failed"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(arguments.threads)
    widths = multiple("auto", torch.device("cpu"))
    assert widths is not None
    how, missing = contenders(arguments.peers, widths)
    result: dict[str, Any] = {
        "input": arguments.size,
        "fraction": arguments.fraction,
        "batches": arguments.batches,
        "threads": arguments.threads,
        "processor": processor(),
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, **versions()},
        "missing": missing,
        "networks": {},
    }
    for name in arguments.networks:
        result["networks"][name] = measure(name, how)
        # Written after each network, so that a run that is cut short has something to show.
        write_text(arguments.out, json.dumps(result, indent=1) + "\n")
        write_text(arguments.out.with_suffix(".md"), table(result))
    print(table(result))


if __name__ == "__main__":
    main()
