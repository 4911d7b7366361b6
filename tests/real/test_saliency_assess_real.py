from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from sparsight.app.saliency_cmd import saliency_app
from sparsight.saliency.assess import measure
from sparsight.saliency.datasets import Dataset, load
from sparsight.saliency.scoring import score_dataset

pytestmark = pytest.mark.real

MODELS = ("signature", "spectral_residual", "center_bias", "random")


@pytest.fixture(scope="module")
def sod(assets: Path) -> Dataset:
    return load("sod", assets / "saliency" / "sod")


def test_regions_of_sod(sod: Dataset) -> None:
    names = set(sod.names[:25])
    found = measure(sod, names)
    assert set(found.images) == names and not found.notes
    masks = [sod.mask(sod.names.index(name)) for name in found.images]
    assert found.values["size"] == pytest.approx([np.mean(mask) for mask in masks if mask is not None])
    # People segment what differs from its surround, and not the frame.
    assert np.median(found.values["contrast_histogram"]) > 0.2
    assert np.median(found.values["eccentricity"]) < 0.4
    assert found.values["number"].max() < 30


def test_osie_and_sod_are_assessed_together(sod: Dataset, assets: Path, tmp_path: Path) -> None:
    osie = load("osie", assets / "saliency" / "osie")
    for data, limit in ((osie, 12), (sod, 24)):
        score_dataset(data, MODELS, out=tmp_path / data.name, limit=limit)
    result = CliRunner().invoke(
        saliency_app,
        [
            "assess",
            *(str(tmp_path / name) for name in ("osie", "sod")),
            *("--dataset", "sod", "--root", str(assets / "saliency" / "sod")),
            *("--dataset", "osie", "--root", str(assets / "saliency" / "osie")),
            *("--out", str(tmp_path / "out")),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert "osie has no segmented regions" in result.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Fixations are of osie and regions of sod" in page
    assert "sod, 24 images with regions" in page
    consensus = pandas.read_csv(tmp_path / "out" / "tables" / "consensus.csv")
    places = consensus.pivot(index="model", columns="truth", values="mean_rank")
    assert places.fixations.idxmax() == "random"  # noise is worst by whatever is measured
    assert places.fixations["random"] > 3
