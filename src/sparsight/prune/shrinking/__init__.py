"""Removing zeroed channels from a network for good: see ``shrink``."""

from __future__ import annotations

from sparsight.prune.shrinking.layout import apply_layout, layout
from sparsight.prune.shrinking.removal import shrink
from sparsight.prune.shrinking.result import ShrinkResult, Skipped

__all__ = ["ShrinkResult", "Skipped", "apply_layout", "layout", "shrink"]
