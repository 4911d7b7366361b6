"""Sparsity that grows while a network trains: what owns the masks and keeps them true."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from sparsight.errors import SparsightError
from sparsight.prune import criteria, schedules
from sparsight.prune import granularity as granularities
from sparsight.prune import scope as scopes
from sparsight.prune.criteria import GATHERERS, PREPARED, Batches, Criterion, Loss, Score
from sparsight.prune.criteria.criterion import arguments, moved
from sparsight.prune.finite import first_not_finite
from sparsight.prune.granularity import Granularity
from sparsight.prune.layer import LayerState, new_state
from sparsight.prune.selection import Layers, checked_sparsity, chosen_layers, coupled_units, unwrapped
from sparsight.prune.sparsity import LayerSparsity, SparsityReport
from sparsight.prune.variety import VARIETY
from sparsight.prune.watching import KINDS, Watcher
from sparsight.registry import lookup


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
        criterion: a name in ``criteria.CRITERIA``, a function from a layer's state to a score for each of its
            weights (the higher, the more it is kept), or a ``Criterion``.
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
            model's device likes (see ``scope.widths``). None: as the sparsity has it.
        coupled: names of layers that lose the same channels, as the layers summed by a residual connection
            (``shrinking.coupling`` finds them, and the layers that make the network's outputs); by default a
            depthwise convolution goes with the layer before it.
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
        criterion: str | Score | Criterion = "l1",
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
        self._criterion = criteria.parse(criterion)
        self._choose = lookup("scope", scope, scopes.SCOPES)
        self._variety = None if variety is None else lookup("variety", variety, VARIETY)
        self._aggregation = aggregation
        lookup("aggregation", aggregation, scopes.AGGREGATIONS)
        single = not self._granularity.inside or self._granularity.keep is not None
        self._normalise = normalise or ("none" if single else "mean")
        lookup("normalisation", self._normalise, scopes.NORMALISATIONS)
        self._window, self._total, self._every = (start, end), total_steps, every
        self._calibration, self._loss = calibration, loss

        chosen = chosen_layers(self._model, layers, sparsity, self._granularity)
        self._final = [checked_sparsity(final, name) for name, final in chosen.items()]
        self._states = [new_state(name, self._model.get_submodule(name)) for name in chosen]
        self._blocks = [
            granularities.partition(self._granularity, state.mask.shape, state.groups)
            for state in self._states
        ]
        self._units = coupled_units(self._model, self._granularity, list(chosen), self._blocks, coupled)
        self._check_settings(round_to)
        self._widths = scopes.widths(
            round_to,
            self._states[0].weight.device,
            self._choose,
            self._unscored,
            self._of_units(self._final),
        )
        self._settings: dict[str, Any] = {
            "sparsity": self._final,
            "schedule": schedule if isinstance(schedule, str) else getattr(schedule, "__name__", "function"),
            "criterion": self._criterion.name,
            "granularity": self._granularity.name,
            "scope": scope,
            "variety": variety,
            "start": start,
            "end": end,
            "normalise": self._normalise,
            "aggregation": aggregation,
            "round_to": None if self._widths is None else str(self._widths),
            "total_steps": total_steps,
            "every": every,
        }

        self._calls = 0
        self._asked = [0.0] * len(self._final)
        self._budget = self._in_blocks(self._asked)
        self._partial: list[tuple[nn.Module, Tensor]] = []
        self._held = False
        self._closed = False
        self._check_finite()
        self._check_reach(self._final)
        self._remember({"initial", "previous"})
        self._gatherers = {name: GATHERERS[name] for name in sorted(self._criterion.needs & GATHERERS.keys())}
        if self._criterion.prepare is not None and not self._criterion.every_time:
            self._prepare()
        if calibration is not None and self._gatherers:
            self._calibrate(calibration)
        self._handles = _optimizer_hooks(self)
        if calibration is None:
            self._handles += self._watch()

    def step(self, progress: float | None = None) -> None:
        """Bring the masks up to the schedule; to be called after every ``optimizer.step()``.

        Args:
            progress: of the training, in [0, 1]; without it, calls are counted up to ``total_steps``.

        Raises:
            SparsightError: progress out of range, more calls than ``total_steps``, NaN weights.
        """
        self._check_open()
        if progress is None:
            if self._total is None:
                raise SparsightError(
                    "step() counts up to total_steps: tell Sparsifier, or use step(progress)."
                )
            if self._calls >= self._total:
                raise SparsightError(f"step() was called more often than total_steps={self._total} says.")
            progress = (self._calls + 1) / self._total
        if not isinstance(progress, Real) or not 0 <= progress <= 1:
            raise SparsightError(f"progress must be a number within [0, 1], but is {progress!r}.")
        self._calls += 1
        if not self._held:
            self._hold()
        self._held = False
        begin, end = self._window
        inside = min((progress - begin) / (end - begin), 1.0)
        fraction = schedules.fraction(self._schedule, inside) if inside >= 0 else 0.0
        self._asked = [fraction * final for final in self._final]
        due = self._calls % self._every == 0 or progress >= end
        # Nothing changes while the target moves by less than a block.
        if due and self._in_blocks(self._asked) != self._budget:
            self._mask()

    def mask(self, sparsity: float | None = None) -> dict[str, Tensor]:
        """Choose and apply masks at once, whatever the schedule says.

        Args:
            sparsity: of all layers; by default the final one.

        Returns:
            ``masks``, as they are now.

        Raises:
            SparsightError: a sparsity out of range or out of reach, NaN weights.
        """
        self._check_open()
        wanted = self._final
        if sparsity is not None:  # the final ones were checked at the start
            wanted = [checked_sparsity(sparsity)] * len(self._final)
            self._check_reach(wanted)
        self._asked = list(wanted)
        self._mask()
        return self.masks

    @property
    def masks(self) -> dict[str, Tensor]:
        """Layer name → bool mask, shaped like the weight, False where it is zero."""
        return {state.name: state.mask for state in self._states}

    def apply(self, model: nn.Module) -> None:
        """Set to zero in ``model``, a copy of the one that is trained, what is masked: for averaged weights.

        Raises:
            SparsightError: it does not have the same layers.
        """
        modules = dict(unwrapped(model).named_modules())
        for state in self._states:
            weight = getattr(modules.get(state.name), "weight", None)
            if not isinstance(weight, Tensor) or weight.shape != state.mask.shape:
                raise SparsightError(
                    f"the masks are of another model: this one has no layer {state.name!r} with a weight of "
                    f"shape {tuple(state.mask.shape)}."
                )
            with torch.no_grad():
                weight.masked_fill_(~_compact(state.mask).to(weight.device), 0)

    def report(self) -> SparsityReport:
        """How sparse each layer is, and what the schedule asks for."""
        rows = []
        for state, blocks, target in zip(self._states, self._blocks, self._asked, strict=True):
            alone = state.mask.flatten() if blocks.keep else blocks.gather(state.mask).any(1)
            zeros = 1 - int(state.mask.sum()) / state.mask.numel()
            rows.append(LayerSparsity(state.name, blocks.shape, len(alone), int(alone.sum()), zeros, target))
        return SparsityReport(tuple(rows), "" if self._widths is None else str(self._widths))

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs but the model's weights: tensors and plain values, masks as packed bits."""
        return {
            "settings": dict(self._settings),
            "calls": self._calls,
            "asked": list(self._asked),
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
        """Continue where ``state_dict`` was taken, with the model's weights already loaded.

        Raises:
            SparsightError: it is of another model, of other settings, or no such state; nothing changes.
        """
        self._check_open()
        try:
            layers, settings = saved["layers"], dict(saved["settings"])
            shapes = {name: tuple(layer["shape"]) for name, layer in layers.items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SparsightError("this is no sparsifier's state: give what state_dict() returned.") from None
        here = {state.name: tuple(state.mask.shape) for state in self._states}
        for name in [*here, *shapes]:
            if here.get(name) != shapes.get(name):
                raise SparsightError(
                    f"the checkpoint is of another model or choice of layers: the weight of {name!r} is "
                    f"{here.get(name, 'not sparsified')} here and {shapes.get(name, 'not sparsified')} there."
                )
        for name, value in self._settings.items():
            if settings.get(name) != value:
                raise SparsightError(
                    f"the checkpoint was made with {name}={settings.get(name)!r}, but this sparsifier has "
                    f"{value!r}: make it with the same settings to resume."
                )
        try:
            found = [_loaded(state, layers[state.name]) for state in self._states]
            calls, asked, budget = int(saved["calls"]), [*map(float, saved["asked"])], (*saved["budget"],)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
            raise SparsightError("the sparsifier's state is damaged: use an earlier checkpoint.") from None
        for state, (mask, initial, previous, gathered) in zip(self._states, found, strict=True):
            state.mask, state.initial, state.previous, state.gathered = mask, initial, previous, gathered
        self._calls, self._asked, self._budget = calls, asked, budget
        self._take()

    def remove(self) -> None:
        """Bake the masks in and let go of the model: masked weights are zero, no hook is left."""
        self._hold()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._closed = True

    def __enter__(self) -> Sparsifier:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    # Choosing.

    def _of_units(self, targets: Sequence[float]) -> list[float]:
        return [targets[members[0]] for members in self._units]

    def _in_blocks(self, targets: Sequence[float]) -> tuple[int, ...]:
        """``targets`` in whole blocks, or in weights where blocks differ in size or widths are rounded."""
        sizes, wanted = [], []
        for members, target in zip(self._units, self._of_units(targets), strict=True):
            blocks = [self._blocks[index] for index in members]
            # Where widths are rounded, half a block more may be a whole step of the widths.
            whole = self._widths is None and all(cut.uniform and cut.keep is None for cut in blocks)
            sizes.append(sum(math.prod(cut.tile) for cut in blocks) if whole else 1)
            wanted.append(target * sum(math.prod(cut.shape) for cut in blocks))
        if self._choose is scopes.across:
            sizes, wanted = [sizes[0] if len(set(sizes)) == 1 else 1], [sum(wanted)]
        return tuple(math.floor(weights / size + 0.5) for weights, size in zip(wanted, sizes, strict=True))

    @torch.no_grad()
    def _mask(self) -> None:
        self._check_finite()
        if any(self._asked):
            self._mask_lowest()
        else:  # Nothing need be known of weights that all stay.
            for state in self._states:
                state.mask = torch.ones_like(state.mask)
        self._budget = self._in_blocks(self._asked)
        self._take()
        self._remember({"previous"})

    def _mask_lowest(self) -> None:
        if self._criterion.every_time:
            self._prepare()
        units = [self._unit(members) for members in self._units]
        gone = self._choose(units, self._of_units(self._asked), self._widths)
        for members, unit, lost in zip(self._units, units, gone, strict=True):
            kept = ~lost
            if self._variety is not None:
                filters = torch.cat([self._states[index].weight.flatten(1) for index in members], 1)
                kept = self._variety(unit.scores, filters.float(), int(lost.sum())).to(lost.device)
            for index in members:
                blocks = self._blocks[index]
                mask = blocks.spread(kept) if blocks.keep is None else blocks.scatter(kept)
                self._states[index].mask = mask
        _agree(self._states)

    def _unit(self, members: Sequence[int]) -> scopes.Unit:
        # Within one layer alone there is nothing to make comparable.
        alone = self._choose is scopes.local and len(members) == 1
        scores = []
        for index in members:
            state, blocks = self._states[index], self._blocks[index]
            score = self._score(state)
            scores.append(
                scopes.per_block(score, blocks, self._aggregation, "none" if alone else self._normalise)
            )
            if bool(scores[-1].max().isnan()):
                raise SparsightError(
                    f"criterion {self._criterion.name!r} scores weights of layer {state.name!r} as NaN: look "
                    "for NaN or infinite gradients and activations in the training."
                )
        merged = scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)
        return scopes.protected(merged, [self._blocks[index] for index in members])

    def _score(self, state: LayerState) -> Tensor:
        """A score for each weight, if the criterion gives one: it may be anybody's function."""
        score: Any = self._criterion.score(state)
        try:
            spread: Tensor = score.expand(state.mask.shape)
        except (AttributeError, RuntimeError):
            given = type(score).__name__ if not isinstance(score, Tensor) else f"{tuple(score.shape)}"
            raise SparsightError(
                f"criterion {self._criterion.name!r} must give a tensor shaped like the weight of layer "
                f"{state.name!r}, {tuple(state.mask.shape)}, not {given}."
            ) from None
        return spread

    # Holding.

    def _take(self) -> None:
        """Keep the masks ready to apply, laid out in memory as the weights are, and do so."""
        self._partial = []
        for state in self._states:
            mask = _compact(state.mask)
            if bool(mask.all()):
                continue
            bits = _BITS[state.weight.element_size()]
            if mask.shape == state.mask.shape:
                keep = torch.empty_like(state.weight, dtype=bits).copy_(mask).neg_()
            else:
                keep = mask.to(bits).neg_()
            self._partial.append((state.module, keep))
        self._hold()

    def _hold(self) -> None:
        """Set masked weights to zero: a bitwise product with all ones where they stay.

        As fast as a product of numbers, and what goes is +0 whatever it was, where that would give −0 for
        what was negative (which does not compress) and NaN for what was infinite.
        """
        weights = [module.get_parameter("weight").detach() for module, _ in self._partial]
        if any(
            weight.device != keep.device or weight.element_size() != keep.element_size()
            for weight, (_, keep) in zip(weights, self._partial, strict=True)
        ):  # The model was moved.
            for state in self._states:
                state.mask = state.mask.to(state.weight.device)
            self._take()
            return
        for weight, (_, keep) in zip(weights, self._partial, strict=True):
            weight.view(keep.dtype).bitwise_and_(keep)

    def _before(self, optimizer: Optimizer) -> None:
        if self._gatherers and self._calibration is None and self._steps(optimizer):
            self._gather_gradients(optimizer)

    def _after(self, optimizer: Optimizer) -> None:
        if self._partial and self._steps(optimizer):
            self._hold()
            self._held = True

    def _steps(self, optimizer: Optimizer) -> bool:
        mine = {id(state.module.weight) for state in self._states}
        return any(id(weight) in mine for group in optimizer.param_groups for weight in group["params"])

    # Gathering.

    def _gather_gradients(self, optimizer: Optimizer) -> None:
        """Add up gradients as the optimiser is about to see them: accumulated, unscaled and reduced."""
        # Fused optimisers are handed scaled gradients, with the scale and whether to skip this step.
        scale, overflow = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
        for state in self._states:
            gradient = state.module.get_parameter("weight").grad
            if gradient is None:
                continue
            if scale is not None:
                gradient = gradient / scale
            if overflow is not None:
                gradient = gradient.where(overflow == 0, 0)
            self._gather("gradient", state, gradient)

    @torch.no_grad()
    def _gather(self, kind: str, state: LayerState, value: Tensor) -> None:
        for name, gatherer in self._gatherers.items():
            if gatherer.kind == kind:
                total = state.gathered[name] if name in state.gathered else gatherer.start(state)
                state.gathered[name] = gatherer.update(total, state, value)

    def _watch(self, *, always: bool = False) -> list[RemovableHandle]:
        """Gather what passes through the layers from now on: in training, or ``always``."""
        kinds = {gatherer.kind for gatherer in self._gatherers.values()}
        return [
            state.module.register_forward_hook(Watcher(self, Sparsifier._gather, state, kind, always=always))
            for state in self._states
            for kind in KINDS
            if kind in kinds
        ]

    def _calibrate(self, batches: Batches) -> None:
        """Gather from ``batches`` alone, leaving the model and its gradients as they are."""
        backward = any(gatherer.kind == "gradient" for gatherer in self._gatherers.values())
        if backward and self._loss is None:
            raise SparsightError(f"criterion {self._criterion.name!r} needs gradients: give loss= as well.")
        weights = [state.module.get_parameter("weight") for state in self._states]
        handles = self._watch(always=True)
        try:
            with _evaluating(self._model), torch.set_grad_enabled(backward):
                for inputs, targets in batches:
                    outputs = self._model(*arguments(inputs, weights[0].device))
                    if backward and self._loss is not None:
                        loss = self._loss(outputs, moved(targets, weights[0].device))
                        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
                        for state, gradient in zip(self._states, gradients, strict=True):
                            if gradient is not None:
                                self._gather("gradient", state, gradient)
        finally:
            for handle in handles:
                handle.remove()

    def _prepare(self) -> None:
        assert self._criterion.prepare is not None
        found = self._criterion.prepare(self._model, self._states, self._calibration, self._loss)
        for state in self._states:
            state.gathered[PREPARED] = found[state.name]

    def _remember(self, names: set[str]) -> None:
        for state in self._states:
            for name in names & self._criterion.needs:
                setattr(state, name, state.weight.clone())

    def _unscored(self) -> list[scopes.Unit]:
        """What is chosen from, before anything is known of it."""
        return [
            scopes.protected(scopes.no_scores(blocks[0]), blocks)
            for blocks in ([self._blocks[index] for index in members] for members in self._units)
        ]

    # Checking.

    def _check_open(self) -> None:
        if self._closed:
            raise SparsightError("this sparsifier was removed from its model: make a new one to go on.")

    def _check_settings(self, round_to: int | str | None) -> None:
        start, end = self._window
        name, removes = self._granularity.name, self._granularity.removes
        if not (isinstance(start, Real) and isinstance(end, Real) and 0 <= start < end <= 1):
            raise SparsightError(
                f"the schedule runs within 0 <= start < end <= 1, not from {start!r} to {end!r}."
            )
        for t in (0.0, 0.5, 1.0):  # What cannot be is said here, not in the middle of training.
            schedules.fraction(self._schedule, t)
        for setting, value in (("total_steps", self._total), ("every", self._every)):
            if value is not None and (not isinstance(value, Integral) or value < 1):
                raise SparsightError(
                    f"total_steps and every are whole numbers from 1, but {setting} is {value!r}."
                )
        if self._variety is not None and removes != "outputs":
            raise SparsightError(
                f"variety compares filters, and granularity {name!r} has none: use 'filter'."
            )
        if round_to is not None and removes is None:
            raise SparsightError(
                f"round_to is about widths, which granularity {name!r} leaves alone: use it with 'filter' or "
                "'input_channel'."
            )
        if self._choose is scopes.across and len(set(self._final)) > 1:
            raise SparsightError("sparsities layer by layer need scope='local'; the global scope has one.")
        for members in self._units:
            if len({self._final[index] for index in members}) > 1:
                names = ", ".join(self._states[index].name for index in members)
                raise SparsightError(f"{names} lose the same channels, so they need the same sparsity.")

    def _check_finite(self) -> None:
        wrong = first_not_finite(state.weight for state in self._states)
        if wrong is not None:
            raise SparsightError(
                f"layer {self._states[wrong].name!r} has NaN or infinite weights: the training "
                "diverged, or the file is damaged."
            )

    def _check_reach(self, targets: Sequence[float]) -> None:
        """Say so if ``targets`` cannot be reached, whatever the scores will be."""
        most, name = 1.0, self._granularity.name
        if self._granularity.keep is not None:
            most = 1 - self._granularity.keep / self._granularity.inside["c"]
        slack = 1e-9
        if self._choose is scopes.across:
            units = self._unscored()
            most = min(most, scopes.reachable(units, self._widths))
            largest = max(sum(math.prod(self._blocks[i].tile) for i in members) for members in self._units)
            # What is less than a block away is met.
            slack = max(slack, largest / sum(unit.weights for unit in units)) if most < 1 else slack
        if max(targets) > most + slack:
            rounded = "" if self._widths is None else f" and widths of {self._widths} (round_to)"
            finer = "cut finer" if self._widths is None else "round to less"
            raise SparsightError(
                f"sparsity {max(targets):g} cannot be met: with what must stay in every layer{rounded}, "
                f"granularity {name!r} reaches {most:.2%} at most; ask for less or {finer}."
            )


def _loaded(
    state: LayerState, saved: Mapping[str, Any]
) -> tuple[Tensor, Tensor | None, Tensor | None, dict[str, Tensor]]:
    """Mask, initial and previous weight, and running sums of a layer: copies, for sums grow in place."""
    device, count = state.weight.device, state.mask.numel()
    packed = saved["mask"].cpu().numpy()
    if packed.shape != (-(-count // 8),):
        raise ValueError("a mask of another length")
    bits = np.unpackbits(packed, count=count).astype(bool)
    initial, previous = (
        None if saved[name] is None else saved[name].to(device, copy=True).view(state.mask.shape)
        for name in ("initial", "previous")
    )
    gathered = {name: value.to(device, copy=True) for name, value in saved["gathered"].items()}
    return torch.from_numpy(bits).view(state.mask.shape).to(device), initial, previous, gathered


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number → integers of that size."""


def _compact(mask: Tensor) -> Tensor:
    """A mask with size 1 along the axes along which it is one value in memory, as where whole filters go."""
    for axis, stride in enumerate(mask.stride()):
        if stride == 0:
            mask = mask.narrow(axis, 0, 1)
    return mask


def _agree(states: Sequence[LayerState]) -> None:
    """With several processes, take the masks of rank 0 everywhere."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return
    masks = [_compact(state.mask) for state in states]
    packed = torch.cat([mask.flatten() for mask in masks]).to(torch.uint8)
    distributed.broadcast(packed, 0)
    pieces = torch.split(packed, [mask.numel() for mask in masks])
    for state, mask, piece in zip(states, masks, pieces, strict=True):
        state.mask = piece.view(mask.shape).bool().expand(state.mask.shape)


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
