"""Assessing saliency models: two ground truths, properties of regions, and metrics mixed.

The three experiments of Riche, Duvinage, Mancas, Gosselin and Dutoit, "A study of parameters affecting visual
saliency assessment" (2013, arXiv 1307.5691), on any set of models, metrics and data sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.saliency.assess.assessment import Assessment, assess
    from sparsight.saliency.assess.conclusions import Conclusion
    from sparsight.saliency.assess.properties import RegionProperties, measure, region_properties
    from sparsight.saliency.assess.tables import Scores, make_scores, read_scores
    from sparsight.saliency.assess.writing import data_frames, write_tables

_PUBLIC = {
    "Assessment": "sparsight.saliency.assess.assessment:Assessment",
    "Conclusion": "sparsight.saliency.assess.conclusions:Conclusion",
    "RegionProperties": "sparsight.saliency.assess.properties:RegionProperties",
    "Scores": "sparsight.saliency.assess.tables:Scores",
    "assess": "sparsight.saliency.assess.assessment:assess",
    "data_frames": "sparsight.saliency.assess.writing:data_frames",
    "make_scores": "sparsight.saliency.assess.tables:make_scores",
    "measure": "sparsight.saliency.assess.properties:measure",
    "read_scores": "sparsight.saliency.assess.tables:read_scores",
    "region_properties": "sparsight.saliency.assess.properties:region_properties",
    "write_tables": "sparsight.saliency.assess.writing:write_tables",
}

__all__ = [
    "Assessment",
    "Conclusion",
    "RegionProperties",
    "Scores",
    "assess",
    "data_frames",
    "make_scores",
    "measure",
    "read_scores",
    "region_properties",
    "write_tables",
]

__getattr__ = lazy("sparsight.saliency.assess", _PUBLIC)
