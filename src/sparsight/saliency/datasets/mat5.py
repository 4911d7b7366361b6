"""A reader of MATLAB's files of version 5 to 7 that takes no length on trust.

SciPy's reader ends the process on some damaged files, and takes memory for whatever size a file claims.

Source: *MAT-File Format*, MathWorks, R2023, chapter 1: level 5 MAT-files.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
    16: "u1",
    17: "u2",
    18: "u4",
}
"""Data type → how it is stored (table 1-1); text as the numbers of its letters."""
_CELL, _STRUCT, _TEXT = 1, 2, 4
_CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
"""Array class → type of its numbers (table 1-3)."""
_COMPLEX = 0x0800
_MOST_NESTED = 16
_HEAD = 4096
"""Bytes of a variable in which its name stands."""


def read_variable(data: bytes, name: str, most: int) -> NDArray[Any]:
    """The variable called ``name`` in the bytes of a file; see ``matlab.read_variable`` for what it becomes.

    Args:
        data: the file.
        name: the variable.
        most: bytes that it may unpack to.

    Raises:
        ValueError: the file is damaged, larger, has no such variable, or the variable is of a class that is
            not read (sparse, complex, an object).
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
    if order is None:
        raise ValueError("it is no MATLAB file of version 5 to 7")
    at = _HEADER
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) != size:
            raise ValueError("it is cut short")
        at += 8 + size
        if kind == _COMPRESSED:
            if _Reader(_unpacked(body, _HEAD), order).name() != name:
                continue
            body = _unpacked(body, most + 1)
            if len(body) > most:
                raise ValueError(f"it unpacks to more than {most >> 20:,} MiB")
        elif kind == _MATRIX:
            body = struct.pack(f"{order}II", kind, size) + body
            if _Reader(body, order).name() != name:
                continue
        else:
            continue
        return _Reader(body, order).matrix()
    raise ValueError(f"it has no variable {name}")


def _unpacked(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as error:
        raise ValueError(str(error)) from None


class _Reader:
    """Reads data elements one after the other."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self._at = 0
        self._end = len(data)

    def name(self) -> str:
        """The name of the matrix that begins here, of which the end may be missing."""
        self._tag()
        self._element()
        self._element()
        return self._text()

    def matrix(self, depth: int = 0) -> NDArray[Any]:
        """The matrix that begins here."""
        kind, size = self._tag()
        if kind != _MATRIX or self._at + size > self._end or depth > _MOST_NESTED:
            raise ValueError("an array is not where it should be")
        if size == 0:
            return np.zeros((0, 0))
        end = self._at + size
        flags = self._element()
        shape = tuple(int(side) for side in self._element())
        self._element()
        if not len(flags) or len(shape) < 2 or min(shape) < 0:
            raise ValueError("an array has no class or shape")
        found = self._content(int(flags[0]), shape, end, depth)
        self._at = end
        return found

    def _content(self, flags: int, shape: tuple[int, ...], end: int, depth: int) -> NDArray[Any]:
        kind, count = flags & 0xFF, math.prod(shape)
        if kind == _CELL:
            self._room(count, end)
            cells = np.empty(count, object)
            for index in range(count):
                cells[index] = self.matrix(depth + 1)
            return cells.reshape(shape, order="F")
        if kind == _STRUCT:
            return self._structs(shape, end, depth)
        if kind == _TEXT:
            letters = self._numbers(count).reshape(shape, order="F").reshape(shape[0], -1)
            return np.array(["".join(map(chr, row)) for row in letters.tolist()])
        if kind not in _CLASSES or flags & _COMPLEX:
            raise ValueError("it holds an array that is sparse, complex or an object")
        values = self._numbers(count)
        with np.errstate(all="ignore"):
            return values.astype(_CLASSES[kind]).reshape(shape, order="F")

    def _structs(self, shape: tuple[int, ...], end: int, depth: int) -> NDArray[Any]:
        lengths = self._element()
        letters = self._element().tobytes()
        width = int(lengths[0]) if len(lengths) else 0
        if width <= 0 or len(letters) % width:
            raise ValueError("the names of fields are not whole")
        names = [
            letters[at : at + width].split(b"\0", 1)[0].decode("latin-1")
            for at in range(0, len(letters), width)
        ]
        if len(set(names)) != len(names) or "" in names:
            raise ValueError("a field has no name of its own")
        count = math.prod(shape)
        if not names:
            raise ValueError("a struct has no fields")
        self._room(count * len(names), end)
        records = np.empty(count, [(name, object) for name in names])
        for index in range(count):
            for name in names:
                records[name][index] = self.matrix(depth + 1)
        return records.reshape(shape, order="F")

    def _room(self, count: int, end: int) -> None:
        """An array takes eight bytes at least: a file cannot claim more of them than it has room for."""
        if count > (end - self._at) // 8:
            raise ValueError("it claims more arrays than it holds")

    def _numbers(self, count: int) -> NDArray[Any]:
        values = self._element()
        if len(values) != count:
            raise ValueError("an array has not the numbers of its shape")
        return values

    def _text(self) -> str:
        return self._element().tobytes().decode("latin-1")

    def _element(self) -> NDArray[Any]:
        """The numbers of the element that begins here."""
        kind, size = self._tag()
        small = self._small
        if kind not in _TYPES or self._at + size > self._end:
            raise ValueError("an element is not where it should be")
        dtype = np.dtype(f"{self._order}{_TYPES[kind]}")
        values = np.frombuffer(self._data, dtype, size // dtype.itemsize, self._at)
        # Elements start at multiples of eight; small ones share that with their tag.
        self._at += 4 if small else size + -size % 8
        return values

    def _tag(self) -> tuple[int, int]:
        """Type and size of the element that begins here."""
        if self._at + 8 > self._end:
            raise ValueError("it is cut short")
        kind, size = struct.unpack_from(f"{self._order}II", self._data, self._at)
        self._small = kind >> 16 != 0
        if self._small:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise ValueError("a small element is too large")
        self._at += 4 if self._small else 8
        return kind, size
