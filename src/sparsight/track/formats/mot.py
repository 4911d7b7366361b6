"""MOTChallenge text as a table, see ``sparsight.track.motchallenge``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparsight.track.formats.table import Table, joined, texts
from sparsight.track.motchallenge import read_columns

WORLD = ("world_x", "world_y", "world_z")
HOLDS = ("score", "class_id", "visibility", *WORLD)
WHOLE_PIXELS = False


def read(path: str | Path) -> Table:
    """Read a MOTChallenge file: frames from 1 in the file, from 0 in the table.

    Raises:
        SparsightError: see ``sparsight.track.motchallenge.read``.
    """
    values, lines = read_columns(path)
    width = values.shape[1]
    columns = {}
    if width > 6:
        columns["score"] = values[:, 6].copy()
    if width == 9:
        columns["class_id"] = values[:, 7].astype(np.int64)
        columns["visibility"] = values[:, 8].copy()
    if width == 10:
        columns |= {name: values[:, 7 + place].copy() for place, name in enumerate(WORLD)}
    return Table(
        values[:, 0].astype(np.int64) - 1,
        values[:, 1].astype(np.int64),
        values[:, 2:6].copy(),
        columns,
        np.array(lines, np.int64),
        str(path),
    )


def write(table: Table) -> str:
    """The text: nine columns where there are classes or visibilities, otherwise ten."""
    count = len(table)
    score = table.columns.get("score", np.ones(count))
    fields = [texts(table.frame + 1), texts(table.id), *map(texts, table.xywh.T), texts(score)]
    if "class_id" in table.columns or "visibility" in table.columns:
        fields.append(texts(table.columns.get("class_id", np.ones(count, np.int64))))
        fields.append(texts(table.columns.get("visibility", np.ones(count))))
    else:
        fields += [texts(table.columns.get(name, np.full(count, -1))) for name in WORLD]
    return joined(fields, ",")
