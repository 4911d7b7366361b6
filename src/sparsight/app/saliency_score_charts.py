"""Bars with confidence intervals as SVG text, in the colours of the page that they stand in."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsight.app.charts import COLOURS, ticks

_LETTER = 6.8
"""Pixels that a letter takes, about."""
_MOST_LETTERS = 34
_ROOM, _NUMBER, _BAR, _GAP, _AXIS = 300, 62, 13, 9, 22


@dataclass(frozen=True)
class Bar:
    """A mean and the interval that holds it."""

    mean: float
    low: float
    high: float


def interval_bars(names: Sequence[str], bars: Sequence[Sequence[Bar | None]], label: str) -> str:
    """For each name some bars below one another, each with a whisker over its interval and its number.

    Args:
        names: one a row.
        bars: for each name, as many as there are colours to tell them by; None is left out.
        label: what the chart is of, read to who cannot see it.
    """
    shown = [bar for row in bars for bar in row if bar is not None]
    ends = [end for bar in shown for end in (bar.mean, bar.low, bar.high) if math.isfinite(end)]
    least, most = min([0.0, *ends]), max([0.0, *ends])
    most = most if most > least else least + 1.0
    left = 14 + _LETTER * max((len(_short(name)) for name in names), default=0)
    deep = max((len(row) for row in bars), default=0) * _BAR
    bottom = (deep + _GAP) * len(names) + 4

    def across(value: float) -> float:
        return left + _ROOM * (value - least) / (most - least)

    parts = []
    for value in ticks(least, most):
        at = across(value)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
        )
    for index, (name, row) in enumerate(zip(names, bars, strict=True)):
        top = 4 + (deep + _GAP) * index
        parts.append(
            f'<text x="{left - 8:.1f}" y="{top + deep / 2 + 4:.1f}" text-anchor="end">'
            f"<title>{html.escape(name)}</title>{html.escape(_short(name))}</text>"
        )
        for place, bar in enumerate(row):
            if bar is not None and math.isfinite(bar.mean):
                parts += _bar(bar, top + _BAR * place, COLOURS[place], across, left + _ROOM + 10)
    width, height = left + _ROOM + 10 + _NUMBER, bottom + _AXIS
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="100%" style="max-width: {width:g}px" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )


def number(value: float) -> str:
    """Three digits after the point, and no minus before nothing."""
    return f"{value:.3f}".replace("-0.000", "0.000")


def _bar(bar: Bar, top: float, colour: str, across: Callable[[float], float], number_at: float) -> list[str]:
    start, end = sorted((across(0.0), across(bar.mean)))
    middle = top + _BAR / 2
    parts = [
        f'<rect x="{start:.1f}" y="{top + 1:.1f}" width="{end - start:.1f}" height="{_BAR - 2}" rx="2" '
        f'fill="{colour}" fill-opacity="0.75"/>',
        f'<text class="tick" x="{number_at:.1f}" y="{middle + 4:.1f}">{number(bar.mean)}</text>',
    ]
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        low, high = across(bar.low), across(bar.high)
        parts.append(
            f'<path d="M{low:.1f} {middle - 3:.1f}V{middle + 3:.1f}M{low:.1f} {middle:.1f}H{high:.1f}'
            f'M{high:.1f} {middle - 3:.1f}V{middle + 3:.1f}" stroke="var(--ink)" stroke-width="1.4" '
            f'fill="none"/>'
        )
    return parts


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"…{name[1 - _MOST_LETTERS :]}"
