from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from sparsight import SparsightError, media, saliency
from sparsight.app.saliency_cmd import saliency_app
from sparsight.saliency import SaliencyResult, models

asked: list[tuple[str, dict[str, Any]]] = []
"""The models that were built."""


class Bright:
    """A model that finds bright places salient."""

    def __call__(self, image: media.Image) -> SaliencyResult:
        values = (image.mean(axis=2) / 255).astype(np.float32)
        return SaliencyResult(values, levels={"2x2": np.eye(2, dtype=np.float32)}, image=image)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def build(name: str, **options: Any) -> Bright:
        asked.append((name, options))
        return Bright()

    asked.clear()
    monkeypatch.setattr(saliency, "build", build, raising=False)
    rng = np.random.default_rng(0)
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in paths:
        media.write_image(path, rng.integers(0, 256, (30, 40, 3), np.uint8))
    return [str(path) for path in paths]


def run(*arguments: str, command: str = "predict") -> Result:
    return CliRunner().invoke(saliency_app, [command, *arguments], catch_exceptions=False)


@pytest.fixture
def film(pictures: list[str], tmp_path: Path) -> str:
    """Six frames at ten a second, from dark to light."""
    with media.VideoWriter(tmp_path / "film.mp4", 10, (64, 48)) as writer:
        for level in (0, 0, 250, 250, 250, 250):
            writer.write(np.full((48, 64, 3), level, np.uint8))
    return str(tmp_path / "film.mp4")


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_map_and_an_overlay_for_each_picture(pictures: list[str], tmp_path: Path) -> None:
    run(*pictures, "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one.overlay.png",
        "one.saliency.png",
        "two.overlay.png",
        "two.saliency.png",
    ]
    values = media.read_image(tmp_path / "out" / "one.saliency.png")
    image = media.read_image(pictures[0])
    assert values.shape == image.shape
    assert np.abs(values - image.mean(axis=2, keepdims=True)).max() <= 0.51


def test_the_levels_at_the_size_of_the_picture(pictures: list[str], tmp_path: Path) -> None:
    run(pictures[0], "--levels", "--out", str(tmp_path / "out"))
    level = media.read_image(tmp_path / "out" / "one.level-2x2.png")
    assert level.shape == (30, 40, 3)
    assert level[0, 0, 0] == 255
    assert level[0, -1, 0] == 0


def test_two_pictures_of_one_name_are_refused(pictures: list[str], tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="would write the same files"):
        run(pictures[0], str(tmp_path / "one.jpg"), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_results_never_overwrite_a_picture(pictures: list[str], tmp_path: Path) -> None:
    run(pictures[0], "--out", str(tmp_path))
    with pytest.raises(SparsightError, match=r"one\.overlay\.png would be overwritten"):
        run(pictures[0], str(tmp_path / "one.overlay.png"), "--out", str(tmp_path))


def test_a_missing_picture_leaves_nothing_behind(pictures: list[str], tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match=r"nowhere\.png"):
        run(pictures[0], str(tmp_path / "nowhere.png"), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_pictures(pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    outcome = run(str(tmp_path), "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 0
    assert written(tmp_path / "out") == [
        "one.overlay.png",
        "one.saliency.png",
        "two.overlay.png",
        "two.saliency.png",
    ]


def test_an_empty_folder_is_refused(pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SparsightError, match="there are no pictures in"):
        run(str(tmp_path / "empty"), "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("strict", [False, True])
def test_a_damaged_picture_among_several_is_named_and_left_out(
    strict: bool, pictures: list[str], tmp_path: Path
) -> None:
    Path(pictures[0]).write_bytes(Path(pictures[0]).read_bytes()[:200])
    outcome = run(*pictures, "--out", str(tmp_path / "out"), *["--strict"] * strict)
    assert outcome.exit_code == int(strict)
    assert "one.png is damaged" in outcome.stderr
    assert written(tmp_path / "out") == ["two.overlay.png", "two.saliency.png"]


def test_all_pictures_damaged(pictures: list[str], tmp_path: Path) -> None:
    for path in pictures:
        Path(path).write_bytes(b"not a picture")
    with pytest.raises(SparsightError, match="none of the 2 pictures"):
        run(*pictures, "--out", str(tmp_path / "out"))
    with pytest.raises(SparsightError, match=r"one\.png is not a picture"):
        run(pictures[0], "--out", str(tmp_path / "out"))


def test_a_sheet_that_explains(pictures: list[str], tmp_path: Path) -> None:
    result = run(pictures[0], "--explain", "--out", str(tmp_path / "a"))
    assert result.stdout.strip().endswith("one.explained.png")
    run(pictures[0], "--at", "3,4", "--out", str(tmp_path / "b"))
    sheets = [media.read_image(tmp_path / out / "one.explained.png") for out in "ab"]
    assert sheets[0].shape == sheets[1].shape
    assert not np.array_equal(*sheets)


def test_a_sheet_names_its_file_and_model(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def explain(result: SaliencyResult, *point: Any, title: str) -> media.Image:
        titles.append(title)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(saliency, "explain", explain, raising=False)
    run(*pictures, "--explain", "--model", "rare2012(size=320)", "--out", str(tmp_path / "a"))
    run(pictures[0], "--explain", "--backbone", "vgg16", "--out", str(tmp_path / "b"))
    assert titles == [
        "one.png   rare2012(size=320)",
        "two.png   rare2012(size=320)",
        "one.png   deeprare(backbone=vgg16)",
    ]


@pytest.mark.parametrize("at", ["3", "3,4,5", "a,b", "-1,4", ""])
def test_a_point_that_is_none(at: str, pictures: list[str], tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="is no point"):
        run(pictures[0], "--at", at, "--out", str(tmp_path / "out"))


@pytest.mark.parametrize(("text", "size"), [("256", 256), ("1024x768", (768, 1024)), ("320X224", (224, 320))])
def test_only_options_that_were_given_reach_the_model(
    text: str, size: Any, pictures: list[str], tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "out"))
    run(pictures[0], *out)
    run(pictures[0], "--size", text, "--backbone", "vgg16", "--device", "cpu", *out)
    run(pictures[0], "--model", "uniform", *out)
    assert asked == [
        ("deeprare", {"device": "auto"}),
        ("deeprare", {"device": "cpu", "backbone": "vgg16", "size": size}),
        ("uniform", {}),  # which runs no network
    ]


@pytest.mark.parametrize("size", ["", "x", "12x", "1x2x3", "big", "-5"])
def test_a_size_that_is_none(size: str, pictures: list[str], tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="is no size"):
        run(pictures[0], "--size", size, "--out", str(tmp_path / "out"))


def test_blur_and_centre_prior(pictures: list[str], tmp_path: Path) -> None:
    run(pictures[0], "--out", str(tmp_path / "plain"))
    run(pictures[0], "--blur", "0.05", "--centre-prior", "0.2", "--out", str(tmp_path / "done"))
    plain, done = (media.read_image(tmp_path / out / "one.saliency.png")[..., 0] for out in ("plain", "done"))
    assert done.max() == 255
    assert done[0].mean() < plain[0].mean() / 2
    assert np.abs(np.diff(done.astype(int))).mean() < np.abs(np.diff(plain.astype(int))).mean() / 2


@pytest.mark.parametrize("resize", [False, True])
def test_maps_of_another_size_are_stretched_when_asked(
    resize: bool, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "build", models.build, raising=False)
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps" / "one.npy", np.eye(4))
    arguments = [pictures[0], "--model", f"maps:{tmp_path / 'maps'}", "--out", str(tmp_path / "out")]
    if resize:
        run(*arguments, "--resize", "--explain")
        assert media.read_image(tmp_path / "out" / "one.saliency.png").shape == (30, 40, 3)
        assert (tmp_path / "out" / "one.explained.png").is_file()
    else:
        with pytest.raises(SparsightError, match=r"is 4x4 pixels, its image 40x30: .*give --resize"):
            run(*arguments)


def test_a_film_among_the_inputs(film: str, pictures: list[str], tmp_path: Path) -> None:
    run(pictures[0], film, "--out", str(tmp_path / "out"))
    assert written(tmp_path / "out") == ["film.saliency.mp4", "one.overlay.png", "one.saliency.png"]
    with media.open_video(tmp_path / "out" / "film.saliency.mp4") as reader:
        assert len(list(reader)) == 6


def test_a_film_with_its_maps(film: str, tmp_path: Path) -> None:
    run(film, "--maps", "--smooth", "0.1", "--motion", "--out", str(tmp_path / "out"), command="video")
    names = [f"film.maps/{number:06d}.png" for number in range(6)]
    assert written(tmp_path / "out") == [*names, "film.saliency.mp4"]


def test_a_smoothed_film_follows_slowly(film: str, tmp_path: Path) -> None:
    run(film, "--maps", "--smooth", "0.2", "--out", str(tmp_path / "out"), command="video")
    folder = tmp_path / "out" / "film.maps"
    levels = [media.read_image(path).mean() for path in sorted(folder.iterdir())]
    assert levels[1] < 5
    steps = np.diff(levels[1:])
    assert steps[0] == pytest.approx(250 * (1 - np.exp(-0.5)), abs=6)
    assert (np.diff(steps) < 0).all()


def test_some_frames_only(film: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(film, "--maps", "--every", "2", "--max-frames", "2", "--out", out, command="video")
    assert written(tmp_path / "out") == ["film.maps/000000.png", "film.maps/000002.png", "film.saliency.mp4"]


def test_what_is_no_film(pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(SparsightError, match=r"text\.mp4"):
        run(str(tmp_path / "text.mp4"), "--out", str(tmp_path / "out"), command="video")
    assert not list((tmp_path).glob("out/*"))
    with pytest.raises(SparsightError, match=r"nowhere\.mp4"):
        run(str(tmp_path / "nowhere.mp4"), "--out", str(tmp_path / "out"))
