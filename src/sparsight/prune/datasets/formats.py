"""The official files of classification data sets, parsed with every size checked and nothing executed."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

MAX_BYTES = 2 << 30
"""Most bytes that one file may unpack to."""

_UNSIGNED_BYTE = 8
_SVHN_CLASSES = 10


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of bytes, plain or gzipped (LeCun's format: http://yann.lecun.com/exdb/mnist/).

    Args:
        path: the file.
        dimensions: how many dimensions it must have: 3 for images, 1 for labels.

    Raises:
        SparsightError: not such a file, cut short, or longer than it says.
    """
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if gzipped else path.open("rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            if header[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)) or len(header) != 4 + 4 * dimensions:
                raise _broken(path, f"it does not begin as an IDX file of {dimensions} dimensions of bytes")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if not 0 < size <= MAX_BYTES:
                raise _broken(path, f"it claims {size:,} bytes")
            # Bytes are asked for no further than the header says, so a bomb cannot unfold.
            data = stream.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _broken(path, str(error)) from error
    if len(data) != size:
        raise _broken(path, f"it does not hold the {size:,} bytes that its header says")
    return np.frombuffer(data, np.uint8).reshape(shape)


def parse_cifar(data: bytes, name: str, label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A batch in CIFAR's binary version: records of labels, then 3 x 32 x 32 bytes.

    Args:
        data: the file's bytes.
        name: what to call the file in an error.
        label_bytes: 1 for CIFAR-10; 2 for CIFAR-100 (coarse, then fine).

    Returns:
        Images (N, 3, 32, 32) and the last label of each (N,).

    Raises:
        SparsightError: not a whole number of records, or none.
    """
    record = label_bytes + 3 * 32 * 32
    if not data or len(data) % record:
        raise _broken(Path(name), f"its {len(data):,} bytes are not a whole number of {record}-byte records")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1]


def read_svhn(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """SVHN's cropped digits: a MATLAB 5 file with X (32, 32, 3, N) and y (N, 1), where 10 stands for 0.

    Returns:
        Images (N, 3, 32, 32) and labels 0..9 (N,).

    Raises:
        SparsightError: not such a file.
    """
    from scipy.io import loadmat, whosmat

    try:
        # The shapes are asked for first: a compressed variable could unfold to any size.
        shapes = {name: shape for name, shape, kind in whosmat(str(path)) if kind == "uint8"}
        pixels, count = shapes["X"], shapes["y"][0]
        if pixels[:3] != (32, 32, 3) or pixels[3:] != (count,) or math.prod(pixels) > MAX_BYTES:
            raise ValueError(f"X is {pixels} and y {shapes['y']}")
        arrays = loadmat(str(path), variable_names=["X", "y"])
        images, labels = arrays["X"], arrays["y"].reshape(-1)
        if images.shape != pixels or len(labels) != count:
            raise ValueError("its variables are cut short")
    except OSError:
        raise
    # SciPy's parser raises whatever a damaged file makes it trip over.
    except Exception as error:
        raise _broken(path, f"it is not SVHN's format 2: {error}") from error
    if labels.min() < 1 or labels.max() > _SVHN_CLASSES:
        raise _broken(path, "its labels are not 1 to 10")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % _SVHN_CLASSES


def _broken(path: Path, why: str) -> SparsightError:
    return SparsightError(f"{path} cannot be read ({why.rstrip('.')}): download it again.")
