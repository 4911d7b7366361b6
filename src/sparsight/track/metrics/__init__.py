"""How good tracks are: HOTA, CLEAR, identity, PoseTReID's scores, and identities over gaps and cameras."""

from __future__ import annotations

from sparsight.track.metrics.evaluation import METRICS, evaluate
from sparsight.track.metrics.preprocessing import BENCHMARKS

__all__ = ["BENCHMARKS", "METRICS", "evaluate"]
