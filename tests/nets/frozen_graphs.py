"""Frozen graphs written with Google's protocol-buffer library: independent of the parser under test."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from numpy.typing import NDArray

_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _F.TYPE_STRING, "bytes": _F.TYPE_BYTES, "int64": _F.TYPE_INT64, "int32": _F.TYPE_INT32,
    "float": _F.TYPE_FLOAT, "double": _F.TYPE_DOUBLE, "bool": _F.TYPE_BOOL,
}  # fmt: skip

# Message → (field, type, number, repeated), as in TensorFlow's published .proto files (enums as int32).
_MESSAGES: dict[str, list[tuple[str, str, int, bool]]] = {
    "Dim": [("size", "int64", 1, False), ("name", "string", 2, False)],
    "TensorShape": [("dim", "Dim", 2, True), ("unknown_rank", "bool", 3, False)],
    "Tensor": [
        ("dtype", "int32", 1, False), ("tensor_shape", "TensorShape", 2, False),
        ("tensor_content", "bytes", 4, False), ("half_val", "int32", 13, True),
        ("float_val", "float", 5, True), ("double_val", "double", 6, True), ("int_val", "int32", 7, True),
        ("string_val", "bytes", 8, True), ("int64_val", "int64", 10, True), ("bool_val", "bool", 11, True),
    ],
    "List": [
        ("s", "bytes", 2, True), ("i", "int64", 3, True), ("f", "float", 4, True), ("b", "bool", 5, True),
        ("type", "int32", 6, True), ("shape", "TensorShape", 7, True),
    ],
    "Attr": [
        ("list", "List", 1, False), ("s", "bytes", 2, False), ("i", "int64", 3, False),
        ("f", "float", 4, False), ("b", "bool", 5, False), ("type", "int32", 6, False),
        ("shape", "TensorShape", 7, False), ("tensor", "Tensor", 8, False),
    ],
    "Entry": [("key", "string", 1, False), ("value", "Attr", 2, False)],
    "Node": [
        ("name", "string", 1, False), ("op", "string", 2, False), ("input", "string", 3, True),
        ("device", "string", 4, False), ("attr", "Entry", 5, True),
    ],
    "Graph": [("node", "Node", 1, True)],
}  # fmt: skip


def _factory() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="frozen.proto", package="frozen", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, kind, number, repeated in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            if kind in _SCALARS:
                entry.type = _SCALARS[kind]
                entry.options.packed = repeated and kind not in ("string", "bytes")
            else:
                entry.type = _F.TYPE_MESSAGE
                entry.type_name = f".frozen.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"frozen.{name}"))
        for name in _MESSAGES
    }


MESSAGES = _factory()
DTYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


def tensor(array: NDArray[Any]) -> Message:
    """A tensor whose bytes are stored raw."""
    result: Any = MESSAGES["Tensor"](dtype=DTYPES[array.dtype.name], tensor_content=array.tobytes())
    for size in array.shape:
        result.tensor_shape.dim.add(size=size)
    return result


class GraphWriter:
    """Collects nodes; ``bytes(writer)`` is the file."""

    def __init__(self) -> None:
        self.graph: Any = MESSAGES["Graph"]()

    def __bytes__(self) -> bytes:
        data: bytes = self.graph.SerializeToString()
        return data

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> None:
        """Attributes are given as ``name={"field": value}``, fields as in ``Attr``."""
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr.add(key=key, value=MESSAGES["Attr"](**value))

    def constant(self, name: str, array: NDArray[Any]) -> None:
        self.node(name, "Const", value={"tensor": tensor(np.asarray(array))}, dtype={"type": 1})
