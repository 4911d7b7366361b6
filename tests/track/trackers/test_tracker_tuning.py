from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from typer.testing import CliRunner

from sparsight import SparsightError
from sparsight.app import track_compare
from sparsight.app.track_cmd import track_app
from sparsight.app.track_tune_cmd import written
from sparsight.track import build_tracker, sequences, tuning
from sparsight.track.metrics import evaluate
from sparsight.track.trackers import TRACKERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sequences of three people who walk past each other, with detections that come and go."""
    for seed, name in enumerate(("first", "second")):
        rng = np.random.default_rng(seed)
        start, drift = rng.uniform(20, 150, (3, 2)), rng.normal(0, 4, (3, 2))
        place = tmp_path / "set" / name
        for part in ("gt", "det", "img1"):
            (place / part).mkdir(parents=True)
        truth, seen = [], []
        for frame in range(1, 31):
            picture = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
            Pictures.fromarray(picture).save(place / "img1" / f"{frame:06d}.jpg")
            for person, (x, y) in enumerate(start + drift * frame, 1):
                truth.append(f"{frame},{person},{x:.2f},{y:.2f},30,60,1,-1,-1,-1")
                if rng.random() < 0.8:
                    dx, dy = rng.normal(0, 2, 2)
                    seen.append(
                        f"{frame},-1,{x + dx:.2f},{y + dy:.2f},30,60,{rng.uniform(0.3, 1):.2f},-1,-1,-1"
                    )
        (place / "gt" / "gt.txt").write_text("\n".join(truth) + "\n")
        (place / "det" / "det.txt").write_text("\n".join(seen) + "\n")
    return tmp_path / "set"


def ready(folder: Path) -> list[tuple[sequences.LabelledSequence, list[Any]]]:
    return [(one, sequences.detected(one, "det")[0]) for one in sequences.find(folder)]


def test_finds_sequences_by_name(folder: Path) -> None:
    assert [one.name for one in sequences.find(folder)] == ["first", "second"]
    one = sequences.find(folder, ["second"])[0]
    assert (one.length, one.film) == (30, folder / "second" / "img1")
    assert len(list(one.frames())) == 30
    with pytest.raises(SparsightError, match="'second'"):
        sequences.find(folder, ["secnod"])
    with pytest.raises(SparsightError, match="no labelled sequences"):
        sequences.find(folder / "first" / "img1")


def test_a_sequence_without_frames(folder: Path) -> None:
    for picture in (folder / "first" / "img1").iterdir():
        picture.unlink()
    (folder / "first" / "img1").rmdir()
    one = sequences.find(folder)[0]
    assert one.film is None
    with pytest.raises(SparsightError, match="no frames"):
        next(one.frames())
    assert (
        len(sequences.followed(one, sequences.detected(one, "det")[0], build_tracker("sort"), look=True)[0])
        == 30
    )


def test_scores_are_those_of_evaluated_files(folder: Path, tmp_path: Path) -> None:
    results = []
    out = tmp_path / "out"
    out.mkdir()
    for one, found in ready(folder):
        tracks, _ = sequences.followed(one, found, build_tracker("sort"))
        results.append((one, tracks))
        rows = sequences.rows_of(tracks)
        np.savetxt(out / f"{one.name}.txt", rows, delimiter=",", fmt="%.9f")
    ours = sequences.scored(results, ["hota", "identity"])
    wanted = evaluate(folder, out, ["hota", "identity"])
    np.testing.assert_allclose(ours["hota"]["HOTA"], wanted["hota"]["HOTA"], atol=1e-6)
    assert ours["identity"]["IDF1"] == pytest.approx(wanted["identity"]["IDF1"], abs=1e-6)


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_every_tracker_can_be_tuned(name: str, folder: Path) -> None:
    calls: list[int] = []
    result = tuning.tune(name, ready(folder)[:1], trials=3, progress=lambda number, _: calls.append(number))
    assert result.value >= result.default_value > 0
    assert calls == [1, 2, 3]
    assert not set(result.params) & tuning.LOOKS
    build_tracker(name, **result.params)
    # The reported value can be reached again.
    one, found = ready(folder)[0]
    tracks, _ = sequences.followed(one, found, build_tracker(name, **result.params))
    again = sequences.scored([(one, tracks)], ["hota"])["hota"]["HOTA"].mean()
    assert again == pytest.approx(result.value)


def test_the_first_trial_has_the_defaults_and_a_seed_repeats(folder: Path) -> None:
    both = [
        tuning.tune("sort", ready(folder), trials=4, seed=3, objective="IDF1", fixed={"min_hits": 1})
        for _ in range(2)
    ]
    assert both[0] == both[1]
    assert both[0].trials[0][0] == {"max_age": 30, "score": 0.1, "new_score": 0.6, "iou": 0.1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "HOTTA"}, "'HOTA'"),
        ({"trials": 0}, "at least 1"),
        ({"fixed": {"iuo": 0.1}}, "'iou'"),
        ({"fixed": {"iou": 7}}, "iou is 7"),
        ({"fixed": dict.fromkeys(tuning.SPACES["sort"], 1) | {"iou": 0.1, "score": 0}}, "leave one"),
    ],
)
def test_what_cannot_be_tuned(changes: dict[str, Any], said: str, folder: Path) -> None:
    with pytest.raises(SparsightError, match=said):
        tuning.tune("sort", ready(folder)[:1], **changes)
    with pytest.raises(SparsightError, match="at least one"):
        tuning.tune("sort", [])


def test_the_command_writes_what_compare_reads(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "tuned.json"
    said = CliRunner().invoke(
        track_app,
        ["tune", str(folder), "--trials", "2", "--set", "max_age=12", "--json", str(target)],
        catch_exceptions=False,
    )
    assert said.exit_code == 0
    line = said.output.strip().splitlines()[-1]
    assert line.startswith("sort(max_age=12, ")
    values = json.loads(target.read_text())
    assert written("sort", {**values["fixed"], **values["params"]}) == line
    found = track_compare.compare(folder, detectors=["det"], trackers=[line], reids=["none"])
    assert found[-1].hota == pytest.approx(values["value"], abs=0.02)


def test_compares_each_with_each(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        name, dimension, max_distance = "fake", 3, 0.4

        def __call__(self, image: Any, xyxy: np.ndarray) -> np.ndarray:
            return np.tile(np.float32([1, 0, 0]), (len(xyxy), 1))

    monkeypatch.setattr(track_compare, "build_embedder", lambda name, device: Fake())
    found = track_compare.compare(
        folder, detectors=["det"], trackers=["sort", "deepsort(budget=5)"], reids=["none", "fake"]
    )
    assert len(found) == 2 * 2 * 3
    combined = [one for one in found if one.sequence is None]
    assert {(one.tracker, one.reid) for one in combined} == {
        (tracker, reid) for tracker in ("sort", "deepsort(budget=5)") for reid in ("none", "fake")
    }
    for one in combined:
        assert 0 < one.hota <= 1
        assert one.frames_per_second > 0
        assert (one.seconds["identify"] > 0) == (one.reid == "fake")
    page = track_compare.write_report(tmp_path, found, Path("<set>")).read_text()
    assert "deepsort(budget=5)" in page
    assert "<set>" not in page
    assert json.loads(json.dumps(track_compare.as_json(found)))[0]["sequence"] == "first"


def test_compare_refuses_before_it_begins(folder: Path) -> None:
    for tracker, said in (("srot", "'sort'"), ("sort(0.1)", "without its name"), ("sort(iou=2)", "iou is 2")):
        with pytest.raises(SparsightError, match=said):
            track_compare.compare(folder, detectors=["det"], trackers=["sort", tracker], reids=["none"])


def test_the_command_compare(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    said = CliRunner().invoke(
        track_app,
        ["compare", str(folder), "--tracker", "sort", "--tracker", "centroid", "--out", str(out)],
        catch_exceptions=False,
    )
    assert said.exit_code == 0
    assert "centroid" in said.output
    assert {path.name for path in out.iterdir()} == {"comparison.html", "comparison.json"}
