from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sparsight import SparsightError, media, saliency
from sparsight.app.saliency_cmd import saliency_app
from sparsight.saliency import SaliencyResult


class Bright:
    """A model that finds bright places salient."""

    def __call__(self, image: media.Image) -> SaliencyResult:
        values = (image.mean(axis=2) / 255).astype(np.float32)
        return SaliencyResult(values, levels={"2x2": np.eye(2, dtype=np.float32)})


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(saliency, "build", lambda name, device: Bright(), raising=False)
    rng = np.random.default_rng(0)
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in paths:
        media.write_image(path, rng.integers(0, 256, (30, 40, 3), np.uint8))
    return [str(path) for path in paths]


def run(*arguments: str) -> None:
    CliRunner().invoke(saliency_app, ["predict", *arguments], catch_exceptions=False)


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
