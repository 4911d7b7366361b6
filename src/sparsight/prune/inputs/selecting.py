"""Sparsify a network's inputs while it trains, then take away what it no longer looks at."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.files import replacing, write_bytes
from sparsight.nets.export import export, named_outputs
from sparsight.prune.criteria import Criterion, Score
from sparsight.prune.criteria.gathering import COVARIANCE_INPUTS
from sparsight.prune.granularity import Granularity, parse
from sparsight.prune.inputs import tracing
from sparsight.prune.inputs.front_ends import FrontEnd, Lines, Shape
from sparsight.prune.inputs.selector import Kind, Selector
from sparsight.prune.layer import prunable_layers
from sparsight.prune.schedules import Schedule
from sparsight.prune.schedules import parse as parsed_schedule
from sparsight.prune.shrinking import ShrinkResult, layout, shrink
from sparsight.prune.sparsifier import Sparsifier
from sparsight.prune.sparsity import SparsityReport

Features = Literal["auto", "pixels", "channels", "lines"]
Train = Callable[[nn.Module, Callable[..., None]], object]
"""``train(model, step)``: trains ``model`` in place and calls ``step`` after every optimiser step."""

TOLERANCE = 1e-5
"""How far the smaller network's output may be from the masked one's, over the largest output."""

STAIRS = 50
"""In how many equal parts of the training inputs go: to weigh them against one another takes the cube of
their number in time, too long for each step."""

_GATE = "lines"
_NETWORK = "network"


class InputSelection:
    """The three steps, for training loops that one writes oneself.

    ::

        selecting = InputSelection(model, sparsity=0.5, input_sparsity=0.6, total_steps=steps)
        for images, labels in batches:
            loss(selecting.model(images), labels).backward()
            optimizer.step()                       # an optimiser of selecting.model's parameters
            selecting.step()
        selection = selecting.finish()

    Args:
        model: takes (N, *input_shape); or ``nn.Sequential(front_end, network)`` with a ``FrontEnd`` first, or
            with ``Lines``. It is trained in place.
        sparsity: fraction of the weights of all other layers to remove, in [0, 1).
        input_sparsity: fraction of the input to remove, in [0, 1); by default ``sparsity``. With lines it is
            split so that as large a share of the rows goes as of the columns.
        features: "pixels": values of the input, read by Linear layers; "channels": of the input or of the
            front end, read by convolutions; "lines": whole rows and columns of the image, by ``Lines`` before
            the model; "auto": whatever the model reads.
        input_shape: of one whole input; by default as the model says.
        schedule: see ``Sparsifier``.
        criterion: see ``Sparsifier``. By default "obs" for what reads the input: a weight counts for as much
            as its input varies in ways that the other kept inputs do not tell, so that what is always the
            same goes first, and then what its neighbours can stand in for; "flap" where the inputs are too
            many for that, and for all other layers. Gates of lines are judged by "taylor".
        granularity: of all other layers. The default removes what reads one channel or neuron, so that the
            one who makes it can go, too.
        total_steps: training steps in all, for ``step()`` without progress.

    Attributes:
        model: what to train.
        kind: which features are selected.
        input_shape: of one whole input.

    Raises:
        SparsightError: a model whose first layers do not see the input as it is, features that it does not
            have, or settings that ``Sparsifier`` refuses.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        sparsity: float,
        input_sparsity: float | None = None,
        features: Features = "auto",
        input_shape: Shape | None = None,
        schedule: str | Schedule[[]] = "one_cycle",
        criterion: str | Score | Criterion | None = None,
        granularity: str | Granularity = "input_channel",
        total_steps: int | None = None,
    ) -> None:
        self.input_shape, self._front_end, self._network, seen = _parts(model, input_shape)
        self._readers = tracing.readers(self._network, seen)
        read = self._readers[0].kind
        gated = isinstance(self._front_end, Lines)
        if features == "lines" and not gated:
            self._front_end = _gate(self._front_end, self.input_shape)
            model = nn.Sequential(
                OrderedDict([(_GATE, self._front_end.to(_device(model))), (_NETWORK, self._network)])
            )
            gated = True
        self.model = model
        self.kind = _kind(features, read, gated)
        names = {id(module): name for name, module in prunable_layers(model).items()}
        first = [names[id(self._network.get_submodule(reader.name))] for reader in self._readers]
        judged = first
        if gated:
            assert isinstance(self._front_end, Lines)
            judged = [names[id(layer)] for layer in (self._front_end.rows, self._front_end.columns)]
        share = sparsity if input_sparsity is None else input_sparsity
        most = max(len(reader.feature) for reader in self._readers)
        of_inputs = "taylor" if gated else criterion or ("obs" if most <= COVARIANCE_INPUTS else "flap")
        self._inputs = Sparsifier(
            model,
            1 - math.sqrt(1 - share) if gated and 0 <= share < 1 else share,
            layers=judged,
            coupled=None if gated else [judged],
            granularity="weight" if gated else "input",
            criterion=of_inputs,
            schedule=_in_stairs(schedule),
            total_steps=total_steps,
        )
        others = _others(list(names.values()), {*first, *judged}, parse(granularity))
        self._others = None
        if sparsity != 0 and others:
            self._others = Sparsifier(
                model,
                sparsity,
                layers=others,
                granularity=granularity,
                criterion=criterion or "flap",
                schedule=schedule,
                total_steps=total_steps,
            )
        self._progress: float | None = None
        self._total = total_steps
        self._calls = 0

    def step(self, progress: float | None = None) -> None:
        """Bring the masks up to the schedule; to be called after every ``optimizer.step()``.

        Args:
            progress: of the training, in [0, 1]; without it, calls are counted up to ``total_steps``.

        Raises:
            SparsightError: see ``Sparsifier.step``.
        """
        for sparsifier in self._sparsifiers:
            sparsifier.step(progress)
        self._calls += 1
        self._progress = self._calls / self._total if progress is None and self._total else progress

    def report(self) -> tuple[SparsityReport, SparsityReport | None]:
        """How sparse the input is, and the other layers."""
        return self._inputs.report(), None if self._others is None else self._others.report()

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs, the model's weights apart."""
        others = None if self._others is None else self._others.state_dict()
        return {
            "inputs": self._inputs.state_dict(),
            "others": others,
            "calls": self._calls,
            "progress": self._progress,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; load the model's weights first.

        Raises:
            SparsightError: it is of another model, of other settings, or no such state.
        """
        try:
            inputs, others = saved["inputs"], saved["others"]
            calls, progress = int(saved["calls"]), saved["progress"]
        except (KeyError, TypeError, ValueError):
            raise SparsightError(
                "this is not the state of an input selection: give what state_dict() returned."
            ) from None
        self._inputs.load_state_dict(inputs)
        if self._others is not None:
            self._others.load_state_dict(others)
        self._calls, self._progress = calls, progress

    def finish(self) -> Selection:
        """Remove what was zeroed; the trained model keeps its masks, without any hook.

        Where training ended before progress 1, the last of the sparsity is imposed now, untrained. The
        smaller network is in evaluation mode.

        Raises:
            SparsightError: ``step`` was never called, weights are not finite, or the smaller network could
                not be made to compute what the masked one does.
        """
        if self._progress is None:
            raise SparsightError(
                "no training step was told of: call step after every optimizer.step(), then finish()."
            )
        for sparsifier in self._sparsifiers:
            if self._progress < 1:
                sparsifier.mask()
        inputs, others = self.report()
        for sparsifier in self._sparsifiers:
            sparsifier.remove()
        selector, strength, small, put_back = self._lines() if self.kind == "lines" else self._features()
        seen = selector.output_shape if put_back is None else self.input_shape
        shrunk = shrink(small, torch.zeros(1, *seen, device=_device(small)))
        model = shrunk.model
        if put_back is not None:
            model = nn.Sequential(OrderedDict([("put_back", put_back), (_NETWORK, model)]))
        model.input_shape = selector.output_shape  # type: ignore[assignment]
        selection = Selection(model.eval(), selector, strength, inputs, others, shrunk)
        self._check(selection)
        return selection

    @property
    def _sparsifiers(self) -> list[Sparsifier]:
        return [self._inputs] if self._others is None else [self._inputs, self._others]

    def _features(self) -> tuple[Selector, NDArray[np.float32], nn.Module, None]:
        """Pixels or channels: the first layers' inputs that still have a weight."""
        front_end = self._front_end if isinstance(self._front_end, FrontEnd) else None
        shape = self.input_shape if front_end is None else front_end.feature_shape(self.input_shape)
        count = math.prod(shape) if self.kind == "pixels" else shape[0]
        strength = tracing.surviving(self._network, self._readers, count)
        _check_finite(strength)
        kept = strength > 0
        selector = Selector(self.kind, self.input_shape, kept, front_end).to(_device(self.model))
        return selector, strength, tracing.cut(self._network, self._readers, kept), None

    def _lines(self) -> tuple[Selector, NDArray[np.float32], nn.Module, PutBack | None]:
        """Rows and columns whose gates are open; the gates become part of the weights where they can."""
        assert isinstance(self._front_end, Lines)
        gates = [layer.weight.detach().flatten() for layer in (self._front_end.rows, self._front_end.columns)]
        strength = torch.cat(gates).abs().float().cpu().numpy()
        _check_finite(strength)
        selector = Selector("lines", self.input_shape, strength > 0).to(_device(self.model))
        if self._readers[0].kind == "pixels":
            gains = torch.outer(*gates).expand(self.input_shape).reshape(-1).cpu()
            return (
                selector,
                strength,
                tracing.cut(self._network, self._readers, (gains != 0).numpy(), gains),
                None,
            )
        # Neighbours of removed lines stay apart: a convolution would mix them otherwise.
        return selector, strength, self._network, PutBack(*gates)

    def _check(self, selection: Selection) -> None:
        """The smaller network gives what the masked one gives."""
        generator = torch.Generator().manual_seed(0)
        sample = torch.randn(4, *self.input_shape, generator=generator).to(_device(self.model))
        whole = named_outputs(tracing.run(self.model, sample))
        small = named_outputs(tracing.run(selection.fused(), sample))
        for name, expected in whole.items():
            scale = max(float(expected.abs().max()), 1.0)
            given = small[name]
            if given.shape != expected.shape or float((given - expected).abs().max()) > TOLERANCE * scale:
                raise SparsightError(
                    f"{type(self.model).__name__} also uses its input where no Linear or convolution reads "
                    "it first: feed the input to its first layers alone."
                )


class PutBack(nn.Module):
    """An image of the kept lines, back to the size that the network was trained for: zeros elsewhere.

    Args:
        rows: (H,) the gates of all rows, 0 where removed.
        columns: (W,) likewise.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        for name, gates in (("rows", rows), ("columns", columns)):
            self.register_buffer(name, torch.diag(gates)[:, gates != 0].contiguous())

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, kept rows, kept columns) → (N, C, H, W)."""
        whole: Tensor = self.rows @ image @ self.columns.T
        return whole


class Fused(nn.Sequential):
    """Selector and smaller network as one: takes whole inputs.

    Attributes:
        input_shape: of one whole input.
    """

    def __init__(self, selector: Selector, model: nn.Module) -> None:
        super().__init__(OrderedDict([("selector", selector), ("model", model)]))
        self.input_shape = selector.input_shape


@dataclass(frozen=True, eq=False)
class Selection:
    """What came out of an input selection.

    Attributes:
        model: the smaller network; it takes what the selector gives.
        selector: turns whole inputs into the kept features.
        strength: float32, one per feature as in ``selector.kept``: the l2 norm of the weights that read it
            (for lines, the gate's absolute value); 0 where removed.
        inputs: sparsity of the input.
        others: sparsity of the other layers; None where nothing else was sparsified.
        shrunk: what was removed behind the input, and what could not be.
    """

    model: nn.Module
    selector: Selector
    strength: NDArray[np.float32]
    inputs: SparsityReport
    others: SparsityReport | None
    shrunk: ShrinkResult

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which features stay: bool, one per feature."""
        return self.selector.kept

    def fused(self) -> Fused:
        """Selector and smaller network as one, for whole inputs; shares their tensors."""
        return Fused(self.selector, self.model)

    def export(self, *, fused: bool = False) -> bytes:
        """The smaller network as an ONNX file; ``fused`` puts the selector in front of it.

        Raises:
            SparsightError: it has a part that ONNX cannot say.
        """
        shape = self.selector.input_shape if fused else self.selector.output_shape
        return export(self.fused() if fused else self.model, shape)  # type: ignore[arg-type]

    def save(self, folder: str | Path, *, fused: bool = False) -> None:
        """Write ``model.pt``, ``model.onnx`` and, beside them, ``selector.json``.

        ``model.pt`` holds ``{"layout", "state_dict"}``: ``shrinking.apply_layout`` gives a freshly built
        network the smaller one's shapes, then it takes the state dict.

        Args:
            folder: made if it does not exist.
            fused: ``model.onnx`` takes whole inputs.

        Raises:
            SparsightError: the folder cannot be written, or the network cannot be exported.
        """
        folder = Path(folder)
        data = self.export(fused=fused)
        try:
            with replacing(folder / "model.pt") as temporary:
                content = {"layout": layout(self.model), "state_dict": self.model.state_dict()}
                torch.save(content, temporary)
            write_bytes(folder / "model.onnx", data)
        except OSError as error:
            raise SparsightError(f"{folder} cannot be written: {error.strerror or error}.") from error
        self.selector.save(folder / "selector.json")


def select_inputs(
    model: nn.Module,
    train: Train,
    *,
    sparsity: float,
    input_sparsity: float | None = None,
    features: Features = "auto",
    **options: Any,
) -> Selection:
    """Train a network while its input grows sparse, then remove the inputs that it no longer reads.

    ::

        def train(model, step):
            for done, (images, labels) in enumerate(batches, 1):
                loss(model(images), labels).backward()
                optimizer.step()
                step(done / len(batches))

        selection = select_inputs(model, train, sparsity=0.5, input_sparsity=0.6)
        logits = selection.model(selection.selector(images))

    (1) structured sparsity is imposed on what reads the input, together with the rest of the network, while
    ``train`` runs; (2) zeroed blocks are traced back to input features; (3) both are removed. Training goes
    on under the masks to the end of the schedule, so that what stays has learned to do without what goes.

    Args:
        model: see ``InputSelection``.
        train: trains what it is given, in training mode and in place, and calls ``step`` after every
            optimiser step.
        sparsity: see ``InputSelection``, as all other arguments.
        input_sparsity: see there.
        features: see there.
        options: see there.

    Raises:
        SparsightError: see ``InputSelection`` and its ``finish``.
    """
    selecting = InputSelection(
        model, sparsity=sparsity, input_sparsity=input_sparsity, features=features, **options
    )
    selecting.model.train()
    train(selecting.model, selecting.step)
    return selecting.finish()


def _parts(
    model: nn.Module, input_shape: Shape | None
) -> tuple[Shape, FrontEnd | Lines | None, nn.Module, Shape]:
    """Shape of a whole input; the front end, if there is one; the network behind it, and what that sees."""
    front_end: FrontEnd | Lines | None = None
    network = model
    if isinstance(model, nn.Sequential) and len(model) and isinstance(model[0], (FrontEnd, Lines)):
        front_end = model[0]
        network = model[1] if len(model) == 2 else model[1:]
    told = getattr(network, "input_shape", None)
    if input_shape is None and told is None:
        raise SparsightError(
            f"{type(network).__name__} does not say what inputs it takes: pass input_shape=(C, H, W)."
        )
    if isinstance(front_end, FrontEnd):
        whole = front_end.image_shape(tuple(told)) if input_shape is None and told else input_shape
        assert whole is not None
        return tuple(whole), front_end, network, front_end.feature_shape(tuple(whole))
    shape = tuple(told if input_shape is None else input_shape)  # type: ignore[arg-type]
    return shape, front_end, network, shape


def _gate(front_end: FrontEnd | Lines | None, shape: Shape) -> Lines:
    if front_end is not None or len(shape) != 3:
        raise SparsightError(
            "features='lines' gates the rows and columns of images of (C, H, W): use it without a front end."
        )
    return Lines(*shape[1:])


def _in_stairs(schedule: str | Schedule[[]]) -> Schedule[[]]:
    """``schedule`` in ``STAIRS`` stairs; the first is 0, when too little was seen to judge by."""
    rising = parsed_schedule(schedule)

    def stairs(t: float) -> float:
        stair = math.floor(t * STAIRS)
        return float(rising(stair / STAIRS)) if stair else 0.0

    # By this a checkpoint knows its schedule.
    stairs.__name__ = schedule if isinstance(schedule, str) else getattr(schedule, "__name__", "function")
    return cast("Schedule[[]]", stairs)


def _kind(features: Features, read: str, gated: bool) -> Kind:
    """What to select, if the model has it."""
    found: Kind = "lines" if gated else "pixels" if read == "pixels" else "channels"
    if features not in ("auto", "pixels", "channels", "lines"):
        raise SparsightError(f"there are no features {features!r}: use auto, pixels, channels or lines.")
    if features not in ("auto", found):
        raise SparsightError(f"features={features!r} cannot be had: this model reads its input as {found}.")
    return found


def _others(names: list[str], first: set[str], granularity: Granularity) -> list[str]:
    """The layers behind the input; a network's outputs are never removed."""
    last = names[-1:] if granularity.removes == "outputs" else []
    return [name for name in names if name not in first and name not in last]


def _check_finite(strength: NDArray[np.float32]) -> None:
    if not np.isfinite(strength).all():
        raise SparsightError("the first layer has weights that are not finite: the training diverged.")


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
