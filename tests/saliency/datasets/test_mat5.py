"""The reader of MATLAB files beside SciPy's, on files that SciPy wrote."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import saliency_layouts as make
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array

from sparsight.saliency.datasets.mat5 import read_variable

MOST = 1 << 20

numbers = arrays.arrays(
    st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]),
    arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4),
)
letters = st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=9)
values = st.recursive(
    numbers | letters,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: make.cells(*found))
        | st.dictionaries(st.sampled_from(["a", "bc", "longer_name"]), inner, min_size=1)
        | st.lists(st.tuples(inner, inner), min_size=1, max_size=3).map(
            lambda pairs: make.struct_array(*({"x": x, "y": y} for x, y in pairs))
        )
    ),
    max_leaves=6,
)


def saved(compressed: bool, **variables: Any) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


def check_same(ours: Any, theirs: Any) -> None:
    if theirs.dtype.names is not None:
        assert ours.dtype.names == theirs.dtype.names
        assert ours.shape == theirs.shape
        for name in theirs.dtype.names:
            for one, other in zip(ours[name].flat, theirs[name].flat, strict=True):
                check_same(one, other)
    elif theirs.dtype == object:
        assert ours.shape == theirs.shape
        for one, other in zip(ours.flat, theirs.flat, strict=True):
            check_same(one, other)
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@settings(deadline=None)
@given(values, st.booleans())
def test_as_scipy_reads_it(value: Any, compressed: bool) -> None:
    data = saved(compressed, before=np.zeros(3), value=value, after="text")
    check_same(read_variable(data, "value", MOST), loadmat(io.BytesIO(data))["value"])


@settings(deadline=None)
@given(values, st.data())
def test_damage_does_no_harm(value: Any, more: st.DataObject) -> None:
    data = bytearray(saved(False, value=value))
    for _ in range(more.draw(st.integers(1, 4))):
        data[more.draw(st.integers(128, len(data) - 1))] = more.draw(st.integers(0, 255))
    data = data[: more.draw(st.integers(0, len(data)))]
    with contextlib.suppress(ValueError, OverflowError):  # the latter for letters beyond all alphabets
        read_variable(bytes(data), "value", MOST)


def test_what_is_not_read() -> None:
    for value in (np.array([1j]), csc_array(np.eye(3))):
        with pytest.raises(ValueError, match="sparse, complex or an object"):
            read_variable(saved(True, value=value), "value", MOST)
