from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from sparsight.app.track_compare import compare
from sparsight.app.track_run import track_source
from sparsight.track import formats, motchallenge
from sparsight.track.metrics import evaluate, pyppbox

pytestmark = pytest.mark.real

SEQUENCES = ("PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte", "ETH-Sunnyday", "KITTI-13")


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The official code, see the tests of the metrics."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "track" / "metrics"))
    import eval_reference

    return eval_reference


def test_agrees_with_the_official_code_on_every_sequence(assets: Path, tmp_path: Path, reference) -> None:  # type: ignore[no-untyped-def]
    results, files, lengths = tmp_path / "results", {}, {}
    for name in SEQUENCES:
        folder = assets / "mot" / name
        track_source(str(folder / "det_frcnn" / "det.txt"), results / name)
        files[name] = folder / "gt" / "gt.txt", results / name / "tracks.txt"
        lengths[name] = motchallenge.read_info(folder).length
    theirs = reference.official(tmp_path / "official", files, lengths, "MOT15")
    ours = evaluate(assets / "mot", results)
    assert list(ours["sequences"]) == sorted(SEQUENCES)
    for name in SEQUENCES:
        reference.assert_agrees(ours["sequences"][name], theirs[name])
    reference.assert_agrees({key: ours[key] for key in reference.NAMES}, theirs["COMBINED_SEQ"])


@pytest.mark.parametrize("name", SEQUENCES)
def test_agrees_where_the_result_is_the_truth_or_overlaps_itself(
    assets: Path,
    tmp_path: Path,
    reference,  # type: ignore[no-untyped-def]
    name: str,
) -> None:
    """The truth itself, and the truth twice over: every match then ties with others."""
    gt = assets / "mot" / name / "gt" / "gt.txt"
    length = motchallenge.read_info(assets / "mot" / name).length
    rows = motchallenge.read(gt)
    table = np.column_stack((rows.frame, rows.id, rows.xywh))
    twice = table.copy()
    twice[:, 1] += 10000
    twice[:, 2:4] += 3
    results = {
        "same": reference.write_rows(tmp_path / "same.txt", table),
        "twice": reference.write_rows(tmp_path / "twice.txt", np.concatenate((table, twice))),
    }
    for kind, path in results.items():
        theirs = reference.official(tmp_path / kind, {name: (gt, path)}, {name: length}, "MOT15")[name]
        reference.assert_agrees(evaluate(gt, path), theirs)


@pytest.mark.parametrize("preset", ["pyppbox3", "pyppbox4"])
def test_posetreid_file_offline_and_online(assets: Path, preset: str) -> None:
    """Of 1201 people, 7 are called Unknown and everybody's box is exact."""
    gt, result = (assets / "posetreid" / name for name in ("gta.mp4.txt", "result_gta.mp4.txt"))
    expected = {"wrong": 7, "missed": 0, "fault": 0, "total": 1201, "score": 1194 / 1201}
    offline = pyppbox.evaluate(gt, result, preset=preset, spread=5)
    assert {name: offline[name] for name in expected} == expected
    assert offline["own_score"] == 1194 / 1201

    online = pyppbox.Online.on(gt, preset=preset)
    assert online.spread == 16
    people = pyppbox.people(formats.read(result))
    for frame in range(int(people.frame[-1]) + 1):
        here = people.frame == frame
        online.update(frame, people.xyxy[here], people.name[here])
    assert {name: online.tally.as_dict()[name] for name in expected} == expected

    folder = pyppbox.evaluate(assets / "posetreid", assets / "posetreid", preset=preset)
    assert folder["sequences"] == {"gta.mp4": offline}


@pytest.mark.parametrize("name", ["gta.mp4.txt", "result_gta.mp4.txt"])
def test_posetreid_files_come_back_unchanged(assets: Path, tmp_path: Path, name: str) -> None:
    source = assets / "posetreid" / name
    formats.convert(source, tmp_path / "again.txt", "pyppbox")
    formats.convert(source, tmp_path / "table.csv", "csv")
    formats.convert(tmp_path / "table.csv", tmp_path / "back.txt", "pyppbox")
    assert (tmp_path / "again.txt").read_bytes() == source.read_bytes()
    assert (tmp_path / "back.txt").read_bytes() == source.read_bytes()
    through = ("mot", "kitti", "csv", "mot")
    for before, after in itertools.pairwise(enumerate(("", *through))):
        path = source if before[0] == 0 else tmp_path / f"{before[0]}.txt"
        formats.convert(path, tmp_path / f"{after[0]}.txt", after[1])
    assert (tmp_path / "4.txt").read_bytes() == (tmp_path / "1.txt").read_bytes()


@pytest.mark.parametrize("name", SEQUENCES)
def test_benchmark_files_keep_every_number(assets: Path, tmp_path: Path, name: str) -> None:
    for source in sorted((assets / "mot" / name).glob("*/*.txt")):
        formats.convert(source, tmp_path / "table.csv", "csv")
        formats.convert(tmp_path / "table.csv", tmp_path / "back.txt", "mot")
        np.testing.assert_array_equal(
            np.loadtxt(tmp_path / "back.txt", delimiter=","), np.loadtxt(source, delimiter=",")
        )


def test_the_shared_ground_truth_can_be_compared_on(assets: Path) -> None:
    """PoseTReID's folder as it is: a map, names, two rows of somebody who stands in the frame already."""
    found = compare(
        assets / "posetreid", detectors=["groundtruth"], trackers=["sort", "bytetrack"], reids=["none"]
    )
    assert [one.sequence for one in found] == ["gta.mp4", None] * 2
    for one in found:
        assert one.hota > 0.85 and one.idf1 > 0.85
        assert one.score is not None and 0.7 < one.score < 1
