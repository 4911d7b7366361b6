from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.track.metrics import evaluate
from sparsight.track.metrics.evaluation import compare_sources
from sparsight.track.metrics.longterm import (
    Returns,
    cross_camera,
    cumulative_matching,
    curve,
    returns,
)


def rows(stays: list[tuple[int, int, int]], *, y: float = 0.0) -> np.ndarray:
    """Rows of ``(identity, first frame, last frame)``, each identity's box at a place of its own."""
    return np.array(
        [
            (frame, number, 100 * (number % 10), y, 50, 80)
            for number, first, last in stays
            for frame in range(first, last + 1)
        ],
        float,
    )


def test_returns_of_people() -> None:
    truth = rows([(1, 1, 10), (1, 20, 30), (1, 41, 50), (2, 1, 5), (2, 16, 30), (3, 5, 50)])
    # 1 is 11 until frame 30 and 21 from 41 on; 2 is reported only when it returns; 3 never leaves.
    result = rows([(11, 1, 10), (11, 20, 30), (21, 41, 50), (12, 16, 30), (13, 5, 50)])
    found = returns(compare_sources(truth, result))
    assert found.gap.tolist() == [9, 10]
    assert found.kept.tolist() == [True, False]
    values = evaluate(truth, result, ["longterm"])["longterm"]
    assert (values["LT_Returns"], values["LT_Kept"], values["LT_Acc"]) == (2, 1, 0.5)


def test_a_stay_nobody_reported_breaks_no_chain_and_is_not_kept() -> None:
    truth = rows([(1, 1, 10), (1, 20, 30), (1, 41, 50)])
    found = returns(compare_sources(truth, rows([(1, 1, 10), (1, 41, 50)])))
    assert found.gap.tolist() == [9, 10]
    assert found.kept.tolist() == [False, True]
    assert len(returns(compare_sources(truth, rows([(1, 41, 50)])))) == 0
    assert len(returns(compare_sources(truth[:0], rows([(1, 41, 50)])))) == 0


def test_the_commonest_identity_of_a_stay_counts() -> None:
    truth = rows([(1, 1, 10), (1, 20, 30)])
    result = rows([(11, 1, 6), (21, 7, 10), (21, 20, 23), (11, 24, 30)])
    assert returns(compare_sources(truth, result)).kept.tolist() == [True]


def test_curve_over_seconds() -> None:
    found = Returns(np.array([5, 25, 50, 250]), np.array([True, True, False, True]))
    share, count = curve(found, np.array([0, 1, 2, 10, 11]), 25)
    assert count.tolist() == [4, 3, 2, 1, 0]
    assert share[:4].tolist() == [0.75, 2 / 3, 0.5, 1.0]
    assert np.isnan(share[4])
    with pytest.raises(SparsightError, match="fps"):
        curve(found, np.array([0]), 0)


def test_combined_returns_are_those_of_all_sequences(tmp_path: Path) -> None:
    for name, there in (("a", 11), ("b", 21)):
        for side, table in (
            ("gt", rows([(1, 1, 10), (1, 20, 30)])),
            ("pred", rows([(11, 1, 10), (there, 20, 30)])),
        ):
            (tmp_path / side).mkdir(exist_ok=True)
            np.savetxt(tmp_path / side / f"{name}.txt", table, "%d", ",")
    values = evaluate(tmp_path / "gt", tmp_path / "pred", ["longterm"])
    assert values["longterm"]["LT_Acc"] == 0.5
    assert values["longterm"]["LT_Gap"].tolist() == [9, 9]
    assert [values["sequences"][name]["longterm"]["LT_Kept"] for name in "ab"] == [1, 0]


def test_identity_over_cameras() -> None:
    """Right on each camera alone, but one of two people has another number on the second."""
    truth = rows([(1, 1, 10), (2, 1, 10)])
    same, other = rows([(11, 1, 10), (12, 1, 10)]), rows([(11, 1, 10), (22, 1, 10)])
    assert cross_camera([(truth, same), (truth, same)])["IDF1"] == 1
    assert evaluate(truth, other)["identity"]["IDF1"] == 1
    values = cross_camera([(truth, same), (truth, other)])
    assert (values["IDTP"], values["IDFN"], values["IDFP"]) == (30, 10, 10)
    assert cross_camera([(truth, same)])["IDF1"] == evaluate(truth, same)["identity"]["IDF1"]
    with pytest.raises(SparsightError, match="no cameras"):
        cross_camera([])


def test_identity_over_cameras_goes_by_names(tmp_path: Path) -> None:
    """The files list people in different order: numbers made from that order would not do."""
    box = {"Ann": "[0 0 9 9]\t[0 0 9 9]", "Bob": "[50 50 9 9]\t[50 50 59 59]"}
    files = []
    for name, order in (("a.txt", ("Ann", "Bob")), ("b.txt", ("Bob", "Ann"))):
        files.append(tmp_path / name)
        files[-1].write_text("".join(f"0\t(1, 1)\t{who}\t{box[who]}\n" for who in order))
    assert cross_camera([(path, path) for path in files])["IDF1"] == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cameras=st.booleans())
def test_cumulative_matching_follows_its_definition(seed: int, cameras: bool) -> None:
    rng = np.random.default_rng(seed)
    queries, entries = rng.integers(1, 8), rng.integers(1, 12)
    query, gallery = rng.integers(0, 4, queries), rng.integers(0, 4, entries)
    query_camera, gallery_camera = rng.integers(0, 2, queries), rng.integers(0, 2, entries)
    distance = rng.permutation(queries * entries).reshape(queries, entries).astype(float)
    firsts, precisions = [], []
    for place in range(queries):
        row = [
            gallery[entry] == query[place]
            for entry in np.argsort(distance[place])
            if not (
                cameras and gallery[entry] == query[place] and gallery_camera[entry] == query_camera[place]
            )
        ]
        if any(row):
            firsts.append(row.index(True) + 1)
            hits = [rank for rank, right in enumerate(row, 1) if right]
            precisions.append(np.mean([(n + 1) / rank for n, rank in enumerate(hits)]))
    known = {"query_camera": query_camera, "gallery_camera": gallery_camera} if cameras else {}
    if not firsts:
        with pytest.raises(SparsightError, match="nothing to rank"):
            cumulative_matching(distance, query, gallery, **known)
        return
    values = cumulative_matching(distance, query, gallery, **known)
    assert values["queries"] == len(firsts)
    assert values["mAP"] == pytest.approx(np.mean(precisions), abs=1e-12)
    for rank in (1, 5, 10):
        assert values[f"rank{rank}"] == pytest.approx(np.mean([first <= rank for first in firsts]))


def test_cumulative_matching_refuses_what_does_not_fit() -> None:
    one = np.zeros(1, int)
    for distance, more, said in (
        (np.zeros((2, 1)), {}, "shape"),
        (np.full((1, 1), np.nan), {}, "NaN"),
        (np.zeros((1, 1)), {"query_camera": one}, "both or neither"),
    ):
        with pytest.raises(SparsightError, match=said):
            cumulative_matching(distance, one, one, **more)
