from __future__ import annotations

from pathlib import Path

import pytest

from sparsight.files import replacing, write_bytes, write_text


def test_a_file_is_replaced_whole_and_keeps_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_text(target, "first")
    write_text(target, "größer")
    assert target.read_bytes() == "größer".encode()
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    write_bytes(target, b"before")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_bytes(b"half of wh")
        raise RuntimeError
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_private_files_are_private_and_others_follow_the_umask(tmp_path: Path) -> None:
    write_bytes(tmp_path / "private", b"", mode=0o600)
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
