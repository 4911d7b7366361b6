"""What the networks that embed people and faces share: the classifier on top, and how they start."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sparsight.errors import SparsightError


def classifier(features: int, num_classes: int) -> nn.Linear | None:
    """The linear layer from ``features`` to ``num_classes``, or None for a network that only embeds.

    Raises:
        SparsightError: ``num_classes`` is negative.
    """
    if num_classes < 0:
        raise SparsightError(
            f"num_classes is {num_classes}: give the number of classes, or 0 to leave the classifier out."
        )
    return nn.Linear(features, num_classes) if num_classes else None


def initialise(module: nn.Module) -> None:
    """Start one convolution (He et al. 2015, by fan out) or linear layer; for ``network.apply``."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)


def check_classes(network: nn.Module, layer: str, state: Mapping[str, Tensor]) -> None:
    """Refuse a state whose classifier is not the network's, and say which option makes them meet.

    The body of these networks fits whatever they were trained to tell apart, so a classifier of another size
    is the commonest reason for which an official file does not load.

    Args:
        network: the network to be filled.
        layer: name of its classifier, a linear layer or None.
        state: parameter name → tensor, as read from a file.

    Raises:
        SparsightError: the numbers of classes differ.
    """
    body = {name for name, _ in network.named_parameters() if not name.startswith(f"{layer}.")}
    if not body <= state.keys():
        return  # another network's weights: the number of classes is not what is wrong
    own = getattr(network, layer)
    weight = state.get(f"{layer}.weight")
    theirs = 0 if weight is None else len(weight)
    ours = 0 if own is None else own.out_features
    if theirs != ours:
        raise SparsightError(
            f"the weights know {theirs or 'no'} classes and the {type(network).__name__} {ours or 'none'}: "
            f"build it with num_classes={theirs}."
        )
