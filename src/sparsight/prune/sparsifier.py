"""Sparsity that grows while a network trains: what owns the masks and keeps them true."""

from __future__ import annotations

import difflib
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from sparsight.errors import SparsightError
from sparsight.prune import granularity as granularities
from sparsight.prune import schedules
from sparsight.prune import scope as scopes
from sparsight.prune.criteria import CRITERIA, GATHERERS, PREPARED, Batches, Criterion, Gatherer, Loss
from sparsight.prune.granularity import Granularity
from sparsight.prune.layer import LayerState, new_state, prunable_layers
from sparsight.prune.variety import VARIETY
from sparsight.registry import lookup

Layers = str | Sequence[str] | Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class LayerSparsity:
    """One layer of a report.

    Attributes:
        name: in the model.
        shape: of its weight.
        blocks: how many blocks (for n of m: weights) may be kept or removed.
        kept: how many of them are kept.
        sparsity: fraction of its weights that are zero by the mask.
        target: what the schedule asks for now; of the whole model where the scope is global.
    """

    name: str
    shape: tuple[int, ...]
    blocks: int
    kept: int
    sparsity: float
    target: float


@dataclass(frozen=True)
class SparsityReport:
    """How sparse each layer is.

    Attributes:
        rows: one per sparsified layer, in the model's order.
        sparsity: fraction of all their weights that are zero.
        target: what the schedule asks of all of them together, now.
    """

    rows: tuple[LayerSparsity, ...]
    sparsity: float
    target: float

    def __str__(self) -> str:
        """A table for people."""
        wide = max(len(row.name) for row in self.rows)
        lines = [
            f"{row.name:{wide}}  {'x'.join(map(str, row.shape)):>16}  {row.kept:>9} of {row.blocks:<9}"
            f" {row.sparsity:7.2%} (target {row.target:.2%})"
            for row in self.rows
        ]
        return "\n".join([*lines, f"{'all':{wide}}  {self.sparsity:.2%} (target {self.target:.2%})"])


class Sparsifier:
    """Masks over a model's weights, chosen anew as the schedule's sparsity rises.

    In a training loop::

        sparsifier = Sparsifier(model, 0.9, total_steps=len(loader) * epochs)
        for inputs, targets in loader:
            ...
            optimizer.step()
            sparsifier.step()

    Masked weights are set to exactly zero after every step of any ``torch.optim`` optimiser that owns them,
    by a hook on the optimiser, whatever momentum and weight decay did; ``step`` does so itself for other
    optimisers. No module, parameter or gradient is changed in kind: autocast, gradient scaling and
    accumulation, ``torch.compile`` and DDP see a plain model. With several processes the masks are those of
    rank 0: create and step the sparsifier in all of them.

    Args:
        model: what is trained; it may be wrapped (DDP, ``torch.compile``).
        sparsity: fraction of the weights of the chosen layers to remove, in [0, 1); or one for each layer, by
            name or pattern (local scope only).
        schedule: a name in ``schedules.SCHEDULES``, with parameters if wanted, or a function of progress.
        criterion: a name in ``criteria.CRITERIA``, or a ``Criterion``.
        granularity: a name in ``granularity.GRANULARITIES``, ``"block(n, m)"`` or ``"n:m"``.
        scope: ``"local"``: every layer to the sparsity; ``"global"``: all layers together.
        variety: a name in ``variety.VARIETY``, for whole filters: the criterion decides between filters that
            are alike.
        layers: names, patterns (``"features.*"``; ``"!head*"`` takes away) or a predicate of name and module;
            by default all Linear and convolution layers, but for what is the network's own output (or input):
            the last layer where whole filters go, the first where input channels go, only the first for
            ``"input"``.
        start: progress at which the schedule begins.
        end: progress at which it ends.
        total_steps: training steps in all, for ``step()`` without progress.
        normalise: a name in ``scope.NORMALISATIONS``, for the global scope; by default ``"none"`` for single
            weights, otherwise ``"mean"``.
        aggregation: a name in ``scope.AGGREGATIONS``: a block's score from those of its weights.
        round_to: widths (kept filters, or input channels) are multiples of this; ``"auto"``: what the
            model's device likes.
        coupled: names of layers that lose the same channels, as the layers summed by a residual connection;
            by default a depthwise convolution goes with the layer before it.
        every: masks are chosen anew at every so many calls of ``step`` at most, and at the schedule's end.
        calibration: batches of (inputs, targets) for criteria that look at data before training; if given,
            what the criterion gathers comes from them alone.
        loss: ``loss(outputs, targets)``, for criteria that need gradients before training.

    Raises:
        SparsightError: a setting that cannot be, layers that do not exist, weights that are NaN, or a
            sparsity that cannot be reached, with the one that can.
    """

    def __init__(
        self,
        model: nn.Module,
        sparsity: float | Mapping[str, float],
        *,
        schedule: str | schedules.Schedule[[]] = "one_cycle",
        criterion: str | Criterion = "l1",
        granularity: str | Granularity = "weight",
        scope: str = "local",
        variety: str | None = None,
        layers: Layers | None = None,
        start: float = 0.0,
        end: float = 1.0,
        total_steps: int | None = None,
        normalise: str | None = None,
        aggregation: str = "mean",
        round_to: int | str | None = None,
        coupled: Sequence[Sequence[str]] | None = None,
        every: int = 1,
        calibration: Batches | None = None,
        loss: Loss | None = None,
    ) -> None:
        self._model = unwrapped(model)
        self._granularity = granularities.parse(granularity)
        self._schedule = schedules.parse(schedule)
        self._criterion = (
            lookup("criterion", criterion, CRITERIA) if isinstance(criterion, str) else criterion
        )
        self._choose = lookup("scope", scope, scopes.SCOPES)
        self._variety = None if variety is None else lookup("variety", variety, VARIETY)
        self._aggregation = aggregation
        lookup("aggregation", aggregation, scopes.AGGREGATIONS)
        default = "none" if self._granularity.name == "weight" or self._granularity.keep else "mean"
        self._normalise = "none" if scope == "local" else normalise or default
        lookup("normalisation", self._normalise, scopes.NORMALISATIONS)
        if not 0 <= start < end <= 1:
            raise SparsightError(f"the schedule must run within 0 <= start < end <= 1, not {start} to {end}.")
        if (total_steps is not None and total_steps < 1) or every < 1:
            raise SparsightError("total_steps and every are whole numbers from 1.")
        if variety and self._granularity.removes != "outputs":
            raise SparsightError(
                f"variety compares whole filters, but granularity {self._granularity.name!r} does not remove "
                "them: use granularity='filter'."
            )
        if round_to is not None and self._granularity.removes is None:
            raise SparsightError(
                f"round_to sets widths, which granularity {self._granularity.name!r} does not change: use it "
                "with 'filter' or 'input_channel'."
            )
        self._window = (start, end)
        self._total = total_steps
        self._every = every
        self._calibration, self._loss = calibration, loss

        chosen = _chosen(self._model, layers, sparsity, self._granularity)
        if isinstance(sparsity, Mapping) and scope != "local":
            raise SparsightError(
                "sparsities layer by layer need scope='local': the global scope has one for all."
            )
        self._final = [_checked(target, name) for name, target in chosen.items()]
        modules = dict(self._model.named_modules())
        self._states = [new_state(name, modules[name]) for name in chosen]
        self._round_to = scopes.multiple(round_to, self._states[0].weight.device)
        self._blocks = [
            granularities.partition(self._granularity, state.mask.shape, state.groups)
            for state in self._states
        ]
        self._units = self._unite(coupled)
        self._settings = {
            "schedule": schedule if isinstance(schedule, str) else getattr(schedule, "__name__", "function"),
            "criterion": self._criterion.name,
            "granularity": self._granularity.name,
            "scope": scope,
            "variety": variety,
            "normalise": self._normalise,
            "aggregation": aggregation,
            "round_to": self._round_to,
            "start": start,
            "end": end,
            "sparsity": self._final,
        }

        self._calls = 0
        self._fraction = 0.0
        self._budget: tuple[int, ...] = ()
        self._holes: list[tuple[nn.Module, Tensor]] = []
        self._held = False
        self._owned = {id(state.module.weight) for state in self._states}
        self._handles: list[RemovableHandle] = []
        self._check_finite()
        self._check_reach()
        self._remember(*(self._criterion.needs & {"initial", "previous"}))
        self._gatherers = {name: GATHERERS[name] for name in sorted(self._criterion.needs & GATHERERS.keys())}
        for state in self._states:
            state.gathered.update({name: gatherer.start(state) for name, gatherer in self._gatherers.items()})
        if self._criterion.prepare is not None and not self._criterion.every_time:
            self._prepare()
        if self._gatherers and calibration is not None:
            self._calibrate(calibration)
        else:
            self._attach(self._gatherers)
        self._handles += _optimizer_hooks(self)

    # What users call.

    def step(self, progress: float | None = None) -> None:
        """Bring the masks up to the schedule; to be called after every ``optimizer.step()``.

        Args:
            progress: of the training, in [0, 1]; without it, calls are counted up to ``total_steps``.

        Raises:
            SparsightError: progress out of range, more calls than ``total_steps``, NaN weights.
        """
        self._check_open()
        self._calls += 1
        if progress is None:
            if self._total is None:
                raise SparsightError(
                    "step() counts up to total_steps: give Sparsifier total_steps=, or step(progress)."
                )
            if self._calls > self._total:
                raise SparsightError(
                    f"step() was called more than the total_steps={self._total} times it was told of."
                )
            progress = self._calls / self._total
        if not 0 <= progress <= 1:
            raise SparsightError(f"progress must be within [0, 1], but is {progress}.")
        if not self._held:
            self._gather_gradients()
            self._hold()
        self._held = False
        begin, end = self._window
        self._fraction = 0.0
        if progress >= begin:
            self._fraction = float(self._schedule(min((progress - begin) / (end - begin), 1.0)))
        if self._calls % self._every == 0 or progress >= end:
            targets = self._targets(self._fraction)
            # Nothing to do while the target moves by less than a block.
            if self._rounded(targets) != self._budget:
                self._mask(targets)

    def mask(self, sparsity: float | None = None) -> dict[str, Tensor]:
        """Choose and apply masks at once, whatever the schedule says.

        Args:
            sparsity: of all layers; by default the final one.

        Returns:
            Layer name → bool mask, shaped like the weight, False where it is zero.
        """
        self._check_open()
        if sparsity is None:
            self._fraction, targets = 1.0, self._final
        else:
            targets = [_checked(sparsity)] * len(self._final)
            self._check_reach(targets)
        self._mask(targets)
        return self.masks

    @property
    def masks(self) -> dict[str, Tensor]:
        """Layer name → bool mask, shaped like the weight, False where it is zero."""
        return {state.name: state.mask for state in self._states}

    def apply(self, model: nn.Module) -> None:
        """Set to zero in ``model``, a copy of the one that is trained, what is masked: for averaged weights.

        Raises:
            SparsightError: it has not the same layers.
        """
        modules = dict(unwrapped(model).named_modules())
        for state in self._states:
            weight = getattr(modules.get(state.name), "weight", None)
            if not isinstance(weight, Tensor) or weight.shape != state.mask.shape:
                raise SparsightError(
                    f"the masks fit another model: this one has no layer {state.name!r} with a weight of "
                    f"shape {tuple(state.mask.shape)}."
                )
            with torch.no_grad():
                weight.masked_fill_(~state.mask.to(weight.device), 0)

    def report(self) -> SparsityReport:
        """How sparse each layer is, and what was asked."""
        targets = self._targets(self._fraction)
        weights = [state.mask.numel() for state in self._states]
        overall = sum(target * count for target, count in zip(targets, weights, strict=True)) / sum(weights)
        rows = []
        for state, blocks, target in zip(self._states, self._blocks, targets, strict=True):
            kept = state.mask.sum() if blocks.keep else blocks.gather(state.mask).any(1).sum()
            zero = 1 - float(state.mask.double().mean())
            total = state.mask.numel() if blocks.keep else blocks.count
            rows.append(LayerSparsity(state.name, blocks.shape, total, int(kept), zero, target))
        zeros = sum(row.sparsity * count for row, count in zip(rows, weights, strict=True))
        return SparsityReport(tuple(rows), zeros / sum(weights), overall)

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs, the model's weights apart: tensors and plain values, masks as packed bits."""
        return {
            "settings": dict(self._settings),
            "calls": self._calls,
            "fraction": self._fraction,
            "budget": list(self._budget),
            "layers": {
                state.name: {
                    "shape": list(state.mask.shape),
                    "mask": torch.from_numpy(np.packbits(state.mask.cpu().numpy())),
                    "initial": state.initial,
                    "previous": state.previous,
                    "gathered": dict(state.gathered),
                }
                for state in self._states
            },
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; load the model's weights first.

        Raises:
            SparsightError: it is of another model, of other settings, or no such state.
        """
        self._check_open()
        try:
            layers, settings = saved["layers"], saved["settings"]
            shapes = {name: tuple(layer["shape"]) for name, layer in layers.items()}
        except (KeyError, TypeError, AttributeError):
            raise SparsightError(
                "this is not a sparsifier's state: give what state_dict() returned."
            ) from None
        for state in self._states:
            if shapes.get(state.name) != tuple(state.mask.shape):
                raise SparsightError(
                    f"the checkpoint is of another model or choice of layers: here {state.name!r} has a weight of shape "
                    f"{tuple(state.mask.shape)}, there {shapes.get(state.name, 'there is no such layer')}."
                )
        if extra := shapes.keys() - {state.name for state in self._states}:
            raise SparsightError(
                f"the checkpoint is of another model or choice of layers: it also has {min(extra)!r}."
            )
        for name, value in self._settings.items():
            if settings.get(name) != value:
                raise SparsightError(
                    f"the checkpoint was made with {name}={settings.get(name)!r}, but this sparsifier has "
                    f"{value!r}: make it with the same settings to resume."
                )
        for state in self._states:
            layer, device = layers[state.name], state.weight.device
            bits = np.unpackbits(layer["mask"].cpu().numpy(), count=state.mask.numel())
            state.mask = torch.from_numpy(bits.astype(bool)).view(state.mask.shape).to(device)
            # Copies: what is gathered is added to in place.
            state.initial = None if layer["initial"] is None else layer["initial"].to(device, copy=True)
            state.previous = None if layer["previous"] is None else layer["previous"].to(device, copy=True)
            state.gathered = {k: v.to(device, copy=True) for k, v in layer["gathered"].items()}
        self._calls, self._fraction = int(saved["calls"]), float(saved["fraction"])
        self._budget = tuple(saved["budget"])
        self._dig()
        self._hold()

    def remove(self) -> None:
        """Bake the masks in and let go of the model: no hook is left, masked weights are zero."""
        self._dig()
        self._hold()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._calibration = self._loss = None
        self._closed = True

    def __enter__(self) -> Sparsifier:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    # Choosing.

    _closed = False

    def _targets(self, fraction: float) -> list[float]:
        return [fraction * final for final in self._final]

    def _per_unit(self, targets: Sequence[float]) -> list[float]:
        return [targets[members[0]] for members in self._units]

    def _rounded(self, targets: Sequence[float]) -> tuple[int, ...]:
        """What is asked, in numbers of blocks (in weights where blocks differ in size)."""
        quanta, wanted = [], []
        for members, target in zip(self._units, self._per_unit(targets), strict=True):
            blocks = [self._blocks[index] for index in members]
            whole = all(cut.uniform and cut.keep is None for cut in blocks)
            quanta.append(sum(math.prod(cut.tile) for cut in blocks) if whole else 1)
            wanted.append(target * sum(math.prod(cut.shape) for cut in blocks))
        if self._choose is scopes.across:
            quanta, wanted = [quanta[0] if len(set(quanta)) == 1 else 1], [sum(wanted)]
        return tuple(
            math.floor(weights / quantum + 0.5) for weights, quantum in zip(wanted, quanta, strict=True)
        )

    @torch.no_grad()
    def _mask(self, targets: Sequence[float]) -> None:
        self._check_finite()
        if self._criterion.every_time:
            self._prepare()
        units = [self._unit(members) for members in self._units]
        gone = self._choose(units, self._per_unit(targets), self._round_to)
        for members, unit, lost in zip(self._units, units, gone, strict=True):
            kept = ~lost if self._variety is None else self._varied(members, unit, int(lost.sum()))
            for index in members:
                blocks = self._blocks[index]
                state = self._states[index]
                state.mask = (
                    blocks.spread(kept)
                    if blocks.keep is None
                    else blocks.scatter(kept.view(blocks.count, -1))
                ).contiguous()
        _agree([state.mask for state in self._states])
        self._budget = self._rounded(targets)
        self._dig()
        self._hold()
        if "previous" in self._criterion.needs:
            self._remember("previous")

    def _unit(self, members: Sequence[int]) -> scopes.Unit:
        scores = []
        for index in members:
            state, blocks = self._states[index], self._blocks[index]
            score = self._criterion.score(state).expand(state.mask.shape)
            scores.append(scopes.per_block(score, blocks, self._aggregation, self._normalise))
            if bool(scores[-1].isnan().any()):
                raise SparsightError(
                    f"criterion {self._criterion.name!r} scores weights of layer {state.name!r} as NaN: "
                    "look for NaN gradients or activations in the training."
                )
        merged = scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)
        return scopes.protected(merged, [self._blocks[index] for index in members])

    def _varied(self, members: Sequence[int], unit: scopes.Unit, count: int) -> Tensor:
        assert self._variety is not None
        filters = torch.cat([self._states[index].weight.flatten(1) for index in members], 1)
        return self._variety(unit.scores, filters.float(), count).to(unit.scores.device)

    def _unite(self, coupled: Sequence[Sequence[str]] | None) -> list[list[int]]:
        """The layers of each unit, by their index."""
        place = {state.name: index for index, state in enumerate(self._states)}
        if coupled is None:
            follows = _producers(self._model) if self._granularity.removes == "outputs" else {}
            coupled = [pair for pair in follows.items() if place.keys() >= set(pair)]
        owner = list(range(len(self._states)))
        for names in coupled:
            if missing := [name for name in names if name not in place]:
                raise SparsightError(
                    f"coupled names {missing[0]!r}, which is not among the layers sparsified."
                )
            indices = [place[name] for name in names]
            if len({self._blocks[index].count for index in indices}) > 1 or self._granularity.keep:
                raise SparsightError(
                    f"layers {', '.join(names)} cannot be coupled: their blocks differ in number."
                )
            if len({self._final[index] for index in indices}) > 1:
                raise SparsightError(f"layers {', '.join(names)} are coupled but have different sparsities.")
            roots = {owner[index] for index in indices}
            owner = [min(roots) if root in roots else root for root in owner]
        return [[i for i, root in enumerate(owner) if root == unit] for unit in sorted(set(owner))]

    # Holding.

    def _dig(self) -> None:
        """Keep, ready for use, where weights must be zero."""
        self._holes = [(state.module, ~state.mask) for state in self._states if not bool(state.mask.all())]

    @torch.no_grad()
    def _hold(self) -> None:
        for index, (module, hole) in enumerate(self._holes):
            weight = module.weight
            assert isinstance(weight, Tensor)
            if hole.device != weight.device:
                hole = hole.to(weight.device)
                self._holes[index] = (module, hole)
            weight.masked_fill_(hole, 0)

    def _before(self, optimizer: Optimizer) -> None:
        if self._gatherers and self._owns(optimizer):
            self._gather_gradients(getattr(optimizer, "grad_scale", None))

    def _after(self, optimizer: Optimizer) -> None:
        if self._owns(optimizer):
            self._hold()
            self._held = True

    def _owns(self, optimizer: Optimizer) -> bool:
        return any(id(p) in self._owned for group in optimizer.param_groups for p in group["params"])

    # Gathering.

    def _gather_gradients(self, scale: Tensor | None = None) -> None:
        """Add up gradients as the optimiser is about to see them: accumulated, unscaled and reduced."""
        for name, gatherer in self._gatherers.items():
            if gatherer.kind != "gradient" or self._calibration is not None:
                continue
            for state in self._states:
                weight = state.module.weight
                assert isinstance(weight, Tensor)
                if weight.grad is not None:
                    gradient = weight.grad if scale is None else weight.grad / scale
                    state.gathered[name] = gatherer.update(state.gathered[name], state, gradient)

    def _attach(self, gatherers: Mapping[str, Gatherer]) -> None:
        """Let what passes through the layers be gathered."""
        for name, gatherer in gatherers.items():
            if gatherer.kind == "gradient":
                continue
            for state in self._states:
                self._handles.append(state.module.register_forward_hook(_watch(state, name, gatherer)))

    def _calibrate(self, batches: Batches) -> None:
        """Gather from ``batches`` alone, leaving the model and its gradients as they are."""
        self._attach(self._gatherers)
        gradients = {n: g for n, g in self._gatherers.items() if g.kind == "gradient"}
        if gradients and self._loss is None:
            raise SparsightError(
                f"criterion {self._criterion.name!r} needs gradients of calibration data: give loss=."
            )
        with _evaluating(self._model), torch.set_grad_enabled(bool(gradients)):
            for inputs, targets in batches:
                outputs = self._model(*inputs) if isinstance(inputs, tuple) else self._model(inputs)
                if not gradients or self._loss is None:
                    continue
                weights = [state.module.weight for state in self._states]
                for state, gradient in zip(
                    self._states,
                    torch.autograd.grad(self._loss(outputs, targets), weights, allow_unused=True),
                    strict=True,
                ):
                    for name, gatherer in gradients.items():
                        if gradient is not None:
                            state.gathered[name] = gatherer.update(state.gathered[name], state, gradient)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _prepare(self) -> None:
        assert self._criterion.prepare is not None
        found = self._criterion.prepare(self._model, self._states, self._calibration, self._loss)
        for state in self._states:
            state.gathered[PREPARED] = found[state.name]

    def _remember(self, *names: str) -> None:
        for state in self._states:
            for name in names:
                setattr(state, name, state.weight.clone())

    # Checking.

    def _check_open(self) -> None:
        if self._closed:
            raise SparsightError("this sparsifier was removed from its model: make a new one to go on.")

    def _check_finite(self) -> None:
        finite = torch.stack([state.weight.isfinite().all().cpu() for state in self._states])
        if not bool(finite.all()):
            name = self._states[int(finite.int().argmin())].name
            raise SparsightError(
                f"layer {name!r} has NaN or infinite weights: the training diverged, or the file is damaged."
            )

    def _check_reach(self, targets: Sequence[float] | None = None) -> None:
        """Say so if the sparsity cannot be reached, whatever the scores will be."""
        targets = self._final if targets is None else targets
        if self._granularity.keep is not None:
            most = 1 - self._granularity.keep / self._granularity.inside["c"]
            if max(targets) > most + 1e-9:
                raise SparsightError(
                    f"sparsity {max(targets):g} cannot be met: {self._granularity.name} removes {most:.2%} at most."
                )
        if self._choose is not scopes.across:
            return
        units = []
        for members in self._units:
            first = self._blocks[members[0]]
            count = first.count if first.keep is None else math.prod(first.grid) * math.prod(first.tile)
            blocks = [self._blocks[index] for index in members]
            units.append(scopes.protected(torch.zeros(count), blocks))
        most = scopes.reachable(units, self._round_to)
        blocks_ = max(math.prod(cut.tile) for cut in self._blocks) / sum(unit.weights for unit in units)
        if targets[0] > most + blocks_:
            raise SparsightError(
                f"sparsity {targets[0]:g} cannot be met: at granularity {self._granularity.name!r}, with what "
                f"must stay in every layer, {most:.2%} can be reached; ask for less or cut finer."
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DDP, data parallel, ``torch.compile`` or averaged-model wrappers."""
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel, torch.optim.swa_utils.AveragedModel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _chosen(
    model: nn.Module, layers: Layers | None, sparsity: float | Mapping[str, float], granularity: Granularity
) -> dict[str, float]:
    """Name → final sparsity of the layers to sparsify."""
    known = prunable_layers(model)
    if not known:
        raise SparsightError("the model has no Linear or convolution layer, so there is nothing to sparsify.")
    if isinstance(sparsity, Mapping):
        each: dict[str, float] = {}
        for pattern, value in sparsity.items():
            each.update(dict.fromkeys(_matching(pattern, known), value))
        names = list(known) if layers is None else _named(layers, known)
        picked = {name: each[name] for name in names if name in each}
    else:
        names = _usual(list(known), granularity) if layers is None else _named(layers, known)
        picked = dict.fromkeys(names, sparsity)
    if not picked:
        raise SparsightError(f"layers={layers!r} leaves no layer to sparsify.")
    chosen: dict[str, float] = {}
    seen: set[int] = set()
    for name, value in picked.items():
        weight = known[name]._parameters.get("weight")
        if weight is None or isinstance(weight, nn.UninitializedParameter):
            raise SparsightError(
                f"the weight of layer {name!r} is computed or not there yet: remove its parametrization (weight "
                "norm, torch pruning) or run the model once first, or leave it out by layers=."
            )
        if id(weight) not in seen:  # Layers that share a weight share its mask.
            seen.add(id(weight))
            chosen[name] = value
    return chosen


def _usual(names: list[str], granularity: Granularity) -> list[str]:
    """The layers taken where none are named: the network's own inputs and outputs are left whole."""
    if granularity.name == "input":
        return names[:1]
    if len(names) == 1 or granularity.removes is None:
        return names
    return names[:-1] if granularity.removes == "outputs" else names[1:]


def _named(layers: Layers, known: Mapping[str, nn.Module]) -> list[str]:
    if callable(layers):
        return [name for name, module in known.items() if layers(name, module)]
    patterns = [layers] if isinstance(layers, str) else list(layers)
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    taken = {name for pattern in wanted or ["*"] for name in _matching(pattern, known)}
    for pattern in patterns:
        if pattern.startswith("!"):
            taken -= set(_matching(pattern[1:], known))
    return [name for name in known if name in taken]


def _matching(pattern: str, known: Mapping[str, nn.Module]) -> list[str]:
    names = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
    if not names:
        near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"they are named like {', '.join([*known][:3])}."
        raise SparsightError(f"no Linear or convolution layer matches {pattern!r}: {hint}")
    return names


def _checked(sparsity: float, layer: str = "") -> float:
    where = f" of layer {layer!r}" if layer else ""
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise SparsightError(
            f"the sparsity{where} is a fraction in [0, 1), as 0.9 for 90%, but is {sparsity!r}."
        )
    return float(sparsity)


def _producers(model: nn.Module) -> dict[str, str]:
    """Depthwise convolution → the layer defined right before it, if that makes as many channels."""
    layers = list(prunable_layers(model).items())
    found = {}
    for (before, producer), (name, module) in zip(layers, layers[1:], strict=False):
        groups, weight, made = getattr(module, "groups", 1), module.weight, producer.weight
        assert isinstance(weight, Tensor) and isinstance(made, Tensor)
        if groups > 1 and groups == weight.shape[0] == made.shape[0] and weight.shape[1] == 1:
            found[name] = before
    return found


def _agree(masks: Sequence[Tensor]) -> None:
    """With several processes, take the masks of rank 0 everywhere."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return
    packed = torch.cat([mask.flatten() for mask in masks]).to(torch.uint8)
    distributed.broadcast(packed, 0)
    pieces = torch.split(packed, [mask.numel() for mask in masks])
    for mask, piece in zip(masks, pieces, strict=True):
        mask.copy_(piece.view(mask.shape))


def _watch(state: LayerState, name: str, gatherer: Gatherer) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        value = inputs[0] if gatherer.kind == "input" else output
        with torch.no_grad():
            state.gathered[name] = gatherer.update(state.gathered[name], state, value.detach())

    return hook


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _optimizer_hooks(sparsifier: Sparsifier) -> list[RemovableHandle]:
    """Be told of every optimiser step, for as long as ``sparsifier`` lives."""
    known = weakref.ref(sparsifier)

    def before(optimizer: Optimizer, *_: Any) -> None:
        if (alive := known()) is not None:
            alive._before(optimizer)

    def after(optimizer: Optimizer, *_: Any) -> None:
        if (alive := known()) is not None:
            alive._after(optimizer)

    handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    for handle in handles:
        weakref.finalize(sparsifier, handle.remove)
    return handles
