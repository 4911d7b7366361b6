"""Which schedule keeps most accuracy on a small budget: Fashion-MNIST, a small ConvNet, six epochs.

The network (convolutions of 16, 16, 32 and 32 filters, one linear layer) is trained on 20,000 images with
Adam along one 1cycle of learning rate, while the weights of its convolutions are removed, the smallest of
each layer first. *AGP from 0* is the control: it tells how much of one-cycle pruning's gain is its shape,
and how much is that it starts early.

    python benchmarks/prune/schedules.py --out benchmarks/prune/results

Larger networks on colour images, where there is a GPU (all layers are pruned, images shifted and flipped):

    python benchmarks/prune/schedules.py --model resnet18 --dataset cifar10 --device cuda --epochs 30 \\
        --sparsity 0.8 0.9 0.95 --out benchmarks/prune/results

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
from sparsight.prune.datasets import AUGMENTATIONS, Batches, load
from sparsight.prune.devices import Engine, Numerics, PlainEngine, start
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
CONVNET: dict[str, Any] = {
    "model": "convnet",
    "images": 20_000,
    "layers": "features.*",
    "lr": 4e-3,
    "batch": 128,
    "augment": "none",
}
"""What is not said on the command line; rows of before there was a choice had these, too."""
LARGE: dict[str, Any] = {"images": None, "layers": "*", "lr": 1e-3, "batch": 128}
"""The paper's setting, for the networks that it used."""
MODELS = {"convnet": CONVNET, "resnet18": LARGE, "vgg16_bn": LARGE}
WIDTHS = {"convnet": {"widths": (16, 16, 32, 32)}}
AUGMENT = {"mnist": "none", "fashion_mnist": "none", "svhn": "shift"}
"""Data set → how its images are changed in training; all others are shifted and flipped."""


def train(job: dict[str, Any]) -> dict[str, Any]:
    """One run; everything in it follows from ``job``."""
    torch.set_num_threads(1)
    clock = time.perf_counter if job["device"] == "cuda" else time.process_time
    begin = clock()
    data = load(job["dataset"])
    torch.manual_seed(job["seed"])
    model = nets.build(
        job["model"],
        input_shape=data.input_shape,
        num_classes=len(data.classes),
        **WIDTHS.get(job["model"], {}),
    )
    engine: Engine = PlainEngine(torch.device("cpu"), Numerics("float32", "channels_last"))
    if job["device"] == "cuda":
        engine = start(model, data.input_shape, job["batch"], device="cuda")
    layout = engine.numerics.memory_format
    model.to(engine.device, memory_format=layout)  # type: ignore[call-overload]
    batches = Batches(
        data.train if job["images"] is None else data.train.first(job["images"]),
        job["batch"],
        data.mean,
        data.std,
        device=engine.device,
        augmentation=AUGMENTATIONS[job["augment"]],
        seed=job["seed"],
        memory_format=layout,
    )
    test = Batches(data.test, 1000, data.mean, data.std, device=engine.device, memory_format=layout)
    sparsifier = None
    if job["schedule"] is not None:
        sparsifier = Sparsifier(
            model, job["sparsity"], schedule=job["schedule"], criterion="l1", layers=job["layers"]
        )
    history = fit(
        model,
        batches,
        test,
        LoopOptions(job["epochs"], lr=job["lr"], optimiser="adam", weight_decay=0.0, seed=job["seed"]),
        engine,
        sparsifier=sparsifier,
    )
    return {
        **job,
        "accuracy": history[-1].accuracy,
        "reached": history[-1].sparsity,
        "seconds": clock() - begin,
        "history": [asdict(epoch) for epoch in history],
    }


def plan(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every run, seed by seed."""
    common = {"dataset": options.dataset, "epochs": options.epochs, "model": options.model}
    common |= {"device": options.device, "augment": AUGMENT.get(options.dataset, "shift_flip")}
    for name in ("images", "layers", "lr", "batch"):
        told = getattr(options, name)
        common[name] = MODELS[options.model][name] if told is None else told
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
    return [{**CONVNET, "device": "cpu", **run} for run in runs]


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
    parser.add_argument("--model", choices=list(MODELS), default="convnet")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--images", type=int, help="train on this many; for larger networks, all")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--batch", type=int, help="images in a batch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--schedule", nargs="+", choices=list(SCHEDULES), help="these only")
    parser.add_argument("--layers", help="which are pruned; '*' takes the classifier too")
    parser.add_argument("--processes", type=int, help="runs at a time; by default one a core, or one a GPU")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/prune/results"))
    options = parser.parse_args()
    if options.device == "auto":
        # The small network keeps a GPU waiting.
        fast = options.model != "convnet" and torch.cuda.is_available()
        options.device = "cuda" if fast else "cpu"
    processes = options.processes or (1 if options.device == "cuda" else len(os.sched_getaffinity(0)))
    load(options.dataset)  # decoded once, before the processes want it
    which = "" if options.model == "convnet" else f"{options.model}-"
    path = options.out / f"schedules-{which}{options.dataset}.json"
    jobs = plan(options)
    rows = [row for row in kept(path) if any(job.items() <= row.items() for job in jobs)]
    left = [job for job in jobs if not any(job.items() <= row.items() for row in rows)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
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
    unit = "the GPU" if options.device == "cuda" else "one core"
    print(f"\n{text}\n\n{sum(row['seconds'] for row in rows):.0f} s of {unit}")


if __name__ == "__main__":
    main()
