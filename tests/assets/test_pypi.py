from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

import pytest
from places import Page, Site, an_asset, known, sha256, tar_bytes

from sparsight import SparsightError
from sparsight.assets import pypi
from sparsight.assets.catalogue import Asset, PyPI
from sparsight.assets.resolve import obtain

DATA = bytes(range(256)) * 100
WHEEL = "Some_Package-1.0-py3-none-any.whl"
SDIST = "some-package-1.0.tar.gz"
SECRET = "p4ssw0rd"


def wheel_bytes(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some_package/__init__.py", "raise SystemExit('this must never run')")
        archive.writestr("some_package/data.bin", DATA)
    return path.read_bytes()


def sdist_bytes(trap: Path) -> bytes:
    """A source distribution whose ``setup.py`` leaves a mark if anything runs it."""
    return tar_bytes(
        {
            "some-package-1.0/setup.py": f"open({str(trap)!r}, 'w').close()".encode(),
            "some-package-1.0/data.bin": DATA,
        }
    )


def from_wheel() -> Asset:
    return an_asset(DATA, PyPI("Some.Package", "1.0", "wheel", "some_package/data.bin", known(DATA)))


def from_sdist() -> Asset:
    return an_asset(DATA, PyPI("some_package", "1.0", "sdist", "some-package-1.0/data.bin", known(DATA)))


def html(*links: str) -> Page:
    body = "<!DOCTYPE html><html><body>" + "".join(f'<a href="{link}">a file</a><br>' for link in links)
    return Page(body.encode(), headers={"Content-Type": "text/html"})


def test_a_wheel_from_an_html_index(site: Site, tmp_path: Path, pip_alone: Path) -> None:
    wheel = wheel_bytes(tmp_path / "w.whl")
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple/\n")
    site.pages["/simple/some-package/"] = html(
        "../../files/some_package-0.9-py3-none-any.whl",
        "../../files/some_package_extra-1.0-py3-none-any.whl",
        f"../../files/{SDIST}",
        f"../../files/{WHEEL}#sha256={sha256(wheel)}",
    )
    site.pages[f"/files/{WHEEL}"] = Page(wheel)
    assert obtain(from_wheel()).read_bytes() == DATA
    assert site.hits == {"/simple/some-package/": 1, f"/files/{WHEEL}": 1}


def test_a_source_distribution_from_a_json_index_is_never_run(
    site: Site, tmp_path: Path, pip_alone: Path
) -> None:
    sdist = sdist_bytes(tmp_path / "ran")
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    files = [
        {"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {}},
        {"filename": SDIST, "url": f"{site.url}/files/{SDIST}", "hashes": {"sha256": sha256(sdist)}},
    ]
    site.pages["/simple/some-package/"] = Page(
        json.dumps({"meta": {"api-version": "1.0"}, "files": files}).encode(),
        headers={"Content-Type": "application/vnd.pypi.simple.v1+json"},
    )
    site.pages[f"/files/{SDIST}"] = Page(sdist)
    assert obtain(from_sdist()).read_bytes() == DATA
    assert not (tmp_path / "ran").exists()


def test_the_hash_of_the_index_is_checked(site: Site, tmp_path: Path, pip_alone: Path) -> None:
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    site.pages["/simple/some-package/"] = html(f"/files/{WHEEL}#sha256={'0' * 64}")
    site.pages[f"/files/{WHEEL}"] = Page(wheel_bytes(tmp_path / "w.whl"))
    with pytest.raises(SparsightError, match="does not have the sha256 its index states"):
        obtain(from_wheel())


def test_a_truncated_archive_is_noticed(site: Site, tmp_path: Path, pip_alone: Path, cache: Path) -> None:
    wheel = wheel_bytes(tmp_path / "w.whl")
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    site.pages["/simple/some-package/"] = html(f"/files/{WHEEL}")
    site.pages[f"/files/{WHEEL}"] = Page(wheel[:-50], claimed=len(wheel))
    with pytest.raises(SparsightError, match="broke off"):
        obtain(from_wheel())
    site.pages[f"/files/{WHEEL}"] = Page(wheel[:-50])
    with pytest.raises(SparsightError, match="is broken"):
        obtain(from_wheel())
    assert not list((cache / ".state" / "scratch").iterdir())


def test_an_index_in_a_folder_and_links_in_another(tmp_path: Path, pip_alone: Path) -> None:
    """What mirrors on a disk look like: file:// indexes beside an index that does not answer."""
    index = tmp_path / "an index" / "simple"
    (index / "some-package").mkdir(parents=True)
    (tmp_path / "an index" / "files").mkdir()
    (tmp_path / "an index" / "files" / SDIST).write_bytes(sdist_bytes(tmp_path / "ran"))
    (index / "some-package" / "index.html").write_text(f'<a href="../../files/{SDIST}">x</a>')
    links = tmp_path / "links"
    links.mkdir()
    wheel_bytes(links / WHEEL)
    pip_alone.write_text(
        f"[global]\nindex-url=http://127.0.0.1:9/simple\nextra-index-url={index.as_uri()}\nfind-links={links}\n"
    )
    assert obtain(from_wheel()).read_bytes() == DATA
    Path(obtain(from_wheel())).unlink()
    assert obtain(from_sdist()).read_bytes() == DATA
    with pytest.raises(
        SparsightError, match=r"127\.0\.0\.1:9/simple: .*refused, file:.*: it has no such project"
    ):
        obtain(an_asset(b"", PyPI("other", "1", "wheel", "a", known(b"")), name="b", file="b"))


def test_find_links_may_be_a_page_or_an_archive(site: Site, tmp_path: Path, pip_alone: Path) -> None:
    archive = tmp_path / WHEEL
    site.pages["/links.html"] = html(f"files/{WHEEL}")
    site.pages[f"/files/{WHEEL}"] = Page(wheel_bytes(archive))
    (tmp_path / "links.html").write_text(f'<a href="{WHEEL}">x</a>')
    places = (f"{site.url}/links.html", str(archive), archive.as_uri(), str(tmp_path / "links.html"))
    for place in places:
        pip_alone.write_text(f"[global]\nno-index=true\nfind-links={place}\n")
        path = obtain(from_wheel())
        assert path.read_bytes() == DATA
        path.unlink()


def test_a_page_on_the_web_cannot_point_at_files_here(site: Site, tmp_path: Path, pip_alone: Path) -> None:
    wheel_bytes(tmp_path / WHEEL)
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    site.pages["/simple/some-package/"] = html((tmp_path / WHEEL).as_uri())
    with pytest.raises(SparsightError, match="no wheel of this version was found"):
        obtain(from_wheel())


def test_credentials_open_the_index_and_its_files_and_are_never_shown(
    site: Site, tmp_path: Path, pip_alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    login = ("user", SECRET)
    pip_alone.write_text(f"[global]\nindex-url=http://user:{SECRET}@{site.host}/simple\n")
    site.pages["/simple/some-package/"] = html(f"/files/{WHEEL}")
    site.pages["/simple/some-package/"].login = login
    site.pages[f"/files/{WHEEL}"] = Page(wheel_bytes(tmp_path / "w.whl"), login=login)
    assert obtain(from_wheel()).read_bytes() == DATA

    site.pages[f"/files/{WHEEL}"] = Page(b"", status=500)
    for address in (
        f"http://user:{SECRET}@{site.host}/simple",
        f"http://user:{SECRET}x@{site.host}/simple",
        f"http://user:{SECRET}@127.0.0.1:9/simple",
        f"http://user:{SECRET}@no such host/simple",
        f"ftp://user:{SECRET}@{site.host}/simple",
    ):
        pip_alone.write_text(f"[global]\nindex-url={address}\nproxy=\n")
        with pytest.raises(SparsightError) as caught:
            obtain(an_asset(b"", PyPI("some-package", "1.0", "wheel", "a", known(b"")), name="b", file="b"))
        assert SECRET not in str(caught.value)
        assert "user" not in str(caught.value)
    assert SECRET not in caplog.text


def test_credentials_are_not_given_to_another_host(site: Site, tmp_path: Path, pip_alone: Path) -> None:
    other = Site()
    try:
        pip_alone.write_text(f"[global]\nindex-url=http://user:{SECRET}@{site.host}/simple\n")
        site.pages["/simple/some-package/"] = html(f"{other.url}/{WHEEL}")
        other.pages[f"/{WHEEL}"] = Page(wheel_bytes(tmp_path / "w.whl"), login=("user", SECRET))
        with pytest.raises(SparsightError, match="HTTP 401"):
            obtain(from_wheel())
    finally:
        other.close()


def test_an_index_that_talks_nonsense(site: Site, pip_alone: Path) -> None:
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    site.pages["/simple/some-package/"] = Page(b"{}", headers={"Content-Type": "application/json"})
    with pytest.raises(SparsightError, match="its answer is not a list of files"):
        obtain(from_wheel())


def test_a_file_name_from_an_index_cannot_leave_the_folder(
    site: Site, tmp_path: Path, pip_alone: Path
) -> None:
    wheel = wheel_bytes(tmp_path / "w.whl")
    pip_alone.write_text(f"[global]\nindex-url={site.url}/simple\n")
    name = "../../../../some_package-1.0-py3-none-any.whl"
    files = [{"filename": name, "url": "/w.whl", "hashes": {}}]
    site.pages["/simple/some-package/"] = Page(
        json.dumps({"files": files}).encode(), headers={"Content-Type": "application/json"}
    )
    site.pages["/w.whl"] = Page(wheel)
    with pytest.raises(SparsightError, match="no wheel of this version"):
        obtain(from_wheel())
    assert not list(tmp_path.rglob("some_package-1.0*"))


def test_settings_as_pip_weighs_them() -> None:
    config = "\n".join(
        [
            ":env:.index-url='https://not-read-here'",
            "global.cert='/etc/ca.crt'",
            "global.extra-index-url='https://one/simple\\nfile:///two/simple'",
            "global.index-url='https://main/simple'",
            "global.timeout='60'",
            "download.find-links='/links'",
            "global.find-links='/not-these'",
        ]
    )
    found = pypi.read_settings(config, [("PIP_PROXY", "http://proxy:3128"), ("HOME", "/"), ("PIP_CERT", "")])
    assert found.indexes == ("https://main/simple", "https://one/simple", "file:///two/simple")
    assert found.find_links == ("/links",)
    assert found.network.certificates == Path("/etc/ca.crt")
    assert found.network.proxy == "http://proxy:3128"
    overruled = pypi.read_settings(
        config,
        [("PIP_INDEX_URL", "https://mine"), ("PIP_EXTRA_INDEX_URL", "https://too"), ("PIP_CERT", "/c")],
    )
    assert overruled.indexes == ("https://mine", "https://too")
    assert overruled.network.certificates == Path("/c")
    trusting = pypi.read_settings("global.trusted-host='a b:80'", [("PIP_CLIENT_CERT", "/me")]).network
    assert trusting.trusted_hosts == {"a", "b:80"}
    assert trusting.client_certificate == Path("/me")


def test_settings_without_any() -> None:
    assert pypi.read_settings("", []) == pypi.Settings()
    assert pypi.Settings().indexes == ("https://pypi.org/simple",)
    assert pypi.read_settings("", [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "/a b/")]).indexes == ()


def test_settings_come_from_pip_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://from-the-file/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    pytest.importorskip("pip")
    assert pypi.settings().indexes[0] == "https://from-the-file/simple"
