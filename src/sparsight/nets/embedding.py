"""What the networks that embed people and faces share: the classifier on top, and how they start."""

from __future__ import annotations

from torch import nn

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
