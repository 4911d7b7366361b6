"""A forward hook that outlives neither its layer nor its sparsifier."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsight.prune.layer import LayerState

Kind = Literal["input", "output"]
KINDS: tuple[Kind, ...] = ("input", "output")


class Watcher:
    """Hands on what passes through one layer: in training, or ``always``.

    Evaluations in the course of a training (in evaluation mode and without gradients) are none of a
    criterion's business; training in evaluation mode, as with frozen batch norms, is. Models are copied and
    pickled with their hooks: a copy of a watcher hands on nothing.

    Args:
        owner: who is told; not kept alive. None: no one.
        gather: ``gather(owner, kind, state, value)``, its method.
        state: the layer's.
        kind: what to hand on.
        always: evaluations, too.
    """

    def __init__(
        self,
        owner: object = None,
        gather: Callable[[Any, str, LayerState, Tensor], None] | None = None,
        state: LayerState | None = None,
        kind: Kind = "input",
        *,
        always: bool = False,
    ) -> None:
        self._owner = None if owner is None else weakref.ref(owner)
        self._gather = gather
        self._state = state
        self._kind = kind
        self._always = always

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """See ``torch.nn.Module.register_forward_hook``."""
        owner = None if self._owner is None else self._owner()
        if owner is None or self._gather is None or self._state is None or module is not self._state.module:
            return
        if self._always or module.training or torch.is_grad_enabled():
            value = inputs[0] if self._kind == "input" else output
            self._gather(owner, self._kind, self._state, value.detach())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
