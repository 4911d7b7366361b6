"""What may be evaluated, and what is refused with a sentence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trackeval
from eval_reference import crowd, write_rows

from sparsight import SparsightError
from sparsight.track import boxes, motchallenge
from sparsight.track.metrics import evaluate
from sparsight.track.metrics.labels import identified, load
from sparsight.track.metrics.preprocessing import BENCHMARKS, Rules, counted

ROW = [1, 1, 10, 10, 20, 40]


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    for metric, values in a.items():
        for field, value in values.items():
            np.testing.assert_array_equal(value, b[metric][field], err_msg=field)


def test_paths_arrays_and_rows_come_to_the_same(tmp_path: Path) -> None:
    truth, result = crowd(np.random.default_rng(0), 20, 8)
    gt, pred = write_rows(tmp_path / "gt.txt", truth), write_rows(tmp_path / "pred.txt", result)
    values = evaluate(gt, pred)
    same(values, evaluate(str(gt), str(pred)))
    same(values, evaluate(truth, result))
    same(values, evaluate(truth.tolist(), result.tolist()))
    same(values, evaluate(motchallenge.read(gt), motchallenge.read(pred)))
    shuffled = np.random.default_rng(1).permutation(len(truth))
    order = shuffled[np.argsort(truth[shuffled, 1], kind="stable")]
    again = evaluate(truth[order], result)
    assert again["clear"]["MOTA"] == values["clear"]["MOTA"]
    assert again["hota"]["HOTA"] == pytest.approx(values["hota"]["HOTA"])
    from_zero = evaluate(truth - np.eye(6)[0], result - np.eye(6)[0])
    same(values, from_zero)
    same(values, evaluate((truth - np.eye(6)[0]).tolist(), (result - np.eye(6)[0]).tolist()))
    assert set(evaluate(truth, result, ["clear"])) == {"clear"}


def test_ground_truth_marked_0_does_not_count() -> None:
    truth = np.array([[*ROW, 1], [2, *ROW[1:], 0]], float)
    assert evaluate(truth, np.array([ROW], float))["clear"]["MOTA"] == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 1, 0, 0, 5]], "shape"),
        ([ROW, [1, 1, 9, 9, 5, 5]], "row 1: the identity 1 stands in this frame already, in row 0"),
        ([ROW, [2, -1, 9, 9, 5, 5]], "row 1: expected an identity"),
        ([[1, 1, 0, 0, -5, 5]], "row 0: expected a width"),
        ([ROW, [1.5, 2, 0, 0, 5, 5]], "row 1: expected a frame number"),
        ([ROW, [-1, 2, 0, 0, 5, 5]], "row 1: expected a frame number"),
        ([ROW, [1, 2.5, 0, 0, 5, 5]], "row 1: expected a whole number"),
        ([[1, 1, np.nan, 0, 5, 5]], "finite"),
        ("nowhere.txt", "nowhere.txt cannot be read"),
        (3.0, "shape"),
        ({}, "neither a file nor an array"),
    ],
)
def test_refuses_bad_tables(rows: Any, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        evaluate([ROW], rows)
    with pytest.raises(SparsightError, match=said):
        evaluate(rows, [ROW])


def test_an_identity_twice_in_a_frame_is_told_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "pred.txt"
    path.write_text("2,5,0,0,5,5,1,-1,-1,-1\n1,7,0,0,5,5,1,-1,-1,-1\n\n2,5,9,9,5,5,1,-1,-1,-1\n")
    with pytest.raises(SparsightError, match=r"pred\.txt, line 4: the identity 5 .* in line 1"):
        evaluate([ROW], path)


def test_frames_behind_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gt = tmp_path / "SEQ" / "gt" / "gt.txt"
    gt.parent.mkdir(parents=True)
    gt.write_text("1,1,10,10,20,40,1,-1,-1,-1\n")
    pred = tmp_path / "SEQ.txt"
    pred.write_text("1,1,10,10,20,40,1,-1,-1,-1\n3,1,10,10,20,40,1,-1,-1,-1\n")
    with caplog.at_level(logging.WARNING):
        assert evaluate(gt, pred)["clear"]["CLR_FP"] == 1
    assert "goes on to frame 3" in caplog.text
    (tmp_path / "SEQ" / "seqinfo.ini").write_text(
        "[Sequence]\nname=SEQ\nframeRate=10\nseqLength=2\nimWidth=100\nimHeight=100\n"
    )
    with pytest.raises(SparsightError, match=r"SEQ\.txt, line 2: frame 3 lies behind the end"):
        evaluate(gt, pred)
    with pytest.raises(SparsightError, match="behind the end"):
        evaluate(tmp_path, tmp_path)
    assert evaluate(gt, pred, length=4)["clear"]["CLR_Frames"] == 4


def test_folders(tmp_path: Path) -> None:
    gt, pred = tmp_path / "gt", tmp_path / "pred"
    for folder in (gt, pred):
        folder.mkdir()
    with pytest.raises(SparsightError, match="holds no ground truth"):
        evaluate(gt, pred)
    for name in ("a", "b"):
        write_rows(gt / f"{name}.txt", np.array([ROW], float))
    write_rows(pred / "a.txt", np.array([ROW], float))
    write_rows(pred / "c.txt", np.array([ROW], float))
    with pytest.raises(SparsightError, match=r"no result for b: expected b\.txt, found a\.txt, c\.txt"):
        evaluate(gt, pred)
    (pred / "b").mkdir()
    write_rows(pred / "b" / "tracks.txt", np.array([ROW], float))
    assert evaluate(gt, pred)["clear"]["MOTA"] == 1
    with pytest.raises(SparsightError, match="is a folder"):
        evaluate(gt, pred / "a.txt")
    with pytest.raises(SparsightError, match="is a folder"):
        evaluate(gt / "a.txt", pred)


def test_unknown_names() -> None:
    with pytest.raises(SparsightError, match="did you mean 'hota'"):
        evaluate([ROW], [ROW], ["hotta"])
    with pytest.raises(SparsightError, match="no benchmark called 'mot99'"):
        evaluate([ROW], [ROW], benchmark="mot99")


def test_reports_in_ignore_regions_are_taken_out() -> None:
    """As in trackeval's KITTI: unmatched reports of which more than half lies in a region."""
    rng = np.random.default_rng(0)
    truth, result = crowd(rng, 12, 10)
    region = np.column_stack(
        (np.arange(1, 13), np.full(12, 999), rng.uniform(0, 300, (12, 2)), np.full((12, 2), 250.0))
    )
    kind = np.concatenate((np.ones(len(truth)), np.full(12, 13)))
    rows = np.column_stack((np.concatenate((truth, region)), np.ones(len(kind)), kind, np.ones(len(kind))))
    sides = identified(load(rows, "truth")), identified(load(result, "result"))
    pairs, _, left = counted(12, *sides, Rules((1,), (), (13,)))
    assert 0 < (~left).sum() < len(left)
    all_left = counted(12, *sides, Rules((1,), (), ()))[2]
    assert all_left.all()

    frames = sides[1].frame
    gone = []
    for frame in range(12):
        here = (frames == frame).nonzero()[0]
        box = sides[1].xyxy[here]
        people = truth[truth[:, 0] == frame + 1, 2:6]
        people[:, 2:] += people[:, :2]
        similarity = boxes.iou(people[:, None], box)
        matched = set()
        from scipy.optimize import linear_sum_assignment

        similarity[similarity < 0.5] = 0
        for r, c in zip(*linear_sum_assignment(-similarity), strict=True):
            if similarity[r, c] > 0:
                matched.add(c)
        area = region[frame, None, 2:6].copy()
        area[:, 2:] += area[:, :2]
        inside = trackeval.datasets.Kitti2DBox._calculate_box_ious(
            box, area, box_format="x0y0x1y1", do_ioa=True
        )[:, 0]
        gone += [here[c] for c in range(len(here)) if c not in matched and inside[c] > 0.5]
    assert sorted((~left).nonzero()[0].tolist()) == sorted(gone)
    assert len(pairs.result) == len(result) - len(gone)


def test_kitti_labels_count_pedestrians_and_ignore_regions(tmp_path: Path) -> None:
    tail = "-1 -1 -1 -1000 -1000 -1000 -10"
    gt = tmp_path / "gt.txt"
    gt.write_text(
        f"0 1 Pedestrian 0 0 0 10 10 30 50 {tail}\n"
        f"0 2 Car 0 0 0 100 10 150 50 {tail}\n"
        f"0 -1 DontCare -1 -1 -10 200 0 300 100 {tail}\n"
        f"0 -1 DontCare -1 -1 -10 300 0 400 100 {tail}\n"
    )
    pred = tmp_path / "pred.txt"
    pred.write_text(
        f"0 7 Pedestrian -1 -1 -10 10 10 30 50 {tail} 0.9\n"
        f"0 8 Pedestrian -1 -1 -10 220 10 240 50 {tail} 0.8\n"
    )
    values = evaluate(gt, pred)["clear"]
    assert (values["CLR_TP"], values["CLR_FN"], values["CLR_FP"]) == (1, 0, 0)
    assert "kitti" in BENCHMARKS
