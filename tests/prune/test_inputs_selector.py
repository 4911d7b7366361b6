"""Selectors against NumPy indexing; their files, and files that only pretend to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.nets.export import export
from sparsight.prune.inputs import BlockDCT, Selector, SpaceToDepth

torch.set_num_threads(1)

SHAPE = (3, 8, 12)


def marks(count: int, seed: int = 0) -> NDArray[np.bool_]:
    kept = np.random.default_rng(seed).random(count) < 0.4
    kept[seed % count] = True
    return kept


def images(count: int = 2, dtype: type = np.float32) -> NDArray[Any]:
    return (np.random.default_rng(1).random((count, *SHAPE)) * 255).astype(dtype)


def every_kind() -> list[Selector]:
    return [
        Selector("pixels", SHAPE, marks(3 * 8 * 12)),
        Selector("channels", SHAPE, np.array([True, False, True])),
        Selector("channels", SHAPE, marks(12), SpaceToDepth(2)),
        Selector("channels", SHAPE, marks(48), BlockDCT(4)),
        Selector("channels", SHAPE, marks(48), BlockDCT(4, "ycbcr")),
        Selector("lines", SHAPE, marks(8 + 12)),
    ]


def test_pixels_are_taken_in_memory_order() -> None:
    kept = marks(3 * 8 * 12)
    chosen = Selector("pixels", SHAPE, kept)(torch.from_numpy(images())).numpy()
    np.testing.assert_array_equal(chosen[:, :, 0, 0], images().reshape(2, -1)[:, kept])
    vectors = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    chosen = Selector("pixels", (7,), marks(7))(torch.from_numpy(vectors)).numpy()
    np.testing.assert_array_equal(chosen, vectors[:, marks(7)])


def test_lines_are_rows_and_columns() -> None:
    kept = marks(8 + 12)
    chosen = Selector("lines", SHAPE, kept)(torch.from_numpy(images())).numpy()
    np.testing.assert_array_equal(chosen, images()[:, :, kept[:8]][:, :, :, kept[8:]])


def test_channels_are_the_front_ends() -> None:
    kept = marks(12)
    chosen = Selector("channels", SHAPE, kept, SpaceToDepth(2))(torch.from_numpy(images())).numpy()
    phases = [images()[:, c, row::2, column::2] for c in range(3) for row in (0, 1) for column in (0, 1)]
    np.testing.assert_array_equal(chosen, np.stack(phases, 1)[:, kept])


@pytest.mark.parametrize("selector", every_kind(), ids=repr)
def test_what_is_packed_is_what_the_network_sees(selector: Selector) -> None:
    whole = images()
    packed = selector.pack(whole)
    assert packed.shape[1:] == selector.output_shape
    seen = selector(torch.from_numpy(whole)).numpy()
    np.testing.assert_allclose(packed.astype(np.float32), seen, rtol=2**-11)
    # Unpacking is the nearest that can be told of the image: packing it again tells nothing else.
    np.testing.assert_allclose(selector.pack(selector.unpack(packed)), packed, rtol=2**-10, atol=1e-2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float64])
def test_the_images_own_values_keep_their_type(dtype: type) -> None:
    for selector in every_kind():
        whole = images(dtype=dtype)
        packed = selector.pack(whole)
        left = selector.unpack(packed)
        if selector.front_end is None or selector.front_end.exact:
            assert packed.dtype == left.dtype == dtype
            np.testing.assert_array_equal(left[left != 0], whole[left != 0])
            assert np.count_nonzero(left) == np.count_nonzero(packed)
        else:
            assert (packed.dtype, left.dtype) == (np.float16, np.float32)


def test_with_everything_kept_nothing_is_lost() -> None:
    selector = Selector("channels", SHAPE, np.ones(48, bool), BlockDCT(4))
    np.testing.assert_allclose(selector.unpack(selector.pack(images())), images(), atol=0.5)


@pytest.mark.parametrize("selector", every_kind(), ids=repr)
def test_exported_it_selects_the_same(selector: Selector) -> None:
    run = onnxruntime.InferenceSession(export(selector, SHAPE))
    expected = selector(torch.from_numpy(images())).numpy()
    np.testing.assert_allclose(run.run(None, {"input": images()})[0], expected, atol=1e-3)


@given(st.integers(0, 10**6), st.sampled_from(["pixels", "channels", "lines"]))
def test_saved_and_loaded_it_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: Any
) -> None:
    path = tmp_path_factory.mktemp("selector") / "selector.json"
    front_end = BlockDCT(4, "ycbcr") if kind == "channels" else None
    kept = marks({"pixels": 288, "channels": 48, "lines": 20}[kind], seed)
    kept[[0, -1]] = True
    selector = Selector(kind, SHAPE, kept, front_end)
    selector.save(path)
    again = Selector.load(path)
    assert torch.equal(again(torch.from_numpy(images())), selector(torch.from_numpy(images())))
    assert (again.input_shape, again.output_shape) == (SHAPE, selector.output_shape)
    np.testing.assert_array_equal(again.kept, kept)


GOOD = {
    "format": 1,
    "kind": "pixels",
    "input_shape": [1, 2, 4],
    "front_end": None,
    "features": 8,
    "kept": "f0",
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"kind": "sounds"},
        {"kind": ["pixels"]},
        {"input_shape": [1, 2, 5]},
        {"input_shape": [1, -2, -4]},
        {"input_shape": [1, 2.0, 4]},
        {"input_shape": "124"},
        {"input_shape": [4096, 4096, 4096]},
        {"features": 7},
        {"features": 10**12},
        {"features": True},
        {"kept": "00"},
        {"kept": "f"},
        {"kept": "xy"},
        {"kept": ["f0"]},
        {"kept": "f000"},
        {"kind": "channels", "front_end": {"name": "os.system"}},
        {"kind": "channels", "front_end": {"name": ["block_dct"]}},
        {"kind": "channels", "front_end": {"name": "block_dct", "size": 10**9}},
        {"kind": "channels", "front_end": {"name": "block_dct", "size": 2, "more": 1}},
        {"kind": "channels", "front_end": {"name": "block_dct", "colour": {}}},
        {"front_end": {"name": "block_dct"}},
        {"front_end": 3},
    ],
)
def test_files_that_are_no_selectors(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "selector.json"
    path.write_text(json.dumps(GOOD))
    assert Selector.load(path).output_shape == (4, 1, 1)
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(SparsightError, match="not a selector's file or is damaged"):
        Selector.load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_files_that_are_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "selector.json"
    path.write_bytes(content)
    with pytest.raises(SparsightError, match="not a selector's file"):
        Selector.load(path)
    with pytest.raises(SparsightError, match="cannot be read"):
        Selector.load(tmp_path / "missing.json")
    with pytest.raises(SparsightError, match="cannot be written"):
        every_kind()[0].save(path / "selector.json")


def test_bad_use() -> None:
    with pytest.raises(SparsightError, match="at least one feature"):
        Selector("pixels", SHAPE, np.zeros(288, bool))
    with pytest.raises(SparsightError, match="at least one feature"):
        Selector("lines", SHAPE, np.arange(20) < 8)
    with pytest.raises(SparsightError, match="needs 288 marks"):
        Selector("pixels", SHAPE, marks(28))
    with pytest.raises(SparsightError, match="cannot be selected from"):
        Selector("lines", (5,), marks(5))
    with pytest.raises(SparsightError, match="only with channels"):
        Selector("lines", SHAPE, marks(20), BlockDCT(4))
    with pytest.raises(SparsightError, match="no kind of feature"):
        Selector("sounds", SHAPE, marks(20))  # type: ignore[arg-type]
    selector = every_kind()[0]
    with pytest.raises(SparsightError, match="whole inputs"):
        selector(torch.zeros(1, 3, 8, 8))
    with pytest.raises(SparsightError, match="images of shape"):
        selector.pack(images()[0])
    with pytest.raises(SparsightError, match="packed images of shape"):
        selector.unpack(images())
