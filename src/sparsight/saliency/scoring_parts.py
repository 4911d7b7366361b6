"""Scores on disk while they are made: a file for each model and few images, so a kill loses little."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsight.errors import SparsightError
from sparsight.files import replacing, write_text
from sparsight.registry import resolve

SETTINGS, PARTS, SCORES, SUMMARY = "settings.json", "parts", "scores.parquet", "scores.csv"

KEYS = ("dataset", "image", "model", "prior")

CHUNK = 10
"""Images in a file: what a kill loses at most, for each process."""


def pandas() -> Any:
    """The module pandas, with pyarrow at hand.

    Raises:
        SparsightError: one of them is not installed.
    """
    try:
        resolve("pyarrow")
        return resolve("pandas")
    except ImportError:
        raise SparsightError(
            "scores are kept with pandas and pyarrow: pip install 'sparsight[assess]'."
        ) from None


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run into its folder, or make sure that they are those of the run before.

    A run before that left no scores binds nobody.

    Raises:
        SparsightError: they are not; the sentence says which.
    """
    path = out / SETTINGS
    wanted = json.loads(json.dumps(settings))
    if not path.exists() or not any((out / PARTS).glob("*/*.parquet")):
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        before = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise SparsightError(f"{path} cannot be read ({error}): choose another --out.") from None
    changed = [key for key in wanted if not isinstance(before, dict) or before.get(key) != wanted[key]]
    if changed:
        told = ", ".join(f"{key} {_short(before, key)}, not {_short(wanted, key)}" for key in changed)
        raise SparsightError(
            f"{out} holds scores made with {told}: give that again, or choose another --out."
        )


def chunk_of(index: int) -> int:
    """The first image of the file that holds image ``index``."""
    return index - index % CHUNK


def part(out: Path, model: str, chunk: int) -> Path:
    """The file of a model's scores on the images from ``chunk`` on."""
    plain = re.sub(r"[^\w.+-]+", "_", model)[:60]
    # Two models' names may become the same word.
    return out / PARTS / f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:8]}" / f"{chunk:06d}.parquet"


def write_part(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table of scores, at once or not at all."""
    table = pandas().DataFrame(rows, columns=list(columns))
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_parts(paths: Sequence[Path]) -> Any:
    """The tables one after the other, a ``pandas.DataFrame``.

    Raises:
        SparsightError: one is missing or damaged.
    """
    library = pandas()
    tables = []
    for path in paths:
        try:
            tables.append(library.read_parquet(path))
        except Exception as error:  # pyarrow raises several kinds
            raise SparsightError(f"{path} cannot be read ({error}): delete it and score again.") from None
    filled = [table for table in tables if len(table)]
    return library.concat(filled, ignore_index=True) if filled else library.DataFrame()


def write_skipped(out: Path, chunk: int, skipped: Mapping[str, str]) -> None:
    """Note which images from ``chunk`` on were left out, and why."""
    write_text(out / PARTS / f"skipped-{chunk:06d}.json", json.dumps(dict(skipped)))


def read_skipped(out: Path, chunk: int) -> dict[str, str]:
    """What ``write_skipped`` noted; nothing if it never did."""
    try:
        noted: dict[str, str] = json.loads((out / PARTS / f"skipped-{chunk:06d}.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return noted


def _short(settings: Any, key: str) -> str:
    value = settings.get(key) if isinstance(settings, dict) else None
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
