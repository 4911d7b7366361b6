"""``sparsight identity train`` and ``who``, on crops of coloured people."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from sparsight import SparsightError, track
from sparsight.app.identity_cmd import identity_app
from sparsight.track.embed import inside, unit

COLOURS = {
    "Åsa": (220, 30, 30),
    "Bo": (30, 200, 40),
    "C & D": (40, 40, 220),
    "Eve": (210, 200, 30),
    "Flo": (200, 40, 200),
}


class Colours:
    """How near the mean colour of each box is to each of 125 colours; black boxes tell nothing."""

    dimension, max_distance = 125, 0.2

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = [image[y1:y2, x1:x2].mean((0, 1)) for x1, y1, x2, y2 in inside(image, xyxy).tolist()]
        colours = np.array(rows, np.float32).reshape(-1, 1, 3)
        near = np.exp(-np.square(colours - 63 * np.indices((5, 5, 5)).reshape(3, -1).T).sum(2) / 2000)
        return unit((near * (colours > 5).any(2)).astype(np.float32))


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "build_embedder", lambda name, device: Colours(name), raising=False)


def crop(path: Path, colour: tuple[int, ...], seed: int, width: int = 20) -> Path:
    rng = np.random.default_rng(seed)
    tint = np.clip(np.array(colour) + rng.integers(-25, 25, 3), 0, 255)
    noise = rng.integers(-10, 10, (40, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(tint + noise, 0, 255).astype(np.uint8)[..., ::-1])
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for person, (name, colour) in enumerate(COLOURS.items()):
        for number in range(6):
            crop(tmp_path / "crops" / name / f"{number}.png", colour, 100 * person + number, 12 + number)
    (tmp_path / "crops" / "notes.txt").write_text("beside the folders")
    (tmp_path / "crops" / ".hidden").mkdir()
    return tmp_path / "crops"


def run(*arguments: str | Path) -> Result:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(identity_app, list(map(str, arguments)))
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SparsightError):
        raise result.exception
    return result


def refusal(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, SparsightError), result.output
    return str(result.exception)


@pytest.mark.parametrize("kind", ["cosine", "linear", "rbf"])
def test_train_and_ask(kind: str, folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "out" / "people.npz"
    said = run("train", folder, "--kind", kind, "--far", "0.2", "--reid", "mine", "--out", model).output
    assert "accuracy: 100.0%" in said
    assert re.search(r"^1 Bo +6 ", said, re.M)
    assert re.search(r"^as strangers ", said, re.M)
    assert "notes" not in said
    page = model.with_suffix(".html").read_text()
    assert "C &amp; D" in page
    assert "http" not in page
    assert "asked rate of false accepts" in page

    asked = [crop(tmp_path / f"{n}.png", colour, 900 + n) for n, colour in enumerate(COLOURS.values())]
    black = tmp_path / "black.png"
    cv2.imwrite(str(black), np.zeros((9, 9, 3), np.uint8))
    lines = run("who", model, *asked, black).output.splitlines()
    answers = [line.split("\t") for line in lines]
    assert [answer[0] for answer in answers] == [*map(str, asked), str(black)]
    assert sum(answer[1] == name for answer, name in zip(answers, COLOURS, strict=False)) >= 4
    assert all(re.fullmatch(r"(.* )?\d+%", answer[-1]) for answer in answers[:-1])
    assert answers[-1][1:] == ["unknown", "nothing to tell by"]


def test_a_stranger_is_unknown(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "people.npz"
    run("train", folder, "--kind", "cosine", "--out", model)
    white = crop(tmp_path / "white.png", (250, 250, 250), 5)
    file, name, nearest = run("who", model, white).output.strip().split("\t")
    assert (file, name) == (str(white), "unknown")
    assert any(nearest.startswith(known) for known in COLOURS)


def test_crops_that_tell_nothing_are_left_out(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "Bo" / "black.png"), np.zeros((9, 9, 3), np.uint8))
    said = run("train", folder, "--kind", "cosine", "--out", tmp_path / "p.npz").output
    assert "left out 1 crops that show nothing to tell people by" in said


def test_more_people_than_a_terminal_has_room_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for person in range(14):
        colour = tuple(rng.integers(0, 255, 3).tolist())
        for number in range(4):
            crop(tmp_path / "crops" / f"p{person}" / f"{number}.png", colour, 10 * person + number)
    said = run("train", tmp_path / "crops", "--kind", "cosine", "--out", tmp_path / "p.npz").output
    assert "taken for others" in said
    assert re.search(r"^p13 ", said, re.M)


def test_folders_that_cannot_be_learnt_from(folder: Path, tmp_path: Path) -> None:
    out = ("--kind", "cosine", "--out", tmp_path / "p.npz")
    assert "there is no folder" in refusal("train", tmp_path / "nowhere", *out)
    assert "there is no folder" in refusal("train", folder / "notes.txt", *out)
    assert "there are no folders in" in refusal("train", folder / "Bo", *out)
    (folder / "Gil").mkdir()
    assert refusal("train", folder, *out).endswith("put crops of Gil into it.")
    (folder / "Gil" / "a.jpg").write_bytes(b"no picture")
    assert "a.jpg is not a picture" in refusal("train", folder, *out)
    crop(folder / "Gil" / "a.jpg", (1, 2, 3), 0)
    assert refusal("train", folder, *out) == ("there are 1 usable crops of Gil: give at least 4 of everyone.")
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "Bo").rename(alone / "Bo")
    assert "there is 1 person to learn from" in refusal("train", alone, *out)
    assert not (tmp_path / "p.npz").exists()


def test_options_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    assert "ends in .npz" in refusal("train", folder, "--out", tmp_path / "p.pkl")
    assert "is a file, not a folder" in refusal("train", folder, "--out", folder / "notes.txt" / "p.npz")
    for far in ("0", "1", "nan"):
        assert "between 0 and 1" in refusal("train", folder, "--far", far, "--out", tmp_path / "p.npz")
    assert "no classifier called 'svm'" in refusal(
        "train", folder, "--kind", "svm", "--out", tmp_path / "p.npz"
    )


def test_who_with_other_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "p.npz"
    run("train", folder, "--kind", "cosine", "--out", model)
    monkeypatch.setattr(track, "build_embedder", lambda name, device: Colours("changed"), raising=False)
    assert "was trained on vectors of auto, not changed" in refusal("who", model, folder / "Bo" / "0.png")
    assert "there is no classifier" in refusal("who", tmp_path / "q.npz", folder / "Bo" / "0.png")
