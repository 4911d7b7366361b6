from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sparsight import SparsightError
from sparsight.app.identity_cmd import identity_app
from sparsight.track import Gallery


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "museum.sqlite"
    with Gallery(file) as gallery:
        for person, (camera, distance) in enumerate([("door", None), ("attic", 0.123)], 1):
            gallery.add_person(0.0, f"Anna {'B' * person}")
            tracklet = gallery.add_tracklet(
                person,
                camera=camera,
                run="r",
                track=1,
                first_seen=100,
                last_seen=160,
                frames=77,
                distance=distance,
            )
            gallery.set_embeddings(
                tracklet, "m", np.eye(4, dtype=np.float32), np.ones(4, np.float32), np.zeros(4)
            )
            gallery.set_crop(tracklet, b"\xff\xd8%d" % person, 1)
    return file


def run(path: Path, *arguments: str, answer: str | None = None) -> Result:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        identity_app, [arguments[0], "--gallery", str(path), *arguments[1:]], input=answer
    )
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SparsightError):
        raise result.exception
    return result


def test_list(path: Path) -> None:
    said = run(path, "list").output.splitlines()
    assert [line.split()[:3] for line in said[1:]] == [["1", "Anna", "B"], ["2", "Anna", "BB"]]
    assert said[1].rstrip().endswith("door")
    assert "77" in said[1]


def test_show(path: Path, tmp_path: Path) -> None:
    said = run(path, "show", "anna bb", "--picture", str(tmp_path / "anna.jpg")).output
    assert "Anna BB (number 2)" in said
    assert "attic\t77 frames\tknown again at distance 0.123" in said
    assert (tmp_path / "anna.jpg").read_bytes() == b"\xff\xd82"
    assert "\tnew" in run(path, "show", "1").output


def test_show_without_a_picture(path: Path, tmp_path: Path) -> None:
    with Gallery(path) as gallery:
        person = gallery.add_person(1e300)
    result = run(path, "show", str(person), "--picture", str(tmp_path / "nobody.jpg"))
    assert "there is no picture" in str(result.exception)
    assert not (tmp_path / "nobody.jpg").exists()
    assert run(path, "list").exit_code == 0


def test_name(path: Path) -> None:
    assert run(path, "name", "1", "Bert").output == "number 1 is now Bert\n"
    assert "called Bert already" in str(run(path, "name", "2", "bert").exception)
    assert run(path, "name", "Bert", "").output == "number 1 is now person 1\n"


def test_forget_asks_first(path: Path) -> None:
    assert run(path, "forget", "1", answer="n\n").exit_code == 1
    assert run(path, "forget", "1", answer="y\n").exit_code == 0
    assert "forgot Anna BB" in run(path, "forget", "2", "--yes").output
    with Gallery(path) as gallery:
        assert gallery.people() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody"),
        ("name", "9", "Bert"),
        ("forget", "9", "--yes"),
        ("name", "1", "12"),
        ("merge", "1", "1"),
        ("split", "1", "1"),
        ("split", "1", "77"),
    ],
)
def test_mistakes_are_one_sentence(path: Path, arguments: tuple[str, ...]) -> None:
    result = run(path, *arguments)
    assert isinstance(result.exception, SparsightError)
    assert "\n" not in str(result.exception)


def test_merge_split_and_what_they_leave(path: Path) -> None:
    with Gallery(path) as gallery:
        gallery.store.rows("UPDATE tracklet SET first_seen = 200, last_seen = 260 WHERE person = 2")
    assert run(path, "merge", "anna b", "2").output == "number 2 is now Anna B (number 1)\n"
    assert "sight 2\t" in run(path, "show", "1").output
    assert run(path, "split", "1", "2").output == "1 sights of Anna B are now those of person 3\n"
    said = run(path, "corrections").output.splitlines()
    assert said[0].endswith("merge by hand\tperson 2 is person 1")
    assert said[1].endswith("split by hand\tperson 1 is person 3 in sights 2")
    rows = json.loads(run(path, "corrections", "--json").output)
    assert [(row["kind"], row["tracklets"]) for row in rows] == [("merge", [2]), ("split", [2])]


def test_export_and_import(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "anna.zip"
    assert "wrote 1 people" in run(path, "export", str(file), "Anna BB").output
    assert "there already" in str(run(path, "export", str(file)).exception)
    said = run(tmp_path / "new" / "other.sqlite", "import", str(file)).output
    assert said == "number 2 of the file is Anna BB (number 1)\n"
    assert "there is no file" in str(run(path, "import", str(tmp_path / "none.zip")).exception)


def test_prune(path: Path) -> None:
    assert run(path, "prune", "--keep-crops", "0").output == "dropped 2 pictures and 0 vectors\n"
    assert run(path, "prune", "--keep-days", "1").output == "dropped 0 pictures and 8 vectors\n"
    assert "nothing to prune" in str(run(path, "prune").exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("show", "1"),
        ("name", "1", "Bert"),
        ("forget", "1"),
        ("merge", "1", "2"),
        ("split", "1", "2"),
        ("corrections",),
        ("export", "people.zip"),
        ("prune", "--keep-days", "1"),
    ],
)
def test_a_missing_gallery_is_not_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path / "none.sqlite", *arguments)
    assert "there is no gallery" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_goes_only_where_a_picture_can(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    (tmp_path / "folder.jpg").mkdir()
    for place in (path, tmp_path, tmp_path / "folder.jpg"):
        result = run(path, "show", "1", "--picture", str(place))
        assert "name a file that ends in .jpg" in str(result.exception)
    result = run(path, "show", "1", "--picture", str(path / "anna.jpg"))
    assert "is a file, not a folder: choose another --picture" in str(result.exception)
    assert path.read_bytes() == before


def test_names_with_brackets_are_shown_as_they_are(path: Path) -> None:
    run(path, "name", "1", "[bold]Eve[/red]")
    assert "[bold]Eve[/red]" in run(path, "list").output
