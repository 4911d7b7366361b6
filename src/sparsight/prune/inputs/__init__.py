"""Input feature selection: find what a network need not see, and stop showing it.

After *Induced Feature Selection by Structured Pruning* (Hubens et al., 2023, arXiv 2303.10999): impose
structured sparsity on the weights, trace zeroed blocks of the first layer back to input features, remove
both. For a multilayer perceptron the features are pixels. What they are for a convolutional network (channels
of a front end, or lines of the image) is our reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.prune.inputs.explaining import Explanation, explain
    from sparsight.prune.inputs.front_ends import FRONT_ENDS, BlockDCT, FrontEnd, Lines, SpaceToDepth
    from sparsight.prune.inputs.selecting import InputSelection, Selection, select_inputs
    from sparsight.prune.inputs.selector import Selector

_PUBLIC = {
    "FRONT_ENDS": "sparsight.prune.inputs.front_ends:FRONT_ENDS",
    "BlockDCT": "sparsight.prune.inputs.front_ends:BlockDCT",
    "Explanation": "sparsight.prune.inputs.explaining:Explanation",
    "FrontEnd": "sparsight.prune.inputs.front_ends:FrontEnd",
    "InputSelection": "sparsight.prune.inputs.selecting:InputSelection",
    "Lines": "sparsight.prune.inputs.front_ends:Lines",
    "Selection": "sparsight.prune.inputs.selecting:Selection",
    "Selector": "sparsight.prune.inputs.selector:Selector",
    "SpaceToDepth": "sparsight.prune.inputs.front_ends:SpaceToDepth",
    "explain": "sparsight.prune.inputs.explaining:explain",
    "select_inputs": "sparsight.prune.inputs.selecting:select_inputs",
}

__all__ = [
    "FRONT_ENDS",
    "BlockDCT",
    "Explanation",
    "FrontEnd",
    "InputSelection",
    "Lines",
    "Selection",
    "Selector",
    "SpaceToDepth",
    "explain",
    "select_inputs",
]

__getattr__ = lazy("sparsight.prune.inputs", _PUBLIC)
