"""Decoded images on disk, mapped into memory, each data set under a key made of its content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.assets import cache_folder
from sparsight.errors import SparsightError

_FORMAT = "1"
_CHUNK = 4096


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8, RGB or grey, and their classes (N,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """The first ``count`` images, or all where there are fewer."""
        return Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class ImageSet:
    """A classification data set.

    Attributes:
        name: as it was asked for.
        classes: their names, in the order of the labels.
        train: to learn from.
        test: to measure on.
        mean: of each channel over the training images, in 0..1.
        std: likewise, the standard deviation.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Recipe:
    """How to decode a data set.

    Attributes:
        name: as it was asked for.
        content: what the result depends on: hashes of files, sizes.
        decode: writes ``train_images.npy``, ``train_labels.npy``, ``test_images.npy`` and ``test_labels.npy``
            into a folder, and gives the names of the classes.
    """

    name: str
    content: Sequence[str]
    decode: Callable[[Path], Sequence[str]]


def cached(recipe: Recipe) -> ImageSet:
    """The data set of ``recipe``, decoded now if it has not been before.

    Raises:
        SparsightError: its files are broken or do not fit together.
        OSError: the cache cannot be written.
    """
    digest = hashlib.sha256("\0".join((_FORMAT, *recipe.content)).encode())
    folder = cache_folder() / "datasets" / digest.hexdigest()[:24]
    if not folder.is_dir():
        _make(recipe, folder)
    try:
        return _open(recipe, folder)
    except (OSError, ValueError, KeyError):
        # Somebody's clean-up took a part of it: decode again.
        shutil.rmtree(folder, ignore_errors=True)
        _make(recipe, folder)
        return _open(recipe, folder)


def save_arrays(folder: Path, split: str, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Write one split that fits in memory: images (N, C, H, W), labels (N,)."""
    np.save(folder / f"{split}_images.npy", np.ascontiguousarray(images))
    np.save(folder / f"{split}_labels.npy", labels.astype(np.int64))


def _make(recipe: Recipe, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        classes = list(recipe.decode(building))
        splits = {split: _load(building, split) for split in ("train", "test")}
        for split, arrays in splits.items():
            _check(recipe.name, len(classes), split, arrays)
        mean, std = _moments(splits["train"].images)
        about = {"classes": classes, "mean": mean, "std": std}
        (building / "about.json").write_text(json.dumps(about), encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was quicker: its folder holds the same
            building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _open(recipe: Recipe, folder: Path) -> ImageSet:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return ImageSet(
        recipe.name,
        tuple(about["classes"]),
        _load(folder, "train"),
        _load(folder, "test"),
        tuple(about["mean"]),
        tuple(about["std"]),
    )


def _load(folder: Path, split: str) -> Split:
    # "c": writes stay in memory, so that PyTorch takes the array, which it does not with "r".
    images = np.load(folder / f"{split}_images.npy", mmap_mode="c", allow_pickle=False)
    return Split(images, np.load(folder / f"{split}_labels.npy", allow_pickle=False))


def _check(name: str, classes: int, split: str, arrays: Split) -> None:
    images, labels = arrays.images, arrays.labels
    if images.ndim != 4 or len(images) != len(labels) or not len(labels):
        raise SparsightError(
            f"the {split} part of {name} has {len(images):,} images and {len(labels):,} labels: "
            "download it again."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise SparsightError(
            f"the {split} part of {name} has labels from {labels.min()} to {labels.max()}, and "
            f"{classes} classes: download it again."
        )


def _moments(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in 0..1, from its histogram: exact, in one pass."""
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(len(counts)):
            counts[channel] += np.bincount(images[start : start + _CHUNK, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    variance = counts @ values**2 / counts.sum(axis=1) - mean**2
    return mean.tolist(), np.sqrt(variance.clip(1e-6)).tolist()
