"""Schedules against their equations, written out once more, and against the laws they must obey."""

from __future__ import annotations

import math
import xml.etree.ElementTree as xml
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.prune import schedules

PROGRESS = st.floats(0, 1)
RISING = sorted(schedules.SCHEDULES.keys() - {"dsd"})


def test_one_cycle_begins_near_nothing_and_ends_at_all() -> None:
    assert schedules.one_cycle(0.0) == pytest.approx(0.0067, abs=5e-5)
    assert schedules.one_cycle(1.0) == 1.0
    assert schedules.one_cycle(1.0, alpha=10, beta=3) == 1.0


@given(PROGRESS, st.floats(1, 30), st.floats(0, 10))
def test_one_cycle_is_the_published_equation(t: float, alpha: float, beta: float) -> None:
    expected = (1 + math.exp(-alpha + beta)) / (1 + math.exp(-alpha * t + beta))
    assert schedules.one_cycle(t, alpha, beta) == pytest.approx(expected, rel=1e-12)


@given(PROGRESS)
def test_closed_forms(t: float) -> None:
    assert schedules.agp(t, start=0) == pytest.approx(1 - (1 - t) ** 3)
    assert schedules.agp(t) == pytest.approx(0 if t < 0.2 else 1 - (1 - (t - 0.2) / 0.8) ** 3, abs=1e-12)
    assert schedules.linear(t) == t
    assert schedules.cosine(t) == pytest.approx(0.5 - 0.5 * math.cos(math.pi * t))
    assert schedules.exponential(t) == pytest.approx((1 - math.exp(-5 * t)) / (1 - math.exp(-5)), abs=1e-12)
    assert schedules.one_shot(t) == (1.0 if t >= 0.4 else 0.0)
    assert schedules.dsd(t) == (1.0 if 1 / 3 <= t < 2 / 3 else 0.0)


def test_iterative_rises_evenly_and_leaves_time_to_recover() -> None:
    times = [0, 0.19, 0.2, 0.4, 0.467, 0.7, 0.734, 1]
    expected = [0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1]
    assert [schedules.iterative(t) for t in times] == pytest.approx(expected)
    assert schedules.iterative(0.5, start=0.5, steps=1) == 1


@pytest.mark.parametrize("name", RISING)
@given(st.lists(PROGRESS, min_size=2, max_size=20))
def test_schedules_rise_to_exactly_one(name: str, times: list[float]) -> None:
    schedule = schedules.SCHEDULES[name]
    values = [schedule(t) for t in sorted(times)]
    assert all(0 <= value <= 1 for value in values)
    assert all(a <= b + 1e-12 for a, b in pairwise(values))
    assert schedule(1.0) == 1.0


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_arrays_and_floats_agree(name: str) -> None:
    schedule = schedules.SCHEDULES[name]
    times = np.linspace(0, 1, 31).reshape(1, 31)
    values = schedule(times)
    assert values.shape == times.shape and values.dtype == np.float64
    assert type(schedule(0.5)) is float
    np.testing.assert_allclose(values[0], [schedule(float(t)) for t in times[0]], rtol=0, atol=1e-15)


def test_written_with_parameters() -> None:
    assert schedules.parse("agp(start=0)")(0.1) == schedules.agp(0.1, start=0)
    assert schedules.parse("iterative(0.5, 2)")(0.6) == 0.5
    assert schedules.parse("one_cycle(14, beta=6)")(0.3) == schedules.one_cycle(0.3, beta=6)
    own = lambda t: t**2  # noqa: E731
    assert schedules.parse(own) is own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("onecycle", "did you mean 'one_cycle'"),
        ("agp(begin=0)", "it has start"),
        ("agp(1, 2, 3)", "it has start"),
        ("linear(2)", "it has none"),
        ("agp(start=2)", r"start in \[0, 1\)"),
        ("agp(start='x')", "not a number"),
        ("iterative(steps=0)", "at least 1 step"),
        ("__import__('os').system('true')", "not a name"),
        ("agp(start=open('x'))", "not a name"),
        ("agp(", "not a name"),
    ],
)
def test_bad_schedules_are_said(text: str, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        schedules.parse(text)


@pytest.mark.parametrize("t", [-0.1, 1.5, math.nan])
def test_progress_out_of_range_is_said(t: float) -> None:
    with pytest.raises(SparsightError, match="progress"):
        schedules.one_cycle(t)


def test_drawing_is_well_formed() -> None:
    names = [*schedules.SCHEDULES, "agp(start=0)"]
    picture = xml.fromstring(schedules.draw(names))
    lines = [line for line in picture.iter() if line.tag.endswith("polyline")]
    texts = {text.text for text in picture.iter() if text.tag.endswith("text")}
    assert len(lines) == len(names) and texts >= set(names)
