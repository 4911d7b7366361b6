"""CSV with a header: ``frame,id,x,y,w,h`` and whatever other columns a table has; frames from 0.

It holds everything that any of the formats does, so that going through it loses nothing.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.formats.table import Table, read_lines, shown, texts

HOLDS = None
"""Anything."""
WHOLE_PIXELS = False
_FIRST = ("frame", "id", "x", "y", "w", "h")
_WORDS = ("name", "second_name", "type")
_WHOLE = ("class_id", "point_x", "point_y", "right", "bottom")


def read(path: str | Path) -> Table:
    """Read a CSV file; the columns may stand in any order.

    Raises:
        SparsightError: the file cannot be read, lacks a column, or a line is malformed: names it and what was
            expected.
    """
    text = "\n".join(read_lines(path, "CSV"))
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        rows, numbers = [], []
        for row in reader:
            if row:
                rows.append(row)
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise SparsightError(f"{path}, line {reader.line_num}: expected CSV, but {error}.") from None
    missing = [name for name in _FIRST if name not in header]
    if missing or len(set(header)) < len(header):
        raise SparsightError(
            f"{path}, line 1: expected a header with each of {', '.join(_FIRST)} once, found "
            f"{shown(','.join(header))}."
        )
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(header):
            raise SparsightError(
                f"{path}, line {number}: expected {len(header)} fields as in the header, found {len(row)}."
            )
    fields = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(header, ())
    columns: dict[str, NDArray[Any]] = {}
    for name, words in fields.items():
        if name in _WORDS:
            columns[name] = np.array(words, object)
            continue
        columns[name] = _numbers(path, name, words, numbers)
    for name in ("frame", "id", *_WHOLE):
        if name in columns:
            least = {"frame": 0, "id": -1}.get(name, -(10**9))
            good = (columns[name] >= least) & (columns[name] == np.floor(columns[name]))
            if not good.all():
                row_ = int(np.argmin(good))
                raise SparsightError(
                    f"{path}, line {numbers[row_]}: expected a whole number from {least} on as {name}, found "
                    f"{shown(fields[name][row_])}."
                )
            columns[name] = columns[name].astype(np.int64)
    frame, id = columns.pop("frame"), columns.pop("id")
    xywh = np.stack([columns.pop(name) for name in ("x", "y", "w", "h")], axis=1)
    good = (xywh[:, 2:] >= 0).all(axis=1)
    if not good.all():
        number = numbers[int(np.argmin(good))]
        raise SparsightError(f"{path}, line {number}: expected a width and a height that are not negative.")
    return Table(frame, id, xywh, columns, np.array(numbers, np.int64), str(path))


def write(table: Table) -> str:
    """The text, with all columns of the table."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_FIRST, *table.columns])
    fields = [table.frame, table.id, *table.xywh.T, *table.columns.values()]
    writer.writerows(zip(*map(texts, fields), strict=True))
    return stream.getvalue()


def _numbers(path: str | Path, name: str, words: tuple[str, ...], lines: list[int]) -> NDArray[np.float64]:
    try:
        values = np.array(words, np.float64)
    except ValueError:
        values = np.array([])
    if len(values) == len(words) and np.isfinite(values).all():
        return values
    for number, word in zip(lines, words, strict=True):
        try:
            fine = bool(np.isfinite(float(word)))
        except ValueError:
            fine = False
        if not fine:
            raise SparsightError(
                f"{path}, line {number}: expected a finite number as {name}, found {shown(word)}."
            )
    return values
