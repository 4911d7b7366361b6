"""How much of its input a network needs: accuracy with all of it and with what input selection leaves.

Dense and selected networks have the same start, the same order of batches and the same number of steps; the
selected one's masks grow within these. Each seed trains all of them in turn. One row per network is added to
``benchmarks/prune/results/inputs.json``; networks that are there already are not trained again.

    python benchmarks/prune/inputs.py --data mnist --network mlp --seeds 10
    python benchmarks/prune/inputs.py --data cifar10 --network convnet --front-end block_dct --images 16700
    python benchmarks/prune/inputs.py --data fashion_mnist --network convnet --features lines
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from sparsight import nets
from sparsight.files import write_text
from sparsight.nets.export import export
from sparsight.prune import datasets, explain, select_inputs
from sparsight.prune.inputs import FRONT_ENDS, Selection

RESULTS = Path(__file__).parent / "results" / "inputs.json"
Row = dict[str, Any]
Step = Callable[[float], None]


class Trainer:
    """One budget of training, the same for every network that is given to it."""

    def __init__(
        self, data: datasets.ImageSet, images: int | None, epochs: int, size: int, seed: int
    ) -> None:
        # Evenly spaced: some data sets come sorted by class.
        every = 1 if images is None else max(len(data.train) // images, 1)
        split = datasets.Split(data.train.images[::every], data.train.labels[::every])
        self.batches = datasets.Batches(split, size, data.mean, data.std, seed=seed)
        self.test = datasets.Batches(data.test, 1000, data.mean, data.std)
        self.epochs = epochs

    def train(self, model: nn.Module, step: Step | None = None) -> None:
        """Adam under the 1cycle learning-rate policy."""
        model.train()
        total = self.epochs * len(self.batches)
        optimizer = torch.optim.Adam(model.parameters())
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=total)
        done = 0
        for epoch in range(self.epochs):
            for images, labels in self.batches.shuffled(epoch):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
                rate.step()
                done += 1
                if step is not None:
                    step(done / total)

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Per cent of the test images."""
        model.eval()
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in self.test.ordered())
        return 100 * right / len(self.test.labels)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--network", default="mlp", choices=["mlp", "convnet"])
    parser.add_argument("--front-end", choices=sorted(FRONT_ENDS))
    parser.add_argument("--size", type=int, default=4, help="of the front end's blocks")
    parser.add_argument("--features", default="auto")
    parser.add_argument("--input-sparsity", type=float, nargs="+", default=[0.5])
    parser.add_argument("--sparsity", type=float, default=0.0, help="of the other layers")
    parser.add_argument("--criteria", nargs="+", default=["default"], help="of the inputs")
    parser.add_argument("--schedules", nargs="+", default=["one_cycle"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, help="train on about so many, evenly spaced")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draw", type=Path, help="what the last network keeps, as .svg or .png")
    return parser.parse_args()


def variants(arguments: argparse.Namespace) -> list[Row | None]:
    """None is the dense network."""
    each = itertools.product(arguments.input_sparsity, arguments.criteria, arguments.schedules)
    return [
        None,
        *(
            {
                "input_sparsity": share,
                "sparsity": arguments.sparsity,
                "criterion": criterion,
                "schedule": schedule,
            }
            for share, criterion, schedule in each
        ),
    ]


def measure(
    data: datasets.ImageSet, arguments: argparse.Namespace, how: Row | None, seed: int
) -> tuple[Row, Selection | None]:
    """One network, trained."""
    trainer = Trainer(data, arguments.images, arguments.epochs, arguments.batch, seed)
    front_end = arguments.front_end and FRONT_ENDS[arguments.front_end](arguments.size)
    shape = front_end.feature_shape(data.input_shape) if front_end else data.input_shape
    torch.manual_seed(seed)
    model = nets.build(arguments.network, input_shape=shape, num_classes=len(data.classes))
    model = nn.Sequential(copy.deepcopy(front_end), model) if front_end else model
    selection = None
    if how is None:
        trainer.train(model)
        whole, smaller, values = model, model, math.prod(data.input_shape)
        size = len(export(model, data.input_shape))
    else:
        selection = select_inputs(
            model,
            trainer.train,
            sparsity=how["sparsity"],
            input_sparsity=how["input_sparsity"],
            features=arguments.features,
            criterion=None if how["criterion"] == "default" else how["criterion"],
            schedule=how["schedule"],
            input_shape=data.input_shape,
        )
        whole, smaller, values = (
            selection.fused(),
            selection.model,
            math.prod(selection.selector.output_shape),
        )
        size = len(selection.export())
    row = {
        "accuracy": trainer.accuracy(whole),
        "values": values,
        "parameters": sum(parameter.numel() for parameter in smaller.parameters()),
        "onnx_bytes": size,
    }
    return row, selection


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else math.nan:.3f}"


def table(rows: list[Row], title: str) -> Table:
    """One line per variant; differences are taken seed by seed."""
    shown = Table(box=None, title=title)
    for heading in (
        "gone",
        "criterion",
        "values",
        "parameters",
        "ONNX kB",
        "accuracy %",
        "less dense",
        "seeds",
    ):
        shown.add_column(heading, justify="right")
    dense = {row["seed"]: row["accuracy"] for row in rows if row["how"] is None}
    hows = [None, *{json.dumps(row["how"]): row["how"] for row in rows if row["how"] is not None}.values()]
    for how in hows:
        found = {row["seed"]: row for row in rows if row["how"] == how and row["seed"] in dense}
        last = next(iter(found.values()))
        shown.add_row(
            "" if how is None else f"{how['input_sparsity']:.0%}",
            "" if how is None else how["criterion"],
            "" if how is None else how["schedule"],
            f"{last['values']}",
            f"{last['parameters']}",
            f"{last['onnx_bytes'] / 1000:.0f}",
            spread([row["accuracy"] for row in found.values()]),
            "" if how is None else spread([row["accuracy"] - dense[seed] for seed, row in found.items()]),
            f"{len(found)}",
        )
    return shown


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    named = ("data", "network", "front_end", "features", "epochs", "batch", "images")
    about: Row = {name: getattr(arguments, name) for name in named}
    about["size"] = arguments.size if arguments.front_end else None
    data = datasets.load(arguments.data, arguments.root)
    rows: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    selection: Selection | None = None
    # Seed by seed, so that a run that is cut short compares like with like.
    for seed in range(arguments.seeds):
        for how in variants(arguments):
            key = {**about, "how": how, "seed": seed}
            drawn = arguments.draw and seed == arguments.seeds - 1 and how is not None
            if any(row.items() >= key.items() for row in rows) and not drawn:
                continue
            row, selection = measure(data, arguments, how, seed)
            rows = [old for old in rows if not old.items() >= key.items()] + [key | row]
            write_text(RESULTS, json.dumps(rows, indent=1) + "\n")
            print(how, seed, f"{row['accuracy']:.2f}", flush=True)
    mine = [row for row in rows if row.items() >= about.items()]
    Console(width=110).print(table(mine, f"{arguments.network} on {data.name}, {arguments.epochs} epochs"))
    if arguments.draw and selection is not None:
        explain(selection, (data.test.images[0] / 255.0).astype("float32")).save(arguments.draw)


if __name__ == "__main__":
    main()
