"""A folder of pictures as a video."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.media.images import Image, read_image
from sparsight.media.source import Shot

FOLDER_FPS = 25.0
"""Frames per second of a folder whose ``seqinfo.ini`` does not say."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class FolderSource:
    """The pictures of one folder in natural order (2 before 10).

    A MOTChallenge sequence may be named by its own folder or by the ``img1`` in it. Pictures keep their own
    size, so that coordinates are those of the file; ``size`` is that of the first. One that cannot be read is
    left out, and the indices of the others stay as they are.
    """

    live = False

    def __init__(self, folder: Path) -> None:
        sequence = folder
        files = pictures_in(folder)
        if not files and (folder / "img1").is_dir():
            folder = folder / "img1"
            files = pictures_in(folder)
        elif folder.name == "img1":
            sequence = folder.resolve().parent
        if not files:
            raise SparsightError(f"there are no pictures in {folder}: name a folder of JPEG or PNG files.")
        self.name = sequence.resolve().name
        self.fps: float | None = _frame_rate(sequence / "seqinfo.ini")
        self.frame_count: int | None = len(files)
        self.warning: str | None = None
        self._folder = folder
        self._files = files
        self._bad: list[Path] = []
        self.size = self._first_size()

    def shots(self) -> Iterator[Shot]:
        """The pictures in natural order."""
        self._bad = []
        fps = self.fps or FOLDER_FPS
        for index, file in enumerate(self._files):
            yield Shot(index, index / fps, partial(self._load, file))
        if self._bad:
            self.warning = (
                f"{len(self._bad)} of the {len(self._files)} pictures in {self._folder} cannot be read, "
                f"the first is {self._bad[0].name}."
            )

    def close(self) -> None:
        """Nothing is held open."""

    def _load(self, file: Path) -> Image:
        try:
            return read_image(file)
        except SparsightError:
            self._bad.append(file)
            raise

    def _first_size(self) -> tuple[int, int]:
        reason: SparsightError | None = None
        for shot in self.shots():
            try:
                height, width = shot.load().shape[:2]
                return width, height
            except SparsightError as error:
                reason = reason or error
        raise SparsightError(f"none of the pictures in {self._folder} can be read; the first one: {reason}")


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts names as people count: ``frame2`` before ``frame10``."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())
    ]


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, not of those in it, in natural order; by their endings, unopened.

    Raises:
        SparsightError: the folder cannot be read.
    """
    try:
        files = [
            file
            for file in folder.iterdir()
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        raise SparsightError(f"the folder {folder} cannot be read: {error.strerror or error}.") from None
    return sorted(files, key=natural_key)


def _frame_rate(seqinfo: Path) -> float:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(seqinfo, encoding="utf-8")
        rate = parser.getfloat("Sequence", "frameRate", fallback=FOLDER_FPS)
    except (configparser.Error, OSError, ValueError):
        return FOLDER_FPS
    return rate if 0 < rate <= 1000 else FOLDER_FPS
