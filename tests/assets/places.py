"""A web site on this machine, and archives made on the spot."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sparsight.assets.catalogue import Asset, Contents, Source


@dataclass
class Page:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None  # a Content-Length that is not the body's; -1 for none at all
    seconds: float = 0.0  # how long the body takes
    login: tuple[str, str] | None = None


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A visitor that was killed is no news."""


class Site:
    """Pages by path, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.hits: Counter[str] = Counter()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                site.hits[path] += 1
                page = site.pages.get(path, Page(b"no such page", status=404))
                if page.login is not None:
                    expected = base64.b64encode(":".join(page.login).encode()).decode()
                    if self.headers.get("Authorization") != f"Basic {expected}":
                        page = Page(b"who are you?", status=401)
                self.send_response(page.status)
                length = len(page.body) if page.claimed is None else page.claimed
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                for key, value in page.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                half = len(page.body) // 2
                self.wfile.write(page.body[:half])
                time.sleep(page.seconds)
                self.wfile.write(page.body[half:])

        return Handler


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def an_asset(data: bytes | None, *sources: Source, name: str = "thing", file: str = "thing.bin") -> Asset:
    """An entry for a file with these bytes; without bytes, one whose hash is not known."""
    contents = Contents() if data is None else Contents(sha256(data), len(data))
    return Asset(name, file, "none", "nowhere", "a thing", contents, sources)


def known(data: bytes) -> Contents:
    return Contents(sha256(data), len(data))


def tar_bytes(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def deb_bytes(data_tar: bytes, suffix: str = "xz") -> bytes:
    """A Debian package, after deb(5): an ar archive of a version, control files and files."""
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": tar_bytes({"./control": b"Package: p\n"})}
    parts[f"data.tar.{suffix}"] = data_tar
    archive = b"!<arch>\n"
    for name, content in parts.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive
