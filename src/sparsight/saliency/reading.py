"""Running a network on a picture and taking the rarity of its layers.

Two ways. ``OnnxReader`` lets ONNX Runtime run the whole network and hand over all layers: the fastest on a
CPU. ``TorchReader`` looks at each layer as PyTorch comes past it and lets go of it: on a GPU features and
their histograms never leave the device, and on a CPU large pictures need little more memory than the two
largest layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets import Session, taps
from sparsight.nets.runtime import DEVICES, usable_threads
from sparsight.registry import lookup
from sparsight.saliency.rarity import Features, rarity_maps
from sparsight.saliency.rarity_torch import rarity_map_torch
from sparsight.saliency.result import Map

AnyMaps = TypeVar("AnyMaps", Features, Tensor)

MOST_VALUES = 64_000_000
"""Values in all layers together (256 MB) above which a CPU takes them one layer at a time."""

_PROBE = 96  # pixels a side of the picture that layers are measured with
_LARGE = 400 * 400  # pixels of input below which no known network comes near MOST_VALUES


class Reader(Protocol):
    """A network open at some layers."""

    def rarities(self, x: NDArray[np.float32], bins: int, border: Callable[[int], int]) -> dict[str, Map]:
        """The rarity map of each layer but the extra ones, for the input ``x`` (1, 3, height, width)."""
        ...

    def features(self, x: NDArray[np.float32], each: Callable[[str, Features], None]) -> None:
        """Call ``each`` with the name and the channels (C, H, W) of every layer, the extra ones as well."""
        ...

    extra: dict[str, Features]
    """The channels of the extra layers of the picture that ``rarities`` saw last."""


def open_network(
    network: nn.Module, layers: Sequence[str], extra: Sequence[str], size: tuple[int, int], device: str
) -> Reader:
    """The better of the two readers for inputs of ``size`` on ``device``.

    Args:
        network: in evaluation mode; it belongs to the reader from now on.
        layers: modules whose rarity is wanted.
        extra: modules whose channels themselves are wanted.
        size: height and width of the input.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda"``.

    Raises:
        SparsightError: no such device or module.
    """
    lookup("device", device, dict.fromkeys(DEVICES))
    opened = taps(network, list(dict.fromkeys([*layers, *extra])))  # says which module there is not
    gpu = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise SparsightError("PyTorch finds no CUDA device here: use device cpu or auto.")
    if gpu or _too_large(opened, size):
        return TorchReader(network, layers, extra, "cuda" if gpu else "cpu")
    return OnnxReader(Session(opened, device="cpu"), layers, extra)


class OnnxReader:
    """All layers at once, from ONNX Runtime."""

    def __init__(self, session: Session, layers: Sequence[str], extra: Sequence[str]) -> None:
        self._session = session
        self._layers = tuple(layers)
        self._extra = tuple(extra)
        self.extra: dict[str, Features] = {}

    def rarities(self, x: NDArray[np.float32], bins: int, border: Callable[[int], int]) -> dict[str, Map]:
        """See ``Reader``."""
        found = {name: _checked(name, maps[0]) for name, maps in self._session.run(x).items()}
        self.extra = {name: found[name] for name in self._extra}
        layers = {name: found[name] for name in self._layers}
        return rarity_maps(layers, bins=bins, border=border, threads=usable_threads())

    def features(self, x: NDArray[np.float32], each: Callable[[str, Features], None]) -> None:
        """See ``Reader``."""
        for name, maps in self._session.run(x).items():
            each(name, _checked(name, maps[0]))


class _Complete(BaseException):
    """Every layer has been read: the rest of the network need not run."""


class TorchReader:
    """One layer at a time, from PyTorch, on the CPU or a GPU. One call at a time."""

    def __init__(self, network: nn.Module, layers: Sequence[str], extra: Sequence[str], device: str) -> None:
        self._network = network.eval().to(device)
        self._layers = frozenset(layers)
        self._extra = frozenset(extra)
        self._order = tuple(dict.fromkeys([*layers, *extra]))
        self._device = device
        self.extra: dict[str, Features] = {}
        self._forget_unused()

    def rarities(self, x: NDArray[np.float32], bins: int, border: Callable[[int], int]) -> dict[str, Map]:
        """See ``Reader``."""
        found: dict[str, Map] = {}
        self.extra = {}

        def take(name: str, maps: Tensor) -> None:
            if name in self._extra:
                self.extra[name] = maps.cpu().numpy().copy()
            if name not in self._layers:
                return
            if maps.is_cuda:
                width = maps.shape[-1]
                found[name] = rarity_map_torch(maps, bins=bins, border=border(width)).cpu().numpy()
            else:
                one = {name: maps.numpy()}
                found.update(rarity_maps(one, bins=bins, border=border, threads=usable_threads()))

        self._pass(x, take)
        return {name: found[name] for name in self._order if name in self._layers}

    def features(self, x: NDArray[np.float32], each: Callable[[str, Features], None]) -> None:
        """See ``Reader``."""
        self._pass(x, lambda name, maps: each(name, maps.cpu().numpy()))

    def _pass(self, x: NDArray[np.float32], take: Callable[[str, Tensor], None]) -> None:
        """Run the network as far as the last layer; ``take`` gets each layer's (C, H, W) on its device."""
        waiting = set(self._order)
        modules = dict(self._network.named_modules())

        def reader(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def read(module: nn.Module, inputs: Any, output: Tensor) -> None:
                if name in waiting:  # a module that runs twice gives its first output
                    take(name, _checked(name, output[0]))
                    waiting.discard(name)
                    if not waiting:
                        raise _Complete

            return read

        handles = [modules[name].register_forward_hook(reader(name)) for name in self._order]
        try:
            with torch.inference_mode():
                self._network(torch.from_numpy(x).to(self._device))
        except _Complete:
            pass
        finally:
            for handle in handles:
                handle.remove()
        if waiting:
            raise SparsightError(f"module {min(waiting)!r} does not run in a forward pass: tap another one.")

    def _forget_unused(self) -> None:
        """Let go of the weights behind the last layer: a VGG's classifier is nine tenths of it."""
        ran: set[nn.Module] = set()
        handles = [
            module.register_forward_hook(lambda module, inputs, output: ran.add(module))
            for module in self._network.modules()
        ]
        try:
            self._pass(np.zeros((1, 3, _PROBE, _PROBE), np.float32), lambda name, maps: None)
        finally:
            for handle in handles:
                handle.remove()
        for module in self._network.modules():
            if not list(module.children()) and module not in ran and not self._is_read(module):
                module.to("meta")

    def _is_read(self, module: nn.Module) -> bool:
        return any(self._network.get_submodule(name) is module for name in self._order)


def _checked(name: str, maps: AnyMaps) -> AnyMaps:
    """The maps of a layer (C, H, W), if that is what it gives."""
    if maps.ndim != 3:
        raise SparsightError(
            f"layer {name} gives no maps over the picture: tap a convolution, or what follows it."
        )
    return maps


def _too_large(opened: nn.Module, size: tuple[int, int]) -> bool:
    """Whether the layers of one picture together are too much to hold at once."""
    if size[0] * size[1] < _LARGE:
        return False
    with torch.inference_mode():
        values = sum(maps.numel() for maps in opened(torch.zeros(1, 3, _PROBE, _PROBE)).values())
    return int(values) * size[0] * size[1] > MOST_VALUES * _PROBE * _PROBE
