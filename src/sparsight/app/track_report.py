"""What an evaluation came to: a table, a JSON file, and a self-contained page with plots of each sequence."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich.table import Table

from sparsight import __version__
from sparsight.app.charts import Series, bar_chart, line_chart
from sparsight.files import write_text
from sparsight.track.metrics.hota import ALPHAS
from sparsight.track.metrics.longterm import Returns, curve

REPORT = "evaluation.html"
TOGETHER = "together"
_COLUMNS = {
    "hota": ("HOTA", "DetA", "AssA", "LocA"),
    "clear": ("MOTA", "MOTP", "IDSW", "MT", "PT", "ML", "Frag"),
    "identity": ("IDF1", "IDP", "IDR"),
    "longterm": ("LT_Acc", "LT_Returns"),
}
_SHOWN = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDSW", "IDF1", "IDP", "IDR", "LT_Acc")
"""What a terminal has room for."""
_SPARED = ("LocA", "IDP", "IDR", "IDSW", "DetA", "AssA")
"""What a narrow one has no room for, beside long names, the first first."""
_PRESET = ("wrong", "missed", "fault", "total", "score", "own_score")
_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


def as_json(values: Any) -> Any:
    """The same values in what JSON can hold; what is not a number becomes null."""
    if isinstance(values, Mapping):
        return {str(name): as_json(value) for name, value in values.items()}
    if isinstance(values, np.ndarray):
        return [as_json(value) for value in values.tolist()]
    if isinstance(values, np.generic):
        return as_json(values.item())
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values


def rows_of(values: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Column names, and a row of texts for each sequence and for all together, by name."""
    sequences: Mapping[str, Any] = values.get("sequences", {})
    named = [*sequences.items(), (TOGETHER if sequences else "the sequence", values)]
    preset = "score" in values
    columns = (
        list(_PRESET)
        if preset
        else [column for metric, fields in _COLUMNS.items() if metric in values for column in fields]
    )
    return columns, [(name, [_text(one, column) for column in columns]) for name, one in named]


def table_of(values: Mapping[str, Any], width: int) -> Table:
    """A table for a terminal of so many characters: one line per sequence, and one for all.

    Some columns give way to the names of the sequences, which are never cut.
    """
    columns, rows = rows_of(values)
    shown = [place for place, column in enumerate(columns) if column in (*_SHOWN, *_PRESET)]
    wide = {place: max(map(len, (columns[place], *(texts[place] for _, texts in rows)))) for place in shown}
    room = width - max(len(name) for name, _ in rows)
    for spared in _SPARED:
        if sum(wide[place] + 2 for place in shown) > room:
            shown = [place for place in shown if columns[place] != spared]
    table = Table(box=None, pad_edge=False)
    table.add_column("sequence", overflow="fold")
    for place in shown:
        table.add_column(columns[place], justify="right", no_wrap=True)
    for name, texts in rows:
        table.add_row(name, *(texts[place] for place in shown), style="bold" if name == TOGETHER else None)
    return table


def write_report(
    out: Path,
    values: Mapping[str, Any],
    *,
    gt: Path,
    pred: Path,
    fps: float,
    rates: Mapping[str | None, float] = MappingProxyType({}),
) -> Path:
    """Write the page: all plots are inside, nothing is fetched to show it.

    Args:
        out: folder to write it into.
        values: what :func:`sparsight.track.metrics.evaluate` or its PoseTReID counterpart gave.
        gt: where the ground truth came from.
        pred: where the results came from.
        fps: frames per second, for how long people were away.
        rates: those of sequences that have others, by name; of a single one, under None.
    """
    columns, rows = rows_of(values)
    sequences: Mapping[str, Any] = values.get("sequences", {})
    gaps = {name: _seconds_away(one, rates.get(name, fps)) for name, one in sequences.items()}
    whole = np.concatenate(list(gaps.values())) if gaps else _seconds_away(values, rates.get(None, fps))
    named = [*((name, one, gaps[name]) for name, one in sequences.items()), (rows[-1][0], values, whole)]
    page = _template().render(
        title=f"Tracks of {pred} against {gt}",
        subtitle=f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}",
        columns=columns,
        rows=[{"name": name, "texts": texts} for name, texts in rows],
        sequences=[
            {"name": name, "charts": [(title, Markup(chart)) for title, chart in charts]}
            for name, one, away in named
            if (charts := _charts(one, away))
        ],
    )
    path = out / REPORT
    write_text(path, page)
    return path


def _text(one: Mapping[str, Any], column: str) -> str:
    metric = next((name for name, fields in _COLUMNS.items() if column in fields and name in one), None)
    value = one[column] if metric is None else one[metric][column]
    if column == "LT_Acc" and not one["longterm"]["LT_Returns"]:
        return "-"  # nobody returned
    if isinstance(value, (int, np.integer)):
        return str(value)
    mean = float(np.mean(value))
    if metric is None:
        return f"{mean:.6f}"
    return f"{100 * mean:.2f}" if math.isfinite(mean) else "-"


def _seconds_away(one: Mapping[str, Any], fps: float) -> NDArray[np.float64]:
    """(R,) how long each person who returned was away."""
    return np.asarray(one.get("longterm", {}).get("LT_Gap", ()), np.float64) / fps


def _charts(one: Mapping[str, Any], away: NDArray[np.float64]) -> list[tuple[str, str]]:
    """Title and drawing of each chart."""
    charts = []
    if "score" in one:
        rows = [
            (name, one[name] / max(one["total"], 1), f"{one[name]} of {one['total']}")
            for name in ("wrong", "missed", "fault")
        ]
        title = "People given a wrong name, missed, and made up"
        return [(title, bar_chart(rows, title))]
    if "hota" in one:
        lines = [
            Series(name, ALPHAS.tolist(), one["hota"][name].tolist()) for name in ("HOTA", "DetA", "AssA")
        ]
        title = "HOTA over the thresholds"
        chart = line_chart(
            lines,
            x_label="least overlap of a match (α)",
            y_label=title,
            x_range=(0, 1),
            y_range=(0, 1),
        )
        charts.append((title, chart))
    bars = [
        (name, max(0.0, float(one[metric][name])), f"{100 * float(one[metric][name]):.1f}%")
        for metric, names in (
            ("clear", ("MOTA", "MOTP", "CLR_Re", "CLR_Pr", "MTR", "PTR", "MLR")),
            ("identity", ("IDF1", "IDP", "IDR")),
        )
        if metric in one
        for name in names
    ]
    if bars:
        title = "CLEAR and identity metrics"
        charts.append((title, bar_chart(bars, title)))
    if len(away):
        # Whole microseconds in place of frames: sequences may have different rates.
        found = Returns((1e6 * away).round().astype(np.int64), one["longterm"]["LT_Same"].astype(bool))
        share, count = curve(found, np.array(_SECONDS), 1e6)
        any_left = count > 0
        seconds = np.array(_SECONDS)[any_left]
        title = "Identity kept by people who returned"
        chart = line_chart(
            [Series("kept", seconds.tolist(), share[any_left].tolist(), dots=True)],
            x_label="seconds away, at least",
            y_label=title,
            x_range=(0, max(1.0, float(seconds[-1]))),
            y_range=(0, 1),
        )
        charts.append((title, chart))
    return charts


def _template() -> jinja2.Template:
    # Names come from files: everything that the templates print is escaped, but for charts.
    def read(part: str) -> str:
        return resources.files("sparsight.app").joinpath(f"templates/{part}").read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template("track_evaluation.html.j2")
