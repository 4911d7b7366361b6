"""From a data set to a small ONNX file: train, prune, shrink, export, measure.

::

    from pathlib import Path
    from sparsight.prune.training import RunOptions, run

    result = run(RunOptions("convnet", "fashion_mnist", Path("out"), sparsity=0.5, granularity="filter"))
    result.accuracy, result.after.parameters
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sparsight.errors import SparsightError
from sparsight.files import write_bytes, write_text
from sparsight.nets.export import export
from sparsight.prune import granularity, saved, schedules
from sparsight.prune.criteria import CRITERIA
from sparsight.prune.datasets import AUGMENTATIONS, Batches, ImageSet, Split, load
from sparsight.prune.devices import Engine, Numerics, PlainEngine, start
from sparsight.prune.latency import parse_target, sparsity_for_latency
from sparsight.prune.loop import OPTIMISERS, Epoch, LoopOptions, Masks, evaluate, fit
from sparsight.prune.outcome import RunResult, compare, layer_filters, summary, with_recipe
from sparsight.prune.quieting import Quieted
from sparsight.prune.shrinking import shrink
from sparsight.prune.shrinking.coupling import Coupling, coupling
from sparsight.prune.sparsifier import Sparsifier
from sparsight.registry import lookup

MODEL, ONNX, RESULT = "model.pt", "model.onnx", "result.json"
CHECKPOINT, DENSE_CHECKPOINT, TARGET = "checkpoint.pt", "checkpoint-dense.pt", "target.json"

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_TEST_BATCH = 512
_PRUNING = (
    "sparsity",
    "schedule",
    "criterion",
    "granularity",
    "scope",
    "variety",
    "layers",
    "target",
    "start",
    "end",
    "round_to",
)
"""Options that a dense network's training does not depend on."""
_CALIBRATION_BATCHES = 4
_OWN_AUGMENTATION = {
    "mnist": "none",
    "fashion_mnist": "none",
    "svhn": "shift",
}
"""Data set → what ``"auto"`` augmentation means; for all others it is shift and flip."""

Watch = Callable[[str, int, int, Epoch | None], None]
"""Told of progress: what is being done, steps done, steps in all, and the epoch that just ended, if one."""


@dataclass(frozen=True)
class RunOptions:
    """One training run that ends in a small network.

    Attributes:
        model: a network by name, with options if wanted (``"convnet(widths=(16, 32))"``), or the path of a
            ``model.pt`` to go on from.
        dataset: as for ``datasets.load``.
        out: folder of the results.
        root: folder of the data set's files.
        size: side of the images, for data sets that have none of their own.
        weights: what to start from: a file or an asset that fits the network, but perhaps for its last layer.
        sparsity: share of the weights, filters or other blocks to remove, in [0, 1); 0 trains a dense one.
        target: instead, ``"latency:0.4"``: whatever sparsity of whole filters makes the network take 0.4 of
            the dense one's time here, for one image.
        schedule: as for ``Sparsifier``, like all that follows up to ``round_to``.
        criterion: see there.
        granularity: see there.
        scope: see there.
        variety: see there.
        layers: see there; where whole filters go, by default all whose filters can be removed, those summed
            by residual connections together.
        start: see there.
        end: see there.
        round_to: see there; it is ignored where no widths change.
        epochs: passes over the training images.
        batch: images in a batch, over all processes.
        lr: highest learning rate of the 1cycle policy.
        optimiser: one of ``loop.OPTIMISERS``.
        weight_decay: of the optimiser.
        augment: a name in ``datasets.AUGMENTATIONS``, or ``"auto"``.
        images: train on this many images only.
        baseline: train a dense network on the same budget too, to compare with.
        seed: of everything random.
        device: as for ``devices.start``, like all that follows.
        devices: see there.
        nodes: see there.
        precision: see there.
        layout: see there.
    """

    model: str
    dataset: str
    out: Path
    root: Path | None = None
    size: int | None = None
    weights: str | None = None
    sparsity: float = 0.5
    target: str | None = None
    schedule: str = "one_cycle"
    criterion: str = "l1"
    granularity: str = "filter"
    scope: str = "local"
    variety: str | None = None
    layers: tuple[str, ...] | None = None
    start: float = 0.0
    end: float = 1.0
    round_to: int | str | None = "auto"
    epochs: int = 10
    batch: int = 128
    lr: float = 1e-3
    optimiser: str = "adamw"
    weight_decay: float = 0.01
    augment: str = "auto"
    images: int | None = None
    baseline: bool = False
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    layout: str = "auto"


def run(options: RunOptions, watch: Watch | None = None) -> RunResult | None:
    """Train along one cycle while pruning, then shrink, export and measure.

    ``options.out`` gets a checkpoint after every epoch; a run that was killed and is started again with the
    same options goes on from it and comes to the same result. PyTorch's random generators are seeded.

    Args:
        options: what to do.
        watch: told of progress.

    Returns:
        What it came to; None in the processes of a distributed run other than the first.

    Raises:
        SparsightError: options that are wrong or do not fit together, a data set that cannot be read, a
            checkpoint of another run.
    """
    _check(options)
    data = load(options.dataset, options.root, size=options.size)
    torch.manual_seed(options.seed)
    model, recipe = _first(options, data)
    engine = start(
        model,
        data.input_shape,
        options.batch,
        device=options.device,
        devices=options.devices,
        nodes=options.nodes,
        precision=options.precision,
        layout=options.layout,
    )
    model.to(engine.device, memory_format=engine.numerics.memory_format)  # type: ignore[call-overload]
    train, test = _training_batches(options, data, recipe, engine), _test_batches(data, recipe, engine)
    start_accuracy = None
    if options.weights is not None or _is_file(options.model):
        start_accuracy = evaluate(model, test, engine)[1]

    def train_one(stage: str, file: str, sparsifier: Masks | None) -> list[Epoch]:
        return fit(
            model,
            train,
            test,
            LoopOptions(options.epochs, options.lr, options.optimiser, options.weight_decay, options.seed),
            engine,
            sparsifier=sparsifier,
            saved=options.out / file,
            about=_about(options, data, engine, pruned=sparsifier is not None),
            watch=None if watch is None else partial(watch, stage),
        )

    dense_history: list[Epoch] = []
    if options.baseline:
        first = copy.deepcopy(model.state_dict())
        dense_history = train_one("training the dense network", DENSE_CHECKPOINT, None)
        model.load_state_dict(first)
    sparsifier, masks = None, None
    sparsity = options.sparsity
    if options.target is not None:
        if watch is not None:
            watch("looking for the sparsity of that latency", 0, 0, None)
        if engine.rank == 0:
            _sparsity_of_target(options, model)
        engine.barrier()  # the other processes read what the first has found
        sparsity = _sparsity_of_target(options, model)
    if sparsity > 0:
        sparsifier, masks = _sparsifier(options, sparsity, model, train)
    history = train_one("training and pruning" if sparsifier else "training", CHECKPOINT, masks)
    if engine.rank:
        return None
    if watch is not None:
        watch("shrinking, exporting and measuring", 0, 0, None)
    reached = None if sparsifier is None else sparsifier.report()
    if sparsifier is not None:
        sparsifier.remove()
    model = model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    shrunk = shrink(model, torch.zeros(1, *data.input_shape))
    small = shrunk.model.eval()
    saved.save(options.out / MODEL, small, recipe)
    write_bytes(options.out / ONNX, with_recipe(export(small, data.input_shape), recipe))
    before, after = compare(model, options.out / ONNX, small, data.input_shape)
    exact = PlainEngine(engine.device, Numerics("float32", "contiguous"))
    _, accuracy = evaluate(small.to(engine.device), _test_batches(data, recipe, exact), exact)
    result = RunResult(
        options=options,
        sparsity=sparsity,
        classes=data.classes,
        numerics=(engine.numerics.precision, engine.numerics.layout),
        history=tuple(history),
        dense_history=tuple(dense_history),
        start_accuracy=start_accuracy,
        accuracy=accuracy,
        layers=() if reached is None else reached.rows,
        shortfall="" if reached is None else reached.shortfall,
        filters=tuple(layer_filters(model)),
        removed=shrunk.removed,
        kept=shrunk.kept,
        skipped=tuple((skip.name, skip.reason) for skip in shrunk.skipped),
        before=before,
        after=after,
        files=tuple(options.out / name for name in (MODEL, ONNX, RESULT)),
    )
    write_text(options.out / RESULT, json.dumps(summary(result), indent=1))
    return result


def _check(options: RunOptions) -> None:
    """Refuse what would only show after the data set was read."""
    if not 0 <= options.sparsity < 1:
        raise SparsightError(f"the sparsity cannot be {options.sparsity}: give a share from 0 up to, not, 1.")
    if options.batch < 2:
        raise SparsightError(f"a batch cannot have {options.batch} images: give at least 2.")
    if not 0 <= options.seed < 2**32:
        raise SparsightError(f"the seed cannot be {options.seed}: give a whole number from 0 to 4294967295.")
    if options.images is not None and options.images < 2:
        raise SparsightError(f"training cannot use {options.images} images: give at least 2.")
    if options.augment != "auto":
        lookup("augmentation", options.augment, AUGMENTATIONS)
    lookup("criterion", options.criterion, CRITERIA)
    lookup("optimiser", options.optimiser, dict.fromkeys(OPTIMISERS))
    schedules.parse(options.schedule)
    granularity.parse(options.granularity)
    if options.target is not None:
        parse_target(options.target)


def _is_file(model: str) -> bool:
    return Path(model).suffix == ".pt"


def _first(options: RunOptions, data: ImageSet) -> tuple[nn.Module, saved.Recipe]:
    """The network to train, with its first weights, and what it is."""
    if _is_file(options.model):
        if options.weights is not None:
            raise SparsightError("a model.pt brings its own weights: leave --weights out.")
        model, recipe = saved.load(Path(options.model))
        if recipe.input_shape != data.input_shape or len(recipe.classes) != len(data.classes):
            raise SparsightError(
                f"{options.model} takes {recipe.input_shape} and knows {len(recipe.classes)} classes, but "
                f"{data.name} has {data.input_shape} and {len(data.classes)}: choose another data set."
            )
        return model, recipe
    # Networks for colour images take what ImageNet's weights were made for.
    colour = data.input_shape[0] == 3
    mean, std = _IMAGENET if colour else (data.mean, data.std)
    recipe = saved.Recipe(
        options.model, data.input_shape, data.classes, mean, std, "RGB" if colour else "grey"
    )
    model = recipe.build()
    if options.weights is not None:
        saved.fill_but_head(model, recipe, options.weights)
    return model, recipe


def _training_batches(options: RunOptions, data: ImageSet, recipe: saved.Recipe, engine: Engine) -> Batches:
    split = data.train
    if options.images is not None:
        # Files may hold one class after the other.
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(options.seed))
        chosen = order[: options.images].sort().values.numpy()
        split = Split(split.images[chosen], split.labels[chosen])
    augment = options.augment
    if augment == "auto":
        augment = _OWN_AUGMENTATION.get(options.dataset, "shift_flip")
    return Batches(
        split,
        options.batch,
        recipe.mean,
        recipe.std,
        device=engine.device,
        augmentation=AUGMENTATIONS[augment],
        seed=options.seed,
        memory_format=engine.numerics.memory_format,
        rank=engine.rank,
        world=engine.world,
    )


def _test_batches(data: ImageSet, recipe: saved.Recipe, engine: Engine) -> Batches:
    return Batches(
        data.test,
        _TEST_BATCH,
        recipe.mean,
        recipe.std,
        device=engine.device,
        memory_format=engine.numerics.memory_format,
        rank=engine.rank,
        world=engine.world,
    )


def _sparsifier(
    options: RunOptions, sparsity: float, model: nn.Module, train: Batches
) -> tuple[Sparsifier, Masks]:
    """The sparsifier, and what the loop is to step."""
    criterion = lookup("criterion", options.criterion, CRITERIA)
    once = criterion.prepare is not None and not criterion.every_time
    found = _coupling(options, model)
    sparsifier = Sparsifier(
        model,
        sparsity,
        criterion=criterion,
        schedule=options.schedule,
        start=options.start,
        end=options.end,
        calibration=list(itertools.islice(train.shuffled(0), _CALIBRATION_BATCHES)) if once else None,
        loss=functional.cross_entropy if once else None,
        **_cutting(options, found),
    )
    return sparsifier, sparsifier if found is None else Quieted(sparsifier, model, found)


def _plain(model: nn.Module) -> nn.Module:
    """A copy on the CPU in the usual memory layout, in which what happens to each channel can be followed."""
    copied: nn.Module = copy.deepcopy(model)
    return copied.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


def _coupling(options: RunOptions, model: nn.Module) -> Coupling | None:
    """How the network's filters hang together, where whole filters go."""
    if granularity.parse(options.granularity).removes != "outputs":
        return None
    return coupling(_plain(model))


def _cutting(options: RunOptions, found: Coupling | None) -> dict[str, Any]:
    """What is cut, and how, in the words of ``Sparsifier``."""
    removes = granularity.parse(options.granularity).removes
    cutting: dict[str, Any] = {
        "granularity": options.granularity,
        "scope": options.scope,
        "variety": options.variety,
        "round_to": None if removes is None else options.round_to,
        "layers": options.layers,
    }
    if found is not None and options.layers is None:
        if not found.layers:
            raise SparsightError(
                f"no filter of {options.model} can be removed, since all of them make its outputs: use "
                "granularity weight, or a network with more layers."
            )
        cutting |= {"layers": found.layers, "coupled": found.coupled}
    return cutting


def _sparsity_of_target(options: RunOptions, model: nn.Module) -> float:
    """The sparsity that meets the target, measured once and kept beside the checkpoint.

    Raises:
        SparsightError: it cannot be met; the sentence says how near it comes.
    """
    assert options.target is not None
    fraction = parse_target(options.target)
    found = _coupling(options, model)
    if found is None:
        raise SparsightError("a latency is met by removing whole filters: use granularity filter.")
    kept = options.out / TARGET
    names = ("model", "dataset", "size", "target", "scope", "variety", "layers", "round_to", "granularity")
    asked = json.loads(json.dumps({name: getattr(options, name) for name in names}))
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["asked"] == asked:
            return float(known["sparsity"])
    result = sparsity_for_latency(_plain(model), None, fraction, **_cutting(options, found))
    if not result.met:
        raise SparsightError(f"the target is out of reach: {result}")
    write_text(kept, json.dumps({"asked": asked, "sparsity": result.chosen.sparsity}))
    return result.chosen.sparsity


def _about(options: RunOptions, data: ImageSet, engine: Engine, *, pruned: bool) -> dict[str, Any]:
    """What the training depends on: a checkpoint is gone on from only where all of it is the same."""
    about = {**asdict(options), **asdict(engine.numerics)}  # what "auto" came to, in place of it
    for name in ("out", "root", "device", "devices", "nodes", "baseline"):
        del about[name]
    if not pruned:
        for name in _PRUNING:
            del about[name]
    return {**about, "classes": data.classes, "mean": data.mean, "train images": len(data.train)}
