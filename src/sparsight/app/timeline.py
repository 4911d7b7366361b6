"""The timeline of identities, laid out for the report's SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

_WIDTH, _LEFT, _RIGHT = 1000, 130, 20
_ROW, _BAR = 22, 14
_NICE_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Span:
    """A stretch of seconds from the start during which one person was in view of one camera."""

    person: int
    camera: str
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """Geometry of the drawing in SVG units; ``rows`` and ``ticks`` are what the template walks over."""

    width: int
    height: int
    left: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    left_out: str = ""


def clock(seconds: float) -> str:
    """``m:ss`` or ``h:mm:ss``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def lay_out(
    spans: list[Span], labels: dict[int, str], hues: dict[int, str], length: float, most: int = 60
) -> Timeline:
    """A row per person in order of appearance, a bar per span; the cameras stand under one another in a row.

    Args:
        spans: what to draw.
        labels, hues: text and CSS colour of each person.
        length: seconds from the left to the right edge.
        most: people drawn at the most; those seen longest are kept, and the rest is said.
    """
    seen: dict[int, float] = {}
    for span in spans:
        seen[span.person] = seen.get(span.person, 0.0) + span.end - span.start
    kept = set(sorted(seen, key=lambda who: -seen[who])[:most])
    order = list(
        dict.fromkeys(span.person for span in sorted(spans, key=lambda s: s.start) if span.person in kept)
    )
    cameras = list(dict.fromkeys(span.camera for span in spans))
    bar = _BAR / max(1, len(cameras))
    scale = (_WIDTH - _LEFT - _RIGHT) / max(length, 1e-6)
    rows = []
    for index, person in enumerate(order):
        bars = [
            {
                "x": round(_LEFT + span.start * scale, 1),
                "width": round(max(2.0, (span.end - span.start) * scale), 1),
                "dy": round(cameras.index(span.camera) * bar, 1),
                "height": round(bar, 1),
                "title": f"{labels[person]}, {span.camera}, {clock(span.start)} to {clock(span.end)}",
            }
            for span in spans
            if span.person == person
        ]
        rows.append({"y": 4 + index * _ROW, "label": labels[person], "colour": hues[person], "bars": bars})
    step = next((nice for nice in _NICE_STEPS if length / nice <= 10), 86400 * math.ceil(length / 864000))
    ticks = [
        {"x": round(_LEFT + n * step * scale, 1), "label": clock(n * step)}
        for n in range(int(length // step) + 1)
    ]
    missing = len(seen) - len(order)
    note = f"{missing} more people, seen more briefly, are in identities.json." if missing > 0 else ""
    return Timeline(_WIDTH, 4 + len(order) * _ROW + 24, _LEFT, rows, ticks, note)
