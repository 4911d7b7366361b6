"""Reading arrays of float32 out of HDF5 files as Keras writes weights, without the HDF5 library.

Only what such files hold is read: the first superblock version, groups kept as symbol tables, and unfiltered
contiguous data sets. Every address and length is checked against the file.

Source: *HDF5 File Format Specification*, version 3.0, sections II.A (superblock), III.A (B-trees), III.B
(symbol table nodes), III.D (local heaps), IV.A (object headers and messages).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

MAX_FILE_BYTES = 2 << 30
MAX_OBJECTS = 10_000

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DATASPACE, _DATATYPE, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE = 0x1, 0x3, 0x8, 0x10, 0x11
_FLOAT32 = struct.pack("<B3BIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)
"""The datatype message of an IEEE little-endian float32."""


def read_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """Every float32 data set of the file, by its path inside the file (``"block1/layers/conv2d/vars/0"``).

    Raises:
        SparsightError: the file cannot be read, or is not an HDF5 file of this kind.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SparsightError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB: that is no weight file.")
        data = path.read_bytes()
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        return dict(_File(data).arrays())
    except (ValueError, KeyError, struct.error) as error:
        raise SparsightError(f"{path} is not an HDF5 weight file that can be read: {error}.") from error


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_OBJECTS
        if self._bytes(0, 8) != _SIGNATURE:
            raise ValueError("it does not begin as one")
        version, offset_size, length_size = data[8:9], data[13:14], data[14:15]
        if (version, offset_size, length_size) != (b"\0", b"\x08", b"\x08"):
            raise ValueError("its superblock is of another version")

    def arrays(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """The data sets below the root group, depth first."""
        (root,) = self._unpack("<Q", 64)
        seen: set[int] = set()
        waiting = [("", root)]
        while waiting:
            name, address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            messages = dict(self._messages(address))
            if _SYMBOL_TABLE in messages:
                tree, heap = struct.unpack_from("<QQ", messages[_SYMBOL_TABLE])
                waiting += [(f"{name}/{child}".lstrip("/"), at) for child, at in self._members(tree, heap)]
            elif _LAYOUT in messages and messages.get(_DATATYPE, b"").startswith(_FLOAT32):
                yield name, self._array(messages)

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Type and body of each message of the object header at ``address``."""
        version, count, size = self._unpack("<BxH4xI", address)
        if version != 1:
            raise ValueError("an object header is of another version")
        blocks = [(address + 16, size)]
        for start, length in blocks:
            position = start
            while position + 8 <= start + length and count > 0:
                kind, size = self._unpack("<HH", position)
                body = self._bytes(position + 8, size)
                position += 8 + size
                count -= 1
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack_from("<QQ", body))
                else:
                    yield kind, body

    def _members(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Name and header address of each member of a group."""
        if self._bytes(heap, 4) != b"HEAP":
            raise ValueError("a heap is not where it should be")
        (names,) = self._unpack("<Q", heap + 24)
        nodes = [tree]
        for node in nodes:
            signature = self._bytes(node, 4)
            (used,) = self._unpack("<H", node + 6)
            self._left -= 1 + used
            if self._left < 0:
                raise ValueError("it holds too many objects")
            if signature == b"TREE":
                # After the 24-byte head, keys and child addresses alternate, a key first.
                nodes += [self._unpack("<Q", node + 32 + 16 * index)[0] for index in range(used)]
            elif signature == b"SNOD":
                for index in range(used):
                    name, header = self._unpack("<QQ", node + 8 + 40 * index)
                    end = self._data.find(b"\0", names + name)
                    yield self._bytes(names + name, end - names - name).decode(), header
            else:
                raise ValueError("a group's tree is not where it should be")

    def _array(self, messages: dict[int, bytes]) -> NDArray[np.float32]:
        space, layout = messages[_DATASPACE], messages[_LAYOUT]
        version, rank = struct.unpack_from("<BB", space)
        shape = struct.unpack_from(f"<{rank}Q", space, {1: 8, 2: 4}.get(version, len(space)))
        version, kind, address, size = struct.unpack_from("<BBQQ", layout)
        if (version, kind) != (3, 1):
            raise ValueError("a data set is compressed or scattered")
        if size != 4 * math.prod(shape):
            raise ValueError("a data set has not the bytes of its shape")
        return np.frombuffer(self._bytes(address, size), "<f4").reshape(shape)

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        fields: tuple[int, ...] = struct.unpack(form, self._bytes(at, struct.calcsize(form)))
        return fields

    def _bytes(self, at: int, size: int) -> bytes:
        if size < 0 or at < 0 or at + size > len(self._data):
            raise ValueError("it ends too early or points outside itself")
        return self._data[at : at + size]
