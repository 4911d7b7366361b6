"""``sparsight prune``: from a data set and a network to a smaller, faster file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsight.errors import SparsightError

if TYPE_CHECKING:
    from sparsight.prune.datasets import Batches, ImageSet
    from sparsight.prune.loop import Epoch
    from sparsight.prune.outcome import RunResult
    from sparsight.prune.profiling import Profile
    from sparsight.prune.saved import Recipe

prune_app = typer.Typer(help="Make a network smaller and faster.", no_args_is_help=True)

Dataset = Annotated[
    str,
    typer.Option(
        help="mnist, fashion_mnist, cifar10, cifar100, svhn, caltech101, or folder:PATH with a folder of "
        "pictures per class.",
        metavar="NAME",
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(help="Folder of the data set's official files.", metavar="DIR", show_default=False),
]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the pictures, for folders and caltech101 (default 64).", show_default=False),
]
Device = Annotated[str, typer.Option(help="Where the network runs.", metavar="auto|cpu|cuda")]
SavedModel = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The model.pt of a run.", show_default=False)
]
Granularity = Annotated[
    str,
    typer.Option(help="What is removed: filter, weight, kernel, 'block(4, 4)', 2:4, ...", metavar="NAME"),
]
Criterion = Annotated[
    str, typer.Option(help="What decides: l1, movement, taylor, wanda, ...", metavar="NAME")
]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layer", help="Layers to prune, by name or pattern; repeatable.", show_default=False),
]


@prune_app.command()
def run(
    dataset: Dataset,
    model: Annotated[
        str,
        typer.Option(
            help="vgg16_bn, resnet18, mobilenet_v2, mlp, 'convnet(widths=(16, 32))', ..., or the model.pt of "
            "a run.",
            metavar="NAME",
        ),
    ] = "convnet",
    out: Annotated[
        Path, typer.Option(help="Folder for the results; a run that was killed goes on there.", metavar="DIR")
    ] = Path("out/prune"),
    sparsity: Annotated[float, typer.Option(help="Share to remove, from 0 up to 1.")] = 0.5,
    target: Annotated[
        str | None,
        typer.Option(
            help="Instead: latency:0.4 removes until the network takes 0.4 of its time, here.",
            show_default=False,
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            help="How sparsity grows: one_cycle, agp, 'agp(start=0)', one_shot, iterative, ...",
            metavar="NAME",
        ),
    ] = "one_cycle",
    criterion: Criterion = "l1",
    granularity: Granularity = "filter",
    scope: Annotated[
        str, typer.Option(help="The same share of every layer, or of all together.", metavar="local|global")
    ] = "local",
    variety: Annotated[
        str | None,
        typer.Option(help="Keep filters that differ: pairs or clusters.", metavar="NAME", show_default=False),
    ] = None,
    layer: Layers = None,
    round_to: Annotated[
        str,
        typer.Option(help="Widths are multiples of this: auto, none, or a number.", metavar="auto|none|N"),
    ] = "auto",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Start from these weights: a file or an asset.", metavar="FILE", show_default=False
        ),
    ] = None,
    root: Root = None,
    size: Size = None,
    images: Annotated[
        int | None, typer.Option(help="Train on this many images only.", show_default=False)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 10,
    batch: Annotated[int, typer.Option(help="Images in a batch.")] = 128,
    lr: Annotated[float, typer.Option(help="Highest learning rate of the 1cycle policy.")] = 1e-3,
    optimiser: Annotated[str, typer.Option(metavar="adam|adamw|sgd")] = "adamw",
    weight_decay: Annotated[float, typer.Option(help="Of the optimiser.")] = 0.01,
    augment: Annotated[
        str, typer.Option(help="Random changes to the images.", metavar="auto|none|shift|flip|shift_flip")
    ] = "auto",
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also train a dense network on the same budget.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Device = "auto",
    devices: Annotated[
        int, typer.Option(help="GPUs (or processes) to train on, through Lightning Fabric.")
    ] = 1,
    nodes: Annotated[int, typer.Option(help="Machines to train on.")] = 1,
    precision: Annotated[
        str, typer.Option(help="auto measures what is quickest.", metavar="auto|float32|bfloat16")
    ] = "auto",
    layout: Annotated[str, typer.Option(help="Likewise.", metavar="auto|contiguous|channels_last")] = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start from the beginning even if there is a checkpoint.")
    ] = False,
) -> None:
    """Train along one cycle while pruning, then shrink, export and measure.

    Writes DIR/model.pt, DIR/model.onnx, DIR/result.json and DIR/report.html, and a checkpoint after every
    epoch: started again after a kill with the same options, it comes to the same result.

    Examples:

      sparsight prune run --dataset fashion_mnist --sparsity 0.5

      sparsight prune run --dataset folder:photos --model mobilenet_v2 --target latency:0.4

      sparsight prune run --dataset cifar10 --model vgg16_bn --sparsity 0.9 --granularity weight
    """
    from sparsight.app.outputs import check_folder, claimed
    from sparsight.app.prune_report import write_report
    from sparsight.prune import training

    options = training.RunOptions(
        model=model,
        dataset=dataset,
        out=out,
        root=root,
        size=size,
        weights=weights,
        sparsity=sparsity,
        target=target,
        schedule=schedule,
        criterion=criterion,
        granularity=granularity,
        scope=scope,
        variety=variety,
        layers=None if not layer else tuple(layer),
        round_to=_round_to(round_to),
        epochs=epochs,
        batch=batch,
        lr=lr,
        optimiser=optimiser,
        weight_decay=weight_decay,
        augment=augment,
        images=images,
        baseline=baseline,
        seed=seed,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
        layout=layout,
    )
    check_folder(out)
    shared = devices > 1 or nodes > 1  # whose other processes write nothing
    with contextlib.nullcontext() if shared else claimed(out, ()):
        if fresh:
            for name in (training.CHECKPOINT, training.DENSE_CHECKPOINT, training.TARGET):
                (out / name).unlink(missing_ok=True)
        with _bar("reading the data set") as update:
            result = training.run(options, _watch(update))
        if result is None:
            return
        report = write_report(result)
    _summarise(result)
    typer.echo("Look at:")
    for path in (*result.files, report):
        typer.echo(f"  {path}")


@prune_app.command()
def shrink(
    model: SavedModel,
    out: Annotated[Path, typer.Option(help="The smaller model.pt to write.", metavar="FILE")] = Path(
        "out/small.pt"
    ),
    round_to: Annotated[
        str,
        typer.Option(help="Keep widths multiples of this: none, auto or a number.", metavar="none|auto|N"),
    ] = "none",
) -> None:
    """Remove for real what is zero in a saved network."""
    import torch

    from sparsight.prune import saved
    from sparsight.prune import shrink as remove

    network, recipe = saved.load(model)
    result = remove(network, torch.zeros(1, *recipe.input_shape), round_to=_round_to(round_to))
    saved.save(out, result.model, recipe)
    typer.echo(str(result))
    typer.echo(out)


@prune_app.command()
def export(
    model: SavedModel,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; by default beside MODEL.", metavar="FILE", show_default=False),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write it in 8 bits, calibrated on --dataset if given.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option(help="Data set to calibrate on.", metavar="NAME", show_default=False)
    ] = None,
    root: Root = None,
) -> None:
    """Write a saved network as an ONNX file, folded and checked."""
    from sparsight.files import write_bytes
    from sparsight.nets.export import export as to_onnx
    from sparsight.prune import saved
    from sparsight.prune.outcome import with_recipe

    network, recipe = saved.load(model)
    path = out or model.with_suffix(".onnx")
    write_bytes(path, with_recipe(to_onnx(network, recipe.input_shape), recipe))
    typer.echo(f"{path}: {path.stat().st_size:,} bytes")
    if int8:
        from sparsight.prune.quantising import quantise

        small = path.with_name(f"{path.stem}.int8.onnx")
        calibration = None
        if dataset is not None:
            batches = _batches(_data(dataset, root, recipe), recipe, 64, train=True)
            calibration = [images for (images, _), _ in zip(batches.shuffled(0), range(8), strict=False)]
        result = quantise(path, small, calibration)
        error = max(result.error.values())
        typer.echo(f"{small}: {result.bytes_after:,} bytes, {result.mode}, outputs off by {error:.2%}")


@prune_app.command()
def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model.pt of a run, an ONNX file, or a network by name.",
            show_default=False,
        ),
    ],
    batch: Annotated[
        list[int] | None, typer.Option(help="Batch sizes to time; repeatable (default 1 and 64).")
    ] = None,
) -> None:
    """Count a network's parameters and multiply-accumulates, and time it."""
    from sparsight import nets, prune
    from sparsight.prune import saved
    from sparsight.spelling import spelled

    sizes = tuple(batch) if batch else (1, 64)
    if model.endswith(".onnx"):
        found = prune.profile(model, batches=sizes)
    elif model.endswith(".pt"):
        found = prune.profile(saved.load(Path(model))[0], batches=sizes)
    else:
        name, _, options = spelled(model)
        found = prune.profile(nets.build(name, **options), batches=sizes)
    _print_profile(model, found)


@prune_app.command()
def explain(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="The model.pt of a run, or a selector.json.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The picture to write; by default beside MODEL.", metavar="FILE", show_default=False
        ),
    ] = None,
) -> None:
    """Show what is left: the filters of each layer, or the features of a selector in the image."""
    if model.suffix == ".json":
        from sparsight.prune.inputs import Selector
        from sparsight.prune.inputs import explain as explain_inputs

        explanation = explain_inputs(Selector.load(model))
        path = out or model.with_suffix(".svg")
        explanation.save(path)
        typer.echo(explanation.caption)
        typer.echo(path)
        return
    from sparsight.app.prune_report import write_explanation
    from sparsight.prune import saved

    network, recipe = saved.load(model)
    path = out or model.with_suffix(".html")
    for line in write_explanation(path, network, recipe):
        typer.echo(line)
    typer.echo(path)


@prune_app.command()
def sensitivity(
    model: SavedModel,
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="Folder for the results.", metavar="DIR")] = Path(
        "out/sensitivity"
    ),
    granularity: Granularity = "filter",
    criterion: Criterion = "l1",
    layer: Layers = None,
    drop: Annotated[float, typer.Option(help="Accuracy that may be lost, for the suggestions.")] = 0.01,
    images: Annotated[int, typer.Option(help="Measure on this many test images.", min=1)] = 2000,
    root: Root = None,
    size: Size = None,
    device: Device = "auto",
) -> None:
    """Prune each layer alone, see what it costs, and suggest how far each can go.

    Writes DIR/sensitivity.html and DIR/sensitivity.json.
    """
    from sparsight.app.outputs import check_folder
    from sparsight.app.prune_report import write_sensitivity
    from sparsight.files import write_text
    from sparsight.prune import saved
    from sparsight.prune.devices import start
    from sparsight.prune.sensitivity import sensitivity as measure

    check_folder(out)
    network, recipe = saved.load(model)
    data = _data(dataset, root, recipe, size)
    engine = start(network, recipe.input_shape, 1, device=device, precision="float32", layout="contiguous")
    network.to(engine.device)
    batches = _batches(data, recipe, images, train=False, device=str(engine.device))
    with _bar("measuring") as update:
        found = measure(
            network,
            batches,
            engine,
            granularity=granularity,
            criterion=criterion,
            layers=layer or None,
            drop=drop,
            watch=lambda done, total: update("measuring", done, total, ""),
        )
    write_text(out / "sensitivity.json", json.dumps(asdict(found), indent=1))
    write_sensitivity(out / "sensitivity.html", found, str(model))
    for name, share in found.suggested.items():
        typer.echo(f"{name}: {share:.0%}")
    typer.echo(out / "sensitivity.html")


Update = Callable[[str, int, int, str], None]


@contextlib.contextmanager
def _bar(first: str) -> Iterator[Update]:
    """A progress bar on stderr where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(first, total=None, note="")

        def update(stage: str, done: int, total: int, note: str) -> None:
            progress.update(task, description=stage, completed=done, total=total or None, note=note)

        yield update


def _watch(update: Update) -> Callable[[str, int, int, Epoch | None], None]:
    """What the bar says of a run: the last epoch's figures stay until the next has some."""
    note = ""

    def watch(stage: str, done: int, total: int, epoch: Epoch | None) -> None:
        nonlocal note
        if epoch is not None:
            note = f"epoch {epoch.number}: {epoch.accuracy:.2%} right, {epoch.sparsity:.0%} zero"
        update(stage, done, total, note)

    return watch


def _round_to(text: str) -> int | str | None:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    if not text.isdecimal() or int(text) < 1:
        raise SparsightError(f"--round-to cannot be {text!r}: give auto, none or a whole number from 1.")
    return int(text)


def _data(dataset: str, root: Path | None, recipe: Recipe, size: int | None = None) -> ImageSet:
    """The data set, if the network was made for such images."""
    from sparsight.prune import datasets

    flexible = dataset.startswith("folder:") or dataset == "caltech101"
    data = datasets.load(dataset, root, size=size or (recipe.input_shape[1] if flexible else None))
    if data.input_shape != recipe.input_shape or len(data.classes) != len(recipe.classes):
        raise SparsightError(
            f"the network takes {recipe.input_shape} and knows {len(recipe.classes)} classes, but {dataset} "
            f"has {data.input_shape} and {len(data.classes)}: choose the data set that it was trained on."
        )
    return data


def _batches(data: ImageSet, recipe: Recipe, images: int, *, train: bool, device: str = "cpu") -> Batches:
    from sparsight.prune.datasets import Batches

    split = data.train if train else data.test.first(images)
    return Batches(split, min(images, 500), recipe.mean, recipe.std, device=device)


def _summarise(result: RunResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from sparsight.app.prune_report import costs

    console = Console()
    dense = f", dense {result.dense_history[-1].accuracy:.2%}" if result.dense_history else ""
    console.print(f"[bold]{result.accuracy:.2%}[/bold] of the test images right{dense}")
    table = Table(box=None, pad_edge=False)
    for column in ("", "before", "after", "after / before"):
        table.add_column(column, justify="right" if column else "left")
    for row in costs(result.before, result.after):
        # The spread of the milliseconds is in the report: here it would not fit a line.
        before, after = (row[which].partition(" (")[0] for which in ("before", "after"))
        table.add_row(row["name"], before, after, row["ratio"])
    console.print(table)
    if result.shortfall:
        console.print(f"{result.shortfall}.", soft_wrap=True, highlight=False, markup=False)
    for name, reason in result.skipped:
        console.print(f"{name}: zero filters stay, {reason}", soft_wrap=True, highlight=False, markup=False)


def _print_profile(name: str, found: Profile) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows: list[tuple[str, Any]] = [
        ("parameters", f"{found.parameters:,}"),
        ("multiply-accumulates", f"{found.macs:,}"),
        ("bytes", f"{found.bytes:,}"),
    ]
    rows += [
        (f"milliseconds, batch {batch}", f"{each.median_ms:.3g} ({each.low_ms:.3g} to {each.high_ms:.3g})")
        for batch, each in found.latency.items()
    ]
    for label, value in rows:
        table.add_row(label, value)
    console = Console()
    console.print(f"{name}, {found.runtime} on {found.device}, {found.threads} threads", highlight=False)
    console.print(table)
