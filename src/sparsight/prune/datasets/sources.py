"""Data sets by name, and where their files are: a folder that is given, or assets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sparsight import assets
from sparsight.assets import archives
from sparsight.assets.store import sha256_of
from sparsight.errors import SparsightError
from sparsight.prune.datasets import folders, formats
from sparsight.prune.datasets.cache import ImageSet, Recipe, cached, save_arrays
from sparsight.registry import lookup

DEFAULT_SIDE = 64
"""Side of the squares that pictures of any size become, in pixels."""
MAX_SIDE = 1024

_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_LIMIT = 256 << 20
_CLUTTER = "BACKGROUND_Google"


def load(name: str, root: str | Path | None = None, *, size: int | None = None) -> ImageSet:
    """The data set called ``name``, decoded on first use and mapped into memory.

    Args:
        name: one of ``DATASETS``, or ``folder:PATH`` with PATH/CLASS/*.jpg or PATH/{train,test}/CLASS/*.jpg.
        root: the folder of the official files; by default they are taken from the assets.
        size: side in pixels that pictures of any size are scaled and cut to, 8 to 1024; for folders and
            caltech101 only, since the other data sets have a size.

    Raises:
        SparsightError: no such data set, files that are missing or broken, or a size for a data set that has
            its own.
    """
    kind, colon, path = name.partition(":")
    if size is not None and not 8 <= size <= MAX_SIDE:
        raise SparsightError(f"pictures cannot be cut to {size} pixels: give a size from 8 to {MAX_SIDE}.")
    folder = None if root is None else Path(root).expanduser()
    if folder is not None and not folder.is_dir():
        raise SparsightError(f"there is no folder {folder}: give the one that holds the files of {name}.")
    if colon and kind == "folder":
        return cached(_picture_folder(name, Path(path).expanduser(), size or DEFAULT_SIDE))
    recipe = lookup("data set", name, DATASETS)(name, folder, size)
    return cached(recipe)


def _mnist(name: str, root: Path | None, size: int | None) -> Recipe:
    _refuse_size(name, size)
    if root is None and name == "mnist":
        root = assets.find("mnist")
    parts = [(split, kind) for split in ("train", "test") for kind in ("images", "labels")]
    files = {
        (split, kind): assets.path(f"{name}_{split}_{kind}") if root is None else _idx_file(root, split, kind)
        for split, kind in parts
    }

    def decode(out: Path) -> Sequence[str]:
        for split in ("train", "test"):
            images = formats.read_idx(files[split, "images"], 3)
            save_arrays(out, split, images[:, None], formats.read_idx(files[split, "labels"], 1))
        return _DIGITS if name == "mnist" else _FASHION

    return Recipe(name, [name, *map(sha256_of, files.values())], decode)


def _idx_file(root: Path, split: str, kind: str) -> Path:
    prefix = "t10k" if split == "test" else "train"
    ending = "idx3-ubyte" if kind == "images" else "idx1-ubyte"
    names = [f"{prefix}-{kind}{mark}{ending}{gz}" for mark in "-." for gz in ("", ".gz")]
    return _first_file(root, names)


def _cifar10(name: str, root: Path | None, size: int | None) -> Recipe:
    _refuse_size(name, size)
    if root is None and assets.find("cifar10_binary") is None and (pictures := assets.find("cifar10")):
        return _picture_tar(name, pictures, "cifar10", 32)
    batches = {"train": [f"data_batch_{index}.bin" for index in range(1, 6)], "test": ["test_batch.bin"]}
    return _cifar(name, root, "cifar-10-batches-bin", "cifar-10-binary.tar.gz", batches)


def _cifar100(name: str, root: Path | None, size: int | None) -> Recipe:
    _refuse_size(name, size)
    batches = {"train": ["train.bin"], "test": ["test.bin"]}
    return _cifar(name, root, "cifar-100-binary", "cifar-100-binary.tar.gz", batches)


def _cifar(name: str, root: Path | None, inner: str, archive: str, batches: dict[str, list[str]]) -> Recipe:
    names = [file for files in batches.values() for file in files]
    place = assets.path(f"{name}_binary") if root is None else _cifar_place(root, inner, archive, names[0])
    files = [place] if place.is_file() else [_first_file(place, [file]) for file in names]

    def read(file: str) -> bytes:
        if place.is_file():
            return b"".join(archives.member(place, f"{inner}/{file}", _CIFAR_LIMIT))
        return (place / file).read_bytes()

    def decode(out: Path) -> Sequence[str]:
        for split, parts in batches.items():
            arrays = [formats.parse_cifar(read(file), file, 1 if name == "cifar10" else 2) for file in parts]
            images, labels = (np.concatenate(part) for part in zip(*arrays, strict=True))
            save_arrays(out, split, images, labels)
        return _CIFAR10 if name == "cifar10" else read("fine_label_names.txt").decode("ascii").split()

    return Recipe(name, [name, *map(sha256_of, files)], decode)


def _cifar_place(root: Path, inner: str, archive: str, file: str) -> Path:
    """The folder of CIFAR's binary files, or their archive, somewhere near ``root``."""
    for folder in (root, root / inner):
        if (folder / file).is_file():
            return folder
    if (root / archive).is_file():
        return root / archive
    if any(root.glob("cifar-10*-p*")) or (root / "data_batch_1").is_file() or (root / "train").is_file():
        raise SparsightError(
            f"{root} holds CIFAR's version for Python, whose pickles are not opened: download {archive}."
        )
    raise SparsightError(f"{root} has neither {file} nor {archive}: download CIFAR's binary version.")


def _svhn(name: str, root: Path | None, size: int | None) -> Recipe:
    _refuse_size(name, size)
    files = {
        split: assets.path(f"svhn_{split}") if root is None else _first_file(root, [f"{split}_32x32.mat"])
        for split in ("train", "test")
    }

    def decode(out: Path) -> Sequence[str]:
        for split, file in files.items():
            save_arrays(out, split, *formats.read_svhn(file))
        return _DIGITS

    return Recipe(name, [name, *map(sha256_of, files.values())], decode)


def _caltech101(name: str, root: Path | None, size: int | None) -> Recipe:
    side = size or DEFAULT_SIDE
    if root is None:
        return _picture_tar(name, assets.path("caltech101"), "caltech101", side, leave_out=(_CLUTTER,))
    inner = next(
        (root / part for part in ("101_ObjectCategories", "caltech101") if (root / part).is_dir()), root
    )
    return _picture_folder(name, inner, side, leave_out=(_CLUTTER,))


def _picture_folder(name: str, root: Path, side: int, leave_out: Sequence[str] = ()) -> Recipe:
    paths = folders.list_folder(root)
    pictures = folders.arrange(paths, str(root), leave_out)

    def decode(out: Path) -> Sequence[str]:
        folders.decode_folder(root, pictures, side, out)
        return pictures.classes

    return Recipe(name, [f"folder {side}", *leave_out, folders.listing_hash(root, paths)], decode)


def _picture_tar(name: str, archive: Path, top: str, side: int, leave_out: Sequence[str] = ()) -> Recipe:
    def decode(out: Path) -> Sequence[str]:
        pictures = folders.arrange(folders.list_tar(archive, top), archive.name, leave_out)
        folders.decode_tar(archive, top, pictures, side, out)
        return pictures.classes

    return Recipe(name, [f"tar {side}", *leave_out, sha256_of(archive)], decode)


def _first_file(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise SparsightError(f"{root} has no {' or '.join(names)}: download the official files into it.")


def _refuse_size(name: str, size: int | None) -> None:
    if size is not None:
        raise SparsightError(f"the images of {name} have a size of their own: leave --size out.")


DATASETS: dict[str, Callable[[str, Path | None, int | None], Recipe]] = {
    "mnist": _mnist,
    "fashion_mnist": _mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "svhn": _svhn,
    "caltech101": _caltech101,
}
"""Data set → (name, folder of its files, size) → how to decode it."""
