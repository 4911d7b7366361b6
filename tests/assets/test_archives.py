from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import deb_bytes, tar_bytes

from sparsight import SparsightError
from sparsight.assets import archives

TEN_GB = 10 * 10**9
DATA = bytes(range(256)) * 5000


def small_archives() -> list[tuple[str, bytes]]:
    members: dict[str, bytes | tarfile.TarInfo] = {"p/a-name" + "x" * 120: b"x", "p/data.bin": b"data" * 100}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/data.bin", b"data" * 100)
    return [
        ("a.whl", buffer.getvalue()),
        ("a.tar", tar_bytes(members, "w")),
        ("a.tar.gz", tar_bytes(members, "w:gz")),
        ("a.deb", deb_bytes(tar_bytes(members, "w:xz"))),
        ("b.deb", deb_bytes(tar_bytes(members, "w:gz"), "gz")),
    ]


SMALL = small_archives()


def read(path: Path, member: str, limit: int = 10**8) -> bytes:
    return b"".join(archives.member(path, member, limit))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def zip_file(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def zip_bomb(claimed: int) -> bytes:
    """A .zip of one entry, ``bomb``, that inflates to 10 GB of zeros and says it holds ``claimed`` bytes.

    Full flushes end on a byte, so one deflated stretch of zeros can be repeated (RFC 1951); sizes of 4 GiB
    and more stand in an extra field (APPNOTE 4.5.3).
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    stretch = squeeze.compress(bytes(16 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    body = stretch * -(-TEN_GB // (16 << 20)) + squeeze.flush(zlib.Z_FINISH)
    extra = struct.pack("<HHQQ", 1, 16, claimed, len(body))
    sizes = struct.pack("<III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    times = struct.pack("<HH", 0, 33)
    name = b"bomb"
    local = b"PK\x03\x04" + struct.pack("<HHH", 45, 0, 8) + times + sizes
    local += struct.pack("<HH", len(name), len(extra)) + name + extra + body
    central = b"PK\x01\x02" + struct.pack("<HHHH", 45, 45, 0, 8) + times + sizes
    central += struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, 0) + name + extra
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def test_one_member_of_each_kind_of_archive(tmp_path: Path) -> None:
    members: dict[str, bytes | tarfile.TarInfo] = {"p/other": b"x" * 1000, "p/data.bin": DATA, "p/last": b"y"}
    plain = {name: data for name, data in members.items() if isinstance(data, bytes)}
    paths = [
        zip_file(tmp_path / "a-1-py3-none-any.whl", plain),
        zip_file(tmp_path / "a-1.zip", plain),
        write(tmp_path / "a.tar", tar_bytes(members, "w")),
        write(tmp_path / "a-1.tar.gz", tar_bytes(members, "w:gz")),
        write(tmp_path / "a.tar.xz", tar_bytes(members, "w:xz")),
        write(
            tmp_path / "a_1_all.deb", deb_bytes(tar_bytes({f"./{n}": d for n, d in plain.items()}, "w:xz"))
        ),
        write(tmp_path / "b_1_all.deb", deb_bytes(tar_bytes(members, "w:gz"), "gz")),
    ]
    for path in paths:
        assert read(path, "p/data.bin") == DATA, path.name
        assert read(path, "*/data.bin") == DATA, path.name
        with pytest.raises(SparsightError, match="has no p/missing"):
            read(path, "p/missing")


@pytest.mark.parametrize("member", ["../evil", "/etc/passwd", "p/../../evil", "..", "*/../evil"])
def test_members_that_climb_out_are_refused(tmp_path: Path, member: str) -> None:
    names = {member: b"evil", "p/data.bin": DATA}
    for path in (
        zip_file(tmp_path / "a.whl", names),
        write(tmp_path / "a.tar.gz", tar_bytes(dict(names))),
        write(tmp_path / "a.deb", deb_bytes(tar_bytes(dict(names), "w:xz"))),
    ):
        with pytest.raises(SparsightError, match="must not be absolute or climb out"):
            read(path, member)
        # What else is in the archive is never looked at, let alone written.
        assert read(path, "p/data.bin") == DATA


def test_a_pattern_does_not_match_a_name_that_climbs_out(tmp_path: Path) -> None:
    for path in (
        zip_file(tmp_path / "a.whl", {"../../data.bin": b"evil", "/x/data.bin": b"evil"}),
        write(tmp_path / "a.tar.gz", tar_bytes({"../../data.bin": b"evil", "/x/data.bin": b"evil"})),
    ):
        with pytest.raises(SparsightError, match="has no"):
            read(path, "*/data.bin")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo()
    entry.type = kind
    entry.linkname = "/etc/passwd"
    data = tar_bytes({"p/data.bin": entry})
    for path in (write(tmp_path / "a.tar.gz", data), write(tmp_path / "a.deb", deb_bytes(data, "gz"))):
        with pytest.raises(SparsightError, match="which is refused"):
            read(path, "p/data.bin")


def test_links_and_secrets_in_a_zip_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("p/data.bin")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(SparsightError, match="is a link"):
        read(tmp_path / "a.zip", "p/data.bin")
    data = bytearray(zip_file(tmp_path / "b.zip", {"p/data.bin": DATA}).read_bytes())
    data[6] |= 1  # the flag "encrypted", in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SparsightError, match="is encrypted"):
        read(write(tmp_path / "b.zip", bytes(data)), "p/data.bin")


def test_a_ten_gigabyte_zip_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    path = write(tmp_path / "a.whl", zip_bomb(TEN_GB))
    assert path.stat().st_size < 20 << 20
    with zipfile.ZipFile(path) as archive:  # it is what it should be
        assert archive.getinfo("bomb").file_size == TEN_GB
        with archive.open("bomb") as stream:
            assert stream.read(1 << 20) == bytes(1 << 20)
    pieces = archives.member(path, "bomb", 10**9)
    with pytest.raises(SparsightError, match="claims 10,000,000,000 bytes"):
        next(pieces)


def test_a_zip_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.whl", zip_bomb(1000))
    total = 0
    with pytest.raises(SparsightError, match="broken"):
        for piece in archives.member(path, "bomb", 10**6):
            total += len(piece)
    assert total <= 10**6


def ten_gigabytes_in(name: str, after: bytes) -> bytes:
    """A .tar.gz with a member of 10 GB of zeros; gzip files one after the other are one (RFC 1952)."""
    entry = tarfile.TarInfo(name)
    entry.size = TEN_GB
    stretch = gzip.compress(bytes(16 << 20))
    return gzip.compress(entry.tobuf()) + stretch * (TEN_GB // (16 << 20)) + gzip.compress(after)


def test_a_ten_gigabyte_tar_bomb_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a-1.tar.gz", ten_gigabytes_in("a-1/data.bin", b""))
    with pytest.raises(SparsightError, match="claims 10,000,000,000 bytes"):
        next(archives.member(path, "a-1/data.bin", 10**9))
    # Nor is it read through on the way to another member.
    with pytest.raises(SparsightError, match="claims 10,000,000,000 bytes"):
        next(archives.member(path, "a-1/after", 10**9))


def test_a_tar_of_many_small_bombs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SCAN_LIMIT", 8 << 20)
    members: dict[str, bytes | tarfile.TarInfo] = {f"zeros{i}": bytes(1 << 20) for i in range(20)}
    path = write(tmp_path / "a-1.tar.gz", tar_bytes({**members, "a": b"a"}))
    with pytest.raises(SparsightError, match="unpacks to more than 8,388,608 bytes"):
        read(path, "a")


def test_a_header_that_claims_a_huge_long_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SCAN_LIMIT", 8 << 20)
    entry = tarfile.TarInfo("././@LongLink")
    entry.type = tarfile.GNUTYPE_LONGNAME
    entry.size = 64 << 20
    path = write(tmp_path / "a-1.tar.gz", gzip.compress(entry.tobuf() + b"n" * (64 << 20)))
    with pytest.raises(SparsightError, match="unpacks to more than"):
        read(path, "a")


def test_a_deb_whose_files_are_a_bomb_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("./a")
    entry.size = TEN_GB
    path = write(tmp_path / "a.deb", deb_bytes(lzma.compress(entry.tobuf() + bytes(1 << 20))))
    with pytest.raises(SparsightError, match="claims 10,000,000,000 bytes"):
        read(path, "a")


def test_broken_archives_are_refused(tmp_path: Path) -> None:
    good_zip = zip_file(tmp_path / "g.zip", {"p/data.bin": DATA}).read_bytes()
    good_tar = tar_bytes({"p/data.bin": DATA * 10})
    good_deb = deb_bytes(tar_bytes({"p/data.bin": DATA * 10}, "w:xz"))
    for name, data in {
        "a.whl": b"this is no zip",
        "b.whl": good_zip[:-30],
        "c.tar.gz": b"this is no tar",
        "d.tar.gz": good_tar[: len(good_tar) // 2],
        "e.deb": b"this is no package",
        "f.deb": good_deb[: len(good_deb) // 2],
        "g.deb": good_deb.replace(b"data.tar.xz", b"data.tar.qq"),
        "h.deb": good_deb.replace(b"data.tar.xz", b"nothing    "),
        "i.deb": good_deb[:8] + bytes(60) + good_deb[68:],
        "j.tar.gz": b"",
        "k.rar": b"Rar!",
    }.items():
        with pytest.raises(SparsightError):
            read(write(tmp_path / name, data), "p/data.bin")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mangled_archives_fail_cleanly(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever bytes change, there comes the member, other bytes (the hash is for them) or one sentence."""
    name, whole = data.draw(st.sampled_from(SMALL))
    mangled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(st.integers(0, 255))
    mangled = mangled[: data.draw(st.integers(0, len(mangled)))]
    path = write(tmp_path_factory.getbasetemp() / name, bytes(mangled))
    with contextlib.suppress(SparsightError):
        assert len(read(path, "p/data.bin", 10_000)) <= 10_000


def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", DATA)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    with pytest.raises(SparsightError, match="broken"):
        read(write(path, bytes(data)), "a")


def test_zstandard_is_read_or_asked_for(tmp_path: Path) -> None:
    plain = io.BytesIO(tar_bytes({"p/data.bin": DATA}, "w")).getvalue()
    try:
        import zstandard
    except ImportError:
        path = write(tmp_path / "a.deb", deb_bytes(b"\x28\xb5\x2f\xfd", "zst"))
        with pytest.raises(SparsightError, match="pip install zstandard"):
            read(path, "p/data.bin")
    else:
        path = write(tmp_path / "a.deb", deb_bytes(zstandard.compress(plain), "zst"))
        assert read(path, "p/data.bin") == DATA
