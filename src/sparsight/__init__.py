"""Lean vision for interactive spaces: track people, draw saliency, prune networks.

The rooms are imported on first use, so that ``import sparsight`` stays quick::

    import sparsight
    saliency = sparsight.saliency.build("deeprare")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sparsight.errors import SparsightError

if TYPE_CHECKING:
    from sparsight import assets, media, nets, prune, saliency, track

__version__ = "0.1.0"
__all__ = ["SparsightError", "__version__", "assets", "media", "nets", "prune", "saliency", "track"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"sparsight.{name}")
    raise AttributeError(f"module 'sparsight' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
