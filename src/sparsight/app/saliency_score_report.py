"""``report.html`` of scores of saliency models: one self-contained page; and the table in the terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsight import __version__
from sparsight.app.charts import COLOURS
from sparsight.app.saliency_score_charts import Bar, interval_bars, number
from sparsight.files import write_text
from sparsight.saliency.metrics import METRICS
from sparsight.saliency.scoring import RESAMPLES, Scored, fewer
from sparsight.saliency.scoring_truth import (
    CENTRE_SIGMA,
    DEFAULT_SIGMA,
    OTHER_IMAGES,
    UNIFORM_SHARE,
)
from sparsight.saliency.scoring_workers import PRIORS

REPORT = "report.html"
TABLE = "table.md"

_MOST_SKIPPED = 100
_MOST_LETTERS = 36
_MOST_COLUMNS = 7
"""Metrics side by side in a table of the page: more would be wider than it."""
_COLUMN = 10
"""Letters across a column of the table in the terminal, with the space before it."""
_PRIOR_TITLES = {"none": "Without a centre prior", "centre": "With a centre prior"}
_MOST_MARKDOWN = 6
"""Metrics side by side in ``TABLE``."""
_WORDS = {"judd": "Judd", "borji": "Borji", "loglikelihood": "log-likelihood"} | {
    word: word.upper() for word in ("auc", "nss", "cc", "sim", "kl", "emd", "mae", "iou", "gsi", "msr")
}
"""How words of metrics' names are written where they are not as they are."""
_GROUPS = {
    "fixations": "Against fixations",
    "density": "Against the density of fixations",
    "regions": "Against segmented regions",
    "oddity": "Odd one out",
}

Bars = dict[tuple[str, str, str], Bar]


def write_report(path: Path, scored: Scored, summary: Any) -> None:
    """Write the page: all charts are inside, nothing is fetched to show it.

    Args:
        path: the file.
        scored: the scores.
        summary: their means, as ``summarise`` gives them.
    """
    bars = _bars(summary)
    models = list(dict.fromkeys(scored.table["model"]))
    names = [name for name in scored.metrics if any(key[2] == name for key in bars)]
    images = int(scored.table["image"].nunique())
    page = _template().render(
        title=f"Saliency models on {scored.settings['dataset']}",
        subtitle=f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}",
        facts=_facts(scored, len(models), images),
        colours=list(zip(("without a centre prior", "with it"), COLOURS, strict=False)),
        groups=[
            _group(title, [name for name in names if METRICS[name].kind == kind], models, bars)
            for kind, title in _GROUPS.items()
            if any(METRICS[name].kind == kind for name in names)
        ],
        notes=_notes(scored, images),
        skipped=list(scored.skipped.items())[:_MOST_SKIPPED],
        skipped_more=max(0, len(scored.skipped) - _MOST_SKIPPED),
        settings=[(name, _said(value)) for name, value in scored.settings.items()],
    )
    write_text(path, page)


def write_table(path: Path, scored: Scored, summary: Any) -> None:
    """Write the means with their intervals as Markdown: for each prior, a row for each model.

    Metrics stand side by side, at most six to a table; those of which less is better have an arrow down.

    Args:
        path: the file; written whole or not at all.
        scored: the scores.
        summary: their means, as ``summarise`` gives them.
    """
    bars = _bars(summary)
    models = list(dict.fromkeys(scored.table["model"]))
    names = [name for name in scored.metrics if any(key[2] == name for key in bars)]
    parts = math.ceil(len(names) / _MOST_MARKDOWN)
    each = math.ceil(len(names) / parts) if parts else 1
    blocks = []
    for prior in PRIORS:
        blocks.append(f"**{_PRIOR_TITLES[prior]}**")
        blocks += [
            _markdown(models, names[first : first + each], prior, bars)
            for first in range(0, len(names), each)
        ]
    write_text(path, "\n\n".join(blocks) + "\n")


def _markdown(models: Sequence[str], names: Sequence[str], prior: str, bars: Bars) -> str:
    titles = [
        " ".join(_WORDS.get(word, word) for word in name.split("_"))
        + ("" if METRICS[name].higher_is_better else " ↓")
        for name in names
    ]
    lines = [f"| | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(names)}"]
    for model in models:
        found = [bars.get((model, prior, name)) for name in names]
        cells = [
            ""
            if bar is None or not math.isfinite(bar.mean)
            else f"{_short(bar.mean)} <small>{_short(bar.low)} to {_short(bar.high)}</small>"
            for bar in found
        ]
        lines.append(f"| `{model.replace('|', chr(92) + '|')}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits after the point, two from ten on."""
    return number(value) if abs(value) < 10 else f"{value:.2f}"


def print_table(scored: Scored, summary: Any, console: Console) -> None:
    """Print the means: a block for each prior, a row for each model, the best of each metric in bold."""
    bars = _bars(summary)
    models = list(dict.fromkeys(scored.table["model"]))
    names = [name for name in scored.metrics if any(key[2] == name for key in bars)]
    across = max(1, (console.width - min(_MOST_LETTERS, max(map(len, models)))) // _COLUMN)
    for prior in PRIORS:
        for first in range(0, len(names), across):
            some = names[first : first + across]
            if first == 0:
                console.print(_PRIOR_TITLES[prior], style="italic")
            console.print(_terminal_table(models, some, prior, bars))


def _terminal_table(models: Sequence[str], names: Sequence[str], prior: str, bars: Bars) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", max_width=_MOST_LETTERS, no_wrap=True)
    for name in names:
        # Narrow columns: the words of a name stand below one another.
        heading = name.replace("_", "\n").replace("information", "inform.").replace("background", "backgr.")
        table.add_column(
            f"{heading} {_arrow(name)}", justify="right", min_width=_COLUMN - 2, vertical="bottom"
        )
    best = {name: _best(name, prior, models, bars) for name in names}
    for model in models:
        cells = []
        for name in names:
            bar = bars.get((model, prior, name))
            text = "" if bar is None else number(bar.mean)
            cells.append(Text(text, style="bold" if text and bar == best[name] else ""))
        table.add_row(Text(model), *cells)
    return table


def _bars(summary: Any) -> Bars:
    """(model, prior, metric) → mean and interval."""
    return {
        (row.model, row.prior, row.metric): Bar(row.mean, row.low, row.high)
        for row in summary.itertuples(index=False)
    }


def _best(name: str, prior: str, models: Sequence[str], bars: Bars) -> Bar | None:
    known = [bar for model in models if (bar := bars.get((model, prior, name))) is not None]
    finite = [bar for bar in known if math.isfinite(bar.mean)]
    if not finite:
        return None
    pick = max if METRICS[name].higher_is_better else min
    return pick(finite, key=lambda bar: bar.mean)


def _group(title: str, names: Sequence[str], models: Sequence[str], bars: Bars) -> dict[str, Any]:
    """Charts and tables of the metrics against one kind of truth."""
    parts = [names[first : first + _MOST_COLUMNS] for first in range(0, len(names), _MOST_COLUMNS)]
    return {
        "title": title,
        "charts": [_chart(name, models, bars) for name in names],
        "tables": [
            {
                "title": _PRIOR_TITLES[prior],
                "parts": [
                    {
                        "metrics": [f"{name} {_arrow(name)}" for name in some],
                        "rows": _rows(prior, models, some, bars),
                    }
                    for some in parts
                ],
            }
            for prior in PRIORS
        ],
    }


def _chart(name: str, models: Sequence[str], bars: Bars) -> dict[str, Any]:
    """The bars of a metric, the best model without a prior at the top."""

    def standing(model: str) -> float:
        bar = bars.get((model, PRIORS[0], name))
        if bar is None or not math.isfinite(bar.mean):
            return math.inf
        return -bar.mean if METRICS[name].higher_is_better else bar.mean

    order = sorted(models, key=standing)
    better = "higher is better" if METRICS[name].higher_is_better else "lower is better"
    rows = [[bars.get((model, prior, name)) for prior in PRIORS] for model in order]
    return {
        "name": name,
        "better": better,
        "chart": Markup(interval_bars(order, rows, f"{name} of each model")),
    }


def _rows(prior: str, models: Sequence[str], names: Sequence[str], bars: Bars) -> list[dict[str, Any]]:
    best = {name: _best(name, prior, models, bars) for name in names}
    return [
        {
            "model": model,
            "cells": [
                {"mean": "", "interval": "", "best": False}
                if (bar := bars.get((model, prior, name))) is None
                else {
                    "mean": number(bar.mean),
                    "interval": f"{number(bar.low)} to {number(bar.high)}",
                    "best": bar == best[name],
                }
                for name in names
            ],
        }
        for model in models
    ]


def _facts(scored: Scored, models: int, images: int) -> list[dict[str, str]]:
    facts = [
        {"value": f"{images:,}", "label": "images scored"},
        {"value": f"{models}", "label": "models"},
        {"value": f"{len(scored.metrics)}", "label": "metrics"},
    ]
    if scored.fixations:
        facts.append({"value": f"{scored.fixations:,}", "label": "fixations"})
    if scored.outside:
        facts.append({"value": f"{scored.outside:,}", "label": "fixations outside their image, dropped"})
    if scored.skipped:
        facts.append({"value": f"{len(scored.skipped):,}", "label": "images left out"})
    return facts


def _notes(scored: Scored, images: int) -> list[str]:
    """What the numbers mean, in sentences."""
    notes = [
        f"Every number is a mean over {images} images. Its interval runs from the 2.5th to the 97.5th "
        f"percentile of the means of {RESAMPLES} resamples of the images.",
        "With a centre prior, a map is multiplied by a Gaussian in the middle of the image, with deviations "
        f"of {CENTRE_SIGMA:g} of its height and of its width.",
        f"The metrics are defined as the preset {scored.settings['preset']} does.",
        *fewer(scored),
    ]
    needs = {need for name in scored.metrics for need in METRICS[name].needs}
    sigma = scored.settings["sigma"]
    if "density" in needs and scored.fixations:
        width = f"{DEFAULT_SIGMA:g} of the longer side" if sigma is None else f"{sigma:g} pixels"
        notes.append(f"A density of fixations is a Gaussian around each, with a deviation of {width}.")
    if "other_xy" in needs:
        notes.append(
            f"The negatives of the shuffled AUC are the fixations on {OTHER_IMAGES} other images, drawn for "
            f"each image with the seed {scored.settings['seed']}, and scaled to its size."
        )
    if "baseline" in needs:
        notes.append(
            "Information gain is over the centre bias: the density of the fixations on all other images of "
            f"the data set, of which {UNIFORM_SHARE:.0%} is spread evenly."
        )
    return notes


def _arrow(name: str) -> str:
    return "↑" if METRICS[name].higher_is_better else "↓"


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _template() -> jinja2.Template:
    # Names come from files and people: everything that the templates print is escaped, but for charts.
    def read(part: str) -> str:
        return resources.files("sparsight.app").joinpath(f"templates/{part}").read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template("saliency_score.html.j2")
