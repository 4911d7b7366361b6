"""How sparsity grows during training: the fraction of the final sparsity at each progress in [0, 1]."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, cast, overload

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.spelling import spelled

Array = NDArray[np.float64]
Options = ParamSpec("Options")


class Schedule(Protocol[Options]):
    """Fraction of the final sparsity at progress ``t``; a float for a float, an array for an array."""

    @overload
    def __call__(self, t: float, *args: Options.args, **options: Options.kwargs) -> float: ...
    @overload
    def __call__(self, t: NDArray[Any], *args: Options.args, **options: Options.kwargs) -> Array: ...


def _of_progress(function: Callable[Concatenate[Array, Options], Any]) -> Schedule[Options]:
    """Let ``function``, written for arrays in [0, 1], take and return floats too."""

    @wraps(function)
    def schedule(t: Any, *args: Options.args, **options: Options.kwargs) -> Any:
        progress = np.asarray(t, dtype=np.float64)
        if not np.all((progress >= 0) & (progress <= 1)):
            raise SparsightError(f"progress must be within [0, 1], but is {t}.")
        fraction = np.asarray(function(progress, *args, **options), dtype=np.float64)
        return fraction if progress.ndim else float(fraction)

    return cast("Schedule[Options]", schedule)


@_of_progress
def one_cycle(t: Array, alpha: float = 14.0, beta: float = 5.0) -> Array:
    """(1 + e^(−α+β)) / (1 + e^(−αt+β)): slow start, steep middle, long settling, in one cycle.

    At 0 it is about 0.0067, at 1 exactly 1.

    Source: Hubens et al., *One-Cycle Pruning: Pruning ConvNets Under a Tight Training Budget*, 2021.
    """
    risen: Array = (1 + np.exp(beta - alpha)) / (1 + np.exp(beta - alpha * t))
    return risen


@_of_progress
def one_shot(t: Array, at: float = 0.4) -> NDArray[np.bool_]:
    """Nothing before ``at``, everything from then on (Li et al., *Pruning Filters*, 2017)."""
    return t >= at


@_of_progress
def iterative(t: Array, start: float = 0.2, steps: int = 3) -> Array:
    """``steps`` equal rises, the first at ``start``, evenly apart, as long after the last as between two.

    Source: Han et al., *Learning both Weights and Connections*, 2015.
    """
    if steps < 1 or not 0 <= start < 1:
        raise SparsightError(
            f"iterative needs at least 1 step and a start in [0, 1), but has {steps} and {start}."
        )
    # Computed as a count of the rises that are past, so that rounding cannot move one of them.
    rises = start + (1 - start) * np.arange(steps) / steps
    past: Array = np.searchsorted(rises, t, side="right") / steps
    return past


@_of_progress
def agp(t: Array, start: float = 0.2) -> Array:
    """1 − (1 − u)³ with u the progress after ``start``: automated gradual pruning.

    Source: Zhu and Gupta, *To prune, or not to prune*, 2017.
    """
    if not 0 <= start < 1:
        raise SparsightError(f"agp needs a start in [0, 1), but has {start}.")
    return 1 - (1 - np.clip((t - start) / (1 - start), 0, 1)) ** 3


@_of_progress
def linear(t: Array) -> Array:
    """t: the same rise at every step."""
    return t


@_of_progress
def cosine(t: Array) -> Array:
    """(1 − cos πt) / 2: slow at both ends."""
    return (1 - np.cos(np.pi * t)) / 2


@_of_progress
def exponential(t: Array, rate: float = 5.0) -> Array:
    """(1 − e^(−rate·t)) / (1 − e^(−rate)): fastest at the start, ever slower."""
    risen: Array = np.expm1(-rate * t) / np.expm1(-rate)
    return risen


@_of_progress
def dsd(t: Array, sparse: float = 1 / 3, dense: float = 2 / 3) -> NDArray[np.bool_]:
    """Dense, then sparse from ``sparse`` on, then dense again from ``dense`` on; it ends dense.

    Source: Han et al., *DSD: Dense-Sparse-Dense Training*, 2017.
    """
    return (t >= sparse) & (t < dense)


SCHEDULES: dict[str, Schedule[...]] = {
    "one_cycle": one_cycle,
    "one_shot": one_shot,
    "iterative": iterative,
    "agp": agp,
    "linear": linear,
    "cosine": cosine,
    "exponential": exponential,
    "dsd": dsd,
}


def parse(schedule: str | Schedule[[]]) -> Schedule[[]]:
    """The schedule called ``schedule``, parameters included: ``"agp"``, ``"agp(start=0)"``.

    A function of progress is returned as it is.

    Raises:
        SparsightError: no such schedule, or it has no such parameter.
    """
    if callable(schedule):
        return schedule
    if not isinstance(schedule, str):
        raise SparsightError(
            f"a schedule is a name like 'agp(start=0)' or a function of progress, not {schedule!r}."
        )
    name, values, named = spelled(schedule)
    function = lookup("schedule", name, SCHEDULES)
    parameters = [*inspect.signature(function).parameters][1:]
    given = dict(zip(parameters, values, strict=False)) | named
    if len(values) > len(parameters) or not given.keys() <= set(parameters):
        known = ", ".join(parameters) or "none"
        raise SparsightError(f"{schedule!r} gives schedule {name} a parameter it lacks; it has {known}.")
    bound = partial(function, **given)
    try:
        bound(0.5)  # A parameter out of range is said here, not in the middle of training.
    except TypeError:
        raise SparsightError(
            f"{schedule!r} gives schedule {name} a parameter that is not a number."
        ) from None
    return cast("Schedule[[]]", bound)


def fraction(schedule: Schedule[[]], t: float) -> float:
    """What ``schedule`` gives at ``t``, which may be anybody's function.

    Raises:
        SparsightError: it is not a fraction in [0, 1], but for rounding.
    """
    given: Any = schedule(t)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = np.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise SparsightError(
            f"the schedule gives {given!r} at progress {t:g}: it must be a fraction of the final sparsity, "
            "in [0, 1]."
        )
    return min(max(value, 0.0), 1.0)


_ROUNDING = 1e-6


def draw(names: Sequence[str] = ("one_cycle", "agp", "one_shot", "iterative")) -> str:
    """The schedules called ``names`` (parameters allowed) as one picture: the text of an SVG file.

    Raises:
        SparsightError: no such schedule.
    """
    width, height, left, top = 480, 240, 40, 12
    t = np.linspace(0, 1, 481)
    lines, labels = [], []
    for index, name in enumerate(names):
        colour = _COLOURS[index % len(_COLOURS)]
        x, y = left + width * t, top + height * (1 - parse(name)(t))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        place = f'x="{left + width + 10}" y="{top + 14 + 18 * index}"'
        labels.append(f'<text {place} fill="{colour}">{html.escape(name)}</text>')
    ticks = [
        f'<text x="{left - 6}" y="{top + height * (1 - share) + 4}" text-anchor="end">{share:g}</text>'
        f'<text x="{left + width * share}" y="{top + height + 18}" text-anchor="middle">{share:g}</text>'
        for share in (0, 0.5, 1)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 190} {top + height + 44}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>'
        f"{''.join(ticks)}{''.join(lines)}{''.join(labels)}"
        f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">training progress</text>'
        "</svg>"
    )


_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf")
