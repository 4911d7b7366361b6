"""What tests of several parts of the room share."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PEERS = Path(__file__).parents[2] / ".venv" / "peers-saliency"

_RENAMED = {"trapz": "trapezoid", "string_": "bytes_"}
"""Names that NumPy dropped and pysaliency uses."""


@pytest.fixture(scope="module")
def pysaliency() -> Iterator[Any]:
    """pysaliency 0.2.22, installed beside the project (see CONTRIBUTING.md)."""
    if not (PEERS / "pysaliency").is_dir():
        pytest.skip(f"no pysaliency in {PEERS}: run 'make peers'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(PEERS)])
        for old, new in _RENAMED.items():
            if old not in vars(np):
                patch.setattr(np, old, getattr(np, new), raising=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pysaliency
            import pysaliency.metrics
            import pysaliency.models
        yield pysaliency
