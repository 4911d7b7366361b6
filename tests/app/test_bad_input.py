"""Whatever is given to the command: one sentence and code 2, or results, and never half of either."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import command
import numpy as np
import PIL.Image
import pytest
from command import FINISHING, LOADING, WATCHING
from scene import COLOURS, SIZE, ColourDetector, ColourEmbedder, film, squares

from sparsight import media, saliency
from sparsight.app import watch as watch_module
from sparsight.app.main import main
from sparsight.saliency import SaliencyResult
from sparsight.track import Gallery, motchallenge

PATHS: dict[str, Any] = {
    "red": lambda t: (20, 10 + t % 80),
    "green": lambda t: (60, 20 + t % 60),
}
MOT_LINE = re.compile(r"\d+,\d+(,-?\d+\.\d\d){4},\d\.\d{4},-1,-1,-1 *")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="tests how Linux does it")
not_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Default detector, embedder and saliency model that see coloured squares; other names go to the real."""
    build_detector, build_embedder = watch_module.build_detector, watch_module.build_embedder
    build_saliency = saliency.build

    def detector(name: str, **options: Any) -> Any:
        return ColourDetector() if name == "ssdlite" else build_detector(name, **options)

    def embedder(name: str, **options: Any) -> Any:
        return ColourEmbedder() if name == "auto" else build_embedder(name, **options)

    def model(name: str, **options: Any) -> Any:
        return brightness if name == "deeprare" else build_saliency(name, **options)

    monkeypatch.setattr(watch_module, "build_detector", detector)
    monkeypatch.setattr(watch_module, "build_embedder", embedder)
    monkeypatch.setattr(saliency, "build", model, raising=False)
    monkeypatch.delenv("SPARSIGHT_DEBUG", raising=False)


@pytest.fixture
def run(
    stand_ins: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs the command in the folder of the test: its exit code and what it said on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        return int(caught.value.code or 0), capsys.readouterr().err

    return call


@pytest.fixture
def refused(run: Callable[..., tuple[int, str]], tmp_path: Path) -> Callable[..., str]:
    """Runs the command, which must say one sentence and leave everything as it was; returns the sentence."""

    def call(*arguments: str | Path) -> str:
        before = content(tmp_path)
        code, errors = run(*arguments)
        assert content(tmp_path) == before
        return sentence(code, errors)

    return call


def brightness(image: media.Image) -> SaliencyResult:
    return SaliencyResult(image.mean(axis=2).astype(np.float32) / 255)


def sentence(code: int, errors: str) -> str:
    """The one sentence of a command that ended as it should on bad input."""
    assert code == 2, errors
    assert errors.startswith("sparsight: ") and errors.endswith(".\n") and errors.count("\n") == 1, errors
    assert "internal error" not in errors
    return errors.removeprefix("sparsight: ").strip()


def content(folder: Path) -> dict[str, bytes | None]:
    files = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in files}


@functools.cache
def black_png(width: int, height: int) -> bytes:
    """A black picture of any size in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(width + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nosuch.mp4", "there is no file nosuch.mp4"),
        ("nosuch/", "there is no file nosuch"),
        ("text.mp4", "text.mp4 is not a video"),
        ("empty.mp4", "empty.mp4 is an empty file"),
        ("head.mp4", "head.mp4 holds no moving pictures"),
        ("nothing", "there are no pictures in nothing"),
        ("zero", "none of the pictures in zero can be read"),
        ("huge", "huge/1.png is larger than the 150 megapixels that are read"),
        ("97", "camera 97 does not open"),
        ("99999999999999999999", "does not open"),
        ("-1.mp4", "there is no file"),
        ("ftp://example.org/a.mp4", "ftp:// are not read"),
        ("http://", "address cannot be understood"),
        ("x" * 300, "ile name too long"),
    ],
)
def test_a_source_that_is_none(source: str, words: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 100)
    (tmp_path / "empty.mp4").touch()
    whole = film(tmp_path / "whole.mp4", PATHS, 3)
    (tmp_path / "head.mp4").write_bytes(whole.read_bytes()[:40])
    for folder in ("nothing", "zero", "huge"):
        (tmp_path / folder).mkdir()
    (tmp_path / "zero" / "1.png").touch()
    if source == "huge":
        (tmp_path / "huge" / "1.png").write_bytes(black_png(20_000, 20_000))
    assert words in refused("watch", "--out", "out", "--", source)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_an_address_where_nobody_answers(scheme: str, refused: Callable[..., str]) -> None:
    address = f"{scheme}://user:secret@127.0.0.1:{closed_port()}/a.mp4"
    text = refused("watch", address, "--out", "out")
    assert "the connection was refused" in text and "secret" not in text


@not_root
def test_a_source_that_must_not_be_read(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    path = film(tmp_path / "a.mp4", PATHS, 3)
    path.chmod(0)
    assert "a.mp4 cannot be read: permission denied" in sentence(*run("watch", path, "--out", "out"))
    assert not (tmp_path / "out").exists()


def test_one_bad_source_of_two(tmp_path: Path, refused: Callable[..., str]) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    assert "b.mp4" in refused("watch", "a.mp4", "b.mp4", "--out", "out", "--gallery", "g.sqlite")


def test_a_film_cut_short_gives_what_can_be_read(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    whole = film(tmp_path / "whole.mp4", PATHS, 100).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    code, errors = run("watch", cut, "--out", "out")
    said = re.fullmatch(
        r"sparsight: .*cut\.mp4 is damaged or cut short: (\d+) of about 100 frames were read\.\n", errors
    )
    assert code == 0 and said is not None
    assert 30 < int(said[1]) < 100
    assert frames(tmp_path / "out" / "video.mp4") == int(said[1])
    assert motchallenge.read(tmp_path / "out" / "tracks.txt").frame.max() == int(said[1])
    assert "cut short" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_with_a_bad_picture_keeps_the_numbers_of_the_others(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 31):
        media.write_image(folder / f"{number}.png", squares(number, PATHS))
    (folder / "7.png").write_bytes(b"")
    code, errors = run("watch", folder, "--out", "out")
    assert code == 0
    assert errors.startswith("sparsight: 1 of the 30 pictures in ") and errors.count("\n") == 1
    rows = motchallenge.read(tmp_path / "out" / "tracks.txt")
    assert 7 not in rows.frame and rows.frame.max() == 30
    red = rows.xyxy[np.abs(rows.xyxy[:, 0] - 20) < 6]
    assert np.abs(red[-1] - [20, 40, 32, 64]).max() < 3


# ---------------------------------------------------------------- pictures of every kind


def as_kind(image: media.Image, kind: str, path: Path) -> Path:
    picture = PIL.Image.fromarray(image)
    if kind == "jpeg rotated":
        path = path.with_suffix(".jpg")
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise to be seen upright
        picture.rotate(90, expand=True).save(path, exif=exif, quality=95, subsampling=0)
    elif kind == "jpeg cmyk":
        path = path.with_suffix(".jpg")
        picture.convert("CMYK").save(path, quality=95)
    elif kind == "png 16 bit":
        PIL.Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path)
    else:
        picture.convert({"png rgba": "RGBA", "png grey": "L", "png palette": "P"}[kind]).save(path)
    return path


KINDS = ["png rgba", "png grey", "png 16 bit", "png palette", "jpeg cmyk", "jpeg rotated"]


@pytest.mark.parametrize("kind", KINDS)
def test_watch_takes_pictures_of_every_kind(
    kind: str, tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(20):
        as_kind(squares(number, PATHS), kind, folder / f"{number}.png")
    assert run("watch", folder, "--out", "out", "--reid", "none") == (0, "")
    with media.open_video(tmp_path / "out" / "video.mp4") as reader:
        assert reader.size == (2 * SIZE[0], SIZE[1])  # with the saliency map beside it
        assert len(list(reader)) == 20
    rows = motchallenge.read(tmp_path / "out" / "tracks.txt")
    if kind in ("png rgba", "jpeg rotated"):
        expected = {(20, 29), (60, 39)}
        assert {(round(x), round(y)) for x, y, _, _ in rows.xyxy[rows.frame == 20]} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_takes_pictures_of_every_kind(
    kind: str, tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    picture = as_kind(squares(5, PATHS), kind, tmp_path / "a.png")
    assert run("saliency", "predict", picture, "--out", "out") == (0, "")
    values = media.read_image(tmp_path / "out" / "a.saliency.png")
    assert values.shape == (SIZE[1], SIZE[0], 3)
    expected = squares(5, PATHS).mean(axis=2)
    if kind != "png palette":  # whose colours are few
        assert np.abs(values[..., 0] - expected).mean() < 12


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 3)])
def test_tiny_and_lopsided_pictures(
    size: tuple[int, int], tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        PIL.Image.new("RGB", size, COLOURS["red"]).save(folder / f"{number}.png")
    assert run("watch", folder, "--out", "out") == (0, "")
    assert frames(tmp_path / "out" / "video.mp4") == 3
    assert run("saliency", "predict", folder / "1.png", "--out", "out") == (0, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zero.png", "zero.png is an empty file"),
        ("nosuch.png", "there is no file nosuch.png"),
        ("text.png", "text.png is not a picture"),
        ("huge.png", "larger than the 150 megapixels"),
        ("cut.png", "cut.png is damaged or cut short"),
        ("empty", "there are no pictures in empty"),
    ],
)
def test_saliency_of_what_is_no_picture(
    name: str, words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("This is no picture.\n")
    whole = tmp_path / "whole.png"
    PIL.Image.effect_noise((64, 64), 50).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:500])
    if name == "huge.png":
        (tmp_path / name).write_bytes(black_png(20_000, 20_000))
    assert words in refused("saliency", "predict", name, "--out", "out")


# ---------------------------------------------------------------- names and weights


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--detector", "yolxo"], "no detector called 'yolxo': did you mean 'yolox'? known are darknet, "),
        (["--detector", "zzz"], "no detector called 'zzz': known are darknet"),
        (["--detector", "yolox:nosuch.onnx"], "nosuch.onnx"),
        (["--detector", "yolox:a.mp4"], "a.mp4 is not an ONNX network"),
        (["--tracker", "srt"], "no tracker called 'srt': did you mean 'sort'? known are "),
        (["--reid", "osnet"], "no embedder called 'osnet': did you mean 'osnet_x1_0'? known are auto, "),
        (["--reid", "onnx:nosuch.onnx"], "nosuch.onnx"),
    ],
)
def test_unknown_names(options: list[str], words: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    assert words in refused("watch", "a.mp4", "--out", "out", *options)


def test_an_unknown_saliency_model(tmp_path: Path, refused: Callable[..., str]) -> None:
    media.write_image(tmp_path / "a.png", squares(0, PATHS))
    text = refused("saliency", "predict", "a.png", "--model", "deprare", "--out", "out")
    assert "no saliency model called 'deprare': did you mean 'deeprare'? known are aim, " in text


def test_weights_with_a_wrong_hash(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    (tmp_path / "assets").mkdir()
    doctored = tmp_path / "assets" / "yolox_nano.onnx"
    doctored.write_bytes(b"not the network that was published")
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("SPARSIGHT_OFFLINE", "1")
    text = refused("watch", "a.mp4", "--out", "out", "--detector", "yolox_nano")
    assert f"{doctored}: its SHA-256 begins" in text and "refused by SPARSIGHT_OFFLINE" in text


@pytest.mark.parametrize("option", ["--every", "--max-frames"])
def test_counts_below_one(option: str, tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    before = content(tmp_path)
    code, errors = run("watch", "a.mp4", "--out", "out", option, "0")
    assert code == 2 and option in errors
    assert content(tmp_path) == before


# ---------------------------------------------------------------- galleries


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE person (id INTEGER)")
    connection.commit()
    connection.close()


def later(path: Path) -> None:
    Gallery(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def torn(path: Path) -> None:
    with Gallery(path) as gallery:
        for number in range(200):
            gallery.add_person(0.0, f"Anna {'x' * number}")
    path.write_bytes(path.read_bytes()[:-4096])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("hello " * 100), "is no SQLite database"),
        (lambda path: path.touch(), "is an empty file"),
        (lambda path: path.mkdir(), "is a folder"),
        (foreign, "is the database of another program"),
        (later, "made by a later version"),
        (torn, "is damaged"),
    ],
)
@pytest.mark.parametrize("where", ["people.sqlite", "out/gallery.sqlite"])
def test_a_gallery_that_is_none(
    make: Callable[[Path], None], words: str, where: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    gallery = tmp_path / where
    gallery.parent.mkdir(exist_ok=True)
    if gallery.parent.name == "out":
        (gallery.parent / "report.html").write_text("of an earlier run")
    make(gallery)
    assert words in refused("watch", "a.mp4", "--out", "out", "--gallery", where)


def test_a_gallery_in_a_file(tmp_path: Path, refused: Callable[..., str]) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    text = refused("watch", "a.mp4", "--out", "out", "--gallery", "a.mp4/people.sqlite")
    assert "a.mp4 is a file, not a folder: choose another --gallery" in text


# ---------------------------------------------------------------- where results go


@pytest.mark.parametrize("out", ["a.mp4", "a.mp4/out"])
@pytest.mark.parametrize("what", [["watch", "a.mp4"], ["saliency", "predict", "a.png"]])
def test_a_folder_for_results_that_is_a_file(
    out: str, what: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    media.write_image(tmp_path / "a.png", squares(0, PATHS))
    assert "a.mp4 is a file, not a folder: choose another --out" in refused(*what, "--out", out)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--people", "nosuch.npz"], "there is no classifier nosuch.npz: make one with sparsight identity"),
        (["--people", "a.mp4"], "a.mp4 is not a classifier of people"),
        (["--tracker", "sort("], "'sort(' is no tracker: write a name, or one with parameters"),
        (["--tracker", "sort(age=3)"], "there is no parameter of the tracker 'sort' called 'age'"),
        (["--groundtruth", "gt.txt", "--spread", "inf"], "spread is inf, but it must be a number of pixels"),
        (["--groundtruth", "gt.txt", "--spread", "nan"], "spread is nan, but"),
        (["--groundtruth", "gt.txt", "--preset", "pyppbox5"], "did you mean 'pyppbox"),
        (["--preset", "pyppbox3"], "name it with --groundtruth FILE"),
        (["--spread", "5"], "name it with --groundtruth FILE"),
    ],
)
def test_names_trackers_and_scores_that_cannot_be(
    options: list[str], words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    (tmp_path / "gt.txt").write_text("0\t(20, 10)\tAnn\t[20 10 12 24]\t[20 10 32 34]\n")
    assert words in refused("watch", "a.mp4", *options)


@not_root
def test_a_folder_for_results_that_must_not_be_written(tmp_path: Path, refused: Callable[..., str]) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    (tmp_path / "out").mkdir(mode=0o500)
    assert "out must not be written to" in refused("watch", "a.mp4", "--out", "out")


@pytest.mark.parametrize(
    "arguments",
    [
        ["watch", "out/video.mp4", "--out", "out"],
        ["watch", "out/../out/video.mp4", "--out", "./out"],
        ["watch", "out/thumbnails", "--out", "out"],
        ["watch", "a.mp4", "--out", "out", "--gallery", "out/tracks.txt"],
        ["watch", "a.mp4", "out/video/video.mp4", "--out", "out"],
    ],
)
def test_results_never_overwrite_what_is_read(
    arguments: list[str],
    tmp_path: Path,
    run: Callable[..., tuple[int, str]],
    refused: Callable[..., str],
) -> None:
    film(tmp_path / "a.mp4", PATHS, 30)
    assert run("watch", "a.mp4", "--out", "out") == (0, "")
    (tmp_path / "out" / "video").mkdir()
    shutil.copy(tmp_path / "a.mp4", tmp_path / "out" / "video" / "video.mp4")
    assert "would be overwritten by the results: choose another --out" in refused(*arguments)


def test_the_same_folder_twice_holds_the_second_run(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    film(tmp_path / "a.mp4", PATHS, 60)
    film(tmp_path / "b.mp4", {"blue": lambda t: (90, 20 + t)}, 40)
    out = tmp_path / "out"
    assert run("watch", "a.mp4", "--out", "out") == (0, "")
    assert sorted(path.name for path in (out / "thumbnails").iterdir()) == ["1.jpg", "2.jpg"]
    assert run("watch", "b.mp4", "--out", "out") == (0, "")
    assert sorted(path.name for path in (out / "thumbnails").iterdir()) == ["3.jpg"]
    assert [one["id"] for one in json.loads((out / "identities.json").read_text())["identities"]] == [3]
    assert frames(out / "video.mp4") == 40


def test_sources_of_one_name_and_of_odd_names(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    names = ["a/cam.mp4", "b/cam.mp4", "...mp4", "gallery.sqlite.mp4", "ünï cödé 日本 [red] {x} %s.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        film(tmp_path / name, PATHS, 20)
    place = "cam,cam-2,camera,gallery.sqlite-2,ünï cödé 日本 [red] {x} %s"
    assert run("watch", *names, "--out", "out [/b]/ä b", "--same-place", place) == (0, "")
    out = tmp_path / "out [/b]" / "ä b"
    assert {path.name for path in out.iterdir() if path.is_dir()} == {
        "cam", "cam-2", "camera", "gallery.sqlite-2", "thumbnails", "ünï cödé 日本 [red] {x} %s",
    }  # fmt: skip
    assert not list(tmp_path.glob("*.txt"))
    one = json.loads((out / "identities.json").read_text())["identities"][0]
    assert len(one["cameras"]) == 5


def test_a_path_with_brackets_is_shown_as_it_is(
    tmp_path: Path, run: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    with pytest.raises(SystemExit):
        main(["watch", "a.mp4", "--out", "out [bold]x[/bold] [/red]"])
    assert "out [bold]x[/bold] [/red]/report.html" in capsys.readouterr().out


@linux_only
def test_names_that_are_not_text(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    film(tmp_path / f"{odd}.mp4", PATHS, 20)
    code, output, errors = command.run(
        "watch", tmp_path / f"{odd}.mp4", "--no-saliency", "--out", tmp_path / f"out{odd}"
    )
    assert (code, errors) == (0, "")
    assert "report.html" in output
    assert json.loads((tmp_path / f"out{odd}" / "identities.json").read_text())["identities"]


def test_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    film(tmp_path / "ü.mp4", PATHS, 5)
    code, output, errors = command.run(
        "watch",
        tmp_path / "ü.mp4",
        "--no-saliency",
        "--out",
        tmp_path / "日本",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (code, errors) == (0, "")
    assert "\\u65e5\\u672c/report.html" in output


# ---------------------------------------------------------------- a full disk


def whole_or_absent(out: Path) -> None:
    """What a run left under ``out``, however it ended, can be used."""
    rows = (out / "tracks.txt").read_text() if (out / "tracks.txt").exists() else ""
    assert rows.endswith("\n") or not rows
    assert all(MOT_LINE.fullmatch(line) for line in rows.splitlines()), rows
    if (out / "identities.json").exists():
        for one in json.loads((out / "identities.json").read_text())["identities"]:
            if one["thumbnail"]:
                assert (out / one["thumbnail"]).read_bytes().startswith(b"\xff\xd8")
    if (out / "gallery.sqlite").exists():
        with sqlite3.connect(out / "gallery.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        with Gallery(out / "gallery.sqlite", create=False) as gallery:
            gallery.people()
    if (out / "video.mp4").exists():
        assert frames(out / "video.mp4") > 0
    if (out / "report.html").exists():
        assert (out / "report.html").read_text().rstrip().endswith("</html>")


@linux_only
@pytest.mark.parametrize(
    ("limit", "reid", "words"),
    [
        (0, True, "the gallery"),
        (20_000, True, "the gallery"),
        (90_000, True, "the gallery"),
        (0, False, "cannot be written"),
        (500, False, "choose another folder"),  # tracks.txt or identities.json, whichever is first
        (3_000, False, "cannot be written"),
        (8_000, False, "a file grew past the size"),
    ],
)
def test_a_file_that_may_not_grow(limit: int, reid: bool, words: str, tmp_path: Path) -> None:
    import resource

    source = film(tmp_path / "a.mp4", PATHS, 60)
    out = tmp_path / "out"
    code, _, errors = command.run(
        *("watch", source, "--no-saliency", "--out", out, "--reid", "auto" if reid else "none"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    text = sentence(code, errors)
    assert words in text and "damaged" not in text
    assert out.exists() == (limit > 20_000 or (limit > 0 and not reid))
    assert not list(out.glob("*partial*"))
    whole_or_absent(out)


@linux_only
@pytest.mark.parametrize(
    ("kilobytes", "reid"), [(16, True), (100, True), (240, True), (4, False), (24, False)]
)
def test_a_full_disk(kilobytes: int, reid: bool, tmp_path: Path) -> None:
    if subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small disk cannot be mounted here")
    source = film(tmp_path / "a.mp4", PATHS, 60)
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size="$1"k tmpfs "$2" || exit 99; '
        '"$3" "$4" watch "$5" --no-saliency --out "$2/out" --reid "$6"; code=$?; cp -r "$2" "$7"; exit $code'
    )
    values = [
        str(kilobytes),
        disk,
        sys.executable,
        command.__file__,
        source,
        "auto" if reid else "none",
        kept,
    ]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *values],
        capture_output=True,
        text=True,
        check=False,
    )
    text = sentence(done.returncode, done.stderr)
    assert re.search("full|free some space|no space left", text) and "damaged" not in text
    for partial in kept.rglob("*partial*"):  # there was no room to put the whole film in order
        assert text.endswith(f"what was written is in {partial.name}.")
        assert frames(partial) == 60
    whole_or_absent(kept / "out")


# ---------------------------------------------------------------- being stopped


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return film(tmp_path / "a.mp4", PATHS, 40)


def started(tmp_path: Path, source: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    marks, out = tmp_path / "marks", tmp_path / "out"
    shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir()
    environment = {**os.environ, "SCENE_MARKS": str(marks)}
    return command.start("watch", source, "--no-saliency", "--out", out, env=environment), marks, out


@linux_only
@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        (LOADING, signal.SIGINT, 130),
        (WATCHING, signal.SIGINT, 130),
        (WATCHING, signal.SIGTERM, 143),
        (FINISHING, signal.SIGINT, 130),
        (FINISHING, signal.SIGTERM, 143),
    ],
)
def test_stopping_finishes_the_files(moment: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", PATHS, 15 if moment == FINISHING else 40)
    process, marks, out = started(tmp_path, source)
    command.wait_for(marks, moment, process)
    if moment == WATCHING:
        time.sleep(0.3)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    if moment == LOADING:
        assert output == "" and not out.exists()
        return
    assert "stopped early" in output
    assert {"video.mp4", "tracks.txt", "identities.json", "report.html"} <= {p.name for p in out.iterdir()}
    assert not list(out.glob("*partial*"))
    whole_or_absent(out)
    assert frames(out / "video.mp4") == motchallenge.read(out / "tracks.txt").frame.max()


@linux_only
@pytest.mark.parametrize("moment", [WATCHING, FINISHING])
def test_a_second_ctrl_c_ends_at_once(moment: str, tmp_path: Path, source: Path) -> None:
    process, marks, out = started(tmp_path, source)
    command.wait_for(marks, moment, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "")
    assert not list(out.glob("*partial*"))
    whole_or_absent(out)


@linux_only
def test_a_kill_at_any_moment_leaves_whole_files_and_the_next_run_cleans_up(
    tmp_path: Path, source: Path
) -> None:
    pick = random.Random(0)
    seen = set()
    for _ in range(4):
        process, marks, out = started(tmp_path, source)
        command.wait_for(marks, WATCHING, process)
        time.sleep(pick.uniform(0.0, 1.6))
        process.kill()
        process.communicate()
        whole_or_absent(out)
        seen |= {path.name for path in out.iterdir()}
        partial = out / "video.partial.mp4"
        if partial.exists() and partial.stat().st_size > 1000:
            assert frames(partial) > 0
    assert {"tracks.txt", "gallery.sqlite", "video.partial.mp4", "identities.json"} <= seen
    for name in (".video-12345678.mp4", ".identities-12345678.json"):
        (out / name).touch()
    code, _, errors = command.run("watch", source, "--no-saliency", "--out", out)
    assert (code, errors) == (0, "")
    assert {path.name for path in out.iterdir()} == {
        "gallery.sqlite", "identities.json", "people.txt", "report.html", "thumbnails", "tracks.txt",
        "video.mp4",
    }  # fmt: skip
    whole_or_absent(out)
    assert frames(out / "video.mp4") == 40


@linux_only
def test_two_runs_do_not_write_into_one_folder(tmp_path: Path, source: Path) -> None:
    process, marks, out = started(tmp_path, source)
    command.wait_for(marks, WATCHING, process)
    process.send_signal(signal.SIGSTOP)
    code, _, errors = command.run("watch", source, "--no-saliency", "--out", out)
    process.send_signal(signal.SIGCONT)
    assert f"another run is writing into {out}" in sentence(code, errors)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    assert frames(out / "video.mp4") == 40
