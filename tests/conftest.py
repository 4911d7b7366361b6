"""What every test can rely on: the folder of real assets, and skips where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ASSETS = os.environ.get("SPARSIGHT_ASSETS", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if ASSETS and Path(ASSETS.split(os.pathsep)[0]).is_dir():
        return
    skip = pytest.mark.skip(reason="set SPARSIGHT_ASSETS to the folder of real weights and data")
    for item in items:
        if "real" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real data and weights."""
    return Path(ASSETS.split(os.pathsep)[0]).resolve()
