from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from places import Page, Site, an_asset, deb_bytes, known, sha256, tar_bytes

from sparsight import SparsightError
from sparsight.assets import archives, resolve, store
from sparsight.assets.catalogue import Asset, Contents, Deb, Local, PyPI, Url
from sparsight.assets.resolve import copies, obtain

DATA = bytes(range(256)) * 4000


def url(site: Site, data: bytes | None = DATA, path: str = "/thing.bin") -> Url:
    return Url(site.url + path, Contents() if data is None else known(data))


def leftovers(cache: Path) -> list[Path]:
    """Everything in the cache besides finished files and what is kept about them."""
    kept = ("stamps", "recorded", "locks")
    return [
        p for p in cache.rglob("*") if p.is_file() and p.parent.name not in kept and p.parent != cache
    ] + [p for p in cache.glob(".*") if p.is_file()]


def test_fetched_once_and_then_from_the_cache(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(DATA, url(site))
    first = obtain(asset)
    assert first == cache / "thing.bin"
    assert first.read_bytes() == DATA
    assert obtain(asset) == first
    assert site.hits["/thing.bin"] == 1
    assert not leftovers(cache)


def test_a_local_folder_comes_before_everything(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(DATA, Local("weights/thing.bin", known(DATA)), url(site))
    obtain(asset)
    for name in ("one", "two"):
        (tmp_path / name / "weights").mkdir(parents=True)
    there = tmp_path / "two" / "weights" / "thing.bin"
    there.write_bytes(DATA)
    monkeypatch.setenv("SPARSIGHT_ASSETS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    assert obtain(asset) == there
    assert [found.place for found in copies(asset)] == ["local", "cache"]
    there.rename(tmp_path / "one" / "thing.bin")  # a file by its name at the top of a folder is found, too
    assert obtain(asset) == tmp_path / "one" / "thing.bin"


def test_another_build_of_the_same_thing_has_its_own_hash(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"another export"
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(DATA, Local("thing.onnx", known(other)), url(site))
    (tmp_path / "thing.onnx").write_bytes(other)
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    assert obtain(asset).read_bytes() == other
    (tmp_path / "thing.onnx").write_bytes(DATA)  # not what this place should hold
    assert obtain(asset) == store.cached_path(asset)


def test_a_wrong_local_file_is_passed_over_with_a_warning(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    (tmp_path / "thing.bin").write_bytes(b"something else")
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert obtain(an_asset(DATA, url(site))).read_bytes() == DATA
    assert f"its SHA-256 begins {sha256(b'something else')[:12]}, not {sha256(DATA)[:12]}" in caplog.text


def test_a_wrong_file_in_the_cache_is_fetched_again(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(DATA, url(site))
    path = obtain(asset)
    path.write_bytes(DATA[::-1])
    assert obtain(asset).read_bytes() == DATA
    assert site.hits["/thing.bin"] == 2


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert store.sha256_of(path) == sha256(b"one")
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.sha256_of(path) == sha256(b"one")  # nothing to see from outside
    assert store.sha256_of(path, fresh=True) == sha256(b"two")
    path.write_bytes(b"three")
    assert store.sha256_of(path) == sha256(b"three")


def test_a_cache_that_cannot_be_written_still_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "thing.bin").write_bytes(DATA)
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    assert obtain(an_asset(DATA, Local("thing.bin", known(DATA)))) == tmp_path / "thing.bin"


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SparsightError, match=r"cannot write to the cache .* set SPARSIGHT_CACHE"):
        obtain(an_asset(DATA, url(site)))


def test_a_full_disk_is_said_in_a_sentence(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["/thing.bin"] = Page(DATA)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SparsightError, match=r"No space left on device.* free some space"):
        obtain(an_asset(DATA, url(site)))
    assert not (cache / "thing.bin").exists()
    assert not leftovers(cache)


def test_a_truncated_download_is_noticed_and_cleaned_up(site: Site, cache: Path) -> None:
    site.pages["/short.bin"] = Page(DATA[:-100], claimed=len(DATA))
    site.pages["/thing.bin"] = Page(DATA)
    with pytest.raises(SparsightError, match=r"the download broke off after [\d,]+ of 1,024,000 bytes"):
        obtain(an_asset(DATA, url(site, path="/short.bin")))
    assert not (cache / "thing.bin").exists()
    assert not leftovers(cache)
    assert obtain(an_asset(DATA, url(site, path="/short.bin"), url(site))).read_bytes() == DATA


def test_an_unknown_hash_does_not_excuse_a_truncated_download(site: Site, cache: Path) -> None:
    site.pages["/short.bin"] = Page(DATA[:-100], claimed=len(DATA))
    with pytest.raises(SparsightError, match="broke off"):
        obtain(an_asset(None, url(site, None, "/short.bin")))
    assert not (cache / "thing.bin").exists()


def test_a_whole_download_of_the_wrong_size_is_refused(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA[:-100])
    with pytest.raises(SparsightError, match="it has 1,023,900 bytes, not 1,024,000"):
        obtain(an_asset(DATA, url(site)))
    site.pages["/thing.bin"] = Page(DATA + b"more")
    with pytest.raises(SparsightError, match="more than the 1,024,000 allowed"):
        obtain(an_asset(DATA, url(site)))
    assert not leftovers(cache)


def test_an_endless_download_is_cut_off(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "LARGEST", 1000)
    site.pages["/thing.bin"] = Page(DATA)
    with pytest.raises(SparsightError, match="more than the 1,000 allowed"):
        obtain(an_asset(None, url(site, None)))


def test_a_wrong_hash_is_refused_and_leaves_nothing(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA[::-1])
    with pytest.raises(SparsightError, match=f"begins {sha256(DATA[::-1])[:12]}, not {sha256(DATA)[:12]}"):
        obtain(an_asset(DATA, url(site)))
    assert not (cache / "thing.bin").exists()
    assert not leftovers(cache)


def test_the_error_lists_every_source_and_why(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip_alone: Path
) -> None:
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    (tmp_path / "thing.bin").write_bytes(b"wrong")
    asset = an_asset(
        DATA,
        Local("thing.bin", known(DATA)),
        url(site, path="/nothing"),
        PyPI("some-package", "1.0", "wheel", "a/b", known(DATA)),
        Deb("some-doc", "usr/a", known(DATA)),
    )
    with pytest.raises(SparsightError) as caught:
        obtain(asset)
    text = str(caught.value)
    assert text.startswith("cannot get the asset 'thing': ")
    assert text.endswith(".")
    assert "\n" not in text
    reasons = text.split("; ")
    assert reasons[0].endswith(f"its SHA-256 begins {sha256(b'wrong')[:12]}, not {sha256(DATA)[:12]}")
    assert reasons[1] == "cache: not there yet"
    assert reasons[2] == f"url {site.url}/nothing: HTTP 404 Not Found"
    assert reasons[3] == f"pypi some-package==1.0: {site.url}/simple: HTTP 404 Not Found"
    assert reasons[4] == "deb some-doc: this system has no apt-get"
    assert reasons[5].endswith(f"put the file at {store.cached_path(asset)}.")


def test_only_local_assets_say_what_to_do() -> None:
    with pytest.raises(SparsightError, match=r"SPARSIGHT_ASSETS names no folder.*set SPARSIGHT_ASSETS to a"):
        obtain(an_asset(DATA, Local("thing.bin", known(DATA))))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(SparsightError, match=r"url http://127\.0\.0\.1:9/thing\.bin: .*refused"):
        obtain(an_asset(DATA, Url("http://127.0.0.1:9/thing.bin", known(DATA))))


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_refuses_every_network_source(
    site: Site, monkeypatch: pytest.MonkeyPatch, value: str, cache: Path
) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(DATA, url(site), PyPI("p", "1", "sdist", "a", known(DATA)), Deb("d", "a", known(DATA)))
    monkeypatch.setenv("SPARSIGHT_OFFLINE", value)
    with pytest.raises(SparsightError) as caught:
        obtain(asset)
    assert str(caught.value).count("refused by SPARSIGHT_OFFLINE") == 3
    assert not site.hits
    store.cached_path(asset).parent.mkdir(parents=True)
    store.cached_path(asset).write_bytes(DATA)
    assert obtain(asset).read_bytes() == DATA
    monkeypatch.setenv("SPARSIGHT_OFFLINE", "0")
    store.cached_path(asset).unlink()
    assert obtain(asset).read_bytes() == DATA


def test_an_unknown_hash_is_recorded_on_first_use(
    site: Site, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    asset = an_asset(None, url(site, None))
    with caplog.at_level(logging.WARNING):
        path = obtain(asset)
    assert f"{sha256(DATA)} is taken on trust and recorded in" in caplog.text
    assert store.recorded(asset) == sha256(DATA)
    caplog.clear()
    assert obtain(asset) == path
    assert not caplog.text
    path.unlink()
    site.pages["/thing.bin"] = Page(DATA[::-1])
    with pytest.raises(
        SparsightError, match=r"as recorded on first use .*if the new file can be trusted, delete"
    ):
        obtain(asset)
    store.record_path(asset).unlink()
    assert obtain(asset).read_bytes() == DATA[::-1]


def test_looking_at_a_file_of_unknown_hash_does_not_record_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    (tmp_path / "thing.bin").write_bytes(DATA)
    asset = an_asset(None, Url("http://127.0.0.1:9/thing.bin", Contents()))
    assert [found.problem for found in copies(asset)] == [None]
    assert store.recorded(asset) == ""
    obtain(asset)
    assert store.recorded(asset) == sha256(DATA)
    (tmp_path / "thing.bin").write_bytes(DATA[::-1])
    assert "as recorded on first use" in str(next(copies(asset)).problem)


def test_the_beginning_of_a_hash_must_fit(site: Site) -> None:
    site.pages["/thing.bin"] = Page(DATA)

    def beginning(prefix: str) -> Asset:
        contents = Contents(prefix)
        return Asset("thing", "thing.bin", "", "", "", contents, (Url(f"{site.url}/thing.bin", contents),))

    with pytest.raises(SparsightError, match=r"begins .* not 00000000"):
        obtain(beginning("00000000"))
    asset = beginning(sha256(DATA)[:8])
    assert obtain(asset).read_bytes() == DATA
    assert store.recorded(asset) == sha256(DATA)


def test_a_web_page_is_not_taken_for_a_file_of_unknown_hash(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(b"<html>confirm", headers={"Content-Type": "text/html; charset=utf-8"})
    asset = an_asset(None, url(site, None))
    with pytest.raises(SparsightError, match="a web page instead of the file"):
        obtain(asset)
    assert store.recorded(asset) == ""


def test_redirects_are_followed(site: Site) -> None:
    site.pages["/thing.bin"] = Page(b"", status=302, headers={"Location": "/elsewhere"})
    site.pages["/elsewhere"] = Page(DATA)
    assert obtain(an_asset(DATA, url(site))).read_bytes() == DATA


def test_a_folder_is_taken_if_it_holds_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (Local("sets/one", Contents()),)
    asset = Asset("one", "one", "", "", "", Contents(), source, "folder", ("gt/gt.txt", "img1"))
    monkeypatch.setenv("SPARSIGHT_ASSETS", str(tmp_path))
    (tmp_path / "sets/one/img1").mkdir(parents=True)
    with pytest.raises(SparsightError, match=r"it has no gt/gt\.txt"):
        obtain(asset)
    (tmp_path / "sets/one/gt").mkdir()
    (tmp_path / "sets/one/gt/gt.txt").touch()
    assert obtain(asset) == tmp_path / "sets/one"


def test_what_a_killed_process_left_is_swept(site: Site, cache: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA)
    cache.mkdir(parents=True)
    (cache / ".thing-abcd1234.bin").write_bytes(b"half")
    (cache / ".thing-else-abcd1234.bin").write_bytes(b"another asset on its way")
    (cache / ".state" / "scratch" / "thing").mkdir(parents=True)
    (cache / ".state" / "scratch" / "thing" / "half.whl").write_bytes(b"half")
    obtain(an_asset(DATA, url(site)))
    assert [path.name for path in leftovers(cache) if path.parent == cache] == [".thing-else-abcd1234.bin"]


def _obtain_and_tell(asset: Asset, cache_folder: str, answers: Queue[str]) -> None:
    os.environ["SPARSIGHT_CACHE"] = cache_folder
    try:
        path = obtain(asset)
        answers.put(f"{path} {sha256(path.read_bytes())}")
    except BaseException as error:
        answers.put(f"failed: {error!r}")
        raise


def test_processes_that_fetch_one_file_at_once_fetch_it_once(site: Site, tmp_path: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA, seconds=1.0)
    asset = an_asset(DATA, url(site))
    context = multiprocessing.get_context("spawn")
    answers: Queue[str] = context.Queue()
    folder = str(tmp_path / "shared")
    processes = [context.Process(target=_obtain_and_tell, args=(asset, folder, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    told = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert told == {f"{tmp_path / 'shared' / 'assets' / 'thing.bin'} {sha256(DATA)}"}
    assert site.hits["/thing.bin"] == 1


def test_a_fetch_goes_on_when_another_process_is_killed_at_it(site: Site, tmp_path: Path) -> None:
    site.pages["/thing.bin"] = Page(DATA, seconds=5.0)
    asset = an_asset(DATA, url(site))
    context = multiprocessing.get_context("spawn")
    answers: Queue[str] = context.Queue()
    process = context.Process(target=_obtain_and_tell, args=(asset, os.environ["SPARSIGHT_CACHE"], answers))
    process.start()
    deadline = time.monotonic() + 60
    while not site.hits["/thing.bin"] and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join(60)
    site.pages["/thing.bin"] = Page(DATA)
    assert obtain(asset).read_bytes() == DATA


def _apt_get(folder: Path, package: Path) -> None:
    """A stand-in for apt-get that has one package."""
    script = folder / "apt-get"
    script.write_text(
        f'#!/bin/sh\nfor last; do :; done\n[ "$last" = some-doc ] && exec cp {package} .\nexit 1\n'
    )
    script.chmod(0o755)


def test_one_package_serves_every_asset_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    package = tmp_path / "some-doc_1_all.deb"
    package.write_bytes(
        deb_bytes(tar_bytes({"./usr/one": DATA, "./usr/two": b"two", "./usr/three": b"3"}, "w:xz"))
    )
    (tmp_path / "bin").mkdir()
    _apt_get(tmp_path / "bin", package)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def held(name: str, data: bytes) -> Asset:
        return an_asset(data, Deb("some-doc", f"usr/{name}", known(data)), name=name, file=name)

    one, two, wrong = held("one", DATA), held("two", b"two"), held("three", b"not 3")
    unrelated = an_asset(b"x", Deb("other-doc", "usr/one", known(b"x")), name="x", file="x")
    assert obtain(one, (one, two, wrong, unrelated)).read_bytes() == DATA
    assert sorted(path.name for path in cache.iterdir()) == [".state", "one", "two"]
    assert not leftovers(cache)
    package.unlink()
    assert obtain(two).read_bytes() == b"two"


def test_a_bomb_in_place_of_an_asset_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    package = tmp_path / "some-doc_1_all.deb"
    package.write_bytes(deb_bytes(tar_bytes({"./usr/one": bytes(20 << 20)}, "w:xz")))
    (tmp_path / "bin").mkdir()
    _apt_get(tmp_path / "bin", package)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(archives, "CHUNK", 1 << 16)
    with pytest.raises(SparsightError, match="claims 20,971,520 bytes, more than the 1,024,000 allowed"):
        obtain(an_asset(DATA, Deb("some-doc", "usr/one", known(DATA))))
    assert not leftovers(cache)
