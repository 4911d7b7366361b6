"""From files and arrays to the two sides of a comparison, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import formats
from sparsight.track.formats import Table
from sparsight.track.formats.pyppbox import answers
from sparsight.track.formats.table import UNKNOWN
from sparsight.track.metrics.pairs import numbered
from sparsight.track.motchallenge import MotRows, read_info

Source: TypeAlias = "str | Path | NDArray[Any] | MotRows | Table"
"""A file in any of the formats, or (N, 6 or more) rows ``frame, id, x, y, w, h[, score]`` as in MOT."""

_SPARSEST = 32
"""A table of all numbers up to the largest is faster than sorting unless so many of them do not occur."""
_WHOLE_ROWS = "rows of frame, id, x, y, w, h[, score[, class, visibility]]"


@dataclass(frozen=True, eq=False)
class Labels:
    """Boxes with identities, ordered by frame, no identity twice in a frame.

    Attributes:
        table: where they come from, in the same order.
        frame: (N,) int64 index of the frame, from 0.
        id: (N,) identities, numbered from 0 without gaps.
        xyxy: (N, 4) float64 boxes.
    """

    table: Table
    frame: NDArray[np.int64]
    id: NDArray[np.intp]
    xyxy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)


def load(source: Source, what: str, *, first_frame: int = 1) -> Table:
    """The table of a source.

    Args:
        source: a file or rows.
        what: what to call rows that come from no file, in messages.
        first_frame: where arrays begin to count.

    Raises:
        SparsightError: a file cannot be read or is malformed, or an array is no table of boxes.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, Path)):
        return formats.read(source)
    if isinstance(source, MotRows):
        return _from_mot_rows(source, what)
    try:
        rows = np.asarray(source, np.float64)
    except (TypeError, ValueError):
        raise SparsightError(
            f"{what} is neither a file nor an array of numbers: give {_WHOLE_ROWS}."
        ) from None
    if rows.ndim != 2 or rows.shape[1] < 6:
        if rows.size:
            raise SparsightError(f"{what} is an array of shape {rows.shape}: give {_WHOLE_ROWS}.")
        rows = rows.reshape(0, 6)
    with np.errstate(invalid="ignore", over="ignore"):  # what is no number becomes one that differs
        whole = rows[:, :2].astype(np.int64)
        sound = math.isfinite(rows.sum()) and np.array_equal(whole, rows[:, :2])
    if len(rows) and not (sound and whole[:, 0].min() >= first_frame and rows[:, 4:6].min() >= 0):
        _refuse(rows, what, first_frame)
    columns: dict[str, NDArray[Any]] = {"score": rows[:, 6]} if rows.shape[1] > 6 else {}
    if rows.shape[1] == 9:
        columns |= {"class_id": rows[:, 7].astype(np.int64), "visibility": rows[:, 8]}
    return Table(whole[:, 0] - first_frame, whole[:, 1], rows[:, 2:6], columns, source=what)


def identified(table: Table) -> Labels:
    """Order a table by frame and see that every row has an identity of its own in its frame.

    Where there are names, those are the identities; each row of somebody unknown is an identity of its own.

    Raises:
        SparsightError: a row has no identity, or one that stands in its frame already: names the lines.
    """
    if (np.diff(table.frame) < 0).any():
        order = np.argsort(table.frame, kind="stable")
        table = replace(
            table,
            frame=table.frame[order],
            id=table.id[order],
            xywh=table.xywh[order],
            columns={name: values[order] for name, values in table.columns.items()},
            line=None if table.line is None else table.line[order],
        )
    if "name" in table.columns:
        names = answers(table).astype(str)
        nobody = (names == UNKNOWN).nonzero()[0]
        said: NDArray[Any] = names.astype(object)
        said[nobody] = [f"{UNKNOWN}\0{table.where(row)}" for row in nobody.tolist()]
        said = said.astype(str)
    else:
        said = table.id
        if (said < 0).any():
            row = int(np.argmax(said < 0))
            raise SparsightError(
                f"{table.where(row)}: expected an identity, found {int(said[row])}: boxes that nobody has "
                "tracked cannot be evaluated."
            )
    number = numbered(said)
    key = table.frame * (int(number.max(initial=0)) + 1) + number
    if not _all_different(key):
        within = np.argsort(key, kind="stable")
        place = int(np.argmax(np.diff(key[within]) == 0))
        before, row = int(within[place]), int(within[place + 1])
        other = table.where(before).rpartition(", ")[2]
        raise SparsightError(
            f"{table.where(row)}: the identity {said[row]} stands in this frame already, in {other}: it "
            "can be in one place at a time."
        )
    # Coordinate by coordinate in memory, which is how the arithmetic goes through them.
    planes = table.xywh.T.copy()
    planes[2:] += planes[:2]
    return Labels(table, table.frame, number, planes.T)


def sequence_length(source: Source) -> int | None:
    """How many frames the sequence of a file of ground truth has, if a ``seqinfo.ini`` says so."""
    if not isinstance(source, (str, Path)):
        return None
    for folder in list(Path(source).parents)[:2]:
        if (folder / "seqinfo.ini").is_file():
            return read_info(folder).length
    return None


def _refuse(rows: NDArray[np.float64], what: str, first_frame: int) -> None:
    """Say what is wrong with the first bad row, if any is (a sum of finite numbers may be infinite)."""
    for good, expected in (
        (np.isfinite(rows).all(axis=1), "finite numbers"),
        (
            (rows[:, 0] >= first_frame) & (rows[:, 0] == np.floor(rows[:, 0])),
            f"a frame number, from {first_frame} on",
        ),
        (rows[:, 1] == np.floor(rows[:, 1]), "a whole number as id"),
        ((rows[:, 4:6] >= 0).all(axis=1), "a width and a height that are not negative"),
    ):
        if not good.all():
            row = int(np.argmin(good))
            raise SparsightError(f"{what}, row {row}: expected {expected}, found {rows[row].tolist()}.")


def _all_different(key: NDArray[np.int64]) -> bool:
    """Whether no number from 0 on stands twice."""
    size = int(key.max(initial=0)) + 1
    if size > _SPARSEST * len(key):
        return bool((np.diff(np.sort(key)) != 0).all())
    occurs = np.zeros(size, bool)
    occurs[key] = True
    return int(np.count_nonzero(occurs)) == len(key)


def _from_mot_rows(rows: MotRows, what: str) -> Table:
    columns: dict[str, NDArray[Any]] = {"score": rows.score}
    if rows.class_id is not None:
        columns["class_id"] = rows.class_id
    if rows.visibility is not None:
        columns["visibility"] = rows.visibility
    return Table(rows.frame - 1, rows.id, rows.xywh, columns, source=what)
