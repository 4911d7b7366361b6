from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from places import Page, Site

from sparsight import SparsightError
from sparsight.assets import http


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:secret@host:8443/a/b?token=secret#x", "https://host:8443/a/b"),
        ("https://token@host/a", "https://host/a"),
        ("file:///a b/simple", "file:///a b/simple"),
        ("/plain/path", "/plain/path"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, expected: str) -> None:
    assert http.shown(url) == expected


def test_texts_are_redacted() -> None:
    text = "proxy 'http://user:sec@ret@proxy:3128' and https://token@host/a failed; mail a@b.c"
    assert http.redacted(text) == "proxy 'http://proxy:3128' and https://host/a failed; mail a@b.c"


def test_a_body_without_a_stated_length_is_taken_to_its_end(site: Site) -> None:
    site.pages["/a"] = Page(b"abc" * 1000, claimed=-1)
    with http.opened(f"{site.url}/a") as response:
        assert b"".join(http.body(response, 10_000)) == b"abc" * 1000


def test_a_proxy_is_used_if_the_settings_name_one(site: Site) -> None:
    site.pages["http://elsewhere.invalid/a"] = Page(b"by proxy")
    with http.opened("http://elsewhere.invalid/a", network=http.Network(proxy=site.url)) as response:
        assert b"".join(http.body(response, 100)) == b"by proxy"


@pytest.mark.parametrize("name", ["certificates", "client_certificate"])
def test_certificate_files_that_are_not_there(site: Site, name: str) -> None:
    network = http.Network(**{name: Path("/no/such/file")})
    with pytest.raises(SparsightError, match="No such file"), http.opened(f"{site.url}/a", network=network):
        pass


def test_errors_of_the_reader_are_left_alone(site: Site) -> None:
    site.pages["/a"] = Page(b"abc")
    with pytest.raises(OSError, match="mine"), http.opened(f"{site.url}/a"):
        raise OSError("mine")


def test_a_redirect_to_an_unprotected_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = {
        "https://host.invalid/a": httpx.Response(302, headers={"Location": "http://host.invalid/b"}),
        "http://host.invalid/b": httpx.Response(302, headers={"Location": "https://host.invalid/c"}),
        "https://host.invalid/c": httpx.Response(200, content=b"abc"),
    }
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: hops[str(request.url)])
    with pytest.raises(SparsightError, match="not protected"), http.opened("https://host.invalid/a"):
        pass
    with http.opened("https://host.invalid/c") as response:
        assert response.read() == b"abc"
