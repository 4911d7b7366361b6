"""Reading MATLAB files that come from elsewhere: every size is checked before memory is taken for it."""

from __future__ import annotations

import contextlib
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media.paths import check_file

MAX_BYTES = 2 << 30
"""Most bytes that one file, unpacked, may hold."""

_HEADER = 128
_COMPRESSED = 15  # data type miCOMPRESSED, MAT-File Format (MathWorks, R2023), table 1-1
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_version_73(path: Path) -> bool:
    """Whether ``path`` is a MATLAB 7.3 file, which is an HDF5 file behind 512 bytes."""
    check_file(path, "MATLAB file")
    with path.open("rb") as stream:
        head = stream.read(520)
    return _HDF5 in (head[:8], head[512:])


def read_variable(path: Path, name: str) -> NDArray[Any]:
    """A variable of a MATLAB file up to version 7, as SciPy gives it: nothing squeezed, structs as records.

    Raises:
        SparsightError: the file is missing, of version 7.3, damaged, larger than ``MAX_BYTES``, or has no
            such variable.
    """
    from scipy.io import loadmat

    if is_version_73(path):
        raise SparsightError(
            f"{path} is in MATLAB's format 7.3, which is not read here: save it again in MATLAB with -v7."
        )
    with reading(path):
        _check_size(path)
        variables = loadmat(str(path), variable_names=[name])
        if name not in variables:
            raise ValueError(f"it has no variable {name}")
    found: NDArray[Any] = variables[name]
    return found


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes its reader trip over becomes one sentence about the file."""
    try:
        yield
    except (SparsightError, OSError):
        raise
    except Exception as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise SparsightError(f"{path} is not laid out as published ({why}): download it again.") from error


def rows(values: NDArray[Any]) -> Iterator[np.void]:
    """The records of a struct array, or of the structs in a cell array, in order."""
    if values.dtype.names is not None:
        yield from values.reshape(-1)
    elif values.dtype == object:
        for cell in values.reshape(-1):
            yield from rows(cell)
    elif values.size:
        raise ValueError(f"it has {values.dtype} where a struct should be")


def column(values: NDArray[Any]) -> NDArray[np.float64]:
    """A vector of any shape as (n,) float64."""
    return np.asarray(values, np.float64).reshape(-1)


def table(values: NDArray[Any], columns: int) -> NDArray[np.float64]:
    """A matrix of at least so many columns as float64; an empty one has no rows."""
    if not values.size:
        return np.zeros((0, columns))
    if values.ndim != 2 or values.shape[1] < columns:
        raise ValueError(f"it has an array {values.shape} where {columns} columns should be")
    return np.asarray(values, np.float64)


def text(values: NDArray[Any]) -> str:
    """A string."""
    return str(values.reshape(-1)[0]) if values.size else ""


def _check_size(path: Path) -> None:
    """Add up what the top-level elements say they unpack to; only their first bytes are unpacked."""
    total = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise ValueError("it is no MATLAB file of version 5 to 7")
        while len(tag := stream.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            start = stream.tell()
            if kind == _COMPRESSED:
                first = zlib.decompressobj().decompress(stream.read(min(size, 4096)), 8)
                if len(first) < 8:
                    raise ValueError("it is cut short")
                total += struct.unpack(f"{order}II", first)[1]
            stream.seek(start + size)
    if total > MAX_BYTES:
        raise ValueError(f"it unpacks to {math.ceil(total / 2**20):,} MiB")
