"""Python packages as a source of files: found and downloaded as the user's own pip would, never installed.

pip itself would run the ``setup.py`` of a source distribution, so this is a small client of the simple
repository API (PEP 503, PEP 691) that takes its settings (indexes, links, certificates, proxy) from
``pip config list``. What it downloads is an archive to read one file from.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

from sparsight.assets import http
from sparsight.errors import SparsightError
from sparsight.spelling import NO_LITERAL

DEFAULT_INDEX = "https://pypi.org/simple"
PAGE_LIMIT = 64 << 20
ARCHIVE_LIMIT = 1 << 30
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.2, text/html; q=0.1"


@dataclass(frozen=True)
class Settings:
    """Where pip looks and how it gets there.

    Attributes:
        indexes: addresses of simple indexes, the main one first.
        find_links: folders, pages or files to look at besides.
        network: certificates, proxy and trusted hosts.
    """

    indexes: tuple[str, ...] = (DEFAULT_INDEX,)
    find_links: tuple[str, ...] = ()
    network: http.Network = field(default_factory=http.Network)


@dataclass(frozen=True)
class Link:
    """A downloadable file: its name, its address (http(s) or file) and hashes by algorithm."""

    filename: str
    url: str
    hashes: tuple[tuple[str, str], ...] = ()


def settings() -> Settings:
    """pip's settings for this interpreter: its files and ``PIP_`` variables (without pip, only those)."""
    return read_settings(_pip_config(), os.environ.items())


def read_settings(config: str, variables: Iterable[tuple[str, str]]) -> Settings:
    """Settings out of the text of ``pip config list`` and of environment variables.

    Args:
        config: lines such as ``global.index-url='https://...'``; the section "download" outweighs
            "global".
        variables: the environment; a ``PIP_`` variable outweighs the files.
    """
    options: dict[str, str] = {}
    for section in ("global", "download"):
        for line in config.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                options[key.removeprefix(f"{section}.")] = _unquoted(value)
    for variable, value in variables:
        if variable.startswith("PIP_") and value:
            options[variable.removeprefix("PIP_").lower().replace("_", "-")] = value
    indexes = [] if _truth(options.get("no-index")) else [options.get("index-url", DEFAULT_INDEX)]
    if indexes:
        indexes += options.get("extra-index-url", "").split()
    certificates = options.get("cert")
    client = options.get("client-cert")
    return Settings(
        indexes=tuple(indexes),
        find_links=tuple(options.get("find-links", "").split()),
        network=http.Network(
            certificates=Path(certificates) if certificates else None,
            client_certificate=Path(client) if client else None,
            proxy=options.get("proxy") or None,
            trusted_hosts=frozenset(options.get("trusted-host", "").split()),
        ),
    )


def candidates(
    distribution: str, version: str, archive: Literal["wheel", "sdist"], using: Settings
) -> Iterator[Link | SparsightError]:
    """The archives of one release, in the order of the settings' places, each place asked when reached.

    A place that cannot be asked gives its error instead of ending the search.
    """
    project = _normalised(distribution)
    places = [(place, place) for place in using.find_links]
    places += [(index, f"{index.rstrip('/')}/{project}/") for index in using.indexes]
    for place, page in places:
        try:
            links = _links(page, using.network)
        except SparsightError as error:
            yield SparsightError(f"{http.shown(place)}: {error}")
            continue
        yield from (link for link in links if _is_release(link.filename, project, version, archive))


def download(link: Link, folder: Path, using: Settings) -> Iterator[int]:
    """Bring ``link`` into ``folder`` under its own name, saying how many bytes came with each piece.

    Raises:
        SparsightError: it cannot be had whole, or its hash is not the one the index gives.
    """
    name = Path(link.filename).name
    digests = [(algorithm, hashlib.new(algorithm), expected) for algorithm, expected in _checkable(link)]
    with (folder / name).open("wb") as target:
        for piece in _content(link.url, using.network):
            target.write(piece)
            for _, digest, _ in digests:
                digest.update(piece)
            yield len(piece)
    for algorithm, digest, expected in digests:
        if digest.hexdigest() != expected.lower():
            raise SparsightError(f"{name} does not have the {algorithm} its index states")


def _checkable(link: Link) -> list[tuple[str, str]]:
    return [(name, value) for name, value in link.hashes if name in ("sha256", "sha384", "sha512")]


def _content(url: str, network: http.Network) -> Iterator[bytes]:
    if urlsplit(url).scheme == "file":
        try:
            with _local_path(url).open("rb") as stream:
                while piece := stream.read(1 << 20):
                    yield piece
        except OSError as error:
            raise SparsightError(f"{http.shown(url)}: {error.strerror}") from error
        return
    with http.opened(url, network=network) as response:
        yield from http.body(response, ARCHIVE_LIMIT)


def _links(place: str, network: http.Network) -> list[Link]:
    """Everything that a folder, a page of links or an archive itself offers."""
    scheme = urlsplit(place).scheme
    if scheme in ("http", "https"):
        with http.opened(place, network=network, headers={"Accept": _ACCEPT}) as response:
            page = b"".join(http.body(response, PAGE_LIMIT)).decode("utf-8", "replace")
            base = str(response.url)
            is_json = "json" in response.headers.get("Content-Type", "")
        found = _json_links(page, base) if is_json else _html_links(page, base)
        # A page on the web has no business with this machine's files.
        found = [link for link in found if urlsplit(link.url).scheme in ("http", "https")]
        return [_with_credentials(link, place) for link in found]
    path = _local_path(place) if scheme == "file" else Path(place).expanduser()
    try:
        if path.is_dir():
            index = path / "index.html"
            if index.is_file():
                return _html_links(index.read_text(encoding="utf-8"), index.resolve().as_uri())
            return [Link(entry.name, entry.resolve().as_uri()) for entry in sorted(path.iterdir())]
        if path.suffix in (".html", ".htm"):
            return _html_links(path.read_text(encoding="utf-8"), path.resolve().as_uri())
        if path.is_file():
            return [Link(path.name, path.resolve().as_uri())]
    except (OSError, UnicodeDecodeError) as error:
        raise SparsightError(f"it cannot be read ({error})") from error
    raise SparsightError("it has no such project")


def _html_links(page: str, base: str) -> list[Link]:
    parser = _Anchors(base)
    parser.feed(page)
    found = []
    for url in parser.urls:
        address, fragment = urldefrag(url)
        algorithm, _, value = fragment.partition("=")
        hashes = ((algorithm, value),) if value else ()
        found.append(Link(unquote(urlsplit(address).path.rpartition("/")[2]), address, hashes))
    return found


def _json_links(page: str, base: str) -> list[Link]:
    try:
        return [
            Link(str(file["filename"]), urljoin(base, file["url"]), tuple(dict(file["hashes"]).items()))
            for file in json.loads(page)["files"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise SparsightError("its answer is not a list of files") from error


class _Anchors(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self._base = base

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if not address:
            return
        if tag == "base":
            self._base = urljoin(self._base, address)
        elif tag == "a":
            self.urls.append(urljoin(self._base, address))


def _with_credentials(link: Link, index: str) -> Link:
    """What an index's own address carries as user and password also opens the files on its host."""
    user, at, _ = urlsplit(index).netloc.rpartition("@")
    parts = urlsplit(link.url)
    if (
        not at
        or "@" in parts.netloc
        or (parts.scheme, parts.netloc)
        != (
            urlsplit(index).scheme,
            urlsplit(index).netloc.rpartition("@")[2],
        )
    ):
        return link
    return Link(link.filename, parts._replace(netloc=f"{user}@{parts.netloc}").geturl(), link.hashes)


def _is_release(filename: str, project: str, version: str, archive: Literal["wheel", "sdist"]) -> bool:
    if archive == "wheel":
        parts = filename.removesuffix(".whl").split("-")
        return (
            filename.endswith(".whl")
            and len(parts) >= 5
            and (_normalised(parts[0]), parts[1]) == (project, version)
        )
    for suffix in (".tar.gz", ".zip", ".tar.xz"):
        if filename.endswith(suffix):
            name, _, found = filename.removesuffix(suffix).rpartition("-")
            return (_normalised(name), found) == (project, version)
    return False


def _normalised(name: str) -> str:
    """A project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _local_path(url: str) -> Path:
    return Path(url2pathname(unquote(urlsplit(url).path)) if os.name == "nt" else unquote(urlsplit(url).path))


def _pip_config() -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _unquoted(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except NO_LITERAL:
        return value


def _truth(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")
