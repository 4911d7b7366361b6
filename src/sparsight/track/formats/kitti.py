"""KITTI tracking labels: 17 fields separated by spaces, 18 with a score; frames from 0.

``frame id type truncated occluded alpha left top right bottom h w l x y z rotation_y [score]`` (Geiger et
al., CVPR 2012, and the benchmark's development kit).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.formats.table import Table, joined, read_lines, shown, texts

_BEFORE = {"truncated": -1.0, "occluded": -1.0, "alpha": -10.0}
_BEHIND = {
    "height_3d": -1.0,
    "width_3d": -1.0,
    "length_3d": -1.0,
    "x_3d": -1000.0,
    "y_3d": -1000.0,
    "z_3d": -1000.0,
    "rotation_y": -10.0,
}
HOLDS = ("type", *_BEFORE, *_BEHIND, "score")
WHOLE_PIXELS = False
PERSON = "Pedestrian"
_LAYOUT = "frame id type truncated occluded alpha left top right bottom h w l x y z rotation_y [score]"


def read(path: str | Path) -> Table:
    """Read labels or results.

    Raises:
        SparsightError: the file cannot be read, or a line is malformed: names it and what was expected.
    """
    lines = read_lines(path, "KITTI tracking labels")
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    fields = [lines[number - 1].split() for number in numbers]
    width = len(fields[0]) if fields else 17
    for number, row in zip(numbers, fields, strict=True):
        if len(row) not in (17, 18) or len(row) != width:
            expected = f"{width} fields as before" if width in (17, 18) else _LAYOUT
            raise SparsightError(f"{path}, line {number}: expected {expected}, found {len(row)} fields.")
    types = np.array([row[2] for row in fields], object)
    try:
        values = np.array([row[:2] + row[3:] for row in fields], np.float64).reshape(-1, width - 1)
    except ValueError:
        values = np.array([[_number(text) for text in row[:2] + row[3:]] for row in fields])
    for good, expected in (
        (np.isfinite(values).all(axis=1), f"finite numbers, {_LAYOUT}"),
        (
            (values[:, 0] >= 0) & (values[:, 0] == np.floor(values[:, 0])),
            "a frame number, from 0",
        ),
        (
            (values[:, 1] >= -1) & (values[:, 1] == np.floor(values[:, 1])),
            "an id (-1 for none)",
        ),
        ((values[:, 7:9] >= values[:, 5:7]).all(axis=1), "a box that does not end before it begins"),
    ):
        if not good.all():
            number = numbers[int(np.argmin(good))]
            raise SparsightError(
                f"{path}, line {number}: expected {expected}, found {shown(lines[number - 1])}."
            )
    columns: dict[str, NDArray[Any]] = {"type": types}
    columns |= {name: values[:, 2 + place] for place, name in enumerate(_BEFORE)}
    columns |= {name: values[:, 9 + place] for place, name in enumerate(_BEHIND)}
    if width == 18:
        columns["score"] = values[:, 16]
    xywh = np.concatenate((values[:, 5:7], values[:, 7:9] - values[:, 5:7]), axis=1)
    return Table(
        values[:, 0].astype(np.int64),
        values[:, 1].astype(np.int64),
        xywh,
        columns,
        np.array(numbers, np.int64),
        str(path),
    )


def write(table: Table) -> str:
    """The text; what is not known takes the benchmark's own marks, and everybody is a pedestrian."""
    count = len(table)
    fields = [texts(table.frame), texts(table.id)]
    fields.append(texts(table.columns.get("type", np.full(count, PERSON, object))))
    fields += [texts(table.columns.get(name, np.full(count, none))) for name, none in _BEFORE.items()]
    fields += map(texts, table.xyxy.T)
    fields += [texts(table.columns.get(name, np.full(count, none))) for name, none in _BEHIND.items()]
    if "score" in table.columns:
        fields.append(texts(table.columns["score"]))
    return joined(fields, " ")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
