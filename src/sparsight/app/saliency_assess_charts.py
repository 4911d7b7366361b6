"""Charts of an assessment as SVG text: matrices, rankings, critical differences, intervals, components.

As ``sparsight.app.charts``, they take their colours from the page that they stand in; the page also defines
``--model-0`` to ``--model-9``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sparsight.app.charts import ticks

Values = NDArray[np.float64]

_COLOURS = 10
_LETTER = 6.6
"""Pixels that a letter takes, about."""
_RISE = 0.72 * _LETTER
"""The same of a name that rises at 45 degrees."""

_MOST_LETTERS = 26
_INK, _SOFT, _ACCENT, _OTHER = "var(--ink)", "var(--soft)", "var(--accent)", "var(--other)"


def matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Values,
    label: str,
    *,
    full: float = 1.0,
    marks: NDArray[np.bool_] | None = None,
) -> str:
    """A table of numbers as coloured cells: one colour above 0, another below, the fuller the further.

    Args:
        rows, columns: names.
        values: (rows, columns); NaN is left empty.
        label: what the chart is of.
        full: the value that gets the full colour.
        marks: (rows, columns) cells whose number is bold.
    """
    left = 14 + _letters(rows) * _LETTER
    head = 14 + _letters(columns) * _RISE
    cell, high = min(64.0, max(34.0, 620 / len(columns))), 24
    parts = [_slanted(name, left + cell * (column + 0.5), head - 6) for column, name in enumerate(columns)]
    for row, name in enumerate(rows):
        y = head + high * row
        parts.append(_text(left - 8, y + 16, name, "end"))
        for column in np.flatnonzero(np.isfinite(values[row])):
            value, x = float(values[row, column]), left + cell * column
            opacity = 0.62 * min(1.0, abs(value) / full)
            bold = ' style="font-weight: 700"' if marks is not None and marks[row, column] else ""
            parts.append(
                f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{cell - 2:.1f}" height="{high - 2}" rx="3" '
                f'fill="{_ACCENT if value >= 0 else _OTHER}" fill-opacity="{opacity:.2f}"/>'
                f'<text class="cell" x="{x + cell / 2:.1f}" y="{y + 16:.1f}" text-anchor="middle"{bold}>'
                f"{_plain(value)}</text>"
            )
    width = left + cell * len(columns) + _RISE * len(_short(columns[-1])) + 4
    return _svg(width, head + high * len(rows) + 4, label, parts)


def rank_lines(columns: Sequence[str], models: Sequence[str], ranks: Values, label: str) -> str:
    """Each model's rank (1 at the top) by one ranking after the other, a line for each model.

    Args:
        columns: names of the rankings.
        models: names.
        ranks: (columns, models).
        label: what the chart is of.
    """
    side = 16 + _letters(models) * _LETTER
    step = min(170.0, max(30.0, 640 / max(1, len(columns) - 1)))
    head, down = 26 + _letters(columns) * _RISE, 24.0
    bottom = head + down * len(models)
    x = side + step * np.arange(len(columns))
    # Ties are drawn a little apart, in the order of the models, so that every line can be followed.
    shift = (np.arange(len(models)) - (len(models) - 1) / 2) * 0.06
    y = head + down * (ranks + shift - 1) + 4
    parts = [_slanted(name, x[column], head - 16) for column, name in enumerate(columns)]
    parts += [_line(at, head - 8, at, bottom - 14) for at in x]
    places = y[[0, -1]].argsort(axis=1, kind="stable").argsort(axis=1)
    for model, name in enumerate(models):
        colour = _model(model)
        dash = ' stroke-dasharray="5 3"' if model >= _COLOURS else ""
        parts.append(_path(x, y[:, model], colour, 2.2, dash))
        parts += [_dot(at, high, 3.2, colour) for at, high in zip(x, y[:, model], strict=True)]
        for at, anchor, place in ((x[0] - 9, "end", places[0]), (x[-1] + 9, "start", places[1])):
            style = f' style="fill: {colour}"'
            parts.append(_text(at, head + down * place[model] + 8, name, anchor, style))
    width = x[-1] + max(side, _RISE * len(_short(columns[-1])) + 8)
    return _svg(width, bottom + 2, label, parts)


def critical_difference(models: Sequence[str], mean_ranks: Values, critical: float, label: str) -> str:
    """Demšar's diagram (2006): models at their mean ranks; bars join those that cannot be told apart."""
    count = len(models)
    order = np.argsort(mean_ranks, kind="stable")
    ranks = mean_ranks[order]
    groups = _cliques(ranks, critical)
    side, width, axis = 20 + _letters(models) * _LETTER, 460.0, 44.0

    def across(rank: float) -> float:
        return side + width * (rank - 1) / (count - 1)

    parts = [_line(side, axis, side + width, axis, _SOFT, 1)]
    for rank in range(1, count + 1):
        parts.append(_line(across(rank), axis - 5, across(rank), axis, _SOFT, 1))
        parts.append(_tick(across(rank), axis - 9, str(rank), "middle"))
    if math.isfinite(critical):
        end = across(min(float(count), 1 + critical))
        parts.append(_line(side, 16, end, 16, _OTHER, 3))
        parts.append(_tick(end + 8, 20, f"critical difference {critical:.2f}"))
    first = axis + 16
    for row, (start, stop) in enumerate(groups):
        y = first + 7 * row
        parts.append(_line(across(ranks[start]) - 4, y, across(ranks[stop]) + 4, y, _OTHER, 3.5))
    base = first + 7 * len(groups) + 12
    half = (count + 1) // 2
    for place, model in enumerate(order):
        left = place < half
        y = base + 19 * (place if left else count - 1 - place)
        x = across(ranks[place])
        edge = side - 8 if left else side + width + 8
        parts.append(_path((x, x, edge), (axis, y, y), _SOFT, 1))
        parts.append(_dot(x, axis, 3.4, _ACCENT))
        parts.append(_text(edge + (-5 if left else 5), y + 4, models[model], "end" if left else "start"))
    return _svg(2 * side + width, base + 19 * half, label, parts)


def intervals(names: Sequence[str], means: Values, low: Values, high: Values, label: str) -> str:
    """A row per name: its mean, and the interval that holds it; best at the top."""
    order = np.argsort(-means, kind="stable")
    left, width, step = 14 + _letters(names) * _LETTER, 360.0, 22
    least, most = _span(means, low, high)
    bottom = step * len(names) + 6

    def across(value: float) -> float:
        return left + width * (value - least) / (most - least)

    parts = []
    for value in ticks(least, most):
        parts.append(_line(across(value), 2, across(value), bottom))
        parts.append(_tick(across(value), bottom + 15, f"{value:g}", "middle"))
    for row, index in enumerate(order):
        y = 4 + step * (row + 0.5)
        parts.append(_text(left - 8, y + 4, names[index], "end"))
        parts.append(_line(across(low[index]), y, across(high[index]), y, _ACCENT, 5, 0.45))
        parts.append(_dot(across(means[index]), y, 4, _ACCENT))
    return _svg(left + width + 14, bottom + 22, label, parts)


def groups_chart(
    labels: Sequence[str],
    means: Values,
    low: Values,
    high: Values,
    models: Sequence[str],
    model_means: Values,
    label: str,
) -> str:
    """Scores by group: every model as a thin line, the mean over models thick with its interval.

    Args:
        labels: (G,) names of the groups.
        means, low, high: (G,).
        models: (M,) names.
        model_means: (G, M).
        label: what the chart is of.
    """
    left, top, wide, tall = 52.0, 8.0, 290.0, 170.0
    x = left + wide * (np.arange(len(labels)) + 0.5) / len(labels)
    least, most = _span(model_means, low, high)

    def down(values: Values) -> Values:
        return top + tall * (1 - (values - least) / (most - least))

    parts = _levels(least, most, left, wide, top, tall)
    for model, name in enumerate(models):
        title = f"<title>{html.escape(name)}</title>"
        parts.append(
            _path(x, down(model_means[:, model]), _model(model), 1.4, ' stroke-opacity="0.75"', title)
        )
    parts.append(_path(x, down(means), _INK, 2.4))
    for at, mean, under, over, name in zip(x, down(means), down(low), down(high), labels, strict=True):
        parts.append(_line(at, under, at, over, _INK, 2))
        parts.append(_dot(at, mean, 4, _INK))
        parts.append(_tick(at, top + tall + 18, name, "middle"))
    return _svg(left + wide + 10, top + tall + 26, label, parts)


def scree(eigenvalues: Values, chance: Values, kept: int, label: str) -> str:
    """Bars of the eigenvalues, those kept in full colour, and the line that unrelated metrics would reach."""
    count = len(eigenvalues)
    left, top, wide, tall = 40.0, 8.0, 420.0, 190.0
    most = 1.05 * float(max(eigenvalues.max(), chance.max()))
    step = wide / count
    heights = tall * eigenvalues / most
    share = eigenvalues[:kept].sum() / eigenvalues.sum()
    parts = _levels(0, most, left, wide, top, tall)
    for index, height in enumerate(heights):
        x, y = left + step * (index + 0.5), top + tall - height
        parts.append(_bar(x - 0.35 * step, y, 0.7 * step, height, _ACCENT, 1 if index < kept else 0.35))
        if count <= 12 or index % 2 == 0:
            parts.append(_tick(x, top + tall + 16, str(index + 1), "middle"))
    dash = ' stroke-dasharray="5 3"'
    middles = left + step * (np.arange(count) + 0.5)
    parts.append(_path(middles, top + tall * (1 - chance / most), _OTHER, 2, dash))
    parts.append(_path((left + wide - 150, left + wide - 124), (top + 12, top + 12), _OTHER, 2, dash))
    parts.append(_tick(left + wide - 118, top + 16, "unrelated metrics"))
    parts.append(_bar(left + wide - 150, top + 26, 26, 10, _ACCENT, 1))
    parts.append(_tick(left + wide - 118, top + 35, f"kept: {share:.0%} in all"))
    parts.append(_tick(left + wide / 2, top + tall + 32, "component", "middle"))
    return _svg(left + wide + 8, top + tall + 38, label, parts)


def loading_plane(names: Sequence[str], loadings: Values, label: str) -> str:
    """Metrics as arrows in the plane of the first two components, inside the circle of full correlation.

    Args:
        names: (K,) metrics.
        loadings: (K, 2).
        label: what the chart is of.
    """
    side = 20 + _letters(names) * _LETTER
    size, middle = 340.0, side + 160.0
    radius, centre = size / 2 - 10, size / 2
    parts = [
        f'<circle cx="{middle:.1f}" cy="{centre}" r="{radius}" fill="none" stroke="var(--line)"/>',
        _line(middle - radius, centre, middle + radius, centre),
        _line(middle, centre - radius, middle, centre + radius),
    ]
    ends = np.stack([middle + radius * loadings[:, 0], centre - radius * loadings[:, 1]], axis=1)
    # Names stand right and left of the circle, moved apart where they would meet.
    for right in (True, False):
        found = np.flatnonzero((ends[:, 0] >= middle) == right)
        members = found[np.argsort(ends[found, 1], kind="stable")].tolist()
        edge = 2 * middle - side + 6 if right else side - 6
        for index, y in zip(members, _apart(ends[members, 1], 13.5, 10.0, size - 6), strict=True):
            x_end, y_end = ends[index]
            parts.append(_line(x_end, y_end, edge + (-3 if right else 3), y, _SOFT, 1, 0.4))
            parts.append(_line(middle, centre, x_end, y_end, _ACCENT, 1.6))
            parts.append(_dot(x_end, y_end, 3, _ACCENT))
            parts.append(_text(edge, y + 4, names[index], "start" if right else "end"))
    parts.append(_tick(middle - radius + 6, centre - 5, "component 1"))
    parts.append(_tick(middle + 5, centre + radius - 6, "component 2"))
    return _svg(2 * middle, size, label, parts)


def two_histograms(series: Sequence[tuple[str, Values]], label: str, x_label: str, bins: int = 24) -> str:
    """Distributions of values from −1 to 1 over each other, and where their means are."""
    left, top, wide, tall = 40.0, 8.0, 420.0, 170.0
    edges = np.linspace(-1, 1, bins + 1)
    counts = [np.histogram(np.clip(values, -1, 1), edges)[0] for _, values in series]
    most = 1.08 * max(int(count.max()) for count in counts)
    parts = _levels(0, most, left, wide, top, tall, whole=True)
    for row, ((name, values), count) in enumerate(zip(series, counts, strict=True)):
        colour = (_ACCENT, _OTHER)[row]
        for index, height in enumerate(tall * count / most):
            x = left + wide * index / bins
            parts.append(_bar(x + 0.5, top + tall - height, wide / bins - 1, height, colour, 0.45))
        mean = left + wide * (float(values.mean()) + 1) / 2
        parts.append(_line(mean, top, mean, top + tall, colour, 2))
        parts.append(_bar(left + 8, top + 6 + 18 * row, 12, 10, colour, 0.6))
        parts.append(_text(left + 26, top + 15 + 18 * row, name))
    for value in (-1, -0.5, 0, 0.5, 1):
        parts.append(_tick(left + wide * (value + 1) / 2, top + tall + 16, _plain(value, 1), "middle"))
    parts.append(_tick(left + wide / 2, top + tall + 32, x_label, "middle"))
    return _svg(left + wide + 10, top + tall + 38, label, parts)


def _cliques(ranks: Values, critical: float) -> list[tuple[int, int]]:
    """First and last index of each longest run of sorted ranks that lie within the critical difference."""
    found: list[tuple[int, int]] = []
    if not math.isfinite(critical):
        return found
    for start in range(len(ranks)):
        stop = int(np.searchsorted(ranks, ranks[start] + critical, "right")) - 1
        if stop > start and (not found or stop > found[-1][1]):
            found.append((start, stop))
    return found


def _apart(heights: Values, gap: float, low: float, high: float) -> list[float]:
    """Sorted heights, moved so that neighbours are ``gap`` apart, above ``high`` as far as there is room."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(float(height), placed[-1] + gap if placed else low))
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], high if index + 1 == len(placed) else placed[index + 1] - gap)
    return placed


def _span(*values: Values) -> tuple[float, float]:
    """The range of some values, with air around it."""
    least, most = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    air = 0.05 * ((most - least) or 1)
    return least - air, most + air


def _levels(
    least: float, most: float, left: float, wide: float, top: float, tall: float, whole: bool = False
) -> list[str]:
    """Lines across a chart at round values, with the values."""
    parts = []
    for value in ticks(least, most, whole=whole):
        y = top + tall * (1 - (value - least) / (most - least))
        parts.append(_line(left, y, left + wide, y))
        parts.append(_tick(left - 6, y + 4, f"{value:g}", "end"))
    return parts


def _model(index: int) -> str:
    return f"var(--model-{index % _COLOURS})"


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(_short(text))}</text>'


def _tick(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _slanted(text: str, x: float, y: float) -> str:
    """A name that rises from above a column."""
    turned = f'transform="translate({x + 3:.1f},{y:.1f}) rotate(-45)"'
    return f'<text class="tick" {turned}>{html.escape(_short(text))}</text>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str = "", width: float = 1, opacity: float = 1
) -> str:
    """A line, by default of the grid."""
    style = f' style="stroke: {colour}" stroke-width="{width}" stroke-opacity="{opacity}"' if colour else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{style} stroke-linecap="round"/>'


def _path(
    x: Iterable[float], y: Iterable[float], colour: str, width: float, more: str = "", inside: str = ""
) -> str:
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{more}>'
        f"{inside}</polyline>"
    )


def _dot(x: float, y: float, radius: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _bar(x: float, y: float, width: float, height: float, colour: str, opacity: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="1.5" '
        f'fill="{colour}" fill-opacity="{opacity}"/>'
    )


def _plain(value: float, digits: int = 2) -> str:
    """A number without the nought before the point, and with a true minus."""
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 and float(text) else ""
    return f"{sign}{text[1:] if text.startswith('0.') else text}"


def _letters(names: Sequence[str]) -> int:
    return max(len(_short(name)) for name in names)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="100%" style="max-width: {width:.0f}px" '
        f'role="img" aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )
