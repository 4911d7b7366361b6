from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsight.app.stages import StageTimes


@given(st.lists(st.floats(0.01, 60_000), min_size=1, max_size=200))
def test_percentiles_agree_with_numpy_to_the_width_of_a_bin(durations: list[float]) -> None:
    times = StageTimes()
    for ms in durations:
        times.add("detect", ms)
    (row,) = times.summary()
    assert row.count == len(durations)
    assert np.isclose(row.total_ms, sum(durations))
    for got, fraction in ((row.median_ms, 0.5), (row.p95_ms, 0.95)):
        # The smallest value that at least this fraction of all values does not exceed.
        exact = np.quantile(durations, fraction, method="inverted_cdf")
        assert abs(np.log2(got / exact)) <= 1 / 16


def test_a_stage_is_timed_even_when_it_fails() -> None:
    times = StageTimes()
    try:
        with times("detect"):
            raise ValueError
    except ValueError:
        pass
    assert [row.name for row in times.summary()] == ["detect"]


def test_extreme_durations_stay_inside_the_histogram() -> None:
    times = StageTimes()
    times.add("a", 0.0)
    times.add("a", 1e12)
    assert times.summary()[0].count == 2
