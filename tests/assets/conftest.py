"""Each test has a cache of its own, and a web site if it asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Site


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a cache of its own, no local folder, and none of this machine's settings of pip."""
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "cache"))
    for name in ("SPARSIGHT_ASSETS", "SPARSIGHT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "assets"


@pytest.fixture
def pip_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip's settings as the test writes them into the file this names."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\n")
    # "isolated" settings would still hold the machine's own file; this replaces every file by ours.
    monkeypatch.setattr("sparsight.assets.pypi._pip_config", lambda: _as_listed(config))
    return config


def _as_listed(config: Path) -> str:
    section, lines = "", []
    for line in config.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            key, _, value = line.partition("=")
            lines.append(f"{section}.{key.strip()}={value.strip()!r}")
    return "\n".join(lines)
