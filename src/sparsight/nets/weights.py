"""Weights from a file into a network: strictly, and without executing anything that the file holds.

Every reader returns a *state*, parameter or buffer name → tensor on the CPU. ``load_into`` then requires
the names and shapes of the state to be those of the network.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.registry import unknown

State: TypeAlias = dict[str, Tensor]

MAX_BYTES = 4 << 30
MAX_HEADER_BYTES = 64 << 20

_CONTAINERS = ("state_dict", "model", "model_state_dict", "net_dict")
"""Keys under which training scripts keep the state inside a checkpoint."""


class _Ignored:
    """Stands in for the NumPy numbers (an accuracy, say) that training scripts keep beside a state."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_IGNORED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Ignored, name)
    for name in ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]

_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_into(model: nn.Module, weights: str | Path) -> None:
    """Fill ``model`` with ``weights``, or leave it as it was and raise.

    ``.pt``/``.pth`` (a state dict, or a checkpoint holding one), ``.safetensors`` and ``.onnx`` are read
    here. Any other format is the network's own: a class that has a method ``load_file(path)`` reads its files
    itself. A class that has a method ``rename_keys(state) -> state`` is shown the state first, to turn an
    official file's names into its own. A batch norm's ``num_batches_tracked`` may be missing.

    Args:
        model: any network.
        weights: the path of a file, or the name of an asset (fetched and verified if it is not yet here).

    Raises:
        SparsightError: no such file or asset; an unreadable, corrupt or oversized file; names or shapes that
            are not the network's.
    """
    path = find(weights)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        own_reader = getattr(model, "load_file", None)
        if own_reader is None:
            known = ", ".join(_READERS)
            raise SparsightError(
                f"weights for a {type(model).__name__} cannot be read from {path}: use one of {known}."
            )
        own_reader(path)
        return
    state = reader(path, model)
    rename = getattr(model, "rename_keys", None)
    if rename is not None:
        state = rename(state)
    fill(model, state, source=str(path))


def find(weights: str | Path) -> Path:
    """The file meant by ``weights``: a path as it stands, or the name of an asset.

    Raises:
        SparsightError: neither a file nor an asset, or a file too large to be a network's weights.
    """
    path = Path(weights)
    if not path.is_file():
        if isinstance(weights, Path) or path.parent != Path() or path.exists():
            raise SparsightError(f"there is no weight file {path}: give a file or the name of an asset.")
        from sparsight import assets

        if weights not in assets.CATALOGUE:
            raise SparsightError(unknown("weight file or asset", weights, assets.CATALOGUE))
        path = assets.path(weights)
    if path.stat().st_size > MAX_BYTES:
        raise SparsightError(f"{path} is larger than {MAX_BYTES >> 30} GiB: that is no weight file.")
    return path


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``model`` after checking every name, shape and kind of number.

    Args:
        model: any network.
        state: parameter or buffer name → tensor.
        source: where the state comes from, for the error's sentence.

    Raises:
        SparsightError: a name is missing or unexpected, or a tensor has another shape or kind of number;
            the model is then left as it was.
    """
    own = model.state_dict()
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}
    if missing := [name for name in own if name in wanted and name not in state]:
        raise _misfit(model, source, f"lacks {_few(missing)}")
    if unexpected := [name for name in state if name not in own]:
        raise _misfit(model, source, f"has {_few(unexpected)}, which the network does not")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)} in place of {tuple(own[name].shape)}"
            raise _misfit(model, source, f"has {name} of shape {shapes}")
        if tensor.is_floating_point() != own[name].is_floating_point() or tensor.is_complex():
            raise _misfit(model, source, f"has {name} of type {tensor.dtype} in place of {own[name].dtype}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise _misfit(model, source, f"has {name} in a form other than plain numbers")
    model.load_state_dict(dict(state), strict=False)


def read_torch(path: Path, model: nn.Module | None = None) -> State:
    """The state in a ``.pt``/``.pth`` file: plain, inside a checkpoint, or saved from ``DataParallel``.

    Nothing but tensors and plain containers is unpickled (``weights_only=True``).
    """
    _refuse_bomb(path)
    try:
        with torch.serialization.safe_globals(_IGNORED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's age
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Whatever a damaged or hostile file makes the unpickler do, it is the file's fault.
    except Exception as error:
        raise SparsightError(
            f"{path} is not a PyTorch weight file that can be read safely: it is corrupt or holds more than "
            "tensors, so save its state_dict again."
        ) from error
    for _ in _CONTAINERS:
        inner = [key for key in _CONTAINERS if isinstance(content, Mapping) and key in content]
        if not inner:
            break
        content = content[inner[0]]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    ):
        raise SparsightError(f"{path} holds no state dict: save a network's state_dict() to it.")
    state = {name: value.detach() for name, value in content.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def read_safetensors(path: Path, model: nn.Module | None = None) -> State:
    """The tensors of a ``.safetensors`` file, every offset checked against the file.

    Source: the format's description in the safetensors project: a little-endian 64-bit header length, a JSON
    header of name → dtype, shape and byte range, then the bytes.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
            body = size - 8 - length
            state = {}
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                dtype = _SAFETENSORS_DTYPES[entry["dtype"]]
                shape = tuple(int(side) for side in entry["shape"])
                begin, end = (int(offset) for offset in entry["data_offsets"])
                if min(shape, default=0) < 0 or not 0 <= begin <= end <= body:
                    raise ValueError(f"{name} lies outside the file")
                if end - begin != math.prod(shape) * dtype.itemsize:
                    raise ValueError(f"{name} has not the bytes of its shape")
                stream.seek(8 + length + begin)
                data = bytearray(stream.read(end - begin))
                flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
                state[str(name)] = flat.reshape(shape)
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        RuntimeError,
    ) as error:
        raise SparsightError(f"{path} is not a sound safetensors file: download it again.") from error
    return state


def _read_onnx(path: Path, model: nn.Module) -> State:
    from sparsight.nets.onnx_weights import read_onnx

    return read_onnx(path, model)


_READERS: dict[str, Callable[[Path, nn.Module], State]] = {
    ".pt": read_torch,
    ".pth": read_torch,
    ".tar": read_torch,  # torchreid's checkpoints end in .pth.tar; none is a tar archive
    ".safetensors": read_safetensors,
    ".onnx": _read_onnx,
}


def _refuse_bomb(path: Path) -> None:
    """A ``.pt`` file is a zip archive whose members may be compressed: add up their unpacked sizes."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OverflowError, OSError) as error:
        raise SparsightError(f"{path} is a damaged archive: download it again.") from error
    if total > MAX_BYTES:
        raise SparsightError(f"{path} unpacks to more than {MAX_BYTES >> 30} GiB: that is no weight file.")


def _misfit(model: nn.Module, source: str, what: str) -> SparsightError:
    return SparsightError(f"{source} does not fit {type(model).__name__}: it {what}; use others.")


def _few(names: Sequence[str], count: int = 3) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest
