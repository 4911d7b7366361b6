"""Reading from the web: whole bodies, checked lengths, and no secrets in what errors say."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from sparsight.errors import SparsightError

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Network:
    """How to reach the web beyond what the environment already says (``HTTPS_PROXY`` and the like).

    Attributes:
        certificates: a file or folder of certificates to trust besides the system's.
        client_certificate: a file with this machine's own certificate and key.
        proxy: the proxy to use instead of the environment's.
        trusted_hosts: hosts ("name" or "name:port") whose certificate is not checked.
    """

    certificates: Path | None = None
    client_certificate: Path | None = None
    proxy: str | None = None
    trusted_hosts: frozenset[str] = frozenset()


def shown(url: str) -> str:
    """``url`` without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def redacted(text: str) -> str:
    """``text`` with the users and passwords of the addresses in it taken out."""
    return re.sub(r"//[^/\s'\"]*@", "//", text)


@contextlib.contextmanager
def opened(
    url: str,
    *,
    network: Network | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[httpx.Response]:
    """A GET whose body is still to be read; redirects are followed, but never from https to http.

    Args:
        url: an http(s) address; a user and password in it are used.
        network: how to reach it.
        headers: besides ``Accept-Encoding: identity``, without which lengths could not be checked.

    Raises:
        SparsightError: it cannot be had; the sentence says why and holds no secret.
    """
    import httpx

    network = network or Network()
    parts = urlsplit(url)
    # Given apart from the address, which httpx writes to its log, they stay out of it.
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    trusted = {parts.hostname, f"{parts.hostname}:{parts.port}"} & network.trusted_hosts
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(
                httpx.Client(
                    follow_redirects=True,
                    timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
                    verify=_context(network, check=not trusted),
                    proxy=network.proxy,
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                )
            )
            response = stack.enter_context(client.stream("GET", address, auth=login))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # OSError and ValueError: the certificate files or the proxy of the settings.
            raise SparsightError(_reason(error)) from error
        if parts.scheme == "https" and any(r.url.scheme != "https" for r in (*response.history, response)):
            raise SparsightError("it redirects from https to an address that is not protected")
        if response.status_code != httpx.codes.OK:
            raise SparsightError(f"HTTP {response.status_code} {response.reason_phrase}".strip())
        yield response


def body(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """The body in pieces, exactly as long as the server said.

    Raises:
        SparsightError: it is longer than ``limit``, or shorter or longer than its Content-Length.
    """
    import httpx

    declared = response.headers.get("Content-Length", "")
    expected = int(declared) if declared.isdigit() else None
    if expected is not None and expected > limit:
        raise SparsightError(f"it has {expected:,} bytes, more than the {limit:,} allowed")
    total = 0
    try:
        for piece in response.iter_raw(1 << 20):
            total += len(piece)
            if total > limit:
                raise SparsightError(f"it has more than the {limit:,} bytes allowed")
            yield piece
    except httpx.HTTPError as error:
        of = f" of {expected:,}" if expected is not None else ""
        raise SparsightError(
            f"the download broke off after {total:,}{of} bytes ({_reason(error)})"
        ) from error
    if expected is not None and total != expected:
        raise SparsightError(f"the download broke off after {total:,} of {expected:,} bytes")


def _context(network: Network, *, check: bool) -> ssl.SSLContext:
    """Trust what the system trusts, what httpx trusts by itself, and what the settings add."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if network.certificates is not None:
        folder = network.certificates.is_dir()
        where = str(network.certificates)
        context.load_verify_locations(cafile=None if folder else where, capath=where if folder else None)
    if network.client_certificate is not None:
        context.load_cert_chain(network.client_certificate)
    if not check:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    import httpx

    text = redacted(str(error)) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return text
