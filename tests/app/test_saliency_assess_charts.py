from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from sparsight.app import saliency_assess_charts as draw

NAMES = ["<one>", "two & more", "three"]


def numbers(text: str, name: str) -> list[float]:
    return [float(value) for value in re.findall(rf' {name}="([-\d.]+)"', text)]


def test_a_matrix_shows_every_number_that_is_one() -> None:
    values = np.array([[1.0, -0.5, 0.001], [np.nan, 0.25, -0.004]])
    marks = np.array([[True, False, False], [False, False, False]])
    text = draw.matrix(NAMES[:2], NAMES, values, 'a "label"', marks=marks)
    ElementTree.fromstring(text)
    assert text.count('class="cell"') == 5
    assert re.findall(r'class="cell"[^>]*>([^<]*)<', text) == ["1.00", "−.50", ".00", ".25", ".00"]
    assert text.count("font-weight: 700") == 1
    assert numbers(text, "fill-opacity")[:2] == [0.62, 0.31]
    assert "&lt;one&gt;" in text and "two &amp; more" in text
    low = numbers(draw.matrix(NAMES[:1], NAMES[:1], np.array([[0.2]]), "x", full=0.4), "fill-opacity")
    assert low == [0.31]


def test_rank_lines_put_the_best_on_top() -> None:
    ranks = np.array([[1.0, 2.0, 3.0], [3.0, 1.5, 1.5]])
    text = draw.rank_lines(["auc", "nss"], NAMES, ranks, "ranks")
    ElementTree.fromstring(text)
    lines = [
        [float(point.split(",")[1]) for point in points.split()]
        for points in re.findall(r'polyline points="([^"]*)"', text)
    ]
    assert lines[0][0] < lines[1][0] < lines[2][0]
    assert lines[0][1] > lines[2][1] > lines[1][1]  # ties a little apart
    many = draw.rank_lines(["a"], [f"m{index}" for index in range(12)], np.arange(1.0, 13)[None], "ranks")
    assert many.count("stroke-dasharray") == 2


@pytest.mark.parametrize(
    ("critical", "wanted"),
    [(0.1, []), (0.6, [(1, 2)]), (1.2, [(0, 1), (1, 2)]), (9, [(0, 3)]), (float("nan"), [])],
)
def test_bars_join_what_cannot_be_told_apart(critical: float, wanted: list[tuple[int, int]]) -> None:
    assert draw._cliques(np.array([1.0, 2.0, 2.5, 4.0]), critical) == wanted


def test_a_critical_difference_diagram() -> None:
    text = draw.critical_difference(NAMES, np.array([2.5, 1.0, 2.0]), 0.6, "ranks")
    ElementTree.fromstring(text)
    assert text.count("<circle") == 3
    assert "critical difference 0.60" in text
    across = numbers(text, "cx")  # best first
    assert (across[1] - across[0]) / (across[2] - across[0]) == pytest.approx(1 / 1.5, abs=1e-3)
    ElementTree.fromstring(draw.critical_difference(NAMES[:2], np.array([1.0, 2.0]), np.nan, "no bar"))


def test_intervals_hold_their_means() -> None:
    means, low, high = np.array([1.0, 3.0, 2.0]), np.array([0.5, 2.5, 1.5]), np.array([1.5, 3.5, 2.5])
    text = draw.intervals(NAMES, means, low, high, "scores")
    ElementTree.fromstring(text)
    dots = numbers(text, "cx")
    assert dots == sorted(dots, reverse=True)
    assert text.index("two &amp;") < text.index("three") < text.index("&lt;one")
    one = np.array([1.0])
    ElementTree.fromstring(draw.intervals(["a"], one, one, one, "no width"))


def test_groups_are_drawn_in_scale() -> None:
    means = np.array([0.2, 0.4])
    text = draw.groups_chart(
        ["small", "large"],
        means,
        means - 0.05,
        means + 0.05,
        NAMES[:2],
        np.array([[0.1, 0.3], [0.3, 0.5]]),
        "x",
    )
    ElementTree.fromstring(text)
    paths = [
        [float(point.split(",")[1]) for point in points.split()]
        for points in re.findall(r'polyline points="([^"]*)"', text)
    ]
    assert len(paths) == 3
    assert np.mean(paths[:2], axis=0) == pytest.approx(paths[2], abs=0.1)
    assert "<title>&lt;one&gt;</title>" in text


def test_a_scree_of_components() -> None:
    text = draw.scree(np.array([2.0, 0.6, 0.4]), np.array([1.2, 1.0, 0.8]), 1, "eigenvalues")
    ElementTree.fromstring(text)
    heights = numbers(text, "height")
    assert heights[0] / heights[1] == pytest.approx(2 / 0.6, rel=0.01)
    assert "kept: 67% in all" in text


def test_arrows_end_where_the_loadings_are() -> None:
    loadings = np.array([[0.9, 0.1], [0.9, 0.1], [-0.5, -0.7]])
    text = draw.loading_plane(NAMES, loadings, "plane")
    ElementTree.fromstring(text)
    circle, *dots = list(zip(numbers(text, "cx"), numbers(text, "cy"), strict=True))
    assert (dots[0][0] - circle[0]) / 160 == pytest.approx(0.9, abs=0.01)
    assert (circle[1] - dots[2][1]) / 160 == pytest.approx(-0.7, abs=0.01)
    heights = [
        float(y) for y, name in re.findall(r'y="([\d.]+)" text-anchor="start">([^<]*)<', text) if name != ""
    ]
    assert abs(heights[0] - heights[1]) >= 13  # names of equal metrics do not meet


def test_two_distributions() -> None:
    series = [("between", np.array([-1.0, 0.0, 1.0])), ("within", np.array([0.5, 0.5, 2.0]))]
    text = draw.two_histograms(series, "taus", "Kendall's tau on each image", bins=4)
    ElementTree.fromstring(text)
    assert text.count("<rect") == 2 * 4 + 2
    assert "Kendall&#x27;s tau on each image" in text


def test_long_names_are_cut() -> None:
    text = draw.matrix(["x" * 80], ["y"], np.ones((1, 1)), "x")
    assert "…" in text and "x" * 30 not in text
