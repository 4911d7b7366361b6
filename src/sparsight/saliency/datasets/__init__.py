"""Data sets of images and where people look in them, read from the layouts they are published in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.saliency.datasets.dataset import Dataset
    from sparsight.saliency.datasets.fixations import Fixations
    from sparsight.saliency.datasets.pysaliency import read_pysaliency, write_pysaliency
    from sparsight.saliency.datasets.sources import DATASETS, load

_PUBLIC = {
    "DATASETS": "sparsight.saliency.datasets.sources:DATASETS",
    "Dataset": "sparsight.saliency.datasets.dataset:Dataset",
    "Fixations": "sparsight.saliency.datasets.fixations:Fixations",
    "load": "sparsight.saliency.datasets.sources:load",
    "read_pysaliency": "sparsight.saliency.datasets.pysaliency:read_pysaliency",
    "write_pysaliency": "sparsight.saliency.datasets.pysaliency:write_pysaliency",
}

__all__ = ["DATASETS", "Dataset", "Fixations", "load", "read_pysaliency", "write_pysaliency"]

__getattr__ = lazy("sparsight.saliency.datasets", _PUBLIC)
