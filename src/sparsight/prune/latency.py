"""A budget in milliseconds: how much must go until a network is as fast as wanted, here.

What a removed channel saves depends on the machine, on its libraries and on the widths that are left, so the
sparsity is searched for by doing it: mask, shrink, measure.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.export import evaluating, export
from sparsight.nets.runtime import Session, usable_threads
from sparsight.prune.profiling import (
    eager_call,
    image_shape,
    interleave,
    sample_inputs,
    session_call,
    torch_threads,
)
from sparsight.prune.shrinking import shrink
from sparsight.prune.shrinking.coupling import Coupling, coupling
from sparsight.prune.sparsifier import Sparsifier

TARGET = "latency:"
HIGHEST = 0.99
"""Sparsity beyond which nothing is looked for."""
RESOLUTION = 0.01
"""The search ends when it knows the sparsity to within this."""

_ROUNDS = 30
_SECONDS = 5.0


@dataclass(frozen=True)
class Trial:
    """One network that was tried.

    Attributes:
        sparsity: asked of the layers' channels.
        milliseconds: its time for a batch.
        fraction: of the time of the dense network measured beside it.
    """

    sparsity: float
    milliseconds: float
    fraction: float


@dataclass(frozen=True)
class LatencyResult:
    """What the search for a latency came to.

    Attributes:
        wanted: fraction of the dense network's time that was asked for.
        met: whether ``chosen`` takes no more than that.
        chosen: the network of the lowest sparsity that does, as measured once more after the search; if none
            does, the fastest.
        dense_milliseconds: time of the dense network beside it.
        batch: samples in a batch.
        trials: all that was tried, in order.
        model: the network of ``chosen``, not trained since its channels were removed.
    """

    wanted: float
    met: bool
    chosen: Trial
    dense_milliseconds: float
    batch: int
    trials: tuple[Trial, ...]
    model: nn.Module

    def __str__(self) -> str:
        verdict = "met" if self.met else "cannot be met"
        return (
            f"latency {self.wanted:.2f} of the dense network's is {verdict}: at sparsity "
            f"{self.chosen.sparsity:.3f} it is {self.chosen.fraction:.2f}, {self.chosen.milliseconds:.2f} ms "
            f"instead of {self.dense_milliseconds:.2f} ms for a batch of {self.batch}."
        )


def parse_target(target: str) -> float:
    """The fraction in ``"latency:0.4"``.

    Raises:
        SparsightError: it is not such a target.
    """
    try:
        fraction = float(target.removeprefix(TARGET)) if target.startswith(TARGET) else np.nan
    except ValueError:
        fraction = np.nan
    if not 0 < fraction < 1:
        raise SparsightError(
            f"{target!r} is no target: write latency:0.4 for 0.4 of the dense network's latency, a number "
            "between 0 and 1."
        )
    return fraction


def sparsity_for_latency(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None,
    fraction: float,
    *,
    batch: int = 1,
    threads: int | None = None,
    measure: Callable[[nn.Module], float] | None = None,
    **settings: Any,
) -> LatencyResult:
    """Find the lowest sparsity at which the shrunk network takes ``fraction`` of the dense one's time.

    Sparsities are bisected, each one tried on a copy: masked, shrunk, and timed turn by turn with the dense
    network; the median of the ratios counts. The one found is measured again, and the next higher one taken
    while that fails. The time does not depend on which channels go, so the network need not be trained:
    search first, then train with the sparsity found and the same settings.

    Args:
        model: the network; the same after as before.
        example_inputs: as for ``profile``.
        fraction: of the dense network's median latency, between 0 and 1.
        batch: samples in a batch.
        threads: CPU threads; by default ``OMP_NUM_THREADS``, else one per usable core.
        measure: milliseconds of a network, to measure elsewhere than in ONNX Runtime on this machine's CPU
            (in PyTorch for networks that do not take one image).
        settings: further arguments of ``Sparsifier``. By default whole filters go, of all layers but those
            that make the output, those summed by residual connections together, and widths are rounded to
            what the machine likes.

    Raises:
        SparsightError: a fraction out of range, bad settings, or a network that does not run on the input.
    """
    if not 0 < fraction < 1:
        raise SparsightError(f"the fraction of the latency must be between 0 and 1, but is {fraction}.")
    inputs = sample_inputs(model, example_inputs)
    settings = {"granularity": "filter", "round_to": "auto", **settings}
    found = coupling(model, inputs)
    if settings["granularity"] == "filter" and "layers" not in settings:
        settings = {"layers": found.layers, "coupled": found.coupled, **settings}
    # What is wrong with the settings shows here.
    networks = {0.0: _smaller(model, inputs, 0.0, settings, found)}
    with tempfile.TemporaryDirectory() as folder:
        timer = _Timer(model, inputs, batch, threads or usable_threads(), measure, Path(folder))
        trials = [timer.compare(networks[0.0], 0.0)[0]]
        low, high = 0.0, HIGHEST
        while high - low > RESOLUTION:
            sparsity = (low + high) / 2
            try:
                networks[sparsity] = _smaller(model, inputs, sparsity, settings, found)
            except SparsightError:  # too many channels must stay
                high = sparsity
                continue
            trials.append(timer.compare(networks[sparsity], sparsity)[0])
            if trials[-1].fraction > fraction:
                low = sparsity
            else:
                high = sparsity
        # Widths go in steps, and clocks are noisy: what was just fast enough may not be so twice.
        enough = sorted(trial.sparsity for trial in trials if trial.fraction <= fraction)
        fastest = min(trials, key=lambda trial: trial.fraction).sparsity
        for sparsity in [*enough, fastest]:
            chosen, dense = timer.compare(networks[sparsity], sparsity)
            if chosen.fraction <= fraction:
                break
    return LatencyResult(
        fraction, chosen.fraction <= fraction, chosen, dense, batch, tuple(trials), networks[sparsity]
    )


class _Timer:
    """Times networks beside the dense one."""

    def __init__(
        self,
        dense: nn.Module,
        inputs: Sequence[Tensor],
        batch: int,
        threads: int,
        measure: Callable[[nn.Module], float] | None,
        folder: Path,
    ) -> None:
        self._dense = dense
        self._inputs = inputs
        self._batch = batch
        self._threads = threads
        self._measure = measure
        self._folder = folder
        self._shape = image_shape(inputs)
        self._dense_call = self._call(dense) if measure is None else None

    def compare(self, small: nn.Module, sparsity: float) -> tuple[Trial, float]:
        """Time a network; also the milliseconds of the dense one."""
        if self._measure is not None:
            dense, milliseconds = self._measure(self._dense), self._measure(small)
            return Trial(sparsity, milliseconds, milliseconds / dense), dense
        assert self._dense_call is not None
        calls = {"dense": self._dense_call, "small": self._call(small)}
        with evaluating(self._dense), evaluating(small), torch_threads(self._threads):
            times = interleave(calls, _ROUNDS, _SECONDS)
        fraction = float(np.median(times["small"] / times["dense"]))
        return Trial(sparsity, float(np.median(times["small"])), fraction), float(np.median(times["dense"]))

    def _call(self, network: nn.Module) -> Callable[[], object]:
        if self._shape is None:
            return eager_call(network, self._inputs, self._batch)
        # Not through the cache of exports: these networks are not met again.
        path = self._folder / "network.onnx"
        path.write_bytes(export(network, self._shape))
        session = Session(path, "cpu", input_shape=self._shape, threads=self._threads)
        return session_call(session, self._batch)


def _smaller(
    model: nn.Module,
    inputs: Sequence[Tensor],
    sparsity: float,
    settings: Mapping[str, Any],
    found: Coupling,
) -> nn.Module:
    """A copy of ``model`` pruned to ``sparsity`` and shrunk.

    Raises:
        SparsightError: that sparsity cannot be had with these settings.
    """
    copied = copy.deepcopy(model)
    with Sparsifier(copied, sparsity, **settings) as sparsifier:
        sparsifier.mask()
    # Untrained, constants of zeroed filters would ask for channels that training does without.
    found.silence(copied)
    return shrink(copied, tuple(inputs)).model
