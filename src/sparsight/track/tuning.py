"""Search a tracker's parameters on labelled sequences (needs the extra ``tune``: Optuna)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsight.errors import SparsightError
from sparsight.registry import lookup, unknown
from sparsight.track.sequences import LabelledSequence, followed, scored
from sparsight.track.trackers import build_tracker
from sparsight.track.types import Detections

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Range:
    """Where a parameter is sought: from ``low`` to ``high``, both included; ``whole`` numbers only."""

    low: float
    high: float
    whole: bool = False


_LIFE = {
    "max_age": Range(1, 120, whole=True),
    "min_hits": Range(1, 5, whole=True),
    "score": Range(0, 0.6),
    "new_score": Range(0.1, 0.95),
}
_STAGES = {
    **_LIFE,
    "iou": Range(0, 0.5),
    "low_iou": Range(0, 0.8),
    "new_iou": Range(0, 0.6),
    "high_score": Range(0.2, 0.9),
}
SPACES: dict[str, dict[str, Range]] = {
    "centroid": {**_LIFE, "distance": Range(0.05, 2)},
    "sort": {**_LIFE, "iou": Range(0, 0.5)},
    "deepsort": {**_LIFE, "iou": Range(0, 0.5), "appearance": Range(0.05, 0.8), "motion": Range(0, 1)},
    "bytetrack": _STAGES,
    "ocsort": {**_LIFE, "iou": Range(0, 0.5), "momentum": Range(0, 1), "span": Range(1, 10, whole=True)},
    "botsort": {
        **_STAGES,
        "appearance": Range(0.05, 0.8),
        "near": Range(0, 0.7),
        "memory": Range(0.5, 0.98),
    },
}
"""Tracker → the parameters that are sought, and where."""
LOOKS = frozenset({"appearance", "motion", "near", "memory"})
"""Parameters that do nothing unless detections carry appearance vectors."""
OBJECTIVES = {"HOTA": "hota", "MOTA": "clear", "IDF1": "identity"}
"""What can be made as high as possible → the metric that it belongs to."""


@dataclass(frozen=True)
class Tuned:
    """What a search came to.

    Attributes:
        tracker: whose parameters were sought.
        objective: one of ``OBJECTIVES``.
        params: the best found.
        value: what they reach, in [0, 1].
        default_value: what the default parameters (with those that were fixed) reach.
        trials: every trial's parameters and value, in order; the first is the defaults'.
    """

    tracker: str
    objective: str
    params: dict[str, float]
    value: float
    default_value: float
    trials: tuple[tuple[dict[str, float], float], ...]


def tune(
    tracker: str,
    sequences: Sequence[tuple[LabelledSequence, Sequence[Detections]]],
    *,
    objective: str = "HOTA",
    trials: int = 100,
    seed: int = 0,
    fixed: Mapping[str, Any] | None = None,
    look: bool = False,
    benchmark: str = "auto",
    progress: Callable[[int, float], None] | None = None,
) -> Tuned:
    """Seek the parameters with which a tracker does best on all sequences together.

    Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011) proposes them; the defaults are
    tried first, so that the result is never worse. The figures are of the sequences that were tuned on: what
    they say about others, only others can tell.

    Args:
        tracker: one of ``SPACES``.
        sequences: each with the detections of its frames.
        objective: one of ``OBJECTIVES``.
        trials: how many sets of parameters are tried.
        seed: of the search; the same seed gives the same result.
        fixed: parameters that are not sought, with their values.
        look: show the tracker the frames too, of sequences that have them.
        benchmark: what counts, see :func:`sparsight.track.metrics.evaluate`.
        progress: called after each trial with its number, from 1, and the best value so far.

    Raises:
        SparsightError: Optuna is not installed, nothing is there to be tuned, or an unknown name.
    """
    try:
        import optuna
    except ImportError:
        raise SparsightError("tuning needs optuna: pip install 'sparsight[tune]'.") from None
    metric = lookup("objective", objective, OBJECTIVES)
    if trials < 1:
        raise SparsightError(f"trials is {trials}, but at least 1 is needed.")
    if not sequences:
        raise SparsightError("there are no sequences to tune on: give at least one.")
    fixed = dict(fixed or {})
    space = _space(tracker, fixed, sequences)
    start = _defaults(tracker, space)

    def value_of(params: Mapping[str, Any]) -> float:
        results = [
            (sequence, followed(sequence, found, build_tracker(tracker, **fixed, **params), look=look)[0])
            for sequence, found in sequences
        ]
        value = scored(results, [metric], benchmark=benchmark)[metric][objective]
        return float(value.mean()) if objective == "HOTA" else float(value)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(start)

    def after(_: Any, trial: Any) -> None:
        if progress is not None:
            progress(trial.number + 1, study.best_value)

    study.optimize(
        lambda trial: value_of(_proposed(trial, space)), n_trials=trials, callbacks=[after], n_jobs=1
    )
    tried = tuple((dict(trial.params), float(trial.value or 0)) for trial in study.trials)
    return Tuned(tracker, objective, dict(study.best_params), study.best_value, tried[0][1], tried)


def _space(
    tracker: str, fixed: Mapping[str, Any], sequences: Sequence[tuple[LabelledSequence, Sequence[Detections]]]
) -> dict[str, Range]:
    """The parameters to seek: those of the tracker that are not fixed and make a difference."""
    space = lookup("tracker", tracker, SPACES)
    build_tracker(tracker, **fixed)  # refuses what it does not know, or what is out of range
    looks = any(found.embedding is not None for _, frames in sequences for found in frames)
    space = {
        name: where for name, where in space.items() if name not in fixed and (looks or name not in LOOKS)
    }
    if not space:
        raise SparsightError(f"all parameters of {tracker} are fixed: leave one to be tuned.")
    return space


def _defaults(tracker: str, space: Mapping[str, Range]) -> dict[str, float]:
    """The tracker's own values, where they lie in the space."""
    import inspect

    known = inspect.signature(type(build_tracker(tracker))).parameters
    missing = set(space) - set(known)
    if missing:
        raise SparsightError(unknown(f"parameter of the tracker {tracker!r}", missing.pop(), known))
    return {name: min(max(known[name].default, where.low), where.high) for name, where in space.items()}


def _proposed(trial: optuna.Trial, space: Mapping[str, Range]) -> dict[str, float]:
    return {
        name: trial.suggest_int(name, int(where.low), int(where.high))
        if where.whole
        else trial.suggest_float(name, where.low, where.high)
        for name, where in space.items()
    }
