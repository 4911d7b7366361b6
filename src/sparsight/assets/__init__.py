"""Where every weight file and sample comes from: a declarative catalogue, fetched, verified, cached.

::

    from sparsight import assets
    weights = assets.path("yolox_nano")   # a Path; fetched on first use, its SHA-256 always checked

Three environment variables rule it: ``SPARSIGHT_ASSETS`` (folders to look in first), ``SPARSIGHT_CACHE``
(where fetched files are kept) and ``SPARSIGHT_OFFLINE`` (set it to 1 to refuse the network).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparsight.assets.catalogue import Asset, catalogue
from sparsight.assets.resolve import Found, copies, find, path
from sparsight.assets.store import cache_folder, local_folders

if TYPE_CHECKING:
    CATALOGUE: Mapping[str, Asset]

__all__ = ["CATALOGUE", "Asset", "Found", "cache_folder", "copies", "find", "local_folders", "path"]


def __getattr__(name: str) -> Any:
    if name == "CATALOGUE":
        return catalogue()
    raise AttributeError(f"module 'sparsight.assets' has no attribute {name!r}")
