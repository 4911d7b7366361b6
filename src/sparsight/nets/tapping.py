"""Reading the features inside a network, by the names of its modules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from sparsight.errors import SparsightError


class _Complete(BaseException):
    """Every tap has been read: the rest of the network need not run."""


class Taps(nn.Module):
    """A network cut open: ``x`` → the outputs of the named modules, in the order asked.

    The network itself is shared, not copied, and is the same after a call as before it, also when the call
    fails. It runs only as far as the last module that was asked for, and a gradient flows through the taps.
    A module that runs several times in one pass (a shared activation, say) gives its first output.
    One call at a time: two threads need two ``Taps`` over two copies of the network.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        for name in names:
            if name not in modules or not name:
                raise SparsightError(_unknown(name, [known for known in modules if known]))
        if not names or len(set(names)) != len(names):
            raise SparsightError("taps need at least one module name, and each name once.")
        self.model = model
        self.names = tuple(names)
        self.input_shape: tuple[int, int, int] | None = getattr(model, "input_shape", None)
        self.training = model.training

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The tapped features of a batch, name → tensor.

        Raises:
            SparsightError: a named module did not run, or gives something other than one tensor.
        """
        modules = dict(self.model.named_modules())
        # An in-place activation would overwrite the feature that it follows.
        copy = any(getattr(module, "inplace", False) for module in modules.values())
        found: dict[str, Tensor] = {}

        def reader(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def read(module: nn.Module, inputs: Any, output: Any) -> None:
                if name in found:
                    return
                if not isinstance(output, Tensor):
                    kind = type(output).__name__
                    raise SparsightError(f"module {name!r} gives a {kind}, not a tensor: tap a part of it.")
                found[name] = output.clone() if copy else output
                if len(found) == len(self.names):
                    raise _Complete

            return read

        handles = [modules[name].register_forward_hook(reader(name)) for name in self.names]
        try:
            self.model(x)
        except _Complete:
            pass
        finally:
            for handle in handles:
                handle.remove()
        for name in self.names:
            if name not in found:
                raise SparsightError(f"module {name!r} does not run in a forward pass: tap another one.")
        return {name: found[name] for name in self.names}


def taps(model: nn.Module, names: Sequence[str]) -> Taps:
    """Read the outputs of the modules called ``names`` (as in ``model.named_modules()``).

    Args:
        model: any network.
        names: module names, such as ``["features.3", "features.6"]``.

    Returns:
        A module ``x → {name: tensor}``; a ``Session`` takes it like any other network.

    Raises:
        SparsightError: no module of that name (the nearest ones are listed), or a name twice.
    """
    return Taps(model, names)


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
    return f"the network has no module called {name!r}: the nearest are {', '.join(near)}."
