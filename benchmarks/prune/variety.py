"""Filter variety beside the plain criterion: accuracy of a small ConvNet at the same budget.

``python benchmarks/prune/variety.py [--dataset fashion_mnist] [--seeds 3]`` trains each variant from the same
initial weights on the same batches, removes as many filters from each layer, and adds one row per run to
``benchmarks/prune/results/variety.json``; runs that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from torch import nn

from sparsight import nets
from sparsight.files import write_text
from sparsight.prune import datasets
from sparsight.prune.devices import Numerics, PlainEngine
from sparsight.prune.layer import prunable_layers
from sparsight.prune.loop import LoopOptions, evaluate, fit
from sparsight.prune.sparsifier import Sparsifier
from sparsight.prune.variety import rarity

RESULTS = Path(__file__).parent / "results" / "variety.json"
WIDTHS = (16, 16, 32, 32)
VARIETIES = (None, "pairs", "clusters")
SPARSITIES = (0.5, 0.75)
PEAK_RATE = 4e-3


def kept_rarity(model: nn.Module) -> float:
    """Mean over the convolutions of the mean rarity of the filters that are left."""
    means = []
    for module in prunable_layers(model).values():
        if isinstance(module, nn.Conv2d):
            filters = module.weight.detach().flatten(1)
            means.append(rarity(filters[filters.any(dim=1)]).mean().item())
    return statistics.mean(means)


def train(
    data: datasets.ImageSet, setting: argparse.Namespace, how: dict[str, object] | None, seed: int
) -> dict[str, float]:
    torch.manual_seed(seed)
    model = nets.build("convnet", num_classes=len(data.classes), input_shape=data.input_shape, widths=WIDTHS)
    first = data.train.first(setting.images)
    batches = datasets.Batches(first, setting.batch, data.mean, data.std, seed=seed)
    test = datasets.Batches(data.test, 512, data.mean, data.std)
    engine = PlainEngine(torch.device("cpu"), Numerics("float32", "contiguous"))
    sparsifier = None
    if how is not None:
        sparsifier = Sparsifier(model, granularity="filter", layers="features.*", **how)  # type: ignore[arg-type]
    options = LoopOptions(setting.epochs, PEAK_RATE, "adam", 0.0, seed)
    # Tested once, at the end; after each epoch a glance is enough.
    glance = datasets.Batches(data.test.first(256), 256, data.mean, data.std)
    fit(model, batches, glance, options, engine, sparsifier=sparsifier)
    return {"accuracy": evaluate(model, test, engine)[1], "rarity": kept_rarity(model)}


def variants(criteria: list[str]) -> list[dict[str, object] | None]:
    every: list[dict[str, object] | None] = [None]
    for sparsity in SPARSITIES:
        for criterion in criteria:
            every += [
                {"sparsity": sparsity, "criterion": criterion, "variety": variety} for variety in VARIETIES
            ]
    return every


def table(rows: list[dict[str, object]], criteria: list[str]) -> str:
    lines = [
        "| filters removed | criterion | variety | accuracy (each seed) | rarity of the kept |",
        "|--|--|--|--|--|",
    ]
    for how in variants(criteria):
        found = [row for row in rows if row["how"] == how]
        accuracies = [float(row["accuracy"]) * 100 for row in found]  # type: ignore[arg-type]
        if not accuracies:
            continue
        names = (
            ["0", "–", "–"] if how is None else [how["sparsity"], how["criterion"], how["variety"] or "none"]
        )
        each = ", ".join(f"{value:.2f}" for value in accuracies)
        rare = statistics.mean(float(row["rarity"]) for row in found)  # type: ignore[arg-type]
        lines.append(
            f"| {' | '.join(map(str, names))} | **{statistics.mean(accuracies):.2f}** ({each}) | {rare:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--criteria", nargs="+", default=["l1"])
    parser.add_argument("--seeds", type=int, default=3)
    setting = parser.parse_args()
    about = {key: value for key, value in vars(setting).items() if key not in ("seeds", "criteria")}
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    data = datasets.load(setting.dataset)
    # Seed by seed, so that a run that is cut short compares like with like.
    for seed in range(setting.seeds):
        for how in variants(setting.criteria):
            key = {**about, "how": how, "seed": seed}
            if any(row.items() >= key.items() for row in rows):
                continue
            rows.append(key | train(data, setting, how, seed))
            write_text(RESULTS, json.dumps(rows, indent=1))
            print(how, seed, f"{rows[-1]['accuracy']:.4f}", flush=True)
    print(table([row for row in rows if row.items() >= about.items()], setting.criteria))


if __name__ == "__main__":
    main()
