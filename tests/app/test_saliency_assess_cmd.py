from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import typer
from typer.testing import CliRunner

from sparsight import SparsightError, media
from sparsight.app.saliency_assess_cmd import assess
from sparsight.saliency.metrics import METRICS

MODELS = ("deep", "classic", "centre", "chance")

app = typer.Typer()
app.command()(assess)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def write_scores(folder: Path, kinds: tuple[str, ...], dataset: str = "mine", images: int = 30) -> Path:
    """Four models, the first the best, by all metrics of some kinds."""
    rng = np.random.default_rng(len(dataset))
    names = [f"{index:03d}" for index in range(images)]
    rows: dict[str, object] = {
        "dataset": [dataset] * (2 * images * 4),
        "image": [name for name in names for _ in MODELS] * 2,
        "model": list(MODELS) * images * 2,
        "prior": ["none"] * (4 * images) + ["centre"] * (4 * images),
    }
    quality = np.tile([2.0, 1.2, 1.0, 0.0], 2 * images) + rng.normal(0, 0.4, 8 * images)
    for name, metric in METRICS.items():
        if metric.kind in kinds:
            values = 0.5 + 0.1 * quality + rng.normal(0, 0.02, 8 * images)
            rows[name] = values if metric.higher_is_better else 2 - values
    folder.mkdir()
    pandas.DataFrame(rows).to_parquet(folder / "scores.parquet", index=False)
    return folder


def make_images(folder: Path, images: int = 30, size: tuple[int, int] = (48, 64)) -> Path:
    """Pictures of one to three bright squares of several sizes, their masks, and fixations on them."""
    rng = np.random.default_rng(0)
    fixations = ["image,x,y"]
    for index in range(images):
        picture = rng.integers(60, 110, (*size, 3), np.uint8)
        mask = np.zeros(size, np.uint8)
        for _ in range(1 + index % 3):
            side = int(rng.integers(5, 22))
            top, left = rng.integers(0, size[0] - side), rng.integers(0, size[1] - side)
            mask[top : top + side, left : left + side] = 255
            picture[top : top + side, left : left + side] = rng.integers(120, 255, 3)
        media.write_image(folder / "images" / f"{index:03d}.png", picture)
        media.write_image(folder / "masks" / f"{index:03d}.png", mask)
        rows, columns = np.nonzero(mask)
        chosen = rng.integers(0, len(rows), 12)
        fixations += [f"{index:03d}.png,{columns[at]},{rows[at]}" for at in chosen]
    (folder / "fixations.csv").write_text("\n".join(fixations))
    return folder


def test_a_report_of_two_truths_and_regions(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", ("fixations", "density", "regions"))
    data = make_images(tmp_path / "mine")
    output = run(scores, "--dataset", f"folder:{data}", "--varimax", "--out", tmp_path / "out")
    assert output.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert "- On mine, deep ranks first by " in output
    page = (tmp_path / "out" / "report.html").read_text()
    for part in (
        "1. Two ground truths",
        "Image by image on mine",
        "mine, 30 images with regions",
        "By the mixed score on mine, the models rank deep",
        "metrics against segmented regions",
        "Kruskal-Wallis H(",
        "rotation</td><td>varimax",
    ):
        assert part in page
    assert not re.search(r"""(src|href)=["'](?!data:)|<script|url\(|@import""", page)  # nothing is fetched
    assert "nan" not in re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL).lower().replace("fixnan", "")
    tables = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert {"rankings.csv", "rankings.parquet", "property_effects.csv", "metric_sets.csv"} <= tables
    regions = pandas.read_csv(tmp_path / "out" / "tables" / "regions.csv")
    assert len(regions) == 30 and regions["size"].between(0, 1).all()


def test_two_tables_of_one_truth_each(tmp_path: Path) -> None:
    eyes = write_scores(tmp_path / "eyes", ("fixations",), "eyes")
    masks = write_scores(tmp_path / "masks", ("regions",), "masks")
    output = run(
        eyes, masks, "--prior", "centre", "--models", "deep,classic,chance", "--out", tmp_path / "out"
    )
    assert "- On eyes, deep" in output and "- On masks, deep" in output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the images differ as well as the truths" in page
    assert "No regions were measured" in page
    assert "centre prior</td><td>centre" in page
    assert ">centre<" not in page.replace("<td>centre<", "")  # the model was not chosen


def test_models_are_scored_first(tmp_path: Path) -> None:
    data = make_images(tmp_path / "mine", images=16)
    out = tmp_path / "out"
    models = "center_bias,spectral_residual,random"
    output = run("--models", models, "--dataset", f"folder:{data}", "--out", out)
    assert (out / "scores-mine" / "scores.parquet").is_file()
    assert "On mine" in output
    page = (out / "report.html").read_text()
    assert "spectral_residual" in page and "Image by image on mine" in page


def test_a_data_set_without_regions_is_said_to_be(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", ("fixations",))
    data = make_images(tmp_path / "mine", images=3)
    for path in (data / "masks").iterdir():
        path.unlink()
    (data / "masks").rmdir()
    output = run(scores, "--dataset", f"folder:{data}", "--out", tmp_path / "out")
    assert "mine has no segmented regions: their properties are not assessed." in output


def test_names_are_escaped(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", ("fixations",))
    frame = pandas.read_parquet(scores / "scores.parquet")
    frame["model"] = frame["model"].replace("deep", "<b>deep</b>")
    frame.to_parquet(scores / "scores.parquet", index=False)
    run(scores, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>deep</b>" not in page and "&lt;b&gt;deep" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to assess"),
        (["--models", "a,b"], "nothing to assess"),
        (["SCORES", "--prior", "middle"], "no prior 'middle'"),
        (["SCORES", "--models", "deep"], "holds 1 model"),
        (["SCORES", "--models", "deep,shallow"], "no model 'shallow': known are centre, chance"),
        (["NOWHERE"], r"holds no scores\.parquet"),
        (["SCORES", "--dataset", "sod"], "give their folder with --root"),
        (["SCORES", "--root", "NOWHERE"], "1 --root for 0 --dataset"),
        (["SCORES", "--dataset", "folder:OTHER"], "no scores on other: the scores are on mine"),
        (["SCORES", "SCORES"], "hold 2 scores of model 'deep' on image '000' of 'mine'"),
    ],
)
def test_bad_input_in_a_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    write_scores(tmp_path / "scores", ("fixations",), images=5)
    make_images(tmp_path / "other", images=2)
    places = {"SCORES": "scores", "NOWHERE": "nowhere", "OTHER": "other"}
    for word, name in places.items():
        arguments = [argument.replace(word, str(tmp_path / name)) for argument in arguments]
    with pytest.raises(SparsightError, match=said):
        run(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["pyarrow", "scikit_posthocs", "pandas", "statsmodels"])
def test_a_missing_package_is_a_sentence(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = package.replace("_", "-")
    with pytest.raises(SparsightError, match=rf"needs {name}: pip install 'sparsight\[assess\]'"):
        run(tmp_path, "--out", tmp_path / "out")
