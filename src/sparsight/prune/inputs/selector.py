"""The part of the input that a network still needs, cut out of the whole."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.files import write_text
from sparsight.prune.inputs.front_ends import FRONT_ENDS, FrontEnd, Shape
from sparsight.registry import lookup

Kind = Literal["pixels", "channels", "lines"]

MAX_FILE_BYTES = 16 << 20
MAX_FEATURES = 1 << 24

_FORMAT = 1


class Selector(nn.Module):
    """Keeps the chosen features of each input; what is fed to the smaller network.

    ======== ==================================== =================================
    kind     ``kept``, bool                        an input of (C, H, W) becomes
    ======== ==================================== =================================
    pixels   (C·H·W,), in memory order             (kept, 1, 1); (D,) becomes (kept,)
    channels one per channel of the front end      (kept, its H, its W)
    lines    (H + W,): first rows, then columns    (C, kept rows, kept columns)
    ======== ==================================== =================================

    Args:
        kind: what a feature is.
        input_shape: of one whole input, without the batch.
        kept: which features stay.
        front_end: makes the channels out of the image; only for "channels", where None means that the
            channels are the input's own.

    Attributes:
        output_shape: of what is left of one input, without the batch.

    Raises:
        SparsightError: shapes that do not fit, or nothing is kept.
    """

    indices: list[Tensor]

    def __init__(
        self,
        kind: Kind,
        input_shape: Shape,
        kept: NDArray[np.bool_],
        front_end: FrontEnd | None = None,
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise SparsightError(f"there is no kind of feature {kind!r}: take one of {', '.join(_KINDS)}.")
        if front_end is not None and kind != "channels":
            raise SparsightError(f"a selector of {kind} has no front end: give one only with channels.")
        self.kind: Kind = kind
        self.input_shape = tuple(int(size) for size in input_shape)
        self.kept = np.array(kept, dtype=bool)
        self.front_end = front_end
        shape = self.input_shape if front_end is None else front_end.feature_shape(self.input_shape)
        if not shape or min(shape) < 1 or (kind == "lines" and len(shape) != 3):
            raise SparsightError(f"{kind} cannot be selected from inputs of shape {self.input_shape}.")
        parts = _parts(kind, self.kept, shape)
        for part in parts:
            if not part.any():
                raise SparsightError("a selector must keep at least one feature: lower the input sparsity.")
        for place, part in enumerate(parts):
            self.register_buffer(f"index_{place}", torch.from_numpy(np.flatnonzero(part)), persistent=False)
        counts = [int(part.sum()) for part in parts]
        if kind == "pixels":
            self.output_shape: Shape = (counts[0], 1, 1) if len(shape) == 3 else (counts[0],)
        elif kind == "channels":
            self.output_shape = (counts[0], *shape[1:])
        else:
            self.output_shape = (shape[0], *counts)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, *input_shape) → (N, *output_shape)."""
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise SparsightError(
                f"the selector was made for inputs of shape (N, {_spell(self.input_shape)}), "
                f"not ({_spell(inputs.shape)}): give whole inputs, not packed ones."
            )
        if self.kind == "pixels":
            chosen = inputs.flatten(1).index_select(1, self._index(0))
            return chosen.reshape(-1, *self.output_shape)
        if self.kind == "lines":
            return inputs.index_select(2, self._index(0)).index_select(3, self._index(1))
        channels = inputs if self.front_end is None else self.front_end(inputs)
        return channels.index_select(1, self._index(0))

    def pack(self, images: NDArray[Any]) -> NDArray[Any]:
        """What is worth storing or sending of ``images``.

        Pixels, channels and lines are the images' own values and keep their type of number; frequencies of a
        ``block_dct`` come as float16, each off by at most 2⁻¹¹ of itself.

        Args:
            images: (N, *input_shape).

        Returns:
            (N, *output_shape); as float32 it is what the smaller network takes, if ``images`` were what the
            whole one took.

        Raises:
            SparsightError: another shape.
        """
        self._check(images, self.input_shape, "images")
        if self._exact:
            where = self._source()
            return images.reshape(len(images), -1)[:, where].reshape(len(images), *self.output_shape)
        with torch.no_grad():
            packed: Tensor = self(torch.tensor(images, dtype=torch.float32, device=self._index(0).device))
        return packed.to("cpu", torch.float16).numpy()

    def unpack(self, packed: NDArray[Any]) -> NDArray[Any]:
        """Images with what was not kept set to zero.

        Args:
            packed: (N, *output_shape), as from ``pack`` or from the selector itself.

        Returns:
            (N, *input_shape), of the same type of number; float32 from a ``block_dct``'s frequencies.

        Raises:
            SparsightError: another shape.
        """
        self._check(packed, self.output_shape, "packed images")
        if self._exact:
            images = np.zeros((len(packed), math.prod(self.input_shape)), packed.dtype)
            images[:, self._source()] = packed.reshape(len(packed), -1)
            return images.reshape(len(packed), *self.input_shape)
        assert self.front_end is not None
        whole = np.zeros((len(packed), *self.front_end.feature_shape(self.input_shape)), np.float32)
        whole[:, self.kept] = packed
        with torch.no_grad():
            image = self.front_end.inverse(torch.from_numpy(whole).to(self._index(0).device))
        inverse: NDArray[np.float32] = image.cpu().numpy()
        return inverse

    def save(self, path: str | Path) -> None:
        """Write the selector as a small JSON file.

        Raises:
            SparsightError: the file cannot be written.
        """
        path = Path(path)
        content = {
            "format": _FORMAT,
            "kind": self.kind,
            "input_shape": self.input_shape,
            "front_end": self.front_end and {"name": self.front_end.name, **self.front_end.settings()},
            "features": len(self.kept),
            "kept": np.packbits(self.kept).tobytes().hex(),
        }
        try:
            write_text(path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise SparsightError(f"{path} cannot be written: {error.strerror or error}.") from error

    @classmethod
    def load(cls, path: str | Path) -> Selector:
        """Read what ``save`` wrote; nothing in the file is executed.

        Raises:
            SparsightError: no such file, or not a selector's.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise SparsightError(f"{path} is larger than a selector's file: give the one that was saved.")
            content = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError):
            content = None
        try:
            return cls(*_read(content))
        except (KeyError, TypeError, ValueError, OverflowError, SparsightError) as error:
            raise SparsightError(
                f"{path} is not a selector's file or is damaged ({error}): give the one that was saved."
            ) from error

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        kept = f"{int(self.kept.sum())} of {self.kept.size}"
        return f"{self.kind}, {self.input_shape} -> {self.output_shape}, kept={kept}"

    @property
    def _exact(self) -> bool:
        return self.front_end is None or self.front_end.exact

    def _index(self, place: int) -> Tensor:
        return self.get_buffer(f"index_{place}")

    def _source(self) -> NDArray[np.int64]:
        """For each value of a packed image, its place in the whole one in memory order."""
        device = self._index(0).device
        # float64 holds every place exactly, and runs through whatever a front end does.
        places = torch.arange(math.prod(self.input_shape), dtype=torch.float64, device=device)
        source: NDArray[np.int64] = (
            self(places.reshape(1, *self.input_shape)).reshape(-1).long().cpu().numpy()
        )
        return source

    def _check(self, values: NDArray[Any], shape: Shape, what: str) -> None:
        if values.shape[1:] != shape or values.ndim != len(shape) + 1:
            raise SparsightError(
                f"the selector takes {what} of shape (N, {_spell(shape)}), not ({_spell(values.shape)})."
            )


_KINDS = ("pixels", "channels", "lines")


def _parts(kind: Kind, kept: NDArray[np.bool_], shape: Shape) -> list[NDArray[np.bool_]]:
    """``kept`` cut where another axis begins."""
    axes = {"pixels": [math.prod(shape)], "channels": [shape[0]], "lines": list(shape[1:])}[kind]
    if kept.shape != (sum(axes),):
        raise SparsightError(
            f"a selector of {kind} for inputs of shape {shape} needs {sum(axes)} marks, not {kept.shape}."
        )
    return np.split(kept, np.cumsum(axes)[:-1])


def _read(content: Any) -> tuple[Kind, Shape, NDArray[np.bool_], FrontEnd | None]:
    """The arguments of ``Selector`` in the content of its file."""
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"no selector of format {_FORMAT}")
    shape = tuple(content["input_shape"])
    count = content["features"]
    sizes = (*shape, count)
    if not all(type(size) is int and 0 < size <= MAX_FEATURES for size in sizes):
        raise ValueError("sizes out of range")
    if math.prod(shape) > MAX_FEATURES:
        raise ValueError("inputs too large")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(content["kept"]), np.uint8))
    if len(bits) != -(-count // 8) * 8:
        raise ValueError("marks are missing")
    front_end = None
    if content["front_end"] is not None:
        settings = dict(content["front_end"])
        front_end = lookup("front end", settings.pop("name"), FRONT_ENDS)(**settings)
    return content["kind"], shape, bits[:count].astype(bool), front_end


def _spell(shape: tuple[int, ...] | torch.Size) -> str:
    return ", ".join(map(str, shape))
