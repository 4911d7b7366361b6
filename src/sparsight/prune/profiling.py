"""What a network costs: parameters, multiply-accumulates, bytes, milliseconds.

Multiply-accumulates (MACs) are those of convolutions and matrix products, counted while the network runs
once: by PyTorch's own operator counts for a module, from the shapes that ONNX Runtime meets for a file.
Biases, norms and activations are not counted, as is usual in the literature; nor are recurrent layers.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx.inliner
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparsight.errors import SparsightError
from sparsight.nets.export import evaluating
from sparsight.nets.runtime import Session, usable_threads
from sparsight.registry import lookup

Key = TypeVar("Key", bound=Hashable)

RUNTIMES = ("auto", "onnxruntime", "torch")

_FEWEST_CALLS = 3


@dataclass(frozen=True)
class Latency:
    """Time of one call.

    Attributes:
        median_ms: milliseconds, the median of the calls timed.
        low_ms: their 10th percentile.
        high_ms: their 90th percentile.
        calls: how many were timed.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    calls: int

    @staticmethod
    def of(milliseconds: NDArray[np.float64]) -> Latency:
        """Sum up the times of single calls, (n,) with n > 0."""
        low, median, high = np.percentile(milliseconds, [10, 50, 90])
        return Latency(float(median), float(low), float(high), len(milliseconds))


@dataclass(frozen=True)
class Profile:
    """What a network costs.

    Attributes:
        parameters: a module's trainable numbers, each shared one once; the numbers in a file's weights (where
            batch norms that were folded into convolutions are no longer apart).
        macs: multiply-accumulates for one sample.
        bytes: of a module's parameters and buffers; a file's size.
        latency: samples in a batch → time of that batch.
        runtime: what was timed, ``"onnxruntime"`` or ``"torch"``.
        device: where it ran, ``"cpu"`` or ``"cuda"``.
        threads: CPU threads it ran on.
    """

    parameters: int
    macs: int
    bytes: int
    latency: dict[int, Latency]
    runtime: str
    device: str
    threads: int


def profile(
    model: nn.Module | str | Path,
    example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None = None,
    *,
    batches: Sequence[int] = (1, 64),
    runtime: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    repeats: int = 30,
    seconds: float = 20.0,
) -> Profile:
    """Count and time a network.

    Args:
        model: a network, taken in evaluation mode and left as it was, or the path of an ONNX file.
        example_inputs: (C, H, W) of one sample, a batch, or a batch for each input of a network that takes
            several; by default the network's own ``input_shape``, or the file's.
        batches: sizes of the batches to time; with ``()`` nothing is timed.
        runtime: what to time: ``"onnxruntime"``, through a ``Session``, which takes one batch of images;
            ``"torch"``, the module as it is, where it is; ``"auto"``, the first where the network takes such
            an input, else the second.
        device: where ONNX Runtime's session runs, as for ``Session``.
        threads: CPU threads; by default ``OMP_NUM_THREADS``, else one per usable core.
        repeats: most calls timed of each batch size; the sizes take turns.
        seconds: after so long, each size is timed only as often as it takes to have three calls.

    Raises:
        SparsightError: the network does not run on the input or does not say which it takes, a batch size
            below 1, or a file that ONNX Runtime cannot run.
    """
    lookup("runtime", runtime, dict.fromkeys(RUNTIMES))
    if any(batch < 1 for batch in batches):
        raise SparsightError(f"there is no latency of a batch of {min(batches)}: give sizes of at least 1.")
    threads = threads or usable_threads()
    if isinstance(model, (str, Path)):
        path = Path(model)
        if runtime == "torch":
            raise SparsightError(f"PyTorch does not run ONNX files such as {path}: use runtime onnxruntime.")
        session = Session(path, device, input_shape=image_shape(example_inputs), threads=threads)
        graph = _load(path)
        parameters, macs, size = _stored_numbers(graph), _file_macs(graph, session), path.stat().st_size
    else:
        inputs = sample_inputs(model, example_inputs)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        macs, size = count_macs(model, inputs), _tensor_bytes(model)
        shape = image_shape(inputs)
        if not batches or runtime == "torch" or (runtime == "auto" and shape is None):
            with evaluating(model), torch_threads(threads):
                latency = _timed(
                    {batch: eager_call(model, inputs, batch) for batch in batches}, repeats, seconds
                )
            return Profile(parameters, macs, size, latency, "torch", inputs[0].device.type, threads)
        if shape is None:
            kind = type(model).__name__
            raise SparsightError(
                f"{kind} does not take one float32 (N, C, H, W) input, so ONNX Runtime cannot time it: "
                "use runtime torch."
            )
        session = Session(model, device, input_shape=shape, threads=threads)
    latency = _timed({batch: session_call(session, batch) for batch in batches}, repeats, seconds)
    return Profile(parameters, macs, size, latency, "onnxruntime", session.device, threads)


def count_macs(
    model: nn.Module, example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None = None
) -> int:
    """Multiply-accumulates of a network in evaluation mode, for one sample.

    Args:
        model: the network; the same after as before.
        example_inputs: as for ``profile``; only the first sample is used.

    Raises:
        SparsightError: the network does not run on such an input, or does not say which it takes.
    """
    inputs = [tensor[:1] for tensor in sample_inputs(model, example_inputs)]
    # Fused attention has no count of its own on the CPU; taken apart, it is matrix products.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False, custom_mapping=_VECTOR_PRODUCTS)
    try:
        with evaluating(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise SparsightError(does_not_run(model, inputs, error)) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2


def interleave(
    calls: Mapping[Key, Callable[[], object]], repeats: int, seconds: float
) -> dict[Key, NDArray[np.float64]]:
    """Time several calls turn by turn, so that a machine's drift in speed reaches all of them alike.

    Before each timed call comes the same call untimed: it pays for the caches and threads that the one before
    it has taken, as in a program that runs one network only.

    Args:
        calls: what to time, by any key.
        repeats: rounds at most.
        seconds: start no further round after so long; three rounds are always made.

    Returns:
        Key → milliseconds (rounds,), in the order of the rounds: ratios of two calls are to be taken round by
        round.
    """
    times: dict[Key, list[float]] = {key: [] for key in calls}
    begin = time.perf_counter()
    for turn in range(max(repeats, _FEWEST_CALLS)):
        if turn >= _FEWEST_CALLS and time.perf_counter() - begin > seconds:
            break
        for key, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            times[key].append((time.perf_counter() - start) * 1000)
    return {key: np.array(values) for key, values in times.items()}


def session_call(session: Session, batch: int) -> Callable[[], object]:
    """A call that runs ``session`` once on ``batch`` samples."""
    x = np.random.default_rng(0).random((batch, *session.input_shape), dtype=np.float32)
    return lambda: session.run(x)


def eager_call(model: nn.Module, inputs: Sequence[Tensor], batch: int) -> Callable[[], object]:
    """A call that runs ``model`` once, as it is, on the first sample of ``inputs`` repeated to ``batch``."""
    repeated = [tensor[:1].expand(batch, *tensor.shape[1:]).contiguous() for tensor in inputs]
    on_gpu = any(tensor.is_cuda for tensor in repeated)

    def call() -> None:
        with torch.inference_mode():
            model(*repeated)
        if on_gpu:  # which works on after the call has returned
            torch.cuda.synchronize()

    return call


def sample_inputs(
    model: nn.Module, example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None = None
) -> tuple[Tensor, ...]:
    """The inputs to run ``model`` on, one batch each, from what a caller may give for them.

    Args:
        model: the network.
        example_inputs: (C, H, W) of one sample, a batch, or a batch for each input; by default the network's
            own ``input_shape``.

    Raises:
        SparsightError: nothing says what the network takes, or neither a shape nor tensors are given.
    """
    if isinstance(example_inputs, Tensor):
        return (example_inputs,)
    given = getattr(model, "input_shape", None) if example_inputs is None else example_inputs
    if given is None:
        raise SparsightError(f"{type(model).__name__} does not say its input shape: give example_inputs.")
    if given and all(isinstance(item, Tensor) for item in given):
        return tuple(given)
    if not given or not all(isinstance(item, int) and item > 0 for item in given):
        raise SparsightError(
            "example_inputs must be the (C, H, W) of one sample, a tensor, or several tensors."
        )
    like = next(model.parameters(), torch.empty(0))
    return (torch.rand(1, *given, generator=torch.Generator().manual_seed(0)).to(like),)


def does_not_run(model: nn.Module, inputs: Sequence[Tensor], error: Exception) -> str:
    """The sentence for a network that raises ``error`` when run on ``inputs``."""
    shapes = " and ".join(str(tuple(tensor.shape)) for tensor in inputs)
    reason = str(error).strip().split("\n", 1)[0].rstrip(".")
    return (
        f"{type(model).__name__} does not run on input of shape {shapes} ({reason}): "
        "give example_inputs that it takes."
    )


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use so many CPU threads, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(calls: Mapping[int, Callable[[], object]], repeats: int, seconds: float) -> dict[int, Latency]:
    return {batch: Latency.of(times) for batch, times in interleave(calls, repeats, seconds).items()}


def image_shape(
    example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None,
) -> tuple[int, int, int] | None:
    """(C, H, W) where that is all a network takes."""
    if example_inputs is None:
        return None
    given = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    sides = [int(side) for side in given if isinstance(side, int)]
    if len(given) == 1 and isinstance(given[0], Tensor) and given[0].dtype == torch.float32:
        sides = list(given[0].shape[1:])
    if len(sides) != 3:
        return None
    return sides[0], sides[1], sides[2]


def _tensor_bytes(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))


_VECTOR_PRODUCTS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: lambda matrix, *_, **__: 2 * math.prod(matrix),
    torch.ops.aten.dot: lambda vector, *_, **__: 2 * math.prod(vector),
    torch.ops.aten.addmv: lambda _, matrix, *__, **___: 2 * math.prod(matrix),
}
"""Products that PyTorch's counter leaves out; it gives their arguments' shapes."""


def _load(path: Path) -> onnx.ModelProto:
    graph = onnx.load(path)
    return onnx.inliner.inline_local_functions(graph) if graph.functions else graph


def _stored_numbers(model: onnx.ModelProto) -> int:
    """Numbers in a file's weights: its constants but for indices, shapes and switches."""
    other = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type not in other)


def _file_macs(model: onnx.ModelProto, session: Session) -> int:
    """Multiply-accumulates for one sample, from the shapes met in a run of the file."""
    import onnxruntime

    counted = [node for node in model.graph.node if node.op_type in _FILE_MACS]
    # The shapes that count: of what goes into and comes out of the nodes that count.
    wanted = {name for node in counted for name in (*node.input, *node.output) if name}
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    known = {output.name for output in model.graph.output}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    made = {name for node in model.graph.node for name in node.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted((wanted & made) - known))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    engine = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fixed = engine.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) and fixed > 0 else 1
    x = np.zeros((batch, *session.input_shape), np.float32)
    names = [output.name for output in engine.get_outputs()]
    values = dict(zip(names, engine.run(names, {session.input_name: x}), strict=True))
    shapes = {**constants, session.input_name: x.shape}
    shapes.update({name: value.shape for name, value in values.items() if name in wanted})
    total = sum(_FILE_MACS[node.op_type](node, shapes) for node in counted)
    return total // batch


_Shapes = Mapping[str, tuple[int, ...]]


def _convolution_macs(node: onnx.NodeProto, shapes: _Shapes, weight: int = 1) -> int:
    # A weight is (O, I / groups, *kernel): every number of an output channel's is used once per output.
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[weight]][1:])


def _transposed_macs(node: onnx.NodeProto, shapes: _Shapes) -> int:
    # A weight is (I, O / groups, *kernel).
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _product_macs(node: onnx.NodeProto, shapes: _Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm_macs(node: onnx.NodeProto, shapes: _Shapes) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


_FILE_MACS: dict[str, Callable[[onnx.NodeProto, _Shapes], int]] = {
    "Conv": _convolution_macs,
    "FusedConv": _convolution_macs,
    "ConvInteger": _convolution_macs,
    "QLinearConv": lambda node, shapes: _convolution_macs(node, shapes, weight=3),
    "ConvTranspose": _transposed_macs,
    "MatMul": _product_macs,
    "MatMulInteger": _product_macs,
    "QLinearMatMul": _product_macs,
    "Gemm": _gemm_macs,
    "FusedGemm": _gemm_macs,
    "QGemm": _gemm_macs,
}
"""Operator → multiply-accumulates of one node, given the shapes of tensors by name."""
