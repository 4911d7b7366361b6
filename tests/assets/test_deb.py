from __future__ import annotations

from pathlib import Path

import pytest

from sparsight import SparsightError
from sparsight.assets import deb


def apt_get(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for apt-get; the folder it downloads to."""
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    target = folder / "target"
    target.mkdir()
    return target


def test_it_downloads_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "$LC_ALL $@" > some-doc_1_all.deb'
    target = apt_get(tmp_path / "bin", script, monkeypatch)
    path = deb.download("some-doc", target)
    assert path == target / "some-doc_1_all.deb"
    assert path.read_text() == "C -o APT::Sandbox::User=root download some-doc\n"


@pytest.mark.parametrize(
    "complaint",
    [
        "E: Unable to locate package some-doc",
        "E: Can't select candidate version from package some-doc as it has none",
    ],
)
def test_missing_lists_are_said_to_be_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str
) -> None:
    target = apt_get(tmp_path / "bin", f'echo "W: a warning\n{complaint}" >&2; exit 100', monkeypatch)
    with pytest.raises(SparsightError, match="run 'apt-get update' as root"):
        deb.download("some-doc", target)


def test_other_failures_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = apt_get(tmp_path / "bin", 'echo "E: Failed to fetch it" >&2; exit 100', monkeypatch)
    with pytest.raises(SparsightError, match=r"apt-get failed \(Failed to fetch it\)"):
        deb.download("some-doc", target)


def test_an_apt_get_that_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = apt_get(tmp_path / "bin", "exit 0", monkeypatch)
    with pytest.raises(SparsightError, match="no reason given"):
        deb.download("some-doc", target)


def test_a_system_without_apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SparsightError, match="no apt-get"):
        deb.download("some-doc", tmp_path)
