"""What every format of labelled boxes is read into, and written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

UNKNOWN = "Unknown"
"""The name of a person whom nobody has recognised."""
_DECIMALS = 9
"""More than any file has; what rounding errors leave behind lies beyond."""


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled boxes of a sequence, a row each, in the order of the file.

    Attributes:
        frame: (N,) int64 index of the frame, from 0, also where the file counts from 1.
        id: (N,) int64 identity; -1 for none.
        xywh: (N, 4) float64 left, top, width and height in pixels.
        columns: what else the format holds, (N,) arrays by name: ``score``, ``class_id``, ``visibility``,
            ``world_x``..., ``name``, ``second_name``, ``point_x``... Each format says which it knows.
        line: (N,) int64 line of the file that each row stands in, from 1; None where there is no file.
        source: what to call the table in messages: the file's path.
    """

    frame: NDArray[np.int64]
    id: NDArray[np.int64]
    xywh: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    line: NDArray[np.int64] | None = None
    source: str = "the table"

    def __post_init__(self) -> None:
        for name, values in (("id", self.id), ("xywh", self.xywh), *self.columns.items()):
            if len(values) != len(self.frame):
                raise SparsightError(
                    f"{self.source} has {len(self.frame)} frame numbers but {len(values)} values of {name}: "
                    "each row needs one."
                )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def xyxy(self) -> NDArray[np.float64]:
        """(N, 4) boxes as left, top, right, bottom."""
        boxes: NDArray[np.float64] = self.xywh.copy()
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    def where(self, row: int) -> str:
        """What to call a row in a message."""
        place = f"row {row}" if self.line is None else f"line {int(self.line[row])}"
        return f"{self.source}, {place}"


def named(names: NDArray[Any]) -> NDArray[np.int64]:
    """Identities for names: the numbers that they are, or 1, 2, ... in order of first appearance.

    ``Unknown`` is nobody in particular: -1.
    """
    known, first, which = np.unique(names.astype(str), return_index=True, return_inverse=True)
    texts = known.tolist()
    if all(text == UNKNOWN or (text.isascii() and text.isdigit() and len(text) < 18) for text in texts):
        number = np.array([-1 if text == UNKNOWN else int(text) for text in texts], np.int64)
    else:
        nobody = known == UNKNOWN
        order = np.argsort(np.where(nobody, len(names), first), kind="stable")
        number = np.empty(len(known), np.int64)
        number[order] = np.arange(1, len(known) + 1)
        number[nobody] = -1
    return number[which.reshape(-1)] if len(names) else np.zeros(0, np.int64)


def names_of(table: Table) -> NDArray[Any]:
    """A name for each row: the file's own, or the identity's number; ``Unknown`` where there is neither."""
    if "name" in table.columns:
        return table.columns["name"]
    return np.array([UNKNOWN if number < 0 else str(number) for number in table.id.tolist()], object)


def texts(values: NDArray[Any]) -> list[str]:
    """Each number as the shortest text that gives it back, to nine decimals; texts stay."""
    if values.dtype.kind in "iub":
        return [str(value) for value in values.tolist()]
    if values.dtype.kind == "f":
        return [f"{value:.15g}" for value in (np.round(values, _DECIMALS) + 0.0).tolist()]
    return [str(value) for value in values.tolist()]


def joined(columns: Sequence[Sequence[str]], separator: str) -> str:
    """Lines of fields, given column by column."""
    return "".join(separator.join(fields) + "\n" for fields in zip(*columns, strict=True))


def read_lines(path: str | Path, what: str) -> list[str]:
    """The lines of a text file.

    Raises:
        SparsightError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise SparsightError(f"{path} cannot be read as {what}: {reason}.") from None


def shown(line: str) -> str:
    """A line for a message, cut where it is long."""
    line = line.strip("\r\n ")
    return repr(line if len(line) <= 80 else line[:77] + "...")
