"""What an evaluation says of files that do not quite belong together, and of columns that say nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_reference import assert_agrees, crowd, official, write_rows

from sparsight import SparsightError
from sparsight.track.metrics import evaluate, pyppbox
from sparsight.track.metrics.evaluation import frame_rates
from sparsight.track.motchallenge import read

BOX = "[10 20 30 40]\t[10 20 40 60]"


@pytest.mark.parametrize("kind", [-1, 0])
def test_nine_columns_that_name_no_class_are_scored_as_mot15(tmp_path: Path, kind: int) -> None:
    truth, result = crowd(np.random.default_rng(3), 20, 8)
    report = write_rows(tmp_path / "report.txt", result)
    plain = write_rows(tmp_path / "plain.txt", truth)
    rows = read(plain)
    gt = tmp_path / "gt.txt"
    gt.write_text(
        "".join(
            f"{frame},{who},{x},{y},{w},{h},1,{kind},1\n"
            for frame, who, (x, y, w, h) in zip(
                rows.frame.tolist(), rows.id.tolist(), rows.xywh.tolist(), strict=True
            )
        )
    )
    theirs = official(tmp_path / "official", {"a": (gt, report)}, {"a": 20}, "MOT15")["a"]
    ours = evaluate(gt, report)
    assert ours["clear"]["CLR_TP"] > 0
    assert_agrees(ours, theirs)


def test_no_metric_at_all(tmp_path: Path) -> None:
    gt = write_rows(tmp_path / "gt.txt", np.array([[1, 1, 10, 10, 20, 40]], float))
    with pytest.raises(SparsightError, match="no metrics are named: give one or more of hota, clear"):
        evaluate(gt, gt, [])


def people(path: Path, frames: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{frame}\t(25, 30)\tAnn\t{BOX}\n" for frame in frames))
    return path


@pytest.mark.parametrize(
    ("frames", "told"),
    [(range(100), False), (range(85), False), (range(40), True), (range(0, 100, 2), True), ([], True)],
)
def test_a_result_of_a_part_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, frames: Any, told: bool
) -> None:
    gt, result = people(tmp_path / "gt.txt", range(100)), people(tmp_path / "result.txt", frames)
    with caplog.at_level(logging.WARNING):
        values = pyppbox.evaluate(gt, result)
    assert values["missed"] == 100 - len(frames)
    assert (f"result.txt has people in {len(frames)} of the 100 frames" in caplog.text) == told


def test_results_of_no_sequence_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gt, pred = tmp_path / "gt", tmp_path / "pred"
    people(gt / "a.txt", range(3))
    for file in ("a.txt", "b.txt", "c/tracks.txt", "d/notes.md"):
        people(pred / file, range(3))
    with caplog.at_level(logging.WARNING):
        assert pyppbox.evaluate(gt, pred)["score"] == 1
    assert f"pred also holds b.txt, c, of which {gt} has no ground truth" in caplog.text
    caplog.clear()
    (pred / "b.txt").unlink()
    (pred / "c" / "tracks.txt").unlink()
    with caplog.at_level(logging.WARNING):
        pyppbox.evaluate(gt, pred)
    assert not caplog.text


def test_of_what_watch_wrote_names_are_scored_by_name(tmp_path: Path) -> None:
    gt, pred = tmp_path / "gt", tmp_path / "pred"
    people(gt / "truth.txt", range(3))
    (gt / "gt_map.txt").write_text("hall.mp4:truth.txt\n")
    people(pred / "hall" / "people.txt", range(3))
    (pred / "hall" / "tracks.txt").write_text("".join(f"{f},1,10,20,30,40,1\n" for f in (1, 2, 3)))
    assert pyppbox.evaluate(gt, pred)["score"] == 1
    assert evaluate(gt, pred)["clear"]["MOTA"] == 1
    (pred / "hall" / "people.txt").unlink()
    assert pyppbox.evaluate(gt, pred)["wrong"] == 3


def test_frame_rates(tmp_path: Path) -> None:
    for name, rate in (("a", 7), ("b", 30), ("c", None)):
        people(tmp_path / name / "gt" / "gt.txt", range(3))
        if rate is not None:
            (tmp_path / name / "seqinfo.ini").write_text(
                f"[Sequence]\nname={name}\nframeRate={rate}\nseqLength=3\nimWidth=9\nimHeight=9\n"
            )
    assert frame_rates(tmp_path) == {"a": 7, "b": 30}
    assert frame_rates(tmp_path / "b" / "gt" / "gt.txt") == {None: 30}
    assert frame_rates(tmp_path / "c" / "gt" / "gt.txt") == {}
