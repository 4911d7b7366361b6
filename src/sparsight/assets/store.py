"""The cache on disk: where files lie, what they hash to, and what is remembered about them.

::

    CACHE/assets/FILE                   the fetched files
    CACHE/assets/.state/stamps/         hashes of files seen, valid while size and time of change stay
    CACHE/assets/.state/recorded/NAME   the hash of an asset whose catalogue entry does not know it
    CACHE/assets/.state/locks/          one lock per asset being fetched
    CACHE/assets/.state/scratch/NAME/   an archive on its way through
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sparsight.assets.catalogue import Asset
from sparsight.errors import SparsightError
from sparsight.files import write_text


def cache_folder() -> Path:
    """The folder for what can be fetched or computed again: SPARSIGHT_CACHE, or the system's place."""
    if folder := os.environ.get("SPARSIGHT_CACHE"):
        return Path(folder).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sparsight"))


def local_folders() -> list[Path]:
    """The folders that SPARSIGHT_ASSETS names, which are read and never written."""
    names = os.environ.get("SPARSIGHT_ASSETS", "").split(os.pathsep)
    return [Path(name).expanduser().absolute() for name in names if name]


def cached_path(asset: Asset) -> Path:
    """Where the cache keeps the file of ``asset``, whether it is there or not."""
    return cache_folder() / "assets" / asset.file


def sha256_of(path: Path, *, fresh: bool = False) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Args:
        path: the file.
        fresh: read it even if its size and time of change are those of the last reading.

    Raises:
        OSError: it cannot be read.
    """
    seen = _look(path)
    if not fresh:
        with contextlib.suppress(OSError, ValueError):
            *remembered, sha256 = json.loads(_stamp(path).read_text(encoding="utf-8"))
            if remembered == seen:
                return str(sha256)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    remember(path, digest.hexdigest(), seen)
    return digest.hexdigest()


def remember(path: Path, sha256: str, seen: list[str | int] | None = None) -> None:
    """Spare the next ``sha256_of`` the reading.

    Args:
        path: the file.
        sha256: its hash.
        seen: how the file looked when it was hashed; by default as it looks now.
    """
    # A cache that cannot be written only costs another reading.
    with contextlib.suppress(OSError):
        write_text(_stamp(path), json.dumps([*(seen or _look(path)), sha256]))


def _look(path: Path) -> list[str | int]:
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _stamp(path: Path) -> Path:
    return _state("stamps", hashlib.sha256(os.fsencode(path)).hexdigest()[:24])


def record_path(asset: Asset) -> Path:
    """The file that holds the recorded hash of an asset whose catalogue entry has none."""
    return _state("recorded", asset.name)


def recorded(asset: Asset) -> str:
    """The hash recorded when ``asset`` was first used, or ""."""
    try:
        return record_path(asset).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def record(asset: Asset, sha256: str) -> None:
    """Remember the hash of ``asset``; from now on it must have this one."""
    write_text(record_path(asset), f"{sha256}\n")


@contextlib.contextmanager
def locked(asset: Asset, *, wait: bool = True) -> Iterator[bool]:
    """Be the only process that fetches ``asset``; says whether that is so.

    Args:
        asset: what is to be fetched.
        wait: whether to wait for another process that is at it.

    Raises:
        SparsightError: the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    path = _state("locks", asset.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
    except OSError as error:
        raise unwritable(error) from error
    try:
        # What a killed process left of this very file: nobody else can be writing it now.
        target = cached_path(asset)
        for leftover in target.parent.glob(f".{target.stem}-????????{target.suffix}"):
            leftover.unlink(missing_ok=True)
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def scratch(asset: Asset) -> Iterator[Path]:
    """An empty folder for the archive of an asset that is locked; it is gone afterwards."""
    folder = _state("scratch", asset.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unwritable(error: OSError) -> SparsightError:
    """The sentence for a cache that cannot be written."""
    return SparsightError(
        f"cannot write to the cache {cache_folder()} ({error.strerror or error}): free some space there, or "
        "set SPARSIGHT_CACHE to a folder that can be written."
    )


def _state(*parts: str) -> Path:
    return cache_folder().joinpath("assets", ".state", *parts)
