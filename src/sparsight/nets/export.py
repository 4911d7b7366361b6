"""Networks to ONNX, and the cache that spares doing it twice.

The exporter that traces (``dynamo=False``) is used on purpose: on these networks it is five times as fast as
the one over ``torch.export``, gives the same speed in ONNX Runtime once that has optimised the graph, and
follows hooks, which taps need.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from sparsight.assets import cache_folder
from sparsight.errors import SparsightError
from sparsight.files import write_bytes

CACHE_BYTES = 2 << 30
"""Exports kept in the cache; the least recently used go first."""

_OPSET = 17
_EXPORTER = f"1 torch {torch.__version__} onnx {onnx.__version__} opset {_OPSET}"


_EXPORT_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, torch.onnx.errors.OnnxExporterError)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module of ``model`` in evaluation mode, and back into the mode each had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def named_outputs(result: Any) -> dict[str, Tensor]:
    """What a network gave, by name: its own keys, ``"output"``, or ``"output_0"``, ``"output_1"``, ...

    Raises:
        SparsightError: neither a tensor nor a tuple, list or dict of tensors.
    """
    if isinstance(result, Tensor):
        return {"output": result}
    if isinstance(result, Mapping):
        outputs = {str(name): value for name, value in result.items()}
    elif isinstance(result, Sequence):
        outputs = {f"output_{index}": value for index, value in enumerate(result)}
    else:
        outputs = {}
    if not outputs or not all(isinstance(value, Tensor) for value in outputs.values()):
        kind = type(result).__name__
        raise SparsightError(f"a network must give a tensor, or a tuple or dict of tensors, not a {kind}.")
    return outputs


def export(model: nn.Module, input_shape: tuple[int, int, int], *, dynamic_size: bool = False) -> bytes:
    """The network in evaluation mode as an ONNX file whose batch size is free.

    Args:
        model: a network of float32 parameters; the same after as before.
        input_shape: channels, height, width of one sample.
        dynamic_size: leave height and width free too.

    Returns:
        The file's bytes: one input ``"input"`` (N, C, H, W), outputs named as by ``named_outputs``.

    Raises:
        SparsightError: the network does not run on such an input or has a part that ONNX cannot say.
    """
    parameter = next(model.parameters(), torch.empty(0))
    # Two samples, because tracing may take a batch of one for a constant.
    sample = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0)).to(parameter.device)
    file = io.BytesIO()
    free = {0: "batch", 2: "height", 3: "width"} if dynamic_size else {0: "batch"}
    with evaluating(model), torch.no_grad(), _quiet():
        try:
            names = list(named_outputs(model(sample)))
            # The exporter refuses a name that is a bare number, as a Sequential's parts have.
            safe = [f"output:{name}" if name.isdecimal() else name for name in names]
            torch.onnx.export(
                model,
                (sample,),
                file,  # type: ignore[arg-type]  # this exporter writes to streams too
                dynamo=False,
                opset_version=_OPSET,
                input_names=["input"],
                output_names=safe,
                dynamic_axes={"input": free, **{name: {0: "batch"} for name in safe}},
            )
        except _EXPORT_ERRORS as error:
            shape = "x".join(map(str, input_shape))
            reason = str(error).strip().split("\n", 1)[0].rstrip(".")
            raise SparsightError(
                f"{type(model).__name__} cannot be exported to ONNX for a {shape} input ({reason}): "
                "check the input's shape, or run it on a GPU."
            ) from error
    data = file.getvalue()
    return data if safe == names else _rename_outputs(data, dict(zip(safe, names, strict=True)))


def cached_export(
    model: nn.Module, input_shape: tuple[int, int, int], *, dynamic_size: bool = False
) -> Path | bytes:
    """``export`` once per content, kept in the user's cache.

    The file's name is the hash of what it was made from, then the hash of its own bytes: a damaged file is
    seen and made again, and processes that make the same file at once do no harm. Where the cache cannot be
    written, the bytes themselves are returned.
    """
    shape = ",".join(map(str, input_shape))
    key = content_hash(model, f"{_EXPORTER} {shape} {dynamic_size}")[:32]
    folder = cache_folder() / "onnx"
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{key}-*.onnx"):
            if _file_hash(path) == path.stem.partition("-")[2]:
                os.utime(path)
                return path
            path.unlink()
    data = export(model, input_shape, dynamic_size=dynamic_size)
    path = folder / f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.onnx"
    try:
        write_bytes(path, data)
        trim(folder, CACHE_BYTES, keep=path)
    except OSError:
        return data
    return path


def trim(folder: Path, budget: int, keep: Path) -> None:
    """Remove the least recently used exports until at most ``budget`` bytes are left; never ``keep``."""
    files = sorted(((path.stat(), path) for path in folder.glob("*.onnx")), key=lambda pair: pair[0].st_mtime)
    excess = sum(status.st_size for status, _ in files) - budget
    for status, path in files:
        if excess <= 0:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            excess -= status.st_size


def content_hash(model: nn.Module, salt: str = "") -> str:
    """A SHA-256 (hexadecimal) of all that decides what a network computes.

    The classes of its modules and their source files, every module's settings, every parameter and buffer.
    The mode (training or evaluation) and the device do not count.
    """
    digest = hashlib.sha256(salt.encode())
    sources: set[str] = set()
    for name, module in model.named_modules(remove_duplicate=False):
        cls = type(module)
        sources.update(base.__module__ for base in cls.__mro__)
        digest.update(f"\0{name}\0{cls.__module__}.{cls.__qualname__}\0".encode())
        for attribute, value in sorted(vars(module).items()):
            if attribute != "training" and (attribute in _TENSORS or not attribute.startswith("_")):
                _feed(digest, attribute, value)
    for source in sorted(sources):
        digest.update(_source_hash(source))
    return digest.hexdigest()


_TENSORS = ("_parameters", "_buffers")


def _rename_outputs(data: bytes, names: Mapping[str, str]) -> bytes:
    model = onnx.load_from_string(data)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names[output.name]
    renamed: bytes = model.SerializeToString()
    return renamed


def _feed(digest: Any, name: str, value: Any) -> None:
    digest.update(f"\0{name}:".encode())
    if isinstance(value, np.ndarray):  # whose repr leaves out the middle
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, Tensor):
        array = value.detach().to("cpu").contiguous()
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for key in value:
            _feed(digest, str(key), value[key])
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _feed(digest, str(index), item)
    else:
        # An object without a repr of its own shows its address, which changes from run to run.
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode())


@functools.cache
def _source_hash(module: str) -> bytes:
    """The hash of a Python module's source, and of this whole room for a module of this room."""
    if module.split(".")[0] in ("torch", "builtins"):  # their versions are in the salt
        return b""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module.encode()
    paths = sorted(Path(file).parent.glob("*.py")) if module.startswith("sparsight.") else [Path(file)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).digest()


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings to itself: they speak of tracing and of its own deprecation."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
