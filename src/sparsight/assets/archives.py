"""One file out of an archive: read in pieces, never unpacked, never run.

Nothing in an archive decides where anything is written: the caller names the one member it wants and
gets its bytes. What is refused: a member whose path could leave the archive's own folder, one that is a
link, a device or encrypted, and anything larger than the caller allows, by what the archive declares
where it declares it and by what comes out in any case.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from sparsight.assets.catalogue import safe_member
from sparsight.errors import SparsightError

CHUNK = 1 << 20
SCAN_LIMIT = 1 << 30
"""Bytes of a compressed tar read in search of a member: past this it is a bomb, not a package."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def member(archive: Path, pattern: str, limit: int) -> Iterator[bytes]:
    """The bytes of one member of ``archive``, in pieces of at most ``CHUNK``.

    Args:
        archive: a .zip or .whl, a .tar, .tar.gz, .tgz or .tar.xz, or a .deb.
        pattern: path of the member; a ``*`` stands for any run of characters. The first match counts.
        limit: most bytes the member may have.

    Raises:
        SparsightError: no such member, an unsafe or oversized one, or a broken archive.
    """
    if not safe_member(pattern):
        raise SparsightError(
            f"{pattern!r} is not a path inside an archive: it must not be absolute or climb out."
        )
    reader = _reader(archive.name)
    try:
        with contextlib.closing(reader(archive, pattern, limit)) as pieces:
            yield from pieces
    except SparsightError:
        raise
    except Exception as error:
        # Which exceptions the parsers let out for bytes that make no sense is not something to count on.
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise SparsightError(f"{archive.name} is broken ({str(error) or type(error).__name__}).") from error


def _reader(name: str) -> Callable[[Path, str, int], Generator[bytes]]:
    if name.endswith((".zip", ".whl")):
        return _from_zip
    if name.endswith(".deb"):
        return _from_deb
    if name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz")):
        return _from_tar
    raise SparsightError(f"{name} is no kind of archive this can read: give a zip, wheel, tar or deb.")


def _from_zip(archive: Path, pattern: str, limit: int) -> Generator[bytes]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if entry.is_dir() or not _matches(entry.filename, pattern):
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise SparsightError(f"{entry.filename} in {archive.name} is a link, which is refused.")
            if entry.flag_bits & 1:
                raise SparsightError(f"{entry.filename} in {archive.name} is encrypted, which is refused.")
            _check_size(entry.filename, entry.file_size, limit)
            with opened.open(entry) as stream:
                yield from _pieces(stream, entry.filename, limit)
            return
    raise SparsightError(f"{archive.name} has no {pattern}.")


def _from_tar(archive: Path, pattern: str, limit: int) -> Generator[bytes]:
    with archive.open("rb") as raw:
        yield from _from_tar_stream(raw, archive.name, archive.name, pattern, limit)


def _from_deb(archive: Path, pattern: str, limit: int) -> Generator[bytes]:
    """A .deb is an ``ar`` of which one part, ``data.tar`` in some compression, holds the files."""
    with archive.open("rb") as raw:
        for name, window in _ar_parts(raw, archive.name):
            if name.startswith("data.tar"):
                yield from _from_tar_stream(window, name, archive.name, pattern, limit)
                return
    raise SparsightError(f"{archive.name} is not a Debian package: it has no data.tar.")


def _from_tar_stream(
    compressed: IO[bytes], name: str, archive: str, pattern: str, limit: int
) -> Iterator[bytes]:
    with _decompressed(compressed, name) as plain:
        # tarfile reads forward only ("r|"), through a reader that stops at the limit, whatever sizes
        # the headers claim.
        bounded: Any = _Bounded(plain, archive, SCAN_LIMIT)
        with tarfile.open(fileobj=bounded, mode="r|") as opened:
            for entry in opened:
                if not _matches(entry.name, pattern):
                    _check_size(entry.name, entry.size, SCAN_LIMIT)
                    continue
                if not entry.isreg():
                    kind = "a link" if entry.issym() or entry.islnk() else "not a plain file"
                    raise SparsightError(f"{entry.name} in {archive} is {kind}, which is refused.")
                _check_size(entry.name, entry.size, limit)
                stream = opened.extractfile(entry)
                assert stream is not None  # a plain file has one
                yield from _pieces(stream, entry.name, limit)
                return
    raise SparsightError(f"{archive} has no {pattern}.")


def _matches(name: str, pattern: str) -> bool:
    name = name.removeprefix("./")
    if "*" not in pattern:
        return name == pattern
    return safe_member(name) and fnmatch.fnmatchcase(name, pattern)


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise SparsightError(f"{name} claims {size:,} bytes, more than the {limit:,} allowed.")


def _pieces(stream: _Readable, name: str, limit: int) -> Iterator[bytes]:
    """All of ``stream``, refusing to go past ``limit``: sizes that archives declare can lie."""
    total = 0
    while piece := stream.read(CHUNK):
        total += len(piece)
        if total > limit:
            raise SparsightError(f"{name} holds more than the {limit:,} bytes allowed.")
        yield piece


class _Bounded:
    """The front of a stream; reading past the limit is an error."""

    def __init__(self, stream: _Readable, name: str, limit: int) -> None:
        self._stream = stream
        self._name = name
        self._left = limit

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise SparsightError(f"{self._name} unpacks to more than {SCAN_LIMIT:,} bytes, which is refused.")
        return piece


@contextlib.contextmanager
def _decompressed(stream: IO[bytes], name: str) -> Iterator[_Readable]:
    if name.endswith(".tar"):
        yield stream
    elif name.endswith((".gz", ".tgz")):
        with gzip.GzipFile(fileobj=stream) as plain:
            yield plain
    elif name.endswith(".xz"):
        with lzma.LZMAFile(stream) as plain:
            yield plain
    elif name.endswith(".zst"):
        with _zstandard(stream) as plain:
            yield plain
    else:
        raise SparsightError(f"{name} is compressed in a way this cannot read.")


def _zstandard(stream: IO[bytes]) -> Any:
    """Zstandard came into the standard library with Python 3.14; before, a package has it."""
    import importlib

    for module in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(module).ZstdFile(stream)
    with contextlib.suppress(ImportError):
        return importlib.import_module("zstandard").ZstdDecompressor().stream_reader(stream)
    raise SparsightError("the package is compressed with Zstandard: pip install zstandard, and try again.")


def _ar_parts(stream: IO[bytes], archive: str) -> Iterator[tuple[str, IO[bytes]]]:
    """The parts of a Unix ``ar`` archive: an 8-byte signature, then 60-byte headers and data, 2-aligned."""
    if stream.read(8) != b"!<arch>\n":
        raise SparsightError(f"{archive} is not a Debian package: it does not begin as one.")
    end = stream.seek(0, io.SEEK_END)
    position = 8
    while position + 60 <= end:
        stream.seek(position)
        header = stream.read(60)
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit() or position + 60 + int(digits) > end:
            raise SparsightError(f"{archive} is broken: the header at byte {position} makes no sense.")
        size = int(digits)
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        yield name, io.BufferedReader(_Window(stream, position + 60, size), CHUNK)
        position += 60 + size + size % 2


class _Window(io.RawIOBase):
    """A stretch of a file, as a file."""

    def __init__(self, stream: IO[bytes], start: int, size: int) -> None:
        self._stream = stream
        self._position = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._end - self._position)
        self._stream.seek(self._position)
        piece = self._stream.read(wanted)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
