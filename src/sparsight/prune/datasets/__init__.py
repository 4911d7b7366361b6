"""Images with labels to train on: read from their official files, decoded once, mapped into memory.

::

    from sparsight.prune import datasets
    data = datasets.load("cifar10")                            # official files or assets
    data = datasets.load("folder:photos", size=64)             # photos/CLASS/*.jpg
    data.train.images                                          # (N, C, H, W) uint8, on disk
"""

from __future__ import annotations

from sparsight.prune.datasets.batches import AUGMENTATIONS, Batches
from sparsight.prune.datasets.cache import ImageSet, Split
from sparsight.prune.datasets.sources import DATASETS, load

__all__ = ["AUGMENTATIONS", "DATASETS", "Batches", "ImageSet", "Split", "load"]
