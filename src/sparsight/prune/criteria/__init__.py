"""Criteria by name: how worth keeping each weight is, and what must be gathered to say so."""

from __future__ import annotations

from sparsight.prune.criteria.batchnorm import scale
from sparsight.prune.criteria.connections import grasp, snip, synflow
from sparsight.prune.criteria.criterion import (
    PREPARED,
    Batches,
    Criterion,
    Gatherer,
    Loss,
    Prepare,
    Score,
    prepared,
)
from sparsight.prune.criteria.gathering import GATHERERS
from sparsight.prune.criteria.magnitude import fpgm, l1, l2, magnitude_movement, random, updating_movement
from sparsight.prune.criteria.training import flap, hrank, movement, obs, taylor, wanda
from sparsight.registry import lookup

__all__ = [
    "CRITERIA",
    "GATHERERS",
    "PREPARED",
    "Batches",
    "Criterion",
    "Gatherer",
    "Loss",
    "Prepare",
    "Score",
    "parse",
    "random",
]

CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        random(),
        Criterion("l1", l1),
        Criterion("l2", l2),
        Criterion("magnitude_movement", magnitude_movement, frozenset({"initial"})),
        Criterion("updating_movement", updating_movement, frozenset({"previous"})),
        Criterion("fpgm", fpgm),
        Criterion("movement", movement, frozenset({"gradient_weight"})),
        Criterion("taylor", taylor, frozenset({"gradient"})),
        Criterion("hrank", hrank, frozenset({"output_rank"})),
        Criterion("wanda", wanda, frozenset({"input_square"})),
        Criterion("flap", flap, frozenset({"input_moments"})),
        Criterion("obs", obs, frozenset({"input_covariances"})),
        Criterion("batchnorm", prepared, prepare=scale, every_time=True),
        Criterion("snip", prepared, prepare=snip),
        Criterion("grasp", prepared, prepare=grasp),
        Criterion("synflow", prepared, prepare=synflow, every_time=True),
    )
}
"""Name → criterion. A new one is a line here."""


def parse(criterion: str | Score | Criterion) -> Criterion:
    """The criterion called ``criterion``; a function from a layer's state to scores is one, too.

    Raises:
        SparsightError: no such criterion.
    """
    if isinstance(criterion, Criterion):
        return criterion
    if callable(criterion):
        return Criterion(getattr(criterion, "__name__", "function"), criterion)
    return lookup("criterion", criterion, CRITERIA)
