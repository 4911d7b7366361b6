"""Reading TensorFlow 1 frozen graphs (a ``GraphDef`` in protocol-buffer wire format) without TensorFlow.

Only what frozen networks hold is read: nodes, their operations, inputs, attributes and constant tensors.
Nothing is executed, every length is checked against what is left of the file, and a tensor is decoded only
when it is asked for, so that a small file cannot claim much memory.

Source: the protocol-buffer encoding guide, and TensorFlow's ``graph.proto``, ``node_def.proto``,
``attr_value.proto``, ``tensor.proto`` and ``tensor_shape.proto`` (field numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

MAX_FILE_BYTES = 1 << 30
MAX_TENSOR_ELEMENTS = 1 << 27
MAX_RANK = 16

Attribute: TypeAlias = "int | float | bool | bytes | tuple[Any, ...] | memoryview | None"
"""An attribute's value; types come as their enum number, shapes as tuples (-1: unknown dimension), tensors as
their undecoded bytes (see :meth:`Graph.constant`)."""


class _Malformed(Exception):
    """The bytes are not what the wire format allows; the message says how."""


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        name: unique within the graph.
        op: the operation (``"Conv2D"``, ``"Const"``, ...).
        inputs: names of the nodes it reads, without output numbers (``:0``) and without control inputs.
        attributes: by name.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Graph:
    """A frozen graph: its nodes by name, and where it came from.

    Attributes:
        nodes: every node, in the file's order.
        source: the file's name, for messages.
    """

    nodes: Mapping[str, Node]
    source: str

    def node(self, name: str) -> Node:
        """The node called ``name``.

        Raises:
            SparsightError: there is none.
        """
        try:
            return self.nodes[name]
        except KeyError:
            raise SparsightError(
                f"{self.source} has no node called {name!r}: it is not the network that is being loaded."
            ) from None

    def constant(self, name: str) -> NDArray[Any]:
        """The array of the constant called ``name``, looking through ``Identity`` nodes.

        Raises:
            SparsightError: there is no such node, or it is not a constant.
        """
        node = self.node(name)
        for _ in range(len(self.nodes)):
            if node.op != "Identity" or not node.inputs:
                break
            node = self.node(node.inputs[0])
        value = node.attributes.get("value")
        if node.op != "Const" or not isinstance(value, memoryview):
            raise SparsightError(f"{self.source}: node {name!r} is not a constant but {node.op!r}.")
        try:
            return _tensor(value)
        except _Malformed as error:
            raise SparsightError(
                f"{self.source}: the constant {name!r} is damaged: {error}; download the file again."
            ) from None


def read_graph(path: str | Path) -> Graph:
    """Read the frozen graph in the file ``path``.

    Raises:
        SparsightError: the file cannot be read, is too large, or is not a frozen graph.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SparsightError(
                f"{path} is larger than the {MAX_FILE_BYTES >> 20} MiB a frozen graph may have."
            )
        data = path.read_bytes()
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_graph(data, str(path))


def parse_graph(data: bytes, source: str = "the graph") -> Graph:
    """Parse the bytes of a frozen graph; ``source`` names them in messages.

    Raises:
        SparsightError: they are not one.
    """
    nodes: dict[str, Node] = {}
    try:
        for number, value in _fields(memoryview(data)):
            if number == 1:
                node = _node(_bytes(value))
                if node.name in nodes:
                    raise _Malformed(f"two nodes are called {node.name!r}")
                nodes[node.name] = node
    except _Malformed as error:
        raise SparsightError(
            f"{source} is not a TensorFlow frozen graph, or is damaged: {error}; download it again."
        ) from None
    if not nodes:
        raise SparsightError(f"{source} is not a TensorFlow frozen graph: it holds no nodes.")
    return Graph(nodes, source)


# --- The wire format -------------------------------------------------------------------------------------

_Value: TypeAlias = "int | memoryview"


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at ``at``, and where the next byte is."""
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Malformed("it ends within a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _Malformed("a number is longer than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, _Value]]:
    """The (field number, value) pairs of one message.

    A varint comes as an int; everything else (fixed 32 and 64 bits, length-delimited) as its raw bytes.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise _Malformed("a field has number 0")
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 1:
            size = 8
        elif kind == 5:
            size = 4
        elif kind == 2:
            size, at = _varint(data, at)
        else:
            raise _Malformed(f"field {number} has wire type {kind}")
        if size > len(data) - at:
            raise _Malformed(f"field {number} claims {size} bytes where {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def _bytes(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise _Malformed("a number stands where bytes belong")
    return value


def _int(value: _Value) -> int:
    if not isinstance(value, int):
        raise _Malformed("bytes stand where a number belongs")
    return value


def _signed(value: int) -> int:
    """Two's complement, as int32 and int64 fields are written."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: _Value) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError:
        raise _Malformed("a name is not UTF-8") from None


def _float(value: _Value) -> float:
    raw = _bytes(value)
    if len(raw) != 4:
        raise _Malformed("a float is not 4 bytes long")
    return float(struct.unpack("<f", raw)[0])


def _integers(value: _Value) -> list[int]:
    """A repeated integer field: one number, or many packed."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


# --- The messages ----------------------------------------------------------------------------------------


def _node(data: memoryview) -> Node:
    name, op = "", ""
    inputs: list[str] = []
    attributes: dict[str, Attribute] = {}
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            op = _text(value)
        elif number == 3:
            source = _text(value)
            if not source.startswith("^"):
                inputs.append(source.split(":", 1)[0])
        elif number == 5:
            key, content = _entry(_bytes(value))
            attributes[key] = _attribute(content)
    return Node(name, op, tuple(inputs), attributes)


def _entry(data: memoryview) -> tuple[str, memoryview]:
    """One entry of a ``map<string, message>``."""
    key, content = "", memoryview(b"")
    for number, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            content = _bytes(value)
    return key, content


def _attribute(data: memoryview) -> Attribute:
    result: Attribute = None
    for number, value in _fields(data):
        if number == 1:
            result = _list(_bytes(value))
        elif number == 2:
            result = bytes(_bytes(value))
        elif number in (3, 6):
            result = _signed(_int(value))
        elif number == 4:
            result = _float(value)
        elif number == 5:
            result = bool(_int(value))
        elif number == 7:
            result = _shape(_bytes(value))
        elif number == 8:
            result = _bytes(value)
    return result


def _list(data: memoryview) -> tuple[Any, ...]:
    items: list[Any] = []
    for number, value in _fields(data):
        if number == 2:
            items.append(bytes(_bytes(value)))
        elif number in (3, 5, 6):
            items.extend(_integers(value))
        elif number == 4:
            items.extend(_packed(_bytes(value), "<f4").tolist())
        elif number == 7:
            items.append(_shape(_bytes(value)))
    return tuple(items)


def _shape(data: memoryview) -> tuple[int, ...]:
    sizes: list[int] = []
    for number, value in _fields(data):
        if number == 2:
            size = 0
            for inner, content in _fields(_bytes(value)):
                if inner == 1:
                    size = _signed(_int(content))
            sizes.append(size)
            if len(sizes) > MAX_RANK:
                raise _Malformed(f"a shape has more than {MAX_RANK} dimensions")
    return tuple(sizes)


_DTYPES: dict[int, str] = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1", 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
"""TensorFlow's ``DataType`` numbers; strings, quantised and complex types hold no weights."""

_FIXED_VALUES = {5: "<f4", 6: "<f8"}  # float_val, double_val
_VARINT_VALUES = {7, 10, 11, 13, 16, 17}  # int_val, int64_val, bool_val, half_val, uint32_val, uint64_val


def _packed(raw: memoryview, dtype: str) -> NDArray[Any]:
    if len(raw) % np.dtype(dtype).itemsize:
        raise _Malformed("packed numbers end within one")
    return np.frombuffer(raw, dtype)


def _tensor(data: memoryview) -> NDArray[Any]:
    """A ``TensorProto`` as an array; a view of the file's bytes where possible, never to be written to."""
    code, shape = 0, tuple[int, ...]()
    content: memoryview | None = None
    pieces: list[NDArray[Any]] = []
    for number, value in _fields(data):
        if number == 1:
            code = _int(value)
        elif number == 2:
            shape = _shape(_bytes(value))
        elif number == 4:
            content = _bytes(value)
        elif number in _FIXED_VALUES:
            pieces.append(_packed(_bytes(value), _FIXED_VALUES[number]))
        elif number in _VARINT_VALUES:
            pieces.append(np.array(_integers(value), np.int64))
    if code not in _DTYPES:
        raise _Malformed(f"its type (number {code}) holds no numbers that networks use")
    dtype = np.dtype(_DTYPES[code])
    count = 1
    for size in shape:
        if size < 0:
            raise _Malformed("it has a dimension below zero")
        count *= size
        if count > MAX_TENSOR_ELEMENTS:
            raise _Malformed(f"it claims the shape {shape}")
    if content is not None:
        if len(content) != count * dtype.itemsize:
            raise _Malformed(f"its shape is {shape}, but it brings {len(content)} bytes")
        stored: NDArray[Any] = np.frombuffer(content, dtype)
        return stored.reshape(shape)
    values: NDArray[Any] = np.concatenate(pieces) if pieces else np.zeros(min(count, 1), dtype)
    if dtype == np.float16:
        values = values.astype(np.uint16).view(np.float16)  # half_val holds the bits
    values = values.astype(dtype, copy=False)
    if len(values) > count or (count and not len(values)):
        raise _Malformed(f"its shape is {shape}, but it brings {len(values)} values")
    # A list shorter than the tensor repeats its last value.
    result: NDArray[Any] = np.concatenate([values, np.repeat(values[-1:], count - len(values))])
    return result.reshape(shape)
