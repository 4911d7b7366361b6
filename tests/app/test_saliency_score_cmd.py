"""``sparsight saliency score``: its files, its table, its exit codes, and a process that is killed."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sparsight import SparsightError, media
from sparsight.app.saliency_cmd import saliency_app
from sparsight.app.saliency_score_charts import Bar, interval_bars, number
from sparsight.spelling import split_names

pd = pytest.importorskip("pandas")

METRICS = "auc,nss,kl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images with fixations in their left halves; one of them has a fixation outside, too."""
    rng = np.random.default_rng(0)
    lines = ["image,x,y"]
    (tmp_path / "data" / "images").mkdir(parents=True)
    for name in range(5):
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        media.write_image(tmp_path / "data" / "images" / f"{name}.jpg", image)
        lines += [f"{name}.jpg,{x},{y}" for x, y in rng.integers(0, (32, 48), (9, 2))]
    (tmp_path / "data" / "fixations.csv").write_text("\n".join([*lines, "0.jpg,70,3"]) + "\n")
    return tmp_path / "data"


def run(folder: Path, *arguments: str, models: str = "center_bias,uniform", metrics: str = METRICS) -> Result:
    command = ["score", "--dataset", f"folder:{folder}", "--models", models, "--metrics", metrics]
    return CliRunner(env={"COLUMNS": "80"}).invoke(
        saliency_app, [*command, "--out", str(folder.parent / "out"), *arguments], catch_exceptions=False
    )


def test_files_and_table(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0
    out = folder.parent / "out"
    table = pd.read_parquet(out / "scores.parquet")
    assert list(table.columns) == ["dataset", "image", "model", "prior", "auc", "nss", "kl"]
    assert len(table) == 5 * 2 * 2
    with (out / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["dataset", "model", "prior", "metric", "images", "mean", "low", "high"]
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        chosen = table[(table["model"] == row["model"]) & (table["prior"] == row["prior"])]
        assert float(row["mean"]) == pytest.approx(chosen[row["metric"]].mean())
        assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
    assert "1 fixations lie outside their image: dropped" in result.stderr
    assert "Without a centre prior" in result.stdout and "With a centre prior" in result.stdout
    assert re.search(r"uniform +0\.500 +0\.000 ", result.stdout)
    for name in ("report.html", "table.md", "scores.csv", "scores.parquet"):
        assert (out / name).is_file() and name in result.stdout


def test_a_table_to_paste_says_what_the_csv_says(folder: Path) -> None:
    run(folder, metrics="auc,auc_judd,shuffled_auc,nss,cc,sim,kl")
    out = folder.parent / "out"
    text = (out / "table.md").read_text("utf-8")
    assert list(out.glob("*table*")) == [out / "table.md"]  # no half of it is left behind
    blocks = text.strip().split("\n\n")
    assert [block for block in blocks if block.startswith("**")] == [
        "**Without a centre prior**",
        "**With a centre prior**",
    ]
    assert len(blocks) == 2 * (1 + 2)  # seven metrics: two tables for each prior
    found = {}
    prior = ""
    for block in blocks:
        if block.startswith("**"):
            prior = "none" if "Without" in block else "centre"
            continue
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        assert {len(line) for line in lines} == {len(lines[0])}
        for line in lines[2:]:
            found |= {
                (prior, line[0], title): cell for title, cell in zip(lines[0][1:], line[1:], strict=True)
            }
    titles = {
        "auc": "AUC",
        "auc_judd": "AUC Judd",
        "shuffled_auc": "shuffled AUC",
        "nss": "NSS",
        "cc": "CC",
        "sim": "SIM",
        "kl": "KL ↓",
    }
    with (out / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found) == 2 * 2 * 7
    for row in rows:
        cell = found[row["prior"], f"`{row['model']}`", titles[row["metric"]]]
        mean, low, high = (f"{float(row[key]):.3f}" for key in ("mean", "low", "high"))
        assert cell == f"{mean} <small>{low} to {high}</small>"


def test_metrics_that_some_images_have_nothing_for_are_told(folder: Path) -> None:
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:20] = 255
    for name in range(2):
        media.write_image(folder / "masks" / f"{name}.png", mask)
    result = run(folder, metrics="nss,mae")
    told = "mae: scored on 2 of 5 images"
    assert told in result.stderr and "nss: scored on" not in result.stderr
    assert told in (folder.parent / "out" / "report.html").read_text("utf-8")


def test_options_in_the_names_of_models(folder: Path) -> None:
    models = "center_bias(sigma=0.1),center_bias(sigma=0.4)"
    result = run(folder, models=models, metrics="nss")
    assert result.exit_code == 0
    table = pd.read_parquet(folder.parent / "out" / "scores.parquet")
    assert set(table["model"]) == {"center_bias(sigma=0.1)", "center_bias(sigma=0.4)"}
    assert split_names("a, b(c=1, d=2),maps:x") == ["a", "b(c=1, d=2)", "maps:x"]
    assert split_names("onnx:n(range=byte,mean=(1,2),std=3),uniform") == [
        "onnx:n(range=byte,mean=(1,2),std=3)",
        "uniform",
    ]


class Page(HTMLParser):
    """What a page fetches, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # <line/>, and the like

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_stands_alone_and_escapes_names(folder: Path) -> None:
    awkward = folder.rename(folder.with_name("<b>data & more"))
    run(awkward)
    text = (awkward.parent / "out" / "report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.fetched == [] and page.open == []
    assert "<script" not in text
    assert "&lt;b&gt;data &amp; more" in text and "<b>data" not in text
    assert text.count("<svg") == 3
    assert "fixations outside their image, dropped" in text


def test_a_damaged_image_is_told_and_with_strict_it_fails(folder: Path) -> None:
    path = folder / "images" / "3.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    result = run(folder)
    assert result.exit_code == 0
    assert re.search(r"sparsight: left out: .*3\.jpg is damaged or cut short", result.stderr)
    # Started again, nothing is left to do; what was left out is still known.
    again = run(folder, "--strict")
    assert again.exit_code == 1
    assert "left out" in again.stderr
    assert "3.jpg" in (folder.parent / "out" / "report.html").read_text("utf-8")


def test_damaged_fixations_of_one_image_are_told_and_with_strict_it_fails(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spots = np.zeros((48, 64), np.uint8)
    spots[::16, ::16] = 255
    for name in "abc":
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        media.write_image(tmp_path / "mit" / "ALLSTIMULI" / f"{name}.jpeg", image)
        media.write_image(tmp_path / "mit" / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg", spots)
    (tmp_path / "mit" / "ALLFIXATIONMAPS" / "b_fixPts.jpg").write_bytes(b"no picture")
    command = ["score", "--dataset", "mit1003", "--root", str(tmp_path / "mit"), "--models", "uniform"]
    command += ["--metrics", "nss", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(saliency_app, command, catch_exceptions=False)
    assert result.exit_code == 0 and re.search(r"left out: .*b_fixPts\.jpg", result.stderr)
    assert set(pd.read_parquet(tmp_path / "out" / "scores.parquet")["image"]) == {"a", "c"}
    assert CliRunner().invoke(saliency_app, [*command, "--strict"]).exit_code == 1


def test_what_predict_wrote_can_be_scored(folder: Path) -> None:
    maps = str(folder.parent / "maps")
    command = ["predict", str(folder / "images"), "--model", "center_bias", "--out", maps]
    assert CliRunner().invoke(saliency_app, command, catch_exceptions=False).exit_code == 0
    result = run(folder, models=f"center_bias,maps:{maps}(resize=True)", metrics="nss")
    assert result.exit_code == 0
    table = pd.read_parquet(folder.parent / "out" / "scores.parquet").set_index("model")["nss"]
    assert table[f"maps:{maps}(resize=True)"].to_numpy() == pytest.approx(table["center_bias"], abs=0.02)


def test_many_left_out_are_counted(folder: Path) -> None:
    for name in range(7):
        media.write_image(folder / "images" / f"more{name}.jpg", np.zeros((8, 8, 3), np.uint8))
    result = run(folder)
    assert result.stderr.count("has no fixations on it") == 5
    assert "7 images were left out in all" in result.stderr


def test_another_setting_in_the_same_folder(folder: Path) -> None:
    run(folder)
    with pytest.raises(SparsightError, match=r"holds scores made with sigma None, not 9\.0"):
        run(folder, "--sigma", "9")
    with pytest.raises(SparsightError, match="no saliency metric called 'ncc'"):
        run(folder, metrics="ncc")


def test_a_wide_table_is_folded(folder: Path) -> None:
    result = run(folder, metrics="all", models="uniform")
    paths = str(folder.parent)  # these are as long as they are
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if paths not in line)
    assert result.stdout.count("uniform") >= 4


def sparsight(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sparsight", "saliency", "score", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()] if path.exists() else []


def alive(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_it_leaves_no_process_and_goes_on(folder: Path, how: signal.Signals) -> None:
    rng = np.random.default_rng(1)
    lines = (folder / "fixations.csv").read_text().splitlines()[:-1]
    for name in range(5, 60):
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        media.write_image(folder / "images" / f"{name}.jpg", image)
        lines += [f"{name}.jpg,{x},{y}" for x, y in rng.integers(0, (32, 48), (9, 2))]
    (folder / "fixations.csv").write_text("\n".join(lines) + "\n")
    out = folder.parent / "out"
    command = ["--dataset", f"folder:{folder}", "--models", "center_bias,random", "--jobs", "2"]
    command += ["--metrics", "all", "--out", str(out)]
    # In the background of a shell Ctrl-C is ignored, here and by what is started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = sparsight(*command)
    deadline = time.monotonic() + 90
    while not list(out.glob("parts/*/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    workers = children(process)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (out / "scores.parquet").exists()
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*/*.parquet")}
    again = sparsight(*command)
    assert again.wait(120) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    assert len(pd.read_parquet(out / "scores.parquet")) == 60 * 2 * 2


class TestBars:
    def test_lengths_are_to_scale(self) -> None:
        svg = interval_bars(["a", "b"], [[Bar(2, 1.5, 2.5)], [Bar(1, 0.5, 1.5)]], "x")
        long, short = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg))
        assert long == pytest.approx(2 * short, abs=0.2)

    def test_both_sides_of_nothing(self) -> None:
        svg = interval_bars(["a", "b"], [[Bar(1, 0.9, 1.1)], [Bar(-1, -1.1, -0.9)]], "x")
        (right, width), (left, other) = (
            (float(at), float(wide))
            for at, wide in re.findall(r'<rect x="([\d.]+)"[^>]*width="([\d.]+)"', svg)
        )
        assert left + other == pytest.approx(right, abs=0.2)
        assert width == pytest.approx(other, abs=0.2)

    def test_what_is_missing_is_left_out(self) -> None:
        nan = float("nan")
        svg = interval_bars(["a"], [[None, Bar(nan, nan, nan), Bar(1, nan, nan)]], "x & y")
        assert svg.count("<rect") == 1 and svg.count("<path") == 0
        assert 'aria-label="x &amp; y"' in svg
        assert "<svg" in interval_bars([], [], "nothing")
        assert "<svg" in interval_bars(["a"], [[Bar(0, 0, 0)]], "zero")

    def test_numbers(self) -> None:
        assert [number(value) for value in (-0.0001, 0.12345, -1.5)] == ["0.000", "0.123", "-1.500"]
