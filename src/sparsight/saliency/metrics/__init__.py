"""Scores of saliency maps: against fixations, densities, regions, and odd-one-out displays."""

from __future__ import annotations

from sparsight.saliency.metrics.case import inside
from sparsight.saliency.metrics.densities import cc, density_map, kl, sim
from sparsight.saliency.metrics.fixations import information_gain, log_likelihood, nss
from sparsight.saliency.metrics.oddity import fixations_to_target, gsi, msr_background, msr_target
from sparsight.saliency.metrics.presets import PRESETS, Preset
from sparsight.saliency.metrics.regions import Curves, curves, f_measure, iou, mae, region_auc
from sparsight.saliency.metrics.roc import auc, auc_borji, auc_judd, shuffled_auc
from sparsight.saliency.metrics.structure import e_measure, s_measure, weighted_f
from sparsight.saliency.metrics.table import METRICS, Metric, score_map
from sparsight.saliency.metrics.transport import emd

__all__ = [
    "METRICS",
    "PRESETS",
    "Curves",
    "Metric",
    "Preset",
    "auc",
    "auc_borji",
    "auc_judd",
    "cc",
    "curves",
    "density_map",
    "e_measure",
    "emd",
    "f_measure",
    "fixations_to_target",
    "gsi",
    "information_gain",
    "inside",
    "iou",
    "kl",
    "log_likelihood",
    "mae",
    "msr_background",
    "msr_target",
    "nss",
    "region_auc",
    "s_measure",
    "score_map",
    "shuffled_auc",
    "sim",
    "weighted_f",
]
