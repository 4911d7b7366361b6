"""Every file in the folder of real assets is the one the catalogue means."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sparsight.assets import CATALOGUE
from sparsight.assets.catalogue import Local

pytestmark = pytest.mark.real

FILES = [
    pytest.param(source, id=asset.name)
    for asset in CATALOGUE.values()
    for source in asset.sources
    if isinstance(source, Local) and asset.kind == "file"
]
FOLDERS = [pytest.param(asset, id=asset.name) for asset in CATALOGUE.values() if asset.kind == "folder"]


@pytest.mark.parametrize("source", FILES)
def test_a_local_file_is_what_the_catalogue_says(assets: Path, source: Local) -> None:
    data = (assets / source.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == source.contents.sha256
    assert len(data) == source.contents.bytes


@pytest.mark.parametrize("asset", FOLDERS)
def test_a_local_folder_is_found(assets: Path, asset: object, tmp_path: Path) -> None:
    from sparsight.assets import Asset, copies

    assert isinstance(asset, Asset)
    assert [found.problem for found in copies(asset)] == [None]


def test_images_are_as_many_as_the_descriptions_say(assets: Path) -> None:
    counts = {
        "mot/TUD-Campus/img1": 71,
        "mot/TUD-Stadtmitte/img1": 179,
        "saliency/osie/stimuli": 700,
        "saliency/sod/images": 300,
    }
    assert {name: len(list((assets / name).iterdir())) for name in counts} == counts
