from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scene import ColourDetector, film
from typer.testing import CliRunner, Result

from sparsight import SparsightError
from sparsight.app import track_run
from sparsight.app import watch as watch_module
from sparsight.app.groundtruth import RunningScore
from sparsight.app.track_cmd import track_app
from sparsight.app.watch import WatchOptions, watch
from sparsight.track import motchallenge

PATHS = {"red": lambda t: (20, 10 + t), "green": lambda t: (60, 20 + t / 2)}


def run(*arguments: str | Path) -> Result:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(track_app, list(map(str, arguments)))
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SparsightError):
        raise result.exception
    return result


def refusal(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, SparsightError), result.output
    return str(result.exception)


def truth(path: Path, frames: int) -> Path:
    """Where the squares of the scene are, in PoseTReID's text."""
    lines = []
    for t in range(frames):
        for name, x, y in (("Rita", 20, 10 + t), ("Greta", 60, round(20 + t / 2))):
            lines.append(f"{t}\t({x}, {y})\t{name}\t[{x} {y} 12 24]\t[{x} {y} {x + 12} {y + 24}]\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that sees coloured squares."""
    for module in (track_run, watch_module):
        monkeypatch.setattr(module, "build_detector", lambda name, device: ColourDetector())


@pytest.mark.usefixtures("colours")
def test_run_and_evaluate_a_video(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", PATHS, 40)
    said = run("run", source, "--out", tmp_path / "out").output
    assert "2 tracks in 40 frames" in said
    gt = truth(tmp_path / "gt.txt", 40)
    said = run(
        "eval", "--gt", gt, "--pred", tmp_path / "out" / "tracks.txt", "--json", tmp_path / "v.json"
    ).output
    assert "HOTA" in said and "IDF1" in said
    values = json.loads((tmp_path / "v.json").read_text())
    assert values["identity"]["IDF1"] > 0.98
    assert len(values["hota"]["HOTA"]) == 19
    assert len(motchallenge.read(tmp_path / "out" / "tracks.txt")) > 76

    every = run("run", source, "--every", "2", "--max-frames", "10", "--out", tmp_path / "two").output
    assert "10 frames" in every
    assert set(motchallenge.read(tmp_path / "two" / "tracks.txt").frame % 2) == {1}


def test_run_on_detections_in_a_text_file(tmp_path: Path) -> None:
    source = tmp_path / "det.txt"
    source.write_text("".join(f"{frame},-1,{10 + frame},10,20,40,0.9\n" for frame in range(1, 31)))
    assert "1 tracks in 30 frames" in run("run", source, "--out", tmp_path / "out").output
    assert "did you mean 'sort'" in refusal("run", source, "--tracker", "srt", "--out", tmp_path / "out")
    tracks = tmp_path / "out" / "tracks.txt"
    assert "would be overwritten" in refusal("run", tracks, "--out", tmp_path / "out")
    assert len(motchallenge.read(tracks)) == 30


def rows(path: Path, frames: int, ids: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"{f},{n},{100 * n},{f},20,40,1,-1,-1,-1\n" for f in range(1, frames + 1) for n in ids)
    )
    return path


def test_folders_make_a_table_a_page_and_json(tmp_path: Path) -> None:
    for name in ("a", "<b>"):
        rows(tmp_path / "gt" / name / "gt" / "gt.txt", 10, (1, 2))
        rows(tmp_path / "pred" / f"{name}.txt", 10, (1,) if name == "a" else (1, 2))
    out = tmp_path / "report"
    said = run(
        *("eval", "--gt", tmp_path / "gt", "--pred", tmp_path / "pred", "--out", out),
        *("--metrics", "hota,clear,identity,longterm"),
    ).output
    assert [line.split()[0] for line in said.splitlines()[1:4]] == ["<b>", "a", "together"]
    values = json.loads((out / "evaluation.json").read_text())
    assert values["clear"]["MOTA"] == 0.75
    assert values["sequences"]["a"]["clear"]["MOTA"] == 0.5
    page = (out / "evaluation.html").read_text()
    assert page.count("<svg") == 6
    assert "&lt;b&gt;" in page and "<b>a" not in page
    assert "<script" not in page and "https://" not in page
    assert "IDP" in page and "Frag" in page


def test_presets(tmp_path: Path) -> None:
    gt, result = truth(tmp_path / "gt.txt", 5), tmp_path / "result.txt"
    lines = [line.split("\t") for line in gt.read_text().splitlines()][1:]
    lines[3][2] = "Unknown"
    result.write_text("".join("\t".join([*line[:3], "Unknown", *line[3:]]) + "\n" for line in lines))
    for preset in ("pyppbox3", "pyppbox4"):
        said = run(
            *("eval", "--gt", gt, "--pred", result, "--preset", preset, "--spread", "5"),
            *("--json", tmp_path / "v.json", "--out", tmp_path / "out"),
        ).output
        assert "wrong" in said
        assert json.loads((tmp_path / "v.json").read_text()) == {
            "wrong": 1,
            "missed": 1,
            "fault": 0,
            "total": 10,
            "score": 0.8,
            "own_score": 0.8,
        }
        assert "1 of 10" in (tmp_path / "out" / "evaluation.html").read_text()


def test_convert(tmp_path: Path) -> None:
    gt = truth(tmp_path / "gt.txt", 5)
    result = run("convert", gt, tmp_path / "a.csv", "--to", "csv")
    assert "10 rows" in result.output and "left out" not in result.output
    run("convert", tmp_path / "a.csv", tmp_path / "back.txt", "--to", "pyppbox")
    original = [line.split("\t")[:3] for line in gt.read_text().splitlines()]
    assert [line.split("\t")[:3] for line in (tmp_path / "back.txt").read_text().splitlines()] == original
    assert (
        "left out, since mot does not hold them: name"
        in run("convert", gt, tmp_path / "mot.txt", "--to", "mot").output
    )
    assert "would be overwritten" in refusal("convert", gt, gt, "--to", "mot")
    assert "did you mean 'kitti'" in refusal("convert", gt, tmp_path / "b", "--to", "kiti")
    assert "line 1: expected numbers" in refusal(
        "convert", gt, tmp_path / "b", "--to", "csv", "--from", "mot"
    )
    assert not (tmp_path / "b").exists()


def test_bad_evaluations(tmp_path: Path) -> None:
    gt = rows(tmp_path / "gt.txt", 3, (1, 1))
    good = rows(tmp_path / "good.txt", 3, (1,))
    assert "gt.txt, line 2: the identity 1 stands" in refusal("eval", "--gt", gt, "--pred", good)
    assert "no metric called" in refusal("eval", "--gt", good, "--pred", good, "--metrics", "mota")
    assert "no preset called" in refusal("eval", "--gt", good, "--pred", good, "--preset", "x")
    assert "no metrics are named" in refusal("eval", "--gt", good, "--pred", good, "--metrics", " ,")
    for spread in ("inf", "nan"):
        said = refusal("eval", "--gt", good, "--pred", good, "--preset", "pyppbox4", "--spread", spread)
        assert f"spread is {spread}, but it must be a number of pixels" in said
    assert "cannot be read" in refusal("eval", "--gt", good, "--pred", tmp_path / "none.txt")
    assert "would be overwritten" in refusal("eval", "--gt", good, "--pred", good, "--json", good)
    assert "is a file" in refusal("eval", "--gt", good, "--pred", good, "--out", good)


def test_names_of_sequences_are_never_cut_and_nothing_of_nobody_is_no_figure(tmp_path: Path) -> None:
    arguments = ("eval", "--gt", tmp_path / "gt", "--pred", tmp_path / "pred")
    arguments += ("--metrics", "hota,clear,identity,longterm")
    for name in ("ETH-Sunnyday", "A-Sequence-With-A-Long-Name-0123456789", "x" * 90):
        rows(tmp_path / "gt" / name / "gt" / "gt.txt", 10, (1, 2))
        rows(tmp_path / "pred" / f"{name}.txt", 10, (1, 2))
        result = CliRunner(env={"COLUMNS": "80"}).invoke(track_app, list(map(str, arguments)))
        assert "…" not in result.output and "..." not in result.output
        header, *lines = result.output.splitlines()
        assert {"HOTA", "MOTA", "IDF1", "LT_Acc"} <= set(header.split())
        if len(name) < 40:
            assert name in result.output
            assert lines[0].split()[-1] == "-" and "100.00" in lines[0]
        else:
            assert sum(line.count("x") for line in lines) == len(name)


def test_seconds_away_go_by_the_sequence(tmp_path: Path) -> None:
    """Away for 20 frames: 2 s at 10 frames/s, in one sequence; 1 s at 20, in the other."""
    for name, rate in (("a", 10), ("b", 20)):
        place = tmp_path / "gt" / name
        gone = [frame for frame in range(1, 60) if not 20 <= frame < 40]
        for path in (place / "gt" / "gt.txt", tmp_path / "pred" / f"{name}.txt"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{frame},1,100,100,20,40,1,-1,-1,-1\n" for frame in gone))
        (place / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nframeRate={rate}\nseqLength=60\nimWidth=200\nimHeight=200\n"
        )
    arguments = ("eval", "--gt", tmp_path / "gt", "--pred", tmp_path / "pred", "--metrics", "longterm")
    for more, dots in (((), [3, 2, 3]), (("--fps", "4"), [4, 4, 4])):
        run(*arguments, *more, "--out", tmp_path / "out")
        page = (tmp_path / "out" / "evaluation.html").read_text()
        # A dot for each of 0, 1, 2 and 5 seconds that somebody was away for, of a, b, and both together.
        assert [part.count("<circle") for part in page.split("<h2>")[1:]] == dots
        assert page.count("<h3>Identity kept by people who returned</h3>") == 3
    assert "--fps is 0, but" in refusal(*arguments, "--fps", "0", "--out", tmp_path / "out")
    assert "--fps is nan, but" in refusal(*arguments, "--fps", "nan")


def test_charts_have_titles(tmp_path: Path) -> None:
    gt = rows(tmp_path / "gt.txt", 10, (1, 2))
    run("eval", "--gt", gt, "--pred", gt, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "evaluation.html").read_text()
    for title in ("HOTA over the thresholds", "CLEAR and identity metrics"):
        assert f"<h3>{title}</h3>" in page


def test_names_for_the_numbers_of_watch(tmp_path: Path) -> None:
    tracks, who = tmp_path / "tracks.txt", tmp_path / "identities.json"
    tracks.write_text("".join(f"3,{who},10,20,30,40,1,-1,-1,-1\n" for who in (4, 5, 1_000_002)))
    who.write_text(json.dumps({"identities": [{"id": 4, "name": "Ann"}, {"id": 5, "name": None}]}))
    target = tmp_path / "named.txt"
    run("convert", tracks, target, "--to", "pyppbox", "--names", who)
    assert [line.split("\t")[::2][:2] for line in target.read_text().splitlines()] == [
        ["2", "Ann"],
        ["2", "5"],
        ["2", "Unknown"],
    ]
    for text, said in (("[]", "is no list of identities"), ("{", "is no list of identities")):
        who.write_text(text)
        assert said in refusal("convert", tracks, target, "--to", "pyppbox", "--names", who)
    assert "cannot be read" in refusal("convert", tracks, target, "--to", "csv", "--names", tmp_path / "x")
    assert "would be overwritten" in refusal("convert", tracks, who, "--to", "csv", "--names", who)


def test_a_map_is_converted_with_all_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    truth(tmp_path / "set" / "hall.txt", 3)
    (tmp_path / "set" / "gt_map.txt").write_text("hall.mp4:hall.txt\n")
    said = run("convert", tmp_path / "set" / "gt_map.txt", tmp_path / "mot", "--to", "mot").output
    assert "6 rows" in said
    assert len(motchallenge.read(tmp_path / "mot" / "hall.mp4" / "gt" / "gt.txt")) == 6
    run("convert", tmp_path / "mot", tmp_path / "back", "--to", "pyppbox")
    assert (tmp_path / "back" / "gt_map.txt").read_text() == "hall.mp4:hall.mp4.txt\n"
    assert "leave out --from" in refusal(
        "convert", tmp_path / "set", tmp_path / "x", "--to", "mot", "--from", "mot"
    )


class Looking:
    """Counts the boxes it is shown; everybody looks the same."""

    name, dimension, max_distance = "looking", 2, 0.5

    def __init__(self) -> None:
        self.boxes = 0

    def __call__(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        self.boxes += len(xyxy)
        return np.tile(np.float32([1, 0]), (len(xyxy), 1))


@pytest.mark.usefixtures("colours")
def test_run_shows_deepsort_how_people_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, asked = Looking(), []

    def build(name: str, device: str) -> Looking:
        asked.append(name)
        return embedder

    monkeypatch.setattr(track_run, "build_embedder", build)
    source, out = film(tmp_path / "a.mp4", PATHS, 10), tmp_path / "out"
    run("run", source, "--tracker", "deepsort", "--out", out)
    assert (asked, embedder.boxes) == (["auto"], 20)
    run("run", source, "--tracker", "botsort(max_age=5)", "--reid", "mlfn", "--out", out)
    assert (asked[1:], embedder.boxes) == (["mlfn"], 40)
    run("run", source, "--tracker", "deepsort", "--reid", "none", "--out", out)
    run("run", source, "--out", out)
    assert embedder.boxes == 40
    assert "does not look at appearance" in refusal("run", source, "--reid", "mlfn", "--out", out)


def test_run_refuses_what_would_do_nothing(tmp_path: Path) -> None:
    source = rows(tmp_path / "det.txt", 20, (1,))
    out = ("--out", tmp_path / "out")
    assert "leave out --detector nosuch" in refusal("run", source, "--detector", "nosuch", *out)
    assert "no pictures to look at" in refusal("run", source, "--tracker", "deepsort", "--reid", "auto", *out)
    run("run", source, "--tracker", "deepsort", "--reid", "none", *out)
    run("run", source, "--tracker", "deepsort", *out)
    # Parameters, as tune prints them.
    for new_score, tracks in ((0.9, 1), (1.1, 0)):
        said = run("run", source, "--tracker", f"sort(new_score={new_score}, iou=0.1234)", *out).output
        assert f"{tracks} tracks in 20 frames" in said
    assert "write sort(NAME=VALUE)" in refusal("run", source, "--tracker", "sort(3)", *out)
    assert "no parameter of the tracker 'sort'" in refusal("run", source, "--tracker", "sort(age=3)", *out)


def options(source: Path, out: Path, gt: Path, **more: int) -> WatchOptions:
    return WatchOptions(sources=(str(source),), out=out, reid="none", saliency=False, groundtruth=gt, **more)


@pytest.mark.usefixtures("colours")
def test_watch_shows_running_figures(tmp_path: Path) -> None:
    gt = truth(tmp_path / "gt.txt", 40)
    with gt.open("a") as more:  # one whom nobody sees, in the first two frames
        more.writelines(f"{t}\t(9, 9)\tGus\t[130 90 9 9]\t[130 90 139 99]\n" for t in (0, 1))
    source = film(tmp_path / "a.mp4", PATHS, 40)
    seen: list[str] = []
    result = watch(options(source, tmp_path / "out", gt), scored=lambda score: seen.append(str(score)))
    assert seen[0] == "score 0.667 (0 wrong, 1 missed, 0 fault of 3)"
    assert str(result.score) == seen[-1] == "score 0.976 (0 wrong, 2 missed, 0 fault of 82)"
    values = json.loads((tmp_path / "out" / "score.json").read_text())
    assert values == {
        "wrong": 0,
        "missed": 2,
        "fault": 0,
        "total": 82,
        "score": 80 / 82,
        "own_score": 80 / 82,
    }
    watch(options(source, tmp_path / "part", gt, every=2, max_frames=10))
    assert json.loads((tmp_path / "part" / "score.json").read_text())["total"] == 21
    watch(WatchOptions(sources=(str(source),), out=tmp_path / "out", reid="none", saliency=False))
    assert not (tmp_path / "out" / "score.json").exists()


def test_watch_refuses_ground_truth_that_cannot_be(tmp_path: Path) -> None:
    gt = truth(tmp_path / "gt.txt", 4)
    two = WatchOptions(sources=("a.mp4", "b.mp4"), out=tmp_path / "out", groundtruth=gt)
    with pytest.raises(SparsightError, match="is of one source, but 2 are given"):
        watch(two)
    gt.write_text("0\tnonsense\n")
    with pytest.raises(SparsightError, match="no known format"):
        watch(options(tmp_path / "a.mp4", tmp_path / "out", gt))
    assert not (tmp_path / "out").exists()


def test_people_without_names_are_called_after_whom_they_stand_beside(tmp_path: Path) -> None:
    score = RunningScore(truth(tmp_path / "gt.txt", 3))

    def update(frame: int, *people: tuple[int, int, int], names: dict[int, str | None]) -> list[str]:
        boxes = np.array([(x, y, x + 12, y + 24) for _, x, y in people], float)
        numbers = np.array([who for who, _, _ in people])
        given = [name for name in names.values() if name is not None]
        return score.update(frame, boxes, numbers, [names.get(who) for who, _, _ in people], given)

    greta: dict[int, str | None] = {8: "Greta"}
    assert update(0, (7, 21, 10), (8, 61, 20), names=greta) == ["rita", "Greta"]
    assert score.online.tally.right == 2
    # 9 takes Rita's place: somebody else is called so already. A sight of nobody known is Unknown.
    said = update(1, (9, 20, 11), (1_000_003, 60, 20), names={**greta, 1_000_003: "Unknown"})
    assert said == ["9", "Unknown"]
    assert (score.online.tally.right, score.online.tally.wrong) == (2, 2)
    update(2, (7, 20, 12), (8, 60, 21), names=greta)
    assert str(score) == "score 0.667 (2 wrong, 0 missed, 0 fault of 6)"
