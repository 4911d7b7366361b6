"""The GraphDef parser against graphs that Google's own library wrote, and against damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_graphs import MESSAGES, GraphWriter, tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsight import SparsightError
from sparsight.nets.graphdef import parse_graph, read_graph


def _constant(proto: Any) -> Any:
    writer = GraphWriter()
    writer.node("c", "Const", value={"tensor": proto})
    return parse_graph(bytes(writer)).constant("c")


def _shaped(dtype: int, shape: tuple[int, ...], **values: Any) -> Any:
    proto: Any = MESSAGES["Tensor"](dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_nodes_inputs_and_attributes() -> None:
    writer = GraphWriter()
    writer.node("a", "Placeholder", dtype={"type": 4}, shape={"shape": _shape(-1, 300, 3)})
    writer.node(
        "b", "Conv2D", "a:1", "c", "^assert",
        strides={"list": MESSAGES["List"](i=[1, 2, 2, -1])}, padding={"s": b"SAME"}, keep={"b": True},
        epsilon={"f": 0.5}, depth={"i": -7}, scales={"list": MESSAGES["List"](f=[0.25, -2.0])},
        names={"list": MESSAGES["List"](s=[b"x", b"y"])}, flags={"list": MESSAGES["List"](b=[True, False])},
    )  # fmt: skip
    graph = parse_graph(bytes(writer))
    assert list(graph.nodes) == ["a", "b"]
    assert graph.node("a").attributes == {"dtype": 4, "shape": (-1, 300, 3)}
    node = graph.node("b")
    assert (node.op, node.inputs) == ("Conv2D", ("a", "c"))
    assert node.attributes == {
        "strides": (1, 2, 2, -1), "padding": b"SAME", "keep": True, "epsilon": 0.5, "depth": -7,
        "scales": (0.25, -2.0), "names": (b"x", b"y"), "flags": (1, 0),
    }  # fmt: skip


def _shape(*sizes: int) -> Any:
    shape: Any = MESSAGES["TensorShape"]()
    for size in sizes:
        shape.dim.add(size=size)
    return shape


@given(
    st.sampled_from(["float32", "float64", "int32", "uint8", "int64", "bool", "float16"]).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    )
)
def test_raw_tensors_come_back(array: np.ndarray[Any, Any]) -> None:
    got = _constant(tensor(array))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def test_tensors_stored_as_values() -> None:
    np.testing.assert_array_equal(
        _constant(_shaped(1, (2, 2), float_val=[1.5, -2, 3, 4])), [[1.5, -2], [3, 4]]
    )
    np.testing.assert_array_equal(_constant(_shaped(3, (3,), int_val=[-1, 0, 2**31 - 1])), [-1, 0, 2**31 - 1])
    np.testing.assert_array_equal(
        _constant(_shaped(9, (2,), int64_val=[-(2**63), 2**63 - 1])), [-(2**63), 2**63 - 1]
    )
    np.testing.assert_array_equal(_constant(_shaped(10, (2,), bool_val=[True, False])), [True, False])
    half = np.array([0.5, -3], np.float16)
    np.testing.assert_array_equal(_constant(_shaped(19, (2,), half_val=half.view(np.uint16).tolist())), half)


def test_a_short_list_repeats_its_last_value() -> None:
    np.testing.assert_array_equal(_constant(_shaped(1, (2, 3), float_val=[7])), np.full((2, 3), 7.0))
    np.testing.assert_array_equal(_constant(_shaped(1, (4,), float_val=[7, 8])), [7, 8, 8, 8])
    np.testing.assert_array_equal(_constant(_shaped(1, (2,))), [0, 0])
    assert _constant(_shaped(3, (0,))).shape == (0,)


def test_constants_are_found_through_identities() -> None:
    writer = GraphWriter()
    writer.constant("w", np.arange(3, dtype=np.float32))
    writer.node("w/read", "Identity", "w")
    writer.node("a", "Identity", "b")
    writer.node("b", "Identity", "a")
    graph = parse_graph(bytes(writer))
    np.testing.assert_array_equal(graph.constant("w/read"), [0, 1, 2])
    with pytest.raises(SparsightError, match="is not a constant"):
        graph.constant("a")  # a circle must not hang
    with pytest.raises(SparsightError, match="no node called 'x'"):
        graph.constant("x")


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (_shaped(1, (1 << 20, 1 << 20), float_val=[1]), "claims the shape"),
        (_shaped(1, (1 << 40,), tensor_content=b"1234"), "claims the shape"),
        (_shaped(1, (3,), tensor_content=b"1234"), "brings 4 bytes"),
        (_shaped(1, (1,), float_val=[1, 2]), "brings 2 values"),
        (_shaped(1, (-1,), float_val=[1]), "below zero"),
        (_shaped(7, (1,), string_val=[b"x"]), "type"),
        (_shaped(1, (1,) * 40, float_val=[1]), "dimensions"),
    ],
)
def test_constants_that_claim_what_they_do_not_bring(proto: Any, says: str) -> None:
    with pytest.raises(SparsightError, match=says):
        _constant(proto)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no nodes"),
        (b"a text file, say\n" * 10, "not a TensorFlow frozen graph"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "claims"),
        (b"\x0a" + b"\xff" * 11, "longer than 64 bits"),
        (b"\x0a", "ends within a number"),
        (b"\x03\x00", "field has number 0|wire type"),
        (b"\x0a\x03\x0a\x01\xff", "UTF-8"),
    ],
)
def test_what_is_no_graph(data: bytes, says: str) -> None:
    with pytest.raises(SparsightError, match=says):
        parse_graph(data)


def test_two_nodes_of_one_name() -> None:
    writer = GraphWriter()
    writer.node("a", "NoOp")
    writer.node("a", "NoOp")
    with pytest.raises(SparsightError, match="two nodes are called 'a'"):
        parse_graph(bytes(writer))


@settings(max_examples=300)
@given(st.data())
def test_damage_ends_in_one_sentence_or_a_graph(data: st.DataObject) -> None:
    writer = GraphWriter()
    writer.constant("w", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.node("b", "Conv2D", "w", strides={"list": MESSAGES["List"](i=[1, 2, 2, 1])}, epsilon={"f": 0.5})
    raw = bytearray(bytes(writer))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        graph = parse_graph(bytes(raw))
        for name in graph.nodes:
            graph.constant(name)
    except SparsightError as error:
        assert str(error).endswith(".")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="cannot be read"):
        read_graph(tmp_path / "none.pb")
    with pytest.raises(SparsightError, match="cannot be read"):
        read_graph(tmp_path)
    writer = GraphWriter()
    writer.constant("w", np.ones(2, np.float32))
    (tmp_path / "g.pb").write_bytes(bytes(writer))
    assert list(read_graph(tmp_path / "g.pb").nodes) == ["w"]
