from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from sparsight.app.charts import Series, bar_chart, filter_strip, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.83, 0.91, [0.84, 0.86, 0.88, 0.9]),
        (0, 12, [0, 2.5, 5, 7.5, 10]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted)


@pytest.mark.parametrize("high", [1, 2, 3, 7, 12, 90, 300])
def test_epochs_are_counted_in_whole_numbers(high: int) -> None:
    found = ticks(0, high, whole=True)
    assert found == [round(value) for value in found]
    assert 2 <= len(found) <= 7


def test_points_land_where_their_values_are() -> None:
    text = line_chart(
        [Series("one", [0, 5, 10], [0.0, 0.5, 1.0]), Series("<two>", [0, 10], [1.0, float("nan")])],
        x_label="x",
        y_label="y & z",
        x_range=(0, 10),
        y_range=(0, 1),
    )
    ElementTree.fromstring(text)
    points = re.findall(r'points="([^"]*)"', text)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points[0].split())
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert len(points[1].split()) == 1  # what is not a number is left out
    assert "&lt;two&gt;" in text and "y &amp; z" in text


def test_a_legend_stands_above_the_lines() -> None:
    text = line_chart(
        [Series(name, [0, 1], [1.0, 1.0]) for name in ("HOTA", "DetA", "AssA")],
        x_label="x",
        y_label="y",
        x_range=(0, 1),
        y_range=(0, 1),
    )
    highest = min(
        float(point.split(",")[1]) for line in re.findall(r'points="([^"]*)"', text) for point in line.split()
    )
    marks = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="14"', text)
    assert len(marks) == 3 and all(float(y) + 12 < highest for _, y in marks)  # letters reach lower
    assert len({x for x, _ in marks}) == 3


def test_bars_are_as_long_as_their_share() -> None:
    text = bar_chart([("a" * 80, 0.25, "25%"), ("b", 3.0, "all")], "label")
    ElementTree.fromstring(text)
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', text)]
    assert widths[1] == pytest.approx(widths[0] / 4)
    assert widths[3] == widths[2]
    assert "…" in text


def test_a_cell_per_filter() -> None:
    kept = [True, False] * 50
    text = filter_strip(kept, [0.5] * 100, "label")
    assert text.count("<rect") == 100
    assert text.count('fill="none"') == 50
