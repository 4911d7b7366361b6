"""Running networks: NumPy in, NumPy out, ONNX Runtime on the CPU or PyTorch on a GPU.

This file imports neither runtime before it is used, so that running an ONNX file on the CPU does not wait for
PyTorch to load.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup

if TYPE_CHECKING:
    from torch import nn

DEVICES = ("auto", "cpu", "cuda")


class _Engine(Protocol):
    """What a session asks of a runtime."""

    names: tuple[str, ...]
    input_name: str

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[Any]]: ...


class Session:
    """A network ready to run on batches of any size.

    A PyTorch network runs through ONNX Runtime on the CPU (exported once, then taken from the user's cache)
    and through PyTorch on a GPU; it is copied, so later changes to it do not show. An ONNX file runs through
    ONNX Runtime.

    Args:
        model: a network, what ``taps`` gives, or the path of an ONNX file.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU for a PyTorch network if there is one, else the
            CPU.
        input_shape: channels, height, width of one sample; by default the network's own, or the file's.
            Needed where neither says.
        outputs: run for these outputs only, in this order; by default all.
        threads: CPU threads; by default ``OMP_NUM_THREADS``, else one per usable core.
        dynamic_size: accept other heights and widths than those of ``input_shape``.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        input_shape: channels, height, width of one sample.
        input_name: the name of the network's input.
        output_names: names of the outputs, in order.

    Raises:
        SparsightError: no such device or file, a file that is not an ONNX network with one float32 image
            input, or an input shape that is missing or not the file's.
    """

    def __init__(
        self,
        model: nn.Module | str | Path,
        device: str = "auto",
        *,
        input_shape: tuple[int, int, int] | None = None,
        outputs: Sequence[str] | None = None,
        threads: int | None = None,
        dynamic_size: bool = False,
    ) -> None:
        lookup("device", device, dict.fromkeys(DEVICES))
        is_file = isinstance(model, (str, Path))
        self.device = _device(device, is_file)
        self.dynamic_size = dynamic_size
        self._engine: _Engine
        if isinstance(model, (str, Path)):
            engine = _OnnxEngine(Path(model), self.device, threads)
            self.input_shape = engine.settle_shape(input_shape)
            self._engine = engine
        else:
            self.input_shape = _shape_of(model, input_shape)
            if self.device == "cuda":
                self._engine = _TorchEngine(model, self.input_shape, "cuda")
            else:
                from sparsight.nets.export import cached_export

                exported = cached_export(model, self.input_shape, dynamic_size=dynamic_size)
                self._engine = _OnnxEngine(exported, "cpu", threads)
        self.input_name = self._engine.input_name
        if outputs is not None:
            for name in outputs:
                lookup("output", name, dict.fromkeys(self._engine.names))
            self._engine.names = tuple(outputs)
        self.output_names = self._engine.names

    def run(self, x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Every output for a batch, by name.

        Args:
            x: (N, C, H, W) float32, N at least 1, with (C, H, W) the session's ``input_shape``.

        Returns:
            Output name → array whose first dimension is N.

        Raises:
            SparsightError: ``x`` has another shape or type, or the network fails on it.
        """
        self._check(x)
        return dict(zip(self.output_names, self._engine(x), strict=True))

    def __call__(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """The output of a network that has one; arguments and errors as for ``run``."""
        if len(self.output_names) != 1:
            names = ", ".join(self.output_names)
            raise SparsightError(f"this network has several outputs ({names}): call run, which names them.")
        self._check(x)
        return self._engine(x)[0]

    def _check(self, x: NDArray[np.float32]) -> None:
        channels, height, width = self.input_shape
        wanted = f"(N, {channels}, any, any)" if self.dynamic_size else f"(N, {channels}, {height}, {width})"
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise SparsightError(f"the network takes a NumPy array of float32, not {given}.")
        fits = x.shape[1:] == self.input_shape or (self.dynamic_size and x.shape[1:2] == (channels,))
        if x.ndim != 4 or not fits or 0 in x.shape:
            raise SparsightError(f"the network takes an array of shape {wanted} with N > 0, not {x.shape}.")


class _OnnxEngine:
    """ONNX Runtime over a file or its bytes."""

    def __init__(self, source: Path | bytes, device: str, threads: int | None) -> None:
        import onnxruntime

        self._source = source.name if isinstance(source, Path) else "the exported network"
        if isinstance(source, Path) and not source.is_file():
            raise SparsightError(f"there is no ONNX file {source}: check the path.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_threads()
        # Between runs its threads leave the cores to others instead of waiting busily for the next one.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # its errors are raised, so it need not print them as well
        providers = ["CPUExecutionProvider"]
        if device == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise SparsightError(
                    f"{self._source} cannot run on cuda, because this ONNX Runtime has no CUDA: install "
                    "onnxruntime-gpu, or use device cpu."
                )
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = onnxruntime.InferenceSession(
                str(source) if isinstance(source, Path) else source, options, providers=providers
            )
        # ONNX Runtime's errors have no common class below Exception.
        except Exception as error:
            raise SparsightError(
                f"{self._source} is not an ONNX network that ONNX Runtime can run ({_first_line(error)}): "
                "download or export it again."
            ) from error
        if device == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            raise SparsightError(
                f"{self._source} cannot run on cuda, because ONNX Runtime cannot start it: check the CUDA "
                "installation, or use device cpu."
            )
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            given = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs)
            raise SparsightError(
                f"{self._source} takes {given or 'no input'}: it must take one float32 (N, C, H, W) input."
            )
        self.input_name: str = inputs[0].name
        self.names: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())
        # A free dimension is a name or None; some exporters write 0 or -1.
        self._batch, *self._sides = [
            side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape
        ]

    def settle_shape(self, asked: tuple[int, int, int] | None) -> tuple[int, int, int]:
        """The input shape that the file fixes, what it leaves free taken from ``asked``."""
        if asked is None:
            if None in self._sides:
                raise SparsightError(f"{self._source} leaves its input size free: give an input_shape.")
            asked = (self._sides[0] or 0, self._sides[1] or 0, self._sides[2] or 0)
        if any(side not in (None, given) for side, given in zip(self._sides, asked, strict=True)):
            raise SparsightError(f"{self._source} takes samples of shape {tuple(self._sides)}, not {asked}.")
        return asked

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[Any]]:
        if self._batch is None or self._batch == len(x):
            return self._run(x)
        if self._batch != 1:
            raise SparsightError(f"{self._source} takes batches of {self._batch} samples, not {len(x)}.")
        parts = [self._run(x[index : index + 1]) for index in range(len(x))]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _run(self, x: NDArray[np.float32]) -> list[NDArray[Any]]:
        try:
            return list(self._session.run(list(self.names), {self.input_name: x}))
        except Exception as error:
            raise SparsightError(
                f"{self._source} fails on input of shape {x.shape} ({_first_line(error)}): use another size."
            ) from error


class _TorchEngine:
    """PyTorch on a device of its own, over a copy of the network."""

    input_name = "input"

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int], device: str) -> None:
        import copy

        import torch

        self._device = device
        self._model = copy.deepcopy(model).eval().to(device)
        # Convolutions run faster on channels-last features; PyTorch's type hints lack this argument.
        self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = tuple(self._outputs(np.zeros((1, *input_shape), np.float32)))

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[Any]]:
        outputs = self._outputs(x)
        return [outputs[name] for name in self.names]

    def _outputs(self, x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        import torch

        from sparsight.nets.export import named_outputs

        with torch.inference_mode():
            batch = torch.tensor(np.ascontiguousarray(x), device=self._device)
            outputs = named_outputs(self._model(batch.contiguous(memory_format=torch.channels_last)))
            return {name: value.cpu().numpy() for name, value in outputs.items()}


def _device(device: str, is_file: bool) -> str:
    """The device to use; PyTorch is asked only where it matters."""
    if device == "cpu" or is_file:
        return "cuda" if device == "cuda" else "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise SparsightError("PyTorch finds no CUDA device here: use device cpu or auto.")
    return "cpu"


def _shape_of(model: nn.Module, asked: tuple[int, int, int] | None) -> tuple[int, int, int]:
    shape = asked or getattr(model, "input_shape", None)
    if shape is None:
        raise SparsightError(f"{type(model).__name__} does not say its input shape: give an input_shape.")
    channels, height, width = shape
    return channels, height, width


def usable_threads() -> int:
    """How many CPU threads to run on: ``OMP_NUM_THREADS``, else one per usable core."""
    # ONNX Runtime counts physical cores of the machine, also those that this process may not use.
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
