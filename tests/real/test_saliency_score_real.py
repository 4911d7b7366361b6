"""Scores on the real files of OSIE and SOD beside figures from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparsight.saliency.datasets import load
from sparsight.saliency.metrics import METRICS
from sparsight.saliency.scoring import score_dataset, summarise

pytest.importorskip("pandas")

pytestmark = pytest.mark.real

QUICK = ("auc", "auc_judd", "shuffled_auc", "nss", "information_gain", "cc", "sim", "kl")


@pytest.mark.slow
def test_spectral_residual_on_osie(assets: Path) -> None:
    data = load("osie", assets / "saliency" / "osie")
    found = score_dataset(data, ["spectral_residual", "center_bias"], metrics=QUICK, limit=140)
    assert found.skipped == {} and found.outside == 0
    summary = summarise(found.table)
    means = {(row.model, row.prior, row.metric): row.mean for row in summary.itertuples(index=False)}
    # An independent implementation, on another 140 of the images.
    for metric, expected, tolerance in (
        ("auc", 0.751, 0.03),
        ("shuffled_auc", 0.717, 0.03),
        ("nss", 1.06, 0.12),
        ("cc", 0.315, 0.04),
        ("sim", 0.384, 0.03),
        ("kl", 1.307, 0.12),
    ):
        assert means["spectral_residual", "none", metric] == pytest.approx(expected, abs=tolerance), metric
    # Half the fixations on other images lie as central as those on this one.
    assert means["center_bias", "none", "shuffled_auc"] == pytest.approx(0.5, abs=0.03)
    # A prior lifts what knows nothing of the centre, but by the shuffled AUC.
    for metric in ("auc", "nss", "cc", "information_gain"):
        assert means["spectral_residual", "centre", metric] > means["spectral_residual", "none", metric]
    assert (
        means["spectral_residual", "centre", "shuffled_auc"]
        < means["spectral_residual", "none", "shuffled_auc"]
    )
    # Nothing beats the centre bias of the data set by knowing the centre alone.
    assert means["center_bias", "none", "information_gain"] < 0


def test_all_metrics_of_regions_on_sod(assets: Path) -> None:
    data = load("sod", assets / "saliency" / "sod")
    found = score_dataset(data, ["signature", "uniform"], limit=6)
    assert found.metrics == tuple(name for name, metric in METRICS.items() if metric.kind == "regions")
    assert np.isfinite(found.table[list(found.metrics)].to_numpy()).all()
    table = found.table[found.table["prior"] == "none"].groupby("model")["region_auc"].mean()
    assert table["uniform"] == 0.5
    assert table["signature"] > 0.55
