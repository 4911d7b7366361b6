"""PoseTReID's scores, against their definitions followed word by word."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.track import formats
from sparsight.track.metrics import pyppbox
from sparsight.track.metrics.pyppbox import Online, People, count

Row = tuple[int, tuple[int, ...], str]


def people(rows: list[Row]) -> People:
    rows = sorted(rows, key=lambda row: row[0])
    return People(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], float).reshape(-1, 4),
        np.array([row[2].lower() for row in rows], str),
    )


def difference(a: Row, b: Row) -> int:
    return max(abs(x - y) for x, y in zip(a[1], b[1], strict=True))


def third_series(truth: list[Row], result: list[Row], spread: float) -> tuple[int, int, int]:
    """wrong, missed, fault of one frame."""
    wrong = missed = fault = 0
    if len(truth) >= len(result):
        missed += len(truth) - len(result)
        checked = result
    else:
        fault += len(result) - len(truth)
        checked = result[: len(truth)]
    for one in checked:
        nearest = min(truth, key=lambda row: difference(row, one))
        if difference(nearest, one) > spread:
            fault += 1
        elif nearest[2].lower() != one[2].lower():
            wrong += 1
    return wrong, missed, fault


def release_four(truth: list[Row], result: list[Row], spread: float) -> tuple[int, int, int]:
    """wrong (the least of equally good assignments), missed and fault of one frame."""
    best: tuple[int, int] = (0, 0)
    fewest = 0
    for size in range(1, min(len(truth), len(result)) + 1):
        for rows in itertools.combinations(range(len(truth)), size):
            for columns in itertools.permutations(range(len(result)), size):
                pairs = [(truth[r], result[c]) for r, c in zip(rows, columns, strict=True)]
                costs = [difference(a, b) for a, b in pairs]
                if max(costs) > spread:
                    continue
                wrong = sum(a[2].lower() != b[2].lower() for a, b in pairs)
                rank = size, -sum(costs)
                if (*rank, -wrong) > (*best, -fewest):
                    best, fewest = rank, wrong
    return fewest, len(truth) - best[0], len(result) - best[0]


@st.composite
def some_people(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for frame in draw(st.lists(st.integers(0, 3), max_size=8)):
        x, y, w, h = (draw(st.integers(0, most)) for most in (9, 9, 4, 4))
        rows.append((frame, (x, y, x + w, y + h), draw(st.sampled_from(("Ann", "ann", "Bob", "Unknown")))))
    return sorted(rows, key=lambda row: row[0])


def by_frame(rows: list[Row]) -> dict[int, list[Row]]:
    return {frame: [row for row in rows if row[0] == frame] for frame in range(4)}


@settings(max_examples=120, deadline=None)
@given(truth=some_people(), result=some_people(), spread=st.integers(0, 6))
def test_counts_as_defined(truth: list[Row], result: list[Row], spread: int) -> None:
    true_rows, result_rows = by_frame(truth), by_frame(result)

    expected = [third_series(true_rows[frame], result_rows[frame], spread) for frame in range(4)]
    tally = count(people(truth), people(result), preset="pyppbox3", spread=spread)
    assert (tally.wrong, tally.missed, tally.fault) == tuple(map(sum, zip(*expected, strict=True)))

    tally = count(people(truth), people(result), preset="pyppbox4", spread=spread)
    frames = [release_four(true_rows[frame], result_rows[frame], spread) for frame in range(4)]
    assert tally.missed == sum(missed for _, missed, _ in frames)
    assert tally.fault == tally.stray == sum(fault for _, _, fault in frames)
    assert tally.wrong == sum(wrong for wrong, _, _ in frames)
    assert tally.total == len(truth)
    assert tally.right == len(truth) - tally.missed - tally.wrong


@settings(max_examples=50, deadline=None)
@given(truth=some_people(), result=some_people(), preset=st.sampled_from(sorted(pyppbox.PRESETS)))
def test_online_comes_to_what_offline_does(truth: list[Row], result: list[Row], preset: str) -> None:
    online = Online(people(truth), preset, 5)
    for frame, rows in by_frame(result).items():
        part = people(rows)
        online.update(frame, part.xyxy, part.name)
    assert online.tally == count(people(truth), people(result), preset=preset, spread=5)


def test_blocks_of_frames_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def some(size: int) -> People:
        box = rng.integers(0, 60, (size, 4)).astype(float)
        return People(np.sort(rng.integers(0, 50, size)), box, rng.choice(["a", "b", "c"], size))

    truth, result = some(400), some(380)
    whole = [count(truth, result, preset=preset, spread=12) for preset in sorted(pyppbox.PRESETS)]
    monkeypatch.setattr(pyppbox, "_BLOCK", 100)
    assert [count(truth, result, preset=preset, spread=12) for preset in sorted(pyppbox.PRESETS)] == whole


BOX = "[10 20 30 40]\t[10 20 40 60]"


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(row + "\n" for row in rows))
    return path


def test_files_and_folders(tmp_path: Path) -> None:
    gt = write(tmp_path / "a.txt", [f"0\t(25, 30)\tAnn\t{BOX}", f"1\t(25, 30)\tAnn\t{BOX}"])
    result = write(
        tmp_path / "result_a.txt",
        [f"0\t(25, 30)\tUnknown\tANN\t{BOX}", f"2\t(25, 30)\tUnknown\tAnn\t{BOX}"],
    )
    expected = {"wrong": 0, "missed": 1, "fault": 1, "total": 2, "score": 0.5, "own_score": 1 / 3}
    assert pyppbox.evaluate(gt, result) == expected
    (tmp_path / "gt_map.txt").write_text("a.mp4:a.txt\n")
    values = pyppbox.evaluate(tmp_path, tmp_path)
    assert values["sequences"] == {"a.mp4": expected}
    assert {name: values[name] for name in expected} == expected


def test_boxes_are_the_corners_that_the_file_says(tmp_path: Path) -> None:
    """The third box is wider by its corners than by its width: what counts is the corners."""
    gt = write(tmp_path / "gt.txt", ["0\t(1, 1)\tAnn\t[ 0  0 10 10]\t[ 0  0 16 10]"])
    result = write(tmp_path / "result.txt", ["0\t(1, 1)\tAnn\tUnknown\t[0 0 16 10]\t[ 0  0 16 10]"])
    assert pyppbox.evaluate(gt, result, spread=0)["score"] == 1
    table = formats.read(gt)
    assert table.columns["right"].tolist() == [16]
    formats.write(tmp_path / "again.txt", table, "pyppbox")
    assert (tmp_path / "again.txt").read_bytes() == gt.read_bytes()


def test_bad_input(tmp_path: Path) -> None:
    gt = write(tmp_path / "gt.txt", [f"0\t(25, 30)\tAnn\t{BOX}"])
    empty = write(tmp_path / "empty.txt", [])
    wanted: list[tuple[Any, str]] = [
        (lambda: pyppbox.evaluate(gt, gt, preset="pyppbox5"), "did you mean"),
        (lambda: pyppbox.evaluate(gt, gt, spread=-1), "spread is -1, but it must be a number of pixels"),
        (lambda: pyppbox.evaluate(gt, gt, spread=math.nan), "spread is nan, but"),
        (lambda: pyppbox.evaluate(gt, gt, spread=math.inf), "spread is inf, but"),
        (lambda: Online.on(gt, spread=math.inf), "spread is inf, but"),
        (lambda: pyppbox.evaluate(empty, gt), "holds nobody"),
        (lambda: pyppbox.evaluate(gt, tmp_path), "is a folder"),
        (lambda: Online.on(gt, preset="none"), "no preset"),
    ]
    for call, said in wanted:
        with pytest.raises(SparsightError, match=said):
            call()
    online = Online.on(gt)
    assert math.isnan(online.tally.score)
    online.update(3, np.zeros((0, 4)), [])
    with pytest.raises(SparsightError, match="frames in order"):
        online.update(3, np.zeros((0, 4)), [])
    with pytest.raises(SparsightError, match="1 boxes but 0 names"):
        online.update(4, np.zeros((1, 4)), [])
