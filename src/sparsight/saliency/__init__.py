"""Where the eye goes: models that draw a saliency map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.saliency.blending import fuse
    from sparsight.saliency.models import MODELS, SaliencyModel, accepts, build, predict
    from sparsight.saliency.result import SaliencyResult
    from sparsight.saliency.sheet import explain

_PUBLIC = {
    "MODELS": "sparsight.saliency.models:MODELS",
    "SaliencyModel": "sparsight.saliency.models:SaliencyModel",
    "SaliencyResult": "sparsight.saliency.result:SaliencyResult",
    "accepts": "sparsight.saliency.models:accepts",
    "build": "sparsight.saliency.models:build",
    "explain": "sparsight.saliency.sheet:explain",
    "fuse": "sparsight.saliency.blending:fuse",
    "predict": "sparsight.saliency.models:predict",
}

__all__ = ["MODELS", "SaliencyModel", "SaliencyResult", "accepts", "build", "explain", "fuse", "predict"]

__getattr__ = lazy("sparsight.saliency", _PUBLIC)
