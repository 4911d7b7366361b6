from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsight.app.sights import UNIDENTIFIED_FROM, UNKNOWN, Sights

frames = st.lists(
    st.dictionaries(st.integers(1, 40), st.one_of(st.just(UNKNOWN), st.integers(1, 9)), max_size=6),
    max_size=40,
)


@given(frames)
def test_tables_agree_with_bookkeeping_one_by_one(seen: list[dict[int, int]]) -> None:
    sights = Sights()
    expected: list[dict[str, float]] = []
    newest: dict[int, int] = {}
    for index, frame in enumerate(seen):
        time = index / 10
        believed = set(frame.values()) - {UNKNOWN}
        rows = sights.see(np.array(list(frame), np.int64), np.array(list(frame.values()), np.int64), time)
        for (track, who), row in zip(frame.items(), rows.tolist(), strict=True):
            current = expected[newest[track]] if track in newest else None
            if current is not None and who == UNKNOWN and current["person"] in believed:
                current["person"] = UNKNOWN
            if current is None or current["person"] not in (UNKNOWN, who):
                newest[track] = len(expected)
                current = {"track": track, "person": UNKNOWN, "first": time, "frames": 0}
                expected.append(current)
            if who != UNKNOWN:
                current["person"] = who
            current["last"] = time
            current["frames"] += 1
            assert row == newest[track]
    assert len(sights) == len(expected)
    for row, sight in enumerate(expected):
        for name, value in sight.items():
            assert getattr(sights, name)[row] == value
    known = [row for row, sight in enumerate(expected) if sight["person"] != UNKNOWN]
    assert sights.identified().tolist() == known


def test_labels_are_people_or_lie_above_a_million() -> None:
    sights = Sights()
    rows = sights.see(np.array([4, 9]), np.array([UNKNOWN, 2]), 0.0)
    assert sights.label(rows).tolist() == [UNIDENTIFIED_FROM, 2]
    sights.decide(4, 7)
    assert sights.label(rows).tolist() == [7, 2]


def test_a_track_that_changes_hands_keeps_both_people() -> None:
    sights = Sights()
    track = np.array([1])
    rows = [int(sights.see(track, np.array([who]), 0.0)[0]) for who in (UNKNOWN, 5, UNKNOWN, 6)]
    assert sights.label(np.array(rows)).tolist() == [5, 5, 6, 6]


def test_a_sight_is_nobodys_again_when_the_person_turns_up_beside_it() -> None:
    sights = Sights()
    (row,) = sights.see(np.array([1]), np.array([5]), 0.0).tolist()
    rows = sights.see(np.array([1, 2]), np.array([UNKNOWN, 5]), 1.0)
    assert sights.label(rows).tolist() == [UNIDENTIFIED_FROM + row, 5]
    assert sights.identified().tolist() == [1]


def test_a_track_that_changes_hands_unnoticed_by_name_begins_anew() -> None:
    """Nobody's before, nobody's after, but another: who it turns out to be is not who it was."""
    sights = Sights()
    track, nobody = np.array([1]), np.array([UNKNOWN])
    rows = [
        int(sights.see(track, who, time, np.array([since]))[0])
        for who, time, since in (
            (nobody, 0.0, 0.0),
            (nobody, 0.1, 0.0),
            (nobody, 0.2, 0.2),
            (np.array([6]), 0.3, 0.2),
        )
    ]
    assert sights.label(np.array(rows)).tolist() == [UNIDENTIFIED_FROM, UNIDENTIFIED_FROM, 6, 6]
