"""Whether weights are numbers at all."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor


def first_not_finite(tensors: Iterable[Tensor]) -> int | None:
    """Place of the first tensor that holds NaN or infinite values; None if there is none.

    A sum is not finite if anything in it is not, and takes half as long as looking for the extremes; one that
    overflows is looked at again. Tensors wait for their device together, not one by one.

    Args:
        tensors: of any shapes and devices, of real numbers.
    """
    held = list(tensors)
    if not held:
        return None
    with torch.no_grad():
        sums = [tensor.sum(dtype=_wide(tensor.dtype)) for tensor in held]
    if len({value.device for value in sums}) > 1:
        sums = [value.cpu() for value in sums]
    suspects = (~torch.stack(sums).isfinite()).nonzero()[:, 0].tolist()
    for index in suspects:
        if not bool(torch.stack(torch.aminmax(held[index].detach())).isfinite().all()):
            return int(index)
    return None


@functools.cache
def _wide(dtype: torch.dtype) -> torch.dtype:
    """What a tensor is summed in."""
    return torch.promote_types(dtype, torch.float32)
