"""One's own images, with a table of fixations, maps of their density, or masks."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from sparsight.errors import SparsightError
from sparsight.media.paths import check_file
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.fixations import NOBODY, Fixations, in_order
from sparsight.saliency.datasets.listing import matching, names_of, optional_subfolder, pictures

FIXATIONS = "fixations.csv"

_MAPS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_NUMBERS = {"x": np.nan, "y": np.nan, "duration": np.nan, "subject": float(NOBODY)}


def folder(root: Path) -> Dataset:
    """A folder of images and what is known of them.

    Images are in ``images``, or in the folder itself, and in folders below. Beside ``images`` are any of
    ``fixations.csv``, with the columns ``image`` (its file name, or its path in the folder of images, with or
    without the ending), ``x``, ``y`` (pixels) and, if known, ``duration`` (seconds) and ``subject`` (a whole
    number); ``densities``, grey maps of the density of fixations; and ``masks``, pictures of the salient
    region in white; both called as the images.
    """
    base = optional_subfolder(root, "images") or root
    files = [
        path
        for path in pictures(base, deep=True)
        if base != root or path.relative_to(root).parts[0] not in ("densities", "masks")
    ]
    names = names_of(files, base)
    table = root / FIXATIONS
    densities = matching(names, optional_subfolder(root, "densities"), *_MAPS)
    masks = matching(names, optional_subfolder(root, "masks"), *_MAPS)
    if not table.is_file() and not any(densities or ()) and not any(masks or ()):
        raise SparsightError(
            f"{root} has no {FIXATIONS}, and no densities or masks that go with its images: add one of them."
        )
    fixations = read_table(table, files, base) if table.is_file() else None
    return Dataset(root.resolve().name, tuple(files), names, fixations, masks, densities)


def read_table(path: Path, files: list[Path], base: Path) -> Fixations:
    """The fixations in a CSV file, see ``folder``.

    Args:
        path: the file.
        files: the images.
        base: the folder that the images' paths start from.

    Raises:
        SparsightError: the file cannot be read, lacks a column, or a line of it names no image or holds no
            number.
    """
    check_file(path, "table of fixations")
    # A part of an image's path will do where only that image has it.
    paths = [file.relative_to(base) for file in files]
    parts = [{path.stem, path.name, path.with_suffix("").as_posix()} for path in paths]
    shared = Counter(part for image in parts for part in image)
    known = {part: index for index, image in enumerate(parts) for part in image if shared[part] == 1}
    known |= {path.as_posix(): index for index, path in enumerate(paths)}
    images: list[int] = []
    columns: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in ("image", "x", "y") if name not in (reader.fieldnames or ())]
            if missing:
                raise SparsightError(
                    f"{path} has no column {' or '.join(missing)}: its first line must name image, x and y."
                )
            for row in reader:
                image = known.get(row["image"] or "")
                if image is None:
                    raise SparsightError(
                        f"line {reader.line_num} of {path} is about {row['image']!r}, which is not the "
                        f"name of one image in {base}: correct it or take it out."
                    )
                images.append(image)
                for name, values in columns.items():
                    values.append(_number(row.get(name), name, path, reader.line_num))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SparsightError(f"{path} is not a CSV file in UTF-8 ({error}): export it again.") from error
    x, y, duration, subject = (np.array(columns[name]) for name in _NUMBERS)
    return in_order(x, y, duration, subject, np.array(images, np.int64))


def _number(text: str | None, name: str, path: Path, line: int) -> float:
    if text is None or not text.strip():
        return _NUMBERS[name]
    try:
        value = float(text)
    except ValueError:
        raise SparsightError(
            f"line {line} of {path} has {text!r} as {name}, which is no number: correct it or take it out."
        ) from None
    if name == "subject" and not (value.is_integer() and abs(value) < 2**31):
        raise SparsightError(f"line {line} of {path} has the subject {text}: give a whole number.")
    return value
