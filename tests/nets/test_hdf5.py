"""The HDF5 reader on a file that the HDF5 library wrote, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.nets.hdf5 import MAX_FILE_BYTES, read_arrays

# Written by h5py 3.16: for b in 0..11 a group block{b}/layers/conv2d/vars with data sets "0", the numbers
# 0..5 plus b in shape (1, 2, 3), and "1", three times -b; an attribute; and arrays of int64 and float64.
WHOLE = gzip.decompress((Path(__file__).parent / "data" / "tiny.weights.h5.gz").read_bytes())


def test_arrays_are_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(WHOLE)
    arrays = read_arrays(path)
    assert len(arrays) == 24
    for block in range(12):
        kernel = arrays[f"block{block}/layers/conv2d/vars/0"]
        np.testing.assert_array_equal(kernel, np.arange(6).reshape(1, 2, 3) + block)
        np.testing.assert_array_equal(arrays[f"block{block}/layers/conv2d/vars/1"], [-block] * 3)
        assert kernel.dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"no HDF5", WHOLE[:8], WHOLE[:100], WHOLE[:5000], b"x" + WHOLE[1:]])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    with pytest.raises(SparsightError, match="is not an HDF5 weight file"):
        read_arrays(path)


def test_missing_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="cannot be read"):
        read_arrays(tmp_path / "none.h5")
    with (tmp_path / "huge.h5").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(SparsightError, match="larger than"):
        read_arrays(tmp_path / "huge.h5")


# Most of the file is padding: damage goes where a byte is set.
SET = [index for index, byte in enumerate(WHOLE) if byte]


@settings(max_examples=150, deadline=None)
@given(
    damage=st.lists(
        st.tuples(st.sampled_from(SET) | st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6
    )
)
def test_damaged_files_are_read_or_refused(
    damage: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(WHOLE)
    for index, byte in damage:
        data[index] = byte
    path = tmp_path_factory.getbasetemp() / "fuzz.h5"
    path.write_bytes(data)
    try:
        arrays = read_arrays(path)
    except SparsightError:
        return
    assert all(array.nbytes <= len(data) for array in arrays.values())
