"""8-bit networks, made by ONNX Runtime's own tools and held against the network that they come from.

Static quantisation learns the range of every activation from calibration data and turns convolutions and
matrix products into integer ones. Dynamic quantisation needs no data: it stores the weights of matrix
products in 8 bits and finds ranges while it runs. It leaves convolutions as they are, because ONNX Runtime
runs its dynamic ones several times slower than those in floating point.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.nets.runtime import Session
from sparsight.registry import lookup

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
"""How a range is taken from the values met: all of them, what loses least information, all but the rarest."""

Batch: TypeAlias = NDArray[np.float32] | Tensor


@dataclass(frozen=True)
class Quantised:
    """An 8-bit network.

    Attributes:
        path: its ONNX file.
        mode: ``"static"`` or ``"dynamic"``.
        bytes_before: size of the file that it was made from.
        bytes_after: its own size.
        error: output → its relative error on a batch, |quantised - original| / |original| (Euclidean norms).
    """

    path: Path
    mode: str
    bytes_before: int
    bytes_after: int
    error: dict[str, float]


def quantise(
    source: str | Path,
    target: str | Path,
    calibration: Iterable[Batch] | None = None,
    *,
    method: str = "minmax",
    reduce_range: bool = False,
    check: Batch | None = None,
) -> Quantised:
    """Write an ONNX file's 8-bit version and measure how far its outputs are from the original's.

    Args:
        source: an ONNX file of one float32 (N, C, H, W) input.
        target: the file to write.
        calibration: batches of inputs such as the network will see, (N, C, H, W) float32, for static
            quantisation (unsigned activations, signed weights with a scale per channel); one is held at a
            time. Without them, quantisation is dynamic.
        method: how static quantisation finds ranges, a name in ``METHODS``.
        reduce_range: use 7 bits of the weights' 8, for x86 CPUs without VNNI instructions, where sums of full
            8-bit products overflow.
        check: the batch to compare outputs on; by default the first one of ``calibration``, else random.

    Raises:
        SparsightError: not such a file, no calibration batch, a batch of another shape or type or with
            numbers that are not finite, or a network that the tools cannot quantise.
    """
    source, target = Path(source), Path(target)
    ranges = lookup("calibration method", method, METHODS)
    batches: Iterator[NDArray[np.float32]] | None
    batches = None if calibration is None else map(_array, calibration)
    first = None
    if batches is not None:
        first = next(batches, None)
        if first is None:
            raise SparsightError("calibration holds no batch: give at least one, or None for dynamic ranges.")
        batches = itertools.chain([first], batches)
    sample = _array(check) if check is not None else first
    original = Session(source, "cpu", input_shape=None if sample is None else _shape(sample))
    if sample is None:
        sample = np.random.default_rng(0).random((2, *original.input_shape), dtype=np.float32)
    expected = original.run(sample)
    with tempfile.TemporaryDirectory() as folder, replacing(target) as file, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            # Folds what is constant and notes every shape, which the tools ask for.
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            if batches is None:
                quantize_dynamic(
                    prepared,
                    file,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                    reduce_range=reduce_range,
                    op_types_to_quantize=["MatMul", "Gemm"],
                )
            else:
                quantize_static(
                    prepared,
                    file,
                    _Reader(original, batches),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                    reduce_range=reduce_range,
                    calibrate_method=ranges,
                )
        except SparsightError:
            raise
        # The tools raise whatever Python does, plain Exception included.
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0].rstrip(".")
            raise SparsightError(
                f"{source.name} cannot be quantised ({type(error).__name__}: {reason}): export it again, or "
                "leave it in floating point."
            ) from error
        got = Session(file, "cpu", input_shape=original.input_shape).run(sample)
    return Quantised(
        target,
        "dynamic" if batches is None else "static",
        source.stat().st_size,
        target.stat().st_size,
        {name: _error(expected[name], got[name]) for name in expected},
    )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no type hints
    """Calibration batches in the form that the tools ask for, each checked against the network's input."""

    def __init__(self, session: Session, batches: Iterator[NDArray[np.float32]]) -> None:
        self._session = session
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch by the input's name; None when there is none left."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        if batch.shape[1:] != self._session.input_shape or len(batch) == 0:
            raise SparsightError(
                f"a calibration batch has shape {batch.shape}: the network takes "
                f"(N, {', '.join(map(str, self._session.input_shape))})."
            )
        return {self._session.input_name: batch}


def _array(batch: Batch) -> NDArray[np.float32]:
    array = batch.detach().cpu().numpy() if isinstance(batch, Tensor) else batch
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 4:
        given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise SparsightError(f"calibration takes float32 batches of shape (N, C, H, W), not {given}.")
    if not np.isfinite(array).all():
        raise SparsightError("a calibration batch holds numbers that are not finite: remove or repair it.")
    return array


def _shape(batch: NDArray[np.float32]) -> tuple[int, int, int]:
    _, channels, height, width = batch.shape
    return channels, height, width


def _error(expected: NDArray[Any], got: NDArray[Any]) -> float:
    norm = float(np.linalg.norm(expected.astype(np.float64)))
    difference = float(np.linalg.norm(got.astype(np.float64) - expected))
    return difference / norm if norm else difference


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves the tools' hints and progress, logged at the root or printed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
