"""Text formats of labelled boxes: MOTChallenge, PoseTReID (pyppbox), KITTI tracking, and CSV.

Adding one takes a module with ``read``, ``write`` and ``HOLDS``, and its line in ``FORMATS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsight.errors import SparsightError
from sparsight.files import write_text
from sparsight.registry import lookup, resolve
from sparsight.track.formats.table import Table, read_lines

__all__ = ["FORMATS", "Converted", "Table", "convert", "guess", "read", "write"]

FORMATS: dict[str, str] = {
    "mot": "sparsight.track.formats.mot",
    "pyppbox": "sparsight.track.formats.pyppbox",
    "kitti": "sparsight.track.formats.kitti",
    "csv": "sparsight.track.formats.csv_text",
}
"""Format name → module."""


def read(path: str | Path, format: str | None = None) -> Table:
    """Read labelled boxes.

    Args:
        path: the file.
        format: one of ``FORMATS``; by default it is told from the first line.

    Raises:
        SparsightError: the file cannot be read or is of no known format, or a line is malformed: names the
            file, the line, and what was expected.
    """
    table: Table = _module(format or guess(path)).read(path)
    return table


def write(path: str | Path, table: Table, format: str) -> None:
    """Write ``table`` as ``format``, whole or not at all.

    Raises:
        SparsightError: unknown format, or a value that it cannot hold.
        OSError: the file cannot be written.
    """
    write_text(Path(path), _module(format).write(table))


def guess(path: str | Path) -> str:
    """The format that the first line of a file is in.

    Raises:
        SparsightError: it cannot be read, or is of no known format.
    """
    first = next((line for line in read_lines(path, "text") if line.strip()), "")
    if "\t" in first and "(" in first:
        return "pyppbox"
    if first.startswith("frame,"):
        return "csv"
    if "," in first or not first:
        return "mot"
    if len(first.split()) in (17, 18):
        return "kitti"
    raise SparsightError(
        f"{path} is in no known format: expected MOTChallenge (frame,id,x,y,w,h,...), PoseTReID "
        "(frame<TAB>(x, y)<TAB>name<TAB>[x y w h]<TAB>[x1 y1 x2 y2]), KITTI tracking (17 fields) or CSV with "
        "a header (frame,id,x,y,w,h,...)."
    )


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes:
        rows: how many rows were written.
        left_out: columns that the new format does not hold.
        rounded: rows whose boxes lost a fraction of a pixel.
    """

    rows: int
    left_out: tuple[str, ...]
    rounded: int


def convert(
    source: str | Path | Table, target: str | Path, to: str, *, format: str | None = None
) -> Converted:
    """Read ``source`` (or take a table that was read) and write it to ``target`` as format ``to``.

    Raises:
        SparsightError: see :func:`read` and :func:`write`.
        OSError: the target cannot be written.
    """
    module = _module(to)
    table = source if isinstance(source, Table) else read(source, format)
    write(target, table, to)
    rounded = 0
    if module.WHOLE_PIXELS:
        rounded = int((table.xywh != table.xywh.round()).any(axis=1).sum())
    left_out = () if module.HOLDS is None else tuple(sorted(set(table.columns) - set(module.HOLDS)))
    return Converted(len(table), left_out, rounded)


def _module(format: str) -> Any:
    return resolve(lookup("format", format, FORMATS))
