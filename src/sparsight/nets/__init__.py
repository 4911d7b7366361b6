"""Every network, once: build by name, load official weights, tap features, export, run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.nets.building import NETWORKS, build
    from sparsight.nets.runtime import Session
    from sparsight.nets.tapping import taps

_PUBLIC = {
    "NETWORKS": "sparsight.nets.building:NETWORKS",
    "build": "sparsight.nets.building:build",
    "Session": "sparsight.nets.runtime:Session",
    "taps": "sparsight.nets.tapping:taps",
}

__all__ = ["NETWORKS", "Session", "build", "taps"]

__getattr__ = lazy("sparsight.nets", _PUBLIC)
