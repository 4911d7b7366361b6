"""MATLAB files that come from elsewhere: what is wrong with one is said in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media.paths import check_file
from sparsight.saliency.datasets import mat5

MAX_BYTES = 2 << 30
"""Most bytes that one file, unpacked, may hold."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_version_73(path: Path) -> bool:
    """Whether ``path`` is a MATLAB 7.3 file, which is an HDF5 file behind 512 bytes."""
    check_file(path, "MATLAB file")
    with path.open("rb") as stream:
        head = stream.read(520)
    return _HDF5 in (head[:8], head[512:])


def read_variable(path: Path, name: str) -> NDArray[Any]:
    """A variable of a MATLAB file of version 5 to 7.

    Numbers keep their shape (never less than two dimensions) and class; text is an array of one string; a
    cell array is an object array, a struct array an array with a field of objects for each of its fields.

    Raises:
        SparsightError: the file is missing, of version 7.3, damaged, unpacks to more than ``MAX_BYTES``, or
            has no such variable.
    """
    if is_version_73(path):
        raise SparsightError(
            f"{path} is in MATLAB's format 7.3, which is not read here: save it again in MATLAB with -v7."
        )
    with reading(path):
        found: NDArray[Any] = mat5.read_variable(path.read_bytes(), name, MAX_BYTES)
    return found


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes its reader trip over becomes one sentence about the file."""
    try:
        yield
    except SparsightError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own; SciPy's and h5py's for a damaged file have no number
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
