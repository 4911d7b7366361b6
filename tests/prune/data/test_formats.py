from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from sparsight import SparsightError
from sparsight.prune.datasets import formats

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
def test_idx_is_read_as_written(tmp_path: Path, squeeze: type) -> None:
    images = RNG.integers(0, 256, (5, 3, 4), np.uint8)
    path = tmp_path / "images"
    path.write_bytes(squeeze(idx(images)))
    assert np.array_equal(formats.read_idx(path, 3), images)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\x08",
        idx(np.zeros((2, 3), np.uint8)),  # two dimensions, three wanted
        idx(np.zeros((2, 3, 4), np.uint8))[:-1],
        idx(np.zeros((2, 3, 4), np.uint8)) + b"x",
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28),
        struct.pack(">BBBB3I", 0, 0, 13, 3, 1, 1, 1) + b"0000",  # floats
        gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0)[:-9],
        b"\x1f\x8b" + bytes(40),
    ],
)
def test_what_is_not_idx_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(data)
    with pytest.raises(SparsightError, match="broken cannot be read"):
        formats.read_idx(path, 3)


def test_a_gzip_bomb_is_not_unfolded(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(idx(np.zeros((1, 2, 2), np.uint8)) + bytes(50_000_000)))
    with pytest.raises(SparsightError, match="does not hold"):
        formats.read_idx(path, 3)


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_records(label_bytes: int) -> None:
    images = RNG.integers(0, 256, (4, 3, 32, 32), np.uint8)
    labels = RNG.integers(0, 10, (4, label_bytes), np.uint8)
    data = b"".join(label.tobytes() + image.tobytes() for label, image in zip(labels, images, strict=True))
    got_images, got_labels = formats.parse_cifar(data, "batch.bin", label_bytes)
    assert np.array_equal(got_images, images)
    assert np.array_equal(got_labels, labels[:, -1])  # CIFAR-100: coarse first, fine last
    for bad in (b"", data[:-1], data + b"0"):
        with pytest.raises(SparsightError, match=r"batch\.bin"):
            formats.parse_cifar(bad, "batch.bin", label_bytes)


def test_svhn(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (32, 32, 3, 6), np.uint8)
    labels = np.array([[10], [1], [9], [5], [10], [3]], np.uint8)
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    got_images, got_labels = formats.read_svhn(tmp_path / "train_32x32.mat")
    assert np.array_equal(got_images[2], np.moveaxis(images[..., 2], 2, 0))
    assert got_labels.tolist() == [0, 1, 9, 5, 0, 3]


@pytest.mark.parametrize(
    "variables",
    [
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.float64), "y": np.ones((2, 1), np.uint8)},
        {"X": np.zeros((8, 8, 3, 2), np.uint8), "y": np.ones((2, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.full((2, 1), 11, np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.zeros((2, 1), np.uint8)},
    ],
)
def test_other_matlab_files_are_refused(tmp_path: Path, variables: dict[str, np.ndarray]) -> None:
    scipy.io.savemat(tmp_path / "a.mat", variables)
    with pytest.raises(SparsightError, match=r"a\.mat cannot be read"):
        formats.read_svhn(tmp_path / "a.mat")


@pytest.mark.parametrize("data", [b"", b"nothing", pickle.dumps({"X": 1}), b"MATLAB 5.0" + bytes(200)])
def test_what_is_not_matlab_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(SparsightError, match=r"a\.mat cannot be read"):
        formats.read_svhn(tmp_path / "a.mat")
