"""Charts as SVG text, drawn with the colours of the page that they stand in.

The page defines the custom properties ``--ink``, ``--soft``, ``--line``, ``--accent`` and ``--other``, for
light and for dark; nothing is fetched and no script runs.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("var(--accent)", "var(--other)", "var(--soft)")

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 40
_LEGEND = 14


@dataclass(frozen=True)
class Series:
    """A line of a chart; ``dots`` marks each point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    percent: bool = True,
    whole_x: bool = False,
) -> str:
    """Lines over a grid, under a legend where there are several.

    Args:
        series: the lines, no more than there are ``COLOURS``.
        x_label: under the axis.
        y_label: what the chart is of, read to who cannot see it, too.
        x_range: from and to.
        y_range: from and to.
        percent: write the vertical axis in per cent.
        whole_x: only whole numbers along the horizontal axis.
    """
    top = _TOP + (_LEGEND if len(series) > 1 else 0)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - top - _BOTTOM
    (x_low, x_high), (y_low, y_high) = x_range, y_range

    def across(x: float) -> float:
        return _LEFT + width * (x - x_low) / ((x_high - x_low) or 1)

    def down(y: float) -> float:
        return top + height * (1 - (y - y_low) / ((y_high - y_low) or 1))

    parts = []
    for value in ticks(y_low, y_high):
        at = down(value)
        text = f"{100 * value:g}%" if percent else f"{value:g}"
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    parts += [
        f'<text class="tick" x="{across(value):.1f}" y="{top + height + 16}" text-anchor="middle">'
        f"{value:g}</text>"
        for value in ticks(x_low, x_high, whole=whole_x)
    ]
    parts.append(
        f'<text class="tick" x="{_LEFT + width / 2}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
    )
    for line, colour in zip(series, COLOURS, strict=False):
        points = [(across(x), down(y)) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if line.dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    if len(series) > 1:  # above the lines, which it would hide
        at = float(_LEFT)
        for line, colour in zip(series, COLOURS, strict=False):
            parts.append(
                f'<rect x="{at:g}" y="{_TOP - 5}" width="14" height="4" fill="{colour}"/>'
                f'<text x="{at + 20:g}" y="{_TOP}">{html.escape(line.label)}</text>'
            )
            at += 44 + 7 * len(line.label)
    return _svg(_WIDTH, _HEIGHT, y_label, parts)


def bar_chart(rows: Sequence[tuple[str, float, str]], label: str) -> str:
    """One horizontal bar per row of (name, share in 0..1, text at its end)."""
    left = 12 + min(260, max((7 * len(name) for name, _, _ in rows), default=0))
    width, step = 760, 22
    room = width - left - 150
    parts = []
    for index, (name, share, text) in enumerate(rows):
        y = 4 + step * index
        parts.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{html.escape(_short(name, 36))}</text>'
            f'<rect x="{left}" y="{y + 2}" width="{room}" height="14" rx="3" fill="var(--line)"/>'
            f'<rect x="{left}" y="{y + 2}" width="{room * min(max(share, 0), 1):.1f}" height="14" rx="3" '
            f'fill="var(--accent)"/>'
            f'<text class="tick" x="{left + room + 8}" y="{y + 13}">{html.escape(text)}</text>'
        )
    return _svg(width, 8 + step * len(rows), label, parts)


def filter_strip(kept: Sequence[bool], strength: Sequence[float], label: str) -> str:
    """One cell per filter: filled where it is kept, the fuller the stronger; an empty frame where not."""
    per_row, cell = 64, 11
    parts = []
    for index, (stays, share) in enumerate(zip(kept, strength, strict=True)):
        x, y = 1 + cell * (index % per_row), 1 + cell * (index // per_row)
        look = f'fill="var(--accent)" fill-opacity="{0.25 + 0.75 * share:.2f}"' if stays else 'fill="none"'
        edge = 'stroke="var(--soft)" stroke-opacity="0.5"'
        parts.append(f'<rect x="{x}" y="{y}" width="9" height="9" rx="1.5" {look} {edge}/>')
    rows = max(1, math.ceil(len(kept) / per_row))
    return _svg(2 + cell * per_row, 2 + cell * rows, label, parts)


def ticks(low: float, high: float, *, whole: bool = False, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, float(round(step)))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + index) * step, 10) for index in range(count)]


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="100%" style="max-width: {width:g}px" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"
