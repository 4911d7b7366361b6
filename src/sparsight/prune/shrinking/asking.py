"""Through what a network's own code sees values: what it decides by them, one run does not show."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@functools.cache
def asks_value(func: Any) -> bool:
    """Whether an operation hands numbers to Python: ``item``, ``bool``, ``torch.equal``."""
    return torch.Tag.data_dependent_output in func.tags


def asks_size(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the size of what an operation gives depends on values: ``nonzero``, ``x[mask]``."""
    if not _may_ask_size(func):
        return False
    # Picked by numbers, there are as many as numbers.
    return func is not torch.ops.aten.index.Tensor or any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )


@functools.cache
def _may_ask_size(func: Any) -> bool:
    return torch.Tag.dynamic_output_shape in func.tags


class UnseenReads(TorchFunctionMode):
    """Tells of reads that are no operation and that no dispatch sees: ``tolist`` and NumPy's views.

    Args:
        tell: called with the tensor and what is read, before the read.
    """

    def __init__(self, tell: Callable[[Tensor, str], None]) -> None:
        super().__init__()
        self._tell = tell

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READS:
            self._tell(args[0], "numbers")
        return func(*args, **(kwargs or {}))


_READS = frozenset((torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__))
