from __future__ import annotations

from sparsight.app.timeline import Span, clock, lay_out


def test_clock_reads_as_people_write_time() -> None:
    assert [clock(s) for s in (0, 9.6, 61, 3600, 3725)] == ["0:00", "0:10", "1:01", "1:00:00", "1:02:05"]


def test_rows_stand_in_order_of_appearance_and_to_scale() -> None:
    spans = [Span(7, "a", 5, 10), Span(2, "a", 0, 1), Span(7, "b", 0.5, 2)]
    timeline = lay_out(spans, {7: "Anna", 2: "2"}, {7: "#111", 2: "#222"}, length=10)
    assert [row["label"] for row in timeline.rows] == ["2", "Anna"]
    first, second = timeline.rows[1]["bars"]
    assert first["width"] == 5 * (timeline.width - timeline.left - 20) / 10
    assert first["dy"] != second["dy"]  # one lane per camera
    assert timeline.ticks[0]["label"] == "0:00"
    assert timeline.ticks[-1]["label"] == "0:10"


def test_a_crowd_is_cut_to_those_seen_longest_and_says_so() -> None:
    spans = [Span(who, "a", 0, who) for who in range(1, 101)]
    names = {who: str(who) for who in range(1, 101)}
    timeline = lay_out(spans, names, names, length=100, most=60)
    assert {row["label"] for row in timeline.rows} == {str(who) for who in range(41, 101)}
    assert timeline.left_out.startswith("40 more")
