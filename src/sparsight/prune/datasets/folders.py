"""Folders and archives of pictures, one folder per class, as arrays of one size."""

from __future__ import annotations

import hashlib
import itertools
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from sparsight import media
from sparsight.assets.progress import Meter
from sparsight.errors import SparsightError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".avif"})
TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")
TEST_SHARE = 0.2
"""Share of each class that is kept for testing where the folders do not say."""

_AHEAD = 256
"""Pictures decoded side by side at a time."""
_DRAFT = 4
"""A picture is decoded at no more than about so many times the size wanted."""
_MAX_MEMBER = 64 << 20


@dataclass(frozen=True)
class Picture:
    """One picture of a data set: where it lies, and what it is."""

    path: str
    label: int
    split: str


@dataclass(frozen=True)
class Pictures:
    """The pictures of a data set in the order in which they are stored, and the names of their classes."""

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]


def list_folder(root: Path) -> list[str]:
    """Paths of the pictures under ``root``, relative to it, sorted; hidden files and folders are left out.

    Raises:
        SparsightError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise SparsightError(
            f"there is no folder {root}: give a folder with one folder of pictures per class."
        )
    paths = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def arrange(paths: Iterable[str], where: str, leave_out: Sequence[str] = ()) -> Pictures:
    """Labels and splits from paths ``[train|test/]CLASS/.../NAME.jpg``.

    Without folders for training and testing, a fifth of each class, chosen by a hash of the names, so that a
    picture stays where it is when others come, is for testing.

    Args:
        paths: of the pictures, with "/".
        where: what to call the place in an error.
        leave_out: classes that do not count.

    Raises:
        SparsightError: fewer than two classes, or a split without pictures.
    """
    placed = [_place(path) for path in paths]
    placed = [row for row in placed if row[1] not in (*leave_out, "")]
    declared = {split for split, _, _ in placed}
    if "" in declared and len(declared) > 1:
        raise SparsightError(
            f"{where} mixes folders of classes with folders for training and testing: use one or the other."
        )
    if declared == {""}:
        placed = _divide(placed)
    classes = sorted({name for _, name, _ in placed})
    for split in ("train", "test"):
        if len(classes) < 2 or not any(row[0] == split for row in placed):
            raise SparsightError(
                f"{where} has no pictures to {split} on, or fewer than two classes: put them in "
                f"{where}/CLASS/ or {where}/train/CLASS/ and {where}/test/CLASS/."
            )
    numbers = {name: number for number, name in enumerate(classes)}
    pictures = (Picture(path, numbers[name], split) for split, name, path in placed)
    return Pictures(tuple(pictures), tuple(classes))


def decode_folder(root: Path, pictures: Pictures, side: int, out: Path) -> None:
    """Write the pictures under ``root``, cut to squares of ``side`` pixels, into the arrays of ``out``."""

    def decode(picture: Picture) -> NDArray[np.uint8]:
        return fit(media.read_image(root / picture.path, max_side=_DRAFT * side), side)

    _write(out, pictures, side, _ahead(decode, pictures.pictures))


def decode_tar(archive: Path, top: str, pictures: Pictures, side: int, out: Path) -> None:
    """As ``decode_folder``, from a tar archive in which the pictures lie under ``top``.

    Raises:
        SparsightError: the archive is broken, or a member is larger than any picture.
    """

    def decode(item: tuple[Picture, bytes]) -> NDArray[np.uint8]:
        picture, data = item
        return fit(media.decode_image(data, f"{archive.name}:{picture.path}", _DRAFT * side), side)

    # The archive is read once, forward, so the arrays follow its order.
    wanted = {picture.path: picture for picture in pictures.pictures}
    ordered: list[Picture] = []

    def members() -> Iterator[tuple[Picture, bytes]]:
        for path, data in _tar_pictures(archive, top):
            if (picture := wanted.get(path)) is not None:
                ordered.append(picture)
                yield picture, data()

    images = _ahead(decode, members())
    _write(out, pictures, side, images, ordered)


def list_tar(archive: Path, top: str) -> list[str]:
    """Paths of the pictures in a tar archive, relative to its folder ``top``.

    Raises:
        SparsightError: the archive is broken.
    """
    return sorted(path for path, _ in _tar_pictures(archive, top))


def fit(image: media.Image, side: int) -> NDArray[np.uint8]:
    """The middle square of ``image`` as (3, side, side), the smaller side scaled with antialiasing."""
    picture = PIL.Image.fromarray(image)
    square = PIL.ImageOps.fit(picture, (side, side), PIL.Image.Resampling.BICUBIC)
    array: NDArray[np.uint8] = np.asarray(square).transpose(2, 0, 1)
    return array


def listing_hash(root: Path, paths: Sequence[str]) -> str:
    """What tells one content of a folder from another unread: names, sizes, times of change."""
    digest = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape"))
    for path in paths:
        status = (root / path).stat()
        line = f"\0{path}\0{status.st_size}\0{status.st_mtime_ns}"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _place(path: str) -> tuple[str, str, str]:
    """Split ("" if the path does not say), class ("" if it does not say) and path."""
    first, *rest = PurePosixPath(path).parts
    split = "train" if first.lower() in TRAIN_FOLDERS else "test" if first.lower() in TEST_FOLDERS else ""
    if split:
        return split, rest[0] if len(rest) > 1 else "", path
    return "", first if rest else "", path


def _divide(placed: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    classes: dict[str, list[str]] = defaultdict(list)
    for _, name, path in placed:
        classes[name].append(path)
    divided = []
    for name, paths in classes.items():
        by_hash = sorted(
            paths, key=lambda path: hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
        )
        count = max(1, round(TEST_SHARE * len(paths))) if len(paths) > 1 else 0
        testing = set(by_hash[:count])
        divided += [("test" if path in testing else "train", name, path) for path in paths]
    return divided


def _tar_pictures(archive: Path, top: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Path under ``top`` of each picture and how to read it, in the order of the archive."""
    try:
        with tarfile.open(archive, "r:*") as opened:
            for entry in opened:
                path = PurePosixPath(entry.name.removeprefix("./"))
                if not entry.isreg() or path.parts[:1] != (top,) or path.suffix.lower() not in SUFFIXES:
                    continue
                if entry.size > _MAX_MEMBER:
                    raise SparsightError(f"{entry.name} in {archive} claims {entry.size:,} bytes: refused.")
                stream = opened.extractfile(entry)
                assert stream is not None  # a plain file has one
                yield path.relative_to(top).as_posix(), stream.read
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SparsightError(f"{archive} is a broken archive ({error}): download it again.") from error


def _ahead(decode: Callable[..., NDArray[np.uint8]], items: Iterable[object]) -> Iterator[NDArray[np.uint8]]:
    """``map`` with several at work, no more than ``_AHEAD`` of them held."""
    iterator = iter(items)
    with ThreadPoolExecutor() as pool:
        while chunk := list(itertools.islice(iterator, _AHEAD)):
            yield from pool.map(decode, chunk)


def _write(
    out: Path,
    pictures: Pictures,
    side: int,
    images: Iterable[NDArray[np.uint8]],
    ordered: Sequence[Picture] | None = None,
) -> None:
    """Store ``images``, which come in the order of ``ordered`` (which may grow while they come)."""
    order = pictures.pictures if ordered is None else ordered
    arrays, labels, filled = {}, {}, {"train": 0, "test": 0}
    for split in filled:
        count = sum(picture.split == split for picture in pictures.pictures)
        path = out / f"{split}_images.npy"
        arrays[split] = open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, side, side))
        labels[split] = np.zeros(count, np.int64)
    with Meter("decoding pictures", None) as meter:
        for index, image in enumerate(images):
            picture = order[index]
            position = filled[picture.split]
            arrays[picture.split][position] = image
            labels[picture.split][position] = picture.label
            filled[picture.split] += 1
            meter.advance(image.nbytes)
    for split, array in arrays.items():
        if filled[split] != len(array):
            raise SparsightError(
                f"{len(array) - filled[split]} pictures were gone before they were read: try again."
            )
        array.flush()
        np.save(out / f"{split}_labels.npy", labels[split])
