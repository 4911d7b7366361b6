"""Where and how training runs: one device in plain PyTorch, or several through Lightning Fabric.

On a CPU, bfloat16 and channels-last convolutions win on some machines and networks and lose on others, so
both are measured, once; the choice is kept in the cache, so that a run on one machine can be repeated.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsight.assets import cache_folder
from sparsight.errors import SparsightError
from sparsight.files import write_text
from sparsight.registry import lookup

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")
LAYOUTS = ("auto", "contiguous", "channels_last")

_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_ROUNDS = 5
_WIN = 0.9
"""Another way must take less than this share of the plain way's time."""
_SAMPLES = 32
_HOPELESS = 3
"""A way whose first step takes so many times the plain way's is not tried again."""


@dataclass(frozen=True)
class Numerics:
    """How a network computes: ``"float32"`` or ``"bfloat16"`` (autocast), and the layout of its features."""

    precision: str
    layout: str

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as PyTorch calls it."""
        return _FORMATS[self.layout]


class Engine(Protocol):
    """What the training loop asks of the machine."""

    device: torch.device
    numerics: Numerics
    rank: int
    world: int

    def prepare(
        self, model: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The network to call and the optimiser to step, on the device."""

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision of the forward pass."""

    def backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``."""

    def total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over all processes."""

    def barrier(self) -> None:
        """Wait for the other processes."""


class PlainEngine:
    """One device, nothing but PyTorch."""

    rank = 0
    world = 1

    def __init__(self, device: torch.device, numerics: Numerics) -> None:
        self.device = device
        self.numerics = numerics

    def prepare(
        self, model: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """See ``Engine``."""
        return model, optimiser

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """See ``Engine``."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.numerics.precision == "bfloat16")

    def backward(self, loss: Tensor) -> None:
        """See ``Engine``."""
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, value: Tensor) -> Tensor:
        """See ``Engine``."""
        return value

    def barrier(self) -> None:
        """See ``Engine``."""


class FabricEngine:
    """Several devices or machines, each with a process of its own, through Lightning Fabric.

    Every process runs the whole program. Fabric starts those of one machine; those of several are started by
    what runs the cluster (``torchrun``, SLURM), which Fabric recognises.

    Raises:
        SparsightError: Lightning Fabric is not installed.
    """

    def __init__(self, device: str, devices: int, nodes: int, numerics: Numerics) -> None:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise SparsightError(
                "training on several devices needs Lightning Fabric: pip install lightning-fabric."
            ) from None
        precision: Any = "bf16-mixed" if numerics.precision == "bfloat16" else "32-true"
        self._fabric = Fabric(
            accelerator=device, devices=devices, num_nodes=nodes, strategy="ddp", precision=precision
        )
        self._fabric.launch()
        self.device = self._fabric.device
        self.numerics = numerics
        self.rank = self._fabric.global_rank
        self.world = self._fabric.world_size

    def prepare(
        self, model: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """See ``Engine``."""
        wrapped, stepped = self._fabric.setup(model, optimiser)
        return wrapped, stepped

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """See ``Engine``; Fabric's module does it by itself."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """See ``Engine``."""
        self._fabric.backward(loss)

    def total(self, value: Tensor) -> Tensor:
        """See ``Engine``."""
        reduced = self._fabric.all_reduce(value, reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced

    def barrier(self) -> None:
        """See ``Engine``."""
        self._fabric.barrier()


def start(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    batch: int,
    *,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "auto",
    layout: str = "auto",
) -> Engine:
    """The engine for a training run.

    Args:
        model: what will be trained; on a CPU, what ``"auto"`` precision and layout are measured on.
        input_shape: channels, height, width of its input.
        batch: images in a batch.
        device: ``"auto"`` is a GPU if there is one.
        devices: processes on each machine.
        nodes: machines.
        precision: ``"float32"``, ``"bfloat16"`` (autocast) or ``"auto"``: measured on a CPU; on a GPU
            bfloat16 where it has it.
        layout: of features, ``"contiguous"``, ``"channels_last"`` or ``"auto"``: measured on a CPU, the
            second on a GPU.

    Raises:
        SparsightError: an unknown name, a GPU that is not there, or Fabric missing where it is needed.
    """
    lookup("device", device, dict.fromkeys(DEVICES))
    lookup("precision", precision, dict.fromkeys(PRECISIONS))
    lookup("layout", layout, dict.fromkeys(LAYOUTS))
    if devices < 1 or nodes < 1:
        raise SparsightError(f"training cannot run on {devices} devices and {nodes} nodes: give at least 1.")
    if device == "cuda" and not torch.cuda.is_available():
        raise SparsightError("PyTorch finds no CUDA device here: use device cpu or auto.")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        fast = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
        best = Numerics(fast, "channels_last")
    elif "auto" in (precision, layout):
        best = _measured(model, input_shape, batch)
    else:
        best = Numerics("float32", "contiguous")
    numerics = Numerics(
        best.precision if precision == "auto" else precision, best.layout if layout == "auto" else layout
    )
    if devices > 1 or nodes > 1:
        return FabricEngine(kind, devices, nodes, numerics)
    return PlainEngine(torch.device(kind), numerics)


def _measured(model: nn.Module, input_shape: tuple[int, int, int], batch: int) -> Numerics:
    """The quickest numerics on this CPU, from the cache if they were measured before."""
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    about = [
        torch.__version__,
        _cpu_name(),
        torch.get_num_threads(),
        input_shape,
        batch,
        shapes,
    ]
    key = hashlib.sha256(repr(about).encode()).hexdigest()[:24]
    path = cache_folder() / "numerics" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Numerics(**json.loads(path.read_text(encoding="utf-8")))
        if found.precision in PRECISIONS[1:] and found.layout in LAYOUTS[1:]:
            return found
    best = _quickest(model, input_shape, min(batch, _SAMPLES))
    with contextlib.suppress(OSError):
        write_text(path, json.dumps({"precision": best.precision, "layout": best.layout}))
    return best


def _quickest(model: nn.Module, input_shape: tuple[int, int, int], samples: int) -> Numerics:
    """Train a few steps in each way, turn by turn, on a copy."""
    plain = Numerics("float32", "contiguous")
    ways = [Numerics(*way) for way in itertools.product(PRECISIONS[1:], LAYOUTS[1:])]
    images = torch.rand(samples, *input_shape, generator=torch.Generator().manual_seed(0))
    steps = {}
    for way in ways:
        trial = copy.deepcopy(model).train()
        trial.to(memory_format=way.memory_format)  # type: ignore[call-overload]
        steps[way] = (trial, images.contiguous(memory_format=way.memory_format))
    times: dict[Numerics, list[float]] = {way: [] for way in ways}
    with torch.random.fork_rng(devices=[]):  # dropout draws from it
        for turn in range(_ROUNDS + 1):
            for way in list(times):
                seconds = _step(*steps[way], way)
                if turn == 0 and way != plain and seconds > _HOPELESS * times[plain][0]:
                    del times[way]  # bfloat16 that this CPU only emulates, say
                elif turn == 0 and way != plain:
                    continue  # the first step warms up
                else:
                    times[way].append(seconds)
    medians = {way: statistics.median(each) for way, each in times.items()}
    best = min(medians, key=lambda way: medians[way])
    return best if medians[best] < _WIN * medians[plain] else plain


def _step(model: nn.Module, images: Tensor, way: Numerics) -> float:
    """Seconds of one forward and backward pass."""
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bfloat16"):
        logits = model(images)
    loss = functional.cross_entropy(logits.float(), torch.zeros(len(images), dtype=torch.long))
    loss.backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - begin


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"
