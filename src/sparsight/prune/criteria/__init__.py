"""Criteria by name: how worth keeping each weight is, and what must be gathered to say so."""

from __future__ import annotations

from sparsight.prune.criteria.criterion import PREPARED, Batches, Criterion, Gatherer, Loss, Prepare
from sparsight.prune.criteria.gathering import GATHERERS
from sparsight.prune.criteria.magnitude import l1, l2, random

__all__ = [
    "CRITERIA",
    "GATHERERS",
    "PREPARED",
    "Batches",
    "Criterion",
    "Gatherer",
    "Loss",
    "Prepare",
    "random",
]

CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        random(),
        Criterion("l1", l1),
        Criterion("l2", l2),
    )
}
"""Name → criterion. A new one is a line here."""
