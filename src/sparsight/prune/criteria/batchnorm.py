"""The scale of the batch norm behind a layer, and how that batch norm is found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, fx, nn

from sparsight.errors import SparsightError
from sparsight.prune.criteria.criterion import Batches, Loss, over_weights
from sparsight.prune.layer import LayerState

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def scale(
    model: nn.Module, states: Sequence[LayerState], batches: Batches | None, loss: Loss | None
) -> dict[str, Tensor]:
    """|γ| per filter, of the batch norm that takes the layer's output; masked filters score 0.

    Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming (there with an
    l1 penalty on γ during training).

    Raises:
        SparsightError: a layer is not followed by a batch norm with a scale.
    """
    norms = following_norms(model)
    scores = {}
    for state in states:
        norm = norms.get(state.name)
        gamma = getattr(norm, "weight", None)
        if not isinstance(gamma, Tensor):
            raise SparsightError(
                f"criterion 'batchnorm' needs a batch norm with a scale behind each layer, and layer "
                f"{state.name!r} has none: name the layers that have one, or choose another criterion."
            )
        scores[state.name] = over_weights(gamma.detach().abs(), state) * state.mask
    return scores


def following_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Name of a layer → the batch norm that its output goes straight into.

    By tracing the model where that is possible; else the module registered next, when it is a batch norm of
    the layer's width.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # the model's own code, which may fail under tracing in any way
        return _registered_next(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    first = {id(module): name for name, module in reversed(modules.items())}
    return {
        first[id(modules[str(node.target)])]: modules[str(user.target)]
        for node in graph.nodes
        if node.op == "call_module"
        for user in node.users
        if user.op == "call_module" and isinstance(modules[str(user.target)], NORMS)
    }


def _registered_next(model: nn.Module) -> dict[str, nn.Module]:
    leaves = [(name, module) for name, module in model.named_modules() if not next(module.children(), None)]
    found: dict[str, nn.Module] = {}
    for (name, layer), (_, norm) in pairwise(leaves):
        weight = getattr(layer, "weight", None)
        if isinstance(norm, NORMS) and isinstance(weight, Tensor) and len(weight) == norm.num_features:
            found[name] = norm
    return found
