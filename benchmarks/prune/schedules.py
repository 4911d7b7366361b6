"""Which schedule keeps most accuracy on a small budget: Fashion-MNIST, a small ConvNet, six epochs.

The network (convolutions of 16, 16, 32 and 32 filters, one linear layer) is trained on 20,000 images with
Adam along one 1cycle of learning rate, while the weights of its convolutions are removed, the smallest of
each layer first. *AGP from 0* is the control: it tells how much of one-cycle pruning's gain is its shape,
and how much is that it starts early.

    python benchmarks/prune/schedules.py --out benchmarks/prune/results

Runs are dealt out seed by seed over processes of one thread each. Each is kept when it is done, so that the
same command goes on where an earlier one was ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from sparsight import nets
from sparsight.files import write_text
from sparsight.prune.datasets import Batches, load
from sparsight.prune.devices import Numerics, PlainEngine
from sparsight.prune.loop import LoopOptions, fit
from sparsight.prune.sparsifier import Sparsifier

SCHEDULES = {
    "one-cycle, β = 5": "one_cycle",
    "one-cycle, β = 6": "one_cycle(beta=6)",
    "AGP from 0": "agp(start=0)",
    "AGP from 20%": "agp(start=0.2)",
    "one-shot at 40%": "one_shot(at=0.4)",
    "one-shot at 50%": "one_shot(at=0.5)",
    "iterative from 20%": "iterative(start=0.2)",
}
DENSE = "dense"
WIDTHS = (16, 16, 32, 32)
BATCH = 128


def train(job: dict[str, Any]) -> dict[str, Any]:
    """One run; everything in it follows from ``job``."""
    torch.set_num_threads(1)
    begin = time.process_time()
    data = load(job["dataset"])
    torch.manual_seed(job["seed"])
    model = nets.build("convnet", input_shape=data.input_shape, widths=WIDTHS)
    numerics = Numerics("float32", "channels_last")
    model.to(memory_format=numerics.memory_format)  # type: ignore[call-overload]
    batches = Batches(
        data.train.first(job["images"]),
        BATCH,
        data.mean,
        data.std,
        seed=job["seed"],
        memory_format=numerics.memory_format,
    )
    test = Batches(data.test, 1000, data.mean, data.std, memory_format=numerics.memory_format)
    sparsifier = None
    if job["schedule"] is not None:
        sparsifier = Sparsifier(
            model, job["sparsity"], schedule=job["schedule"], criterion="l1", layers=job["layers"]
        )
    history = fit(
        model,
        batches,
        test,
        LoopOptions(job["epochs"], lr=4e-3, optimiser="adam", weight_decay=0.0, seed=job["seed"]),
        PlainEngine(torch.device("cpu"), numerics),
        sparsifier=sparsifier,
    )
    return {
        **job,
        "accuracy": history[-1].accuracy,
        "reached": history[-1].sparsity,
        "seconds": time.process_time() - begin,
        "history": [asdict(epoch) for epoch in history],
    }


def plan(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every run, seed by seed."""
    common = {
        "dataset": options.dataset,
        "images": options.images,
        "epochs": options.epochs,
        "layers": options.layers,
    }
    chosen = {name: SCHEDULES[name] for name in options.schedule or SCHEDULES}
    jobs = []
    for seed in range(options.seeds):
        jobs.append({**common, "name": DENSE, "schedule": None, "sparsity": 0.0, "seed": seed})
        jobs += [
            {**common, "name": name, "schedule": schedule, "sparsity": sparsity, "seed": seed}
            for sparsity, (name, schedule) in itertools.product(options.sparsity, chosen.items())
        ]
    return jobs


def kept(path: Path) -> list[dict[str, Any]]:
    """Runs of an earlier call that was ended before it was done."""
    if not path.is_file():
        return []
    runs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return runs


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and sample standard deviation over the seeds, as Markdown."""
    sparsities = sorted({row["sparsity"] for row in rows if row["schedule"] is not None})
    names = list(dict.fromkeys(row["name"] for row in rows if row["schedule"] is not None))

    def cell(name: str, sparsity: float) -> str:
        found = [100 * row["accuracy"] for row in rows if (row["name"], row["sparsity"]) == (name, sparsity)]
        spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        return f"{statistics.mean(found):.2f}{spread}"

    lines = [
        f"| | {' | '.join(f'{sparsity:.0%} removed' for sparsity in sparsities)} |",
        f"| --- |{' ---: |' * len(sparsities)}",
        f"| {DENSE} | {' | '.join([cell(DENSE, 0.0)] + [''] * (len(sparsities) - 1))} |",
    ]
    lines += [f"| {name} | {' | '.join(cell(name, value) for value in sparsities)} |" for name in names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--schedule", nargs="+", choices=list(SCHEDULES), help="these only")
    parser.add_argument(
        "--layers", default="features.*", help="which are pruned; '*' takes the classifier too"
    )
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/prune/results"))
    options = parser.parse_args()
    load(options.dataset)  # decoded once, before the processes want it
    path = options.out / f"schedules-{options.dataset}.json"
    jobs = plan(options)
    rows = [row for row in kept(path) if any(job.items() <= row.items() for job in jobs)]
    left = [job for job in jobs if not any(job.items() <= row.items() for row in rows)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for row in pool.imap_unordered(train, left):
            rows.append(row)
            write_text(path, json.dumps({"torch": torch.__version__, "runs": rows}, indent=1))
            print(
                f"{len(rows)}/{len(jobs)} {row['name']}, {row['sparsity']:.0%}, seed {row['seed']}: "
                f"{row['accuracy']:.2%} in {row['seconds']:.0f} s",
                flush=True,
            )
    rows.sort(key=lambda row: next(index for index, job in enumerate(jobs) if job.items() <= row.items()))
    text = table(rows)
    write_text(path.with_suffix(".md"), text + "\n")
    print(f"\n{text}\n\n{sum(row['seconds'] for row in rows):.0f} s of one core")


if __name__ == "__main__":
    main()
