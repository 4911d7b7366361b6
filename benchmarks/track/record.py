"""Tables of results, kept as JSON and as Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def record(
    folder: Path | None,
    name: str,
    *,
    title: str,
    note: str,
    packages: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write ``NAME.json`` and ``NAME.md`` into a folder, or nothing where there is none.

    Args:
        folder: where to; made if need be.
        name: of the files.
        title: heading of the table.
        note: how it was measured, one sentence or two.
        packages: whose versions are put down.
        rows: lines of the table; all have the keys of the first.
    """
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    versions = {package: importlib.metadata.version(package) for package in packages}
    told = {"title": title, "note": note, "python": platform.python_version(), "versions": versions}
    (folder / f"{name}.json").write_text(json.dumps({**told, "rows": list(rows)}, indent=1) + "\n")
    heads = list(rows[0])
    lines = [
        f"# {title}",
        "",
        f"{note} {', '.join(f'{package} {version}' for package, version in versions.items())}.",
        "",
        f"| {' | '.join(heads)} |",
        f"| {' | '.join('---' for _ in heads)} |",
        *(f"| {' | '.join(_shown(row[head]) for head in heads)} |" for row in rows),
    ]
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
