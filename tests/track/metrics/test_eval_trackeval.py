"""Agreement with the official code, on made-up sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eval_reference import assert_agrees, crowd, official, on_rows, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.track.metrics import evaluate, matching
from sparsight.track.metrics.identity import score as identity_score
from sparsight.track.metrics.matching import beyond_doubt, largest_total
from sparsight.track.metrics.pairs import Side, compare, numbered


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 30),
    people=st.integers(1, 40),
    noise=st.sampled_from((0.5, 4.0, 15.0)),
)
def test_agrees_on_random_crowds(seed: int, frames: int, people: int, noise: float) -> None:
    truth, result = crowd(np.random.default_rng(seed), frames, people, noise=noise)
    ours = evaluate(truth, result, length=frames)
    assert_agrees(ours, on_rows(truth, result, frames))


BOXES = st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@st.composite
def small_rows(draw: st.DrawFn) -> np.ndarray:
    """Few boxes with small whole coordinates: everything ties with everything."""
    rows = []
    for frame in range(1, draw(st.integers(1, 5)) + 1):
        ids = draw(st.lists(st.integers(0, 4), unique=True, max_size=5))
        rows += [(frame, number, *draw(BOXES)) for number in ids]
    return np.array(rows, float).reshape(-1, 6)


@settings(max_examples=200, deadline=None)
@given(truth=small_rows(), result=small_rows())
def test_agrees_where_boxes_tie_and_frames_are_empty(truth: np.ndarray, result: np.ndarray) -> None:
    assert_agrees(evaluate(truth, result, length=6), on_rows(truth, result, 6))


@pytest.mark.parametrize("part", [1, 5, 64])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_part_by_part(seed: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long sequences are gone through in parts of whole frames, also where one frame is more than a part."""
    monkeypatch.setattr(matching, "_PART", part)
    truth, result = crowd(np.random.default_rng(seed), 25, 20, noise=12.0)
    assert_agrees(evaluate(truth, result, length=25), on_rows(truth, result, 25))


def test_whole_frames_are_solved_again_when_anything_in_them_goes_on_differently() -> None:
    """Pairs without a rival count where a frame is solved as a whole: ties fall as the official code's."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        frames = np.repeat(np.arange(1, 7), 4)
        ids = np.tile(np.arange(4), 6)
        x = np.tile([0.0, 1, 1, 40], 6)
        truth = np.column_stack((frames, ids, x, np.zeros(24), np.full(24, 6.0), np.full(24, 6.0)))
        result = truth.copy()
        result[:, 2] += rng.integers(-1, 2, 24)
        result[:, 1] = np.concatenate([rng.permutation(4) for _ in range(6)])
        result = result[rng.random(24) < 0.85]
        assert_agrees(evaluate(truth, result, length=6), on_rows(truth, result, 6))


def test_numbers_whose_sum_is_infinite_are_numbers() -> None:
    """Finite rows are not refused because adding them up overflows."""
    rows = np.array([[frame, 0, 1e308, 0, 5, 5] for frame in (1, 2)])
    values = evaluate(rows, np.array([[1, 0, 0, 0, 5, 5.0]]), metrics=("identity",))
    assert values["identity"]["IDFN"] == 2


@pytest.mark.parametrize("benchmark", ["MOT17", "MOT20"])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_on_files_with_distractors(tmp_path: Path, benchmark: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = 25
    files, lengths = {}, {}
    for name in ("a", "b"):
        truth, result = crowd(rng, frames, 15)
        kind = rng.choice((1, 1, 1, 1, 2, 3, 6, 7, 8, 12), 15)
        lines = [
            f"{row[0]:.0f},{row[1]:.0f},{','.join(map(repr, row[2:6].tolist()))},"
            f"{int(rng.random() < 0.9)},{kind[int(row[1])]},{rng.random():.3f}\n"
            for row in truth
        ]
        path = tmp_path / f"{name}_gt.txt"
        path.write_text("".join(lines))
        files[name] = path, write_rows(tmp_path / f"{name}.txt", result)
        lengths[name] = frames
    theirs = official(tmp_path / "official", files, lengths, benchmark)
    for name, (path, result_path) in files.items():
        assert_agrees(evaluate(path, result_path, benchmark=benchmark.lower(), length=frames), theirs[name])
    ours = evaluate(
        tmp_path / "official" / "gt",
        tmp_path / "official" / "trackers" / "mine" / "data",
        benchmark=benchmark.lower(),
        length=frames,
    )
    assert set(ours["sequences"]) == {"a", "b"}
    assert_agrees({name: ours[name] for name in ("hota", "clear", "identity")}, theirs["COMBINED_SEQ"])


def test_people_who_can_hardly_be_seen_are_treated_as_distractors(tmp_path: Path) -> None:
    truth, result = crowd(np.random.default_rng(5), 20, 12)
    seen = np.random.default_rng(6).random(len(truth))
    report = write_rows(tmp_path / "result.txt", result)
    rows = zip(truth.tolist(), seen.tolist(), strict=True)
    lines = [(",".join(map(repr, (int(r[0]), int(r[1]), *r[2:]))), share) for r, share in rows]
    by_visibility, by_class = tmp_path / "visibility.txt", tmp_path / "class.txt"
    by_visibility.write_text("".join(f"{line},1,1,{share:.6f}\n" for line, share in lines))
    by_class.write_text("".join(f"{line},1,{8 if share < 0.3 else 1},{share:.6f}\n" for line, share in lines))
    theirs = official(tmp_path / "official", {"a": (by_class, report)}, {"a": 20}, "MOT17")
    assert_agrees(evaluate(by_visibility, report, visibility=0.3, length=20), theirs["a"])
    assert evaluate(by_visibility, report)["clear"]["CLR_FN"] != theirs["a"]["clear"]["CLR_FN"]


def brute_force(gain: np.ndarray) -> int:
    """The largest total, by trying every choice."""
    if not gain.size:
        return 0
    rest = brute_force(gain[1:])
    picks = [
        gain[0, column] + brute_force(np.delete(gain[1:], column, axis=1)) for column in range(gain.shape[1])
    ]
    return max(rest, *picks)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 6), min_size=width, max_size=width), min_size=1, max_size=5
        )
    )
)
def test_largest_total_is_what_trying_everything_finds(table: list[list[int]]) -> None:
    gain = np.array(table)
    row, column = gain.nonzero()
    assert largest_total(row, column, gain[row, column]) == brute_force(gain)
    sure, open_ = beyond_doubt(row, column, gain[row, column], 0)
    assert len(set(row[sure])) == len(sure) == len(set(column[sure]))
    assert not set(sure.tolist()) & set(open_.tolist())


def test_many_identities_need_little_memory() -> None:
    """27,000 reported identities beside 2,000 true ones: a dense matrix of both together takes 6.7 GB."""
    rng = np.random.default_rng(0)
    count = 60000
    frame = np.repeat(np.arange(count // 20), 20)
    place = np.tile(np.arange(20) * 100, count // 20)[:, None] + np.array([0, 0, 50, 50])
    truth = Side(frame, rng.permuted(np.tile(np.arange(2000), count // 2000)), place.astype(float))
    result = Side(frame, numbered(np.arange(count) % 27000), place + 1.0)
    values = identity_score(compare(count // 20, truth, result))
    assert values["IDTP"] + values["IDFN"] == count
    assert 0 < values["IDTP"] <= 2000 * 3
