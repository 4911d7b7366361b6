"""From a trained or untrained network to a smaller, faster one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.prune import schedules
    from sparsight.prune.criteria import CRITERIA
    from sparsight.prune.granularity import GRANULARITIES
    from sparsight.prune.inputs import Selector, explain, select_inputs
    from sparsight.prune.lottery import LotteryTicket
    from sparsight.prune.profiling import Profile, profile
    from sparsight.prune.shrinking import ShrinkResult, shrink
    from sparsight.prune.sparsifier import Sparsifier

_PUBLIC = {
    "CRITERIA": "sparsight.prune.criteria:CRITERIA",
    "GRANULARITIES": "sparsight.prune.granularity:GRANULARITIES",
    "LotteryTicket": "sparsight.prune.lottery:LotteryTicket",
    "Profile": "sparsight.prune.profiling:Profile",
    "Selector": "sparsight.prune.inputs:Selector",
    "ShrinkResult": "sparsight.prune.shrinking:ShrinkResult",
    "Sparsifier": "sparsight.prune.sparsifier:Sparsifier",
    "explain": "sparsight.prune.inputs:explain",
    "profile": "sparsight.prune.profiling:profile",
    "schedules": "sparsight.prune.schedules",
    "select_inputs": "sparsight.prune.inputs:select_inputs",
    "shrink": "sparsight.prune.shrinking:shrink",
}

__all__ = [
    "CRITERIA",
    "GRANULARITIES",
    "LotteryTicket",
    "Profile",
    "Selector",
    "ShrinkResult",
    "Sparsifier",
    "explain",
    "profile",
    "schedules",
    "select_inputs",
    "shrink",
]

__getattr__ = lazy("sparsight.prune", _PUBLIC)
