"""The commands on pictures of two kinds of stripes, which a small network learns in seconds."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sparsight import SparsightError, media, nets
from sparsight.app.prune_cmd import prune_app
from sparsight.prune import saved, training
from sparsight.prune.training import RunOptions

SIDE = 16
TRAIN = ["--model", "convnet(widths=(16, 16))", "--size", str(SIDE), "--epochs", "3", "--batch", "16"]
PLAIN = [
    "--lr",
    "0.01",
    "--device",
    "cpu",
    "--precision",
    "float32",
    "--layout",
    "contiguous",
    "--round-to",
    "4",
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, axis in (("<across>", 0), ("down", 1)):
        (root / name).mkdir()
        for number in range(60):
            stripes = (np.arange(SIDE) // 2 % 2 * 120 + 40).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            noise = rng.integers(0, 90, (SIDE, SIDE, 3))
            Image.fromarray((stripes + noise).astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def done(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("done") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return out, command(
            "run", "--dataset", f"folder:{pictures}", "--out", str(out), "--baseline", *TRAIN, *PLAIN
        )


def command(*arguments: str) -> str:
    return CliRunner().invoke(prune_app, arguments, catch_exceptions=False).output


def test_a_run_learns_and_comes_out_smaller(done: tuple[Path, str]) -> None:
    out, said = done
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert result["accuracy"] == result["history"][-1]["accuracy"] > 0.9
    assert result["dense_accuracy"] > 0.9
    assert result["kept"] == {"features.0": 8, "features.4": 8, "classifier": 2}
    assert result["after"]["parameters"] < 0.4 * result["before"]["parameters"]
    assert result["after"]["bytes"] == (out / "model.onnx").stat().st_size
    assert result["classes"] == ["<across>", "down"]
    assert "of the test images right" in said
    assert str(out / "report.html") in said


def test_the_files_are_one_network(done: tuple[Path, str], pictures: Path) -> None:
    out, _ = done
    network, recipe = saved.load(out / "model.pt")
    images = np.stack([media.read_image(pictures / "down" / f"{n}.png") for n in range(4)]).transpose(
        0, 3, 1, 2
    )
    x = (images / 255 - np.reshape(recipe.mean, (3, 1, 1))) / np.reshape(recipe.std, (3, 1, 1))
    logits = nets.Session(out / "model.onnx", "cpu")(x.astype(np.float32))
    with torch.inference_mode():
        assert np.allclose(logits, network(torch.from_numpy(x).float()).numpy(), atol=1e-4)
    assert (logits.argmax(1) == 1).mean() >= 0.75
    properties = {prop.key: prop.value for prop in onnx.load(out / "model.onnx").metadata_props}
    assert json.loads(properties["classes"]) == ["<across>", "down"]
    assert json.loads(properties["mean"]) == pytest.approx(recipe.mean)


def test_the_report_holds_everything_and_fetches_nothing(done: tuple[Path, str]) -> None:
    page = (done[0] / "report.html").read_text("utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert page.count("<svg") >= 5
    for text in ("Before and after", "milliseconds, batch 64", "features.4: 8 of 16 filters kept", "dense"):
        assert text in page


def test_started_again_it_only_measures_again(done: tuple[Path, str], pictures: Path, monkeypatch) -> None:
    out, _ = done
    before = json.loads((out / "result.json").read_text("utf-8"))
    stages: list[str] = []
    options = {**before["options"], "out": out, "layers": None}
    training.run(RunOptions(**options), lambda stage, *rest: stages.append(stage))
    assert set(stages) == {"shrinking, exporting and measuring"}
    after = json.loads((out / "result.json").read_text("utf-8"))
    assert after["history"] == before["history"]
    assert after["accuracy"] == before["accuracy"]


def test_another_run_in_the_same_folder_is_refused_unless_fresh(pictures: Path, tmp_path: Path) -> None:
    arguments = [
        "run",
        "--dataset",
        f"folder:{pictures}",
        "--out",
        str(tmp_path),
        *TRAIN,
        *PLAIN,
        "--epochs",
        "1",
    ]
    command(*arguments)
    with pytest.raises(SparsightError, match=r"another run \(seed was 0 and is now 1\)"):
        command(*arguments, "--seed", "1")
    command(*arguments, "--seed", "1", "--fresh")


@pytest.mark.parametrize(
    "changes",
    [
        ["--granularity", "weight", "--criterion", "movement", "--sparsity", "0.9"],
        ["--granularity", "2:4", "--schedule", "one_shot(at=0.2)"],
        ["--criterion", "snip", "--variety", "pairs"],
        ["--scope", "global", "--criterion", "taylor", "--sparsity", "0.3"],
        ["--model", "mlp(hidden=(20, 10))", "--round-to", "none"],
        ["--model", "mobilenet_v2", "--sparsity", "0.3", "--round-to", "auto"],
        ["--sparsity", "0"],
    ],
)
def test_other_ways_to_prune(pictures: Path, tmp_path: Path, changes: list[str]) -> None:
    command(
        "run",
        "--dataset",
        f"folder:{pictures}",
        "--out",
        str(tmp_path),
        *TRAIN,
        *PLAIN,
        "--epochs",
        "1",
        *changes,
    )
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["after"]["parameters"] <= result["before"]["parameters"]
    assert (tmp_path / "report.html").is_file()


def test_what_was_not_reached_is_said(pictures: Path, tmp_path: Path) -> None:
    options = ["--epochs", "1", "--sparsity", "0.9", "--model", "convnet(widths=(8, 8))"]
    arguments = ["run", "--dataset", f"folder:{pictures}", *TRAIN, *PLAIN, *options]
    said = command(*arguments, "--round-to", "8", "--out", str(tmp_path / "all"))
    shortfall = "asked 90%, reached 0%: widths stay multiples of 8 (round_to)"
    assert f"{shortfall}." in said
    assert json.loads((tmp_path / "all" / "result.json").read_text("utf-8"))["shortfall"] == shortfall
    assert shortfall[1:] in (tmp_path / "all" / "report.html").read_text("utf-8")
    said = command(*arguments, "--round-to", "auto", "--out", str(tmp_path / "one"))
    assert "asked" not in said, "within one filter"
    kept = json.loads((tmp_path / "one" / "result.json").read_text("utf-8"))["kept"]
    assert [kept["features.0"], kept["features.4"]] == [1, 1]


def test_a_network_all_of_whose_filters_are_its_outputs(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = training.coupling
    monkeypatch.setattr(training, "coupling", lambda model: dataclasses.replace(found(model), layers=()))
    with pytest.raises(SparsightError, match="all of them make its outputs"):
        command("run", "--dataset", f"folder:{pictures}", "--out", str(tmp_path), *TRAIN, *PLAIN)


def test_going_on_from_a_saved_model(done: tuple[Path, str], pictures: Path, tmp_path: Path) -> None:
    out, _ = done
    arguments = [
        "run",
        "--dataset",
        f"folder:{pictures}",
        *TRAIN,
        *PLAIN,
        "--out",
        str(tmp_path),
        "--epochs",
        "1",
    ]
    command(*arguments, "--model", str(out / "model.pt"))
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["start_accuracy"] == json.loads((out / "result.json").read_text("utf-8"))["accuracy"]
    assert result["kept"] == {"features.0": 4, "features.4": 4, "classifier": 2}


def test_a_latency_as_the_target(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.sparsity_for_latency
    asked: list[float] = []

    def by_count(model: Any, shape: Any, fraction: float, **settings: Any) -> Any:
        asked.append(fraction)
        counted = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
        return real(model, shape, fraction, measure=counted, **settings)

    monkeypatch.setattr(training, "sparsity_for_latency", by_count)
    arguments = [
        "run",
        "--dataset",
        f"folder:{pictures}",
        *TRAIN,
        *PLAIN,
        "--out",
        str(tmp_path),
        "--epochs",
        "1",
    ]
    command(*arguments, "--target", "latency:0.5")
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert asked == [0.5]
    assert result["after"]["parameters"] <= 0.5 * result["before"]["parameters"]
    command(*arguments, "--target", "latency:0.5")  # a run that goes on does not measure anew
    assert asked == [0.5]
    with pytest.raises(SparsightError, match="out of reach"):
        command(*arguments, "--target", "latency:0.001", "--fresh")


def test_shrink_export_profile_explain(done: tuple[Path, str], tmp_path: Path) -> None:
    model = done[0] / "model.pt"
    network, recipe = saved.load(model)
    with torch.no_grad():
        network.features[0].weight[:2] = 0  # type: ignore[union-attr,index]
        network.features[1].bias[:2] = 0  # type: ignore[union-attr,index]
        network.features[1].running_mean[:2] = 0  # type: ignore[union-attr,index]
    saved.save(tmp_path / "zeros.pt", network, recipe)
    said = command("shrink", str(tmp_path / "zeros.pt"), "--out", str(tmp_path / "small.pt"))
    assert re.search(r"features\.0 +8 +6", said)
    assert "6,866" not in said
    said = command("export", str(tmp_path / "small.pt"), "--int8")
    assert "small.onnx" in said and "small.int8.onnx" in said and "dynamic" in said
    for name in ("small.pt", "small.onnx"):
        said = command("profile", str(tmp_path / name), "--batch", "2")
        assert "milliseconds, batch 2" in said
    said = command("explain", str(tmp_path / "small.pt"))
    assert "features.0: 6 of 16 filters" in said
    assert "What is left of convnet" in (tmp_path / "small.html").read_text("utf-8")


def test_explain_a_selector(tmp_path: Path) -> None:
    from sparsight.prune.inputs import Selector

    kept = np.zeros(25, bool)
    kept[[3, 7, 12]] = True
    Selector("pixels", (1, 5, 5), kept).save(tmp_path / "selector.json")
    assert "3 of 25 features kept" in command("explain", str(tmp_path / "selector.json"))
    assert (tmp_path / "selector.svg").read_text("utf-8").startswith("<svg")


def test_profile_a_network_by_name() -> None:
    assert "266,610" in command("profile", "mlp(hidden=(300, 100))", "--batch", "1")


def test_sensitivity(done: tuple[Path, str], pictures: Path, tmp_path: Path) -> None:
    said = command(
        "sensitivity", str(done[0] / "model.pt"), "--dataset", f"folder:{pictures}", "--out", str(tmp_path)
    )
    found = json.loads((tmp_path / "sensitivity.json").read_text("utf-8"))
    assert set(found["suggested"]) == {"features.0", "features.4"}
    assert "features.0: " in said
    page = (tmp_path / "sensitivity.html").read_text("utf-8")
    assert page.count("<svg") == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--dataset", "mnits"], "did you mean 'mnist'"),
        (["--sparsity", "1"], "the sparsity cannot be 1"),
        (["--sparsity", "-0.1"], "the sparsity cannot be"),
        (["--schedule", "agp(begin=0)"], "lacks"),
        (["--criterion", "l3"], "no criterion called 'l3'"),
        (["--granularity", "filtre"], "did you mean 'filter'"),
        (["--layer", "nothing.*"], "nothing"),
        (["--model", "convent"], "did you mean 'convnet'"),
        (["--model", "convnet(width=(1, 2))"], "did you mean 'widths'"),
        (["--model", "convnet((1, 2))"], "must name its options"),
        (["--model", "nothing.pt"], "no file nothing.pt"),
        (["--weights", "nothing.pth"], "nothing.pth"),
        (["--round-to", "0"], "--round-to"),
        (["--target", "speed:2"], "is no target"),
        (["--target", "latency:0.5", "--granularity", "weight"], "granularity filter"),
        (["--optimiser", "adma"], "did you mean 'adam'"),
        (["--augment", "flop"], "did you mean 'flip'"),
        (["--batch", "1"], "a batch cannot have 1"),
        (["--epochs", "0"], "0 epochs"),
        (["--root", "/nowhere"], "there is no folder"),
        (["--size", "4"], "from 8 to"),
        (["--seed", "-1"], "the seed cannot be -1"),
        (["--seed", str(2**32)], "the seed cannot be"),
    ],
)
def test_bad_options_are_one_sentence(
    pictures: Path, tmp_path: Path, changes: list[str], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SparsightError, match=re.escape(message)) as raised:
        command("run", "--dataset", f"folder:{pictures}", "--out", str(out), *TRAIN, *PLAIN, *changes)
    assert str(raised.value).endswith(".")
    assert not out.exists() or not list(out.iterdir())


def test_a_network_for_other_images_is_refused(
    done: tuple[Path, str], pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(SparsightError, match="knows 2 classes"):
        command(
            "run", "--dataset", f"folder:{pictures}", "--out", str(tmp_path), *PLAIN,
            "--size", "24", "--model", str(done[0] / "model.pt"),
        )  # fmt: skip
