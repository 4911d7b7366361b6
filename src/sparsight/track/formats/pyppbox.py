"""PoseTReID's text, as the toolbox pyppbox writes it: fields separated by tabs, frames from 0.

Ground truth is ``frame  (x, y)  name  [x y w h]  [x1 y1 x2 y2]``; results have a second name behind the
first, of another re-identifier. A ``gt_map`` says which ground truth belongs to which video, a line each:
``video:file``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.formats.table import (
    UNKNOWN,
    Table,
    joined,
    named,
    names_of,
    read_lines,
    shown,
)

HOLDS = ("name", "second_name", "point_x", "point_y", "right", "bottom")
WHOLE_PIXELS = True
GT_MAP = "gt_map.txt"
"""What the map in a folder of ground truth is called."""
_LAYOUT = "frame<TAB>(x, y)<TAB>name[<TAB>second name]<TAB>[x y w h]<TAB>[x1 y1 x2 y2]"
_NUMBER = r"(-?\d{1,9})"
_BOX = rf"\[ *{' +'.join([_NUMBER] * 4)} *\]"
_LINE = re.compile(
    rf"(\d{{1,9}})\t\({_NUMBER}, *{_NUMBER}\)\t([^\t]*)\t(?:([^\t]*)\t)?"
    rf"{_BOX}\t{_BOX} *\r?"
)


def read(path: str | Path) -> Table:
    """Read ground truth or a result file.

    Names become identities in order of first appearance (numbers stay what they are, ``Unknown`` is -1).

    Raises:
        SparsightError: the file cannot be read, or a line is malformed: names it and what was expected.
    """
    lines = read_lines(path, "PoseTReID text")
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    rows = [_LINE.fullmatch(lines[number - 1]) for number in numbers]
    found = [row.groups() for row in rows if row is not None]
    second = bool(found) and found[0][4] is not None
    for number, row in zip(numbers, rows, strict=True):
        if row is None:
            raise SparsightError(
                f"{path}, line {number}: expected {_LAYOUT}, whole numbers, found {shown(lines[number - 1])}."
            )
        if (row[5] is not None) != second:
            expected = "two names" if second else "one name"
            raise SparsightError(
                f"{path}, line {number}: expected {expected} as before, found {shown(lines[number - 1])}."
            )
    columns = list(zip(*found, strict=True)) or [() for _ in range(13)]
    whole = [np.array(columns[place], np.int64) for place in (0, 1, 2, *range(5, 13))]
    frame, point_x, point_y = whole[:3]
    xywh, xyxy = np.stack(whole[3:7], axis=1), np.stack(whole[7:], axis=1)
    for good, expected in (
        ((xywh[:, 2:] >= 0).all(axis=1), "a width and a height that are not negative"),
        ((xyxy[:, 2:] >= xyxy[:, :2]).all(axis=1), "x2 >= x1 and y2 >= y1"),
        ((xyxy[:, :2] == xywh[:, :2]).all(axis=1), "the same x and y in both boxes"),
    ):
        if not good.all():
            number = numbers[int(np.argmin(good))]
            raise SparsightError(
                f"{path}, line {number}: expected {expected}, found {shown(lines[number - 1])}."
            )
    name = np.array(columns[3], object)
    extra: dict[str, NDArray[Any]] = {"name": name, "point_x": point_x, "point_y": point_y}
    if second:
        extra["second_name"] = np.array(columns[4], object)
    if (xywh[:, :2] + xywh[:, 2:] != xyxy[:, 2:]).any():  # the file says both, and they differ
        extra |= {"right": xyxy[:, 2], "bottom": xyxy[:, 3]}
    return Table(frame, named(name), xywh.astype(np.float64), extra, np.array(numbers, np.int64), str(path))


def write(table: Table) -> str:
    """The text. Boxes are whole pixels; the point, where there is none, is the chest: a quarter down."""
    xywh = table.xywh.round().astype(np.int64)
    corner = corners(table).round().astype(np.int64)
    point = np.stack((xywh[:, 0] + xywh[:, 2] // 2, xywh[:, 1] + xywh[:, 3] // 4), axis=1)
    for place, column in enumerate(("point_x", "point_y")):
        if column in table.columns:
            point[:, place] = table.columns[column]
    fields = [
        [str(frame) for frame in table.frame.tolist()],
        [f"({x}, {y})" for x, y in point.tolist()],
        [str(name) for name in names_of(table).tolist()],
        [_array(box) for box in xywh.tolist()],
        [_array(box) for box in corner.tolist()],
    ]
    if "second_name" in table.columns:
        fields.insert(3, [str(name) for name in table.columns["second_name"].tolist()])
    for name in {name for column in fields[2:-2] for name in column}:
        if any(sign in name for sign in "\t\r\n"):
            raise SparsightError(f"the name {name!r} holds a tab or a line break, but PoseTReID text cannot.")
    return joined(fields, "\t")


def corners(table: Table) -> NDArray[np.float64]:
    """(N, 4) boxes as x1, y1, x2, y2: as the file says, also where its width and height say otherwise."""
    xyxy = table.xyxy
    for place, column in ((2, "right"), (3, "bottom")):
        if column in table.columns:
            xyxy[:, place] = table.columns[column]
    return xyxy


def answers(table: Table) -> NDArray[Any]:
    """(N,) who each row is said to be: of the two names of a result file, those that know more people."""
    first = names_of(table)
    second = table.columns.get("second_name")
    if second is not None and (second == UNKNOWN).sum() < (first == UNKNOWN).sum():
        return second
    return first


def read_map(path: str | Path) -> dict[str, Path]:
    """Read a ``gt_map``: ground truth by video name; the files lie beside the map.

    Raises:
        SparsightError: it cannot be read, or a line is not ``video:file`` or names a video again.
    """
    truth: dict[str, Path] = {}
    for number, line in enumerate(read_lines(path, "a gt_map"), 1):
        if not line.strip():
            continue
        video, colon, file = line.strip().rpartition(":")
        if not colon or not video or not file:
            raise SparsightError(f"{path}, line {number}: expected video:file, found {shown(line)}.")
        if video in truth:
            raise SparsightError(f"{path}, line {number}: {video} has a ground truth already.")
        truth[video] = Path(path).parent / file
    return truth


def format_map(truth: Mapping[str, str]) -> str:
    """The text of a ``gt_map``: ground-truth file by video name."""
    return "".join(f"{video}:{file}\n" for video, file in truth.items())


def _array(values: list[int]) -> str:
    """Whole numbers as NumPy prints them: all as wide as the widest."""
    words = [str(value) for value in values]
    width = max(map(len, words))
    return f"[{' '.join(word.rjust(width) for word in words)}]"
