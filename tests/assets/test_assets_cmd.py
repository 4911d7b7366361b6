from __future__ import annotations

from pathlib import Path

import pytest
from places import Page, Site, an_asset, known
from typer.testing import CliRunner, Result

from sparsight import SparsightError
from sparsight.app.assets_cmd import assets_app
from sparsight.assets.catalogue import Asset, Contents, Local, Url

ONE = b"one" * 100


@pytest.fixture
def entries(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Asset]:
    """A small catalogue in place of the one that ships."""
    site.pages["/one"] = Page(ONE)
    found = [
        an_asset(ONE, Url(f"{site.url}/one", known(ONE)), name="one", file="one.bin"),
        an_asset(b"two", Url(f"{site.url}/two", known(b"two")), name="two", file="two.bin"),
        an_asset(b"three", Url(f"{site.url}/three", known(b"three")), name="three", file="three.bin"),
        Asset("set", "set", "CC0", "", "", Contents(), (Local("set", Contents()),), "folder", ("gt",)),
    ]
    catalogue = {asset.name: asset for asset in found}
    monkeypatch.setattr("sparsight.assets.resolve.catalogue", lambda: catalogue)
    monkeypatch.setattr("sparsight.assets.catalogue", lambda: catalogue)
    return catalogue


def run(*arguments: str) -> Result:
    return CliRunner().invoke(assets_app, arguments)


def sentence(result: Result) -> str:
    assert isinstance(result.exception, SparsightError)
    return str(result.exception)


def test_list_says_where_each_is(entries: dict[str, Asset], cache: Path) -> None:
    run("fetch", "one")
    result = run("list")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["one", "0.3", "kB", "none", "cache"]
    assert lines[2] == ["two", "0.0", "kB", "none", "to", "fetch"]
    assert lines[4] == ["set", "CC0", "only", "local,", "not", "here"]


def test_fetch_prints_paths(entries: dict[str, Asset], cache: Path) -> None:
    result = run("fetch", "one")
    assert result.exit_code == 0
    assert result.stdout == f"one\t{cache / 'one.bin'}\n"


def test_fetch_says_what_failed_and_gets_the_rest(entries: dict[str, Asset], cache: Path) -> None:
    assert "HTTP 404" in sentence(run("fetch", "two"))
    result = run("fetch", "two", "three", "one")
    assert sentence(result) == "2 of 3 assets could not be fetched: two, three."
    assert (cache / "one.bin").read_bytes() == ONE
    result = run("fetch", "--all")
    assert sentence(result) == "2 of 3 assets could not be fetched: two, three."


def test_fetch_wants_names(entries: dict[str, Asset]) -> None:
    assert "name assets" in sentence(run("fetch"))
    assert "there is no asset called 'oen': did you mean 'one'" in sentence(run("fetch", "oen"))


def test_verify_finds_what_changed(
    entries: dict[str, Asset], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("fetch", "one")
    (tmp_path / "set" / "gt").mkdir(parents=True)
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    result = run("verify")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 copies, all good"
    path = cache / "one.bin"
    status = path.stat()
    path.write_bytes(ONE[::-1])
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    text = sentence(run("verify"))
    assert text.startswith("1 of 2 copies are not good (")
    assert str(path) in text
    assert run("verify", "set").exit_code == 0
    assert "there is no asset" in sentence(run("verify", "nothing"))


def test_where(
    entries: dict[str, Asset], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    assert run("where").stdout == f"local\t{tmp_path}\ncache\t{cache}\n"
    assert sentence(run("where", "one")) == (
        "the asset 'one' is not on this machine: try 'sparsight assets fetch one'."
    )
    run("fetch", "one")
    assert run("where", "one").stdout == f"{cache / 'one.bin'}\n"
