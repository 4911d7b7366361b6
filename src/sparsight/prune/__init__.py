"""From a trained or untrained network to a smaller, faster one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.prune import schedules
    from sparsight.prune.criteria import CRITERIA
    from sparsight.prune.folding import fold_batchnorm
    from sparsight.prune.granularity import GRANULARITIES
    from sparsight.prune.inputs import Selector, explain, select_inputs
    from sparsight.prune.latency import sparsity_for_latency
    from sparsight.prune.lottery import LotteryTicket
    from sparsight.prune.profiling import Profile, profile
    from sparsight.prune.quantising import quantise
    from sparsight.prune.shrinking import ShrinkResult, shrink
    from sparsight.prune.shrinking.coupling import coupling
    from sparsight.prune.sparsifier import Sparsifier

_PUBLIC = {
    "CRITERIA": "sparsight.prune.criteria:CRITERIA",
    "GRANULARITIES": "sparsight.prune.granularity:GRANULARITIES",
    "LotteryTicket": "sparsight.prune.lottery:LotteryTicket",
    "Profile": "sparsight.prune.profiling:Profile",
    "Selector": "sparsight.prune.inputs:Selector",
    "ShrinkResult": "sparsight.prune.shrinking:ShrinkResult",
    "Sparsifier": "sparsight.prune.sparsifier:Sparsifier",
    "coupling": "sparsight.prune.shrinking.coupling:coupling",
    "explain": "sparsight.prune.inputs:explain",
    "fold_batchnorm": "sparsight.prune.folding:fold_batchnorm",
    "profile": "sparsight.prune.profiling:profile",
    "quantise": "sparsight.prune.quantising:quantise",
    "schedules": "sparsight.prune.schedules",
    "select_inputs": "sparsight.prune.inputs:select_inputs",
    "shrink": "sparsight.prune.shrinking:shrink",
    "sparsity_for_latency": "sparsight.prune.latency:sparsity_for_latency",
}

__all__ = [
    "CRITERIA",
    "GRANULARITIES",
    "LotteryTicket",
    "Profile",
    "Selector",
    "ShrinkResult",
    "Sparsifier",
    "coupling",
    "explain",
    "fold_batchnorm",
    "profile",
    "quantise",
    "schedules",
    "select_inputs",
    "shrink",
    "sparsity_for_latency",
]

__getattr__ = lazy("sparsight.prune", _PUBLIC)
