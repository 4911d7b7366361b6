"""Crops of people from files into vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media import read_image
from sparsight.media.folder import pictures_in
from sparsight.track.embed import Embedder
from sparsight.track.types import Image

_MAX_SIDE = 1024  # a picture that shows one person needs no more pixels
_SHEET_PIXELS = 8_000_000  # pictures are embedded together, on sheets of so many pixels
_SHEET_PICTURES = 64


def people_in(folder: Path) -> dict[str, list[Path]]:
    """The people in a folder of folders: name → their pictures in natural order.

    Folders whose names begin with a dot are left out, as are files beside the folders.

    Raises:
        SparsightError: no such folder, no folder in it, or one without pictures.
    """
    if not folder.is_dir():
        raise SparsightError(f"there is no folder {folder}: name one with a folder of crops per person.")
    found = {
        place.name: pictures_in(place)
        for place in sorted(folder.iterdir())
        if place.is_dir() and not place.name.startswith(".")
    }
    if not found:
        raise SparsightError(
            f"there are no folders in {folder}: make one per person, with crops of them in it."
        )
    for name, files in found.items():
        if not files:
            raise SparsightError(f"there are no pictures in {folder / name}: put crops of {name} into it.")
    return found


def embed_people(
    files: Mapping[str, Sequence[Path]], embedder: Embedder
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """The pictures of people as vectors.

    Returns:
        (N, D) float32 of length one; (N,) int64 the place of each one's person in ``files``; and how many
        pictures were left out, because they show nothing to tell by (no face, to an embedder of faces).

    Raises:
        SparsightError: a picture that cannot be read.
    """
    vectors = embed_files([file for own in files.values() for file in own], embedder)
    label = np.repeat(np.arange(len(files)), [len(own) for own in files.values()])
    told = vectors.any(axis=1)
    return vectors[told], label[told], int((~told).sum())


def embed_files(files: Sequence[Path], embedder: Embedder) -> NDArray[np.float32]:
    """One vector per picture, (N, D) float32, of whoever the whole picture shows.

    Raises:
        SparsightError: a picture that cannot be read.
    """
    rows = [embedder(*sheet) for sheet in _sheets(read_image(file, _MAX_SIDE) for file in files)]
    return np.concatenate(rows) if rows else np.zeros((0, embedder.dimension), np.float32)


def _sheets(pictures: Iterable[Image]) -> Iterator[tuple[Image, NDArray[np.float32]]]:
    """Pictures put below one another, and where each is: embedders take many boxes of one image at once."""
    waiting: list[Image] = []
    for picture in pictures:
        if waiting and (len(waiting) == _SHEET_PICTURES or _size([*waiting, picture]) > _SHEET_PIXELS):
            yield _sheet(waiting)
            waiting = []
        waiting.append(picture)
    if waiting:
        yield _sheet(waiting)


def _size(pictures: Sequence[Image]) -> int:
    heights, widths = zip(*(picture.shape[:2] for picture in pictures), strict=True)
    return int(sum(heights) * max(widths))


def _sheet(pictures: Sequence[Image]) -> tuple[Image, NDArray[np.float32]]:
    height = np.array([len(picture) for picture in pictures])
    width = np.array([picture.shape[1] for picture in pictures])
    bottom = np.cumsum(height)
    sheet = np.zeros((int(bottom[-1]), int(width.max()), 3), np.uint8)
    for picture, end in zip(pictures, bottom.tolist(), strict=True):
        sheet[end - len(picture) : end, : picture.shape[1]] = picture
    boxes = np.stack([np.zeros_like(width), bottom - height, width, bottom], axis=1)
    return sheet, boxes.astype(np.float32)
