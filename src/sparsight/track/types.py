"""What flows through the tracking room: aligned arrays, never lists of objects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError

if TYPE_CHECKING:
    from typing_extensions import Self

Image: TypeAlias = NDArray[np.uint8]
"""A frame or picture: H×W×3, uint8, RGB."""


@dataclass(frozen=True, eq=False)
class _Aligned:
    """Arrays that share their first dimension; indexing one indexes all."""

    xyxy: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Any) -> Self:
        """The rows picked by a slice, a boolean mask or an integer array (never a bare integer)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        picked: dict[str, Any] = {name: None if v is None else v[index] for name, v in values.items()}
        return type(self)(**picked)

    def _set(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        """Store field ``name`` as an array of ``dtype`` with ``len(self)`` rows of ``shape`` (-1: any)."""
        value = getattr(self, name)
        if value is None:
            return
        if (
            type(value) is np.ndarray
            and value.dtype.type is dtype
            and value.shape == (len(self.xyxy), *shape)
        ):
            return
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        if array.size == 0 and array.ndim != 1 + len(shape):
            array = array.reshape(len(self.xyxy), *(max(n, 0) for n in shape))
        fits = array.ndim == 1 + len(shape) and all(
            want in (-1, got) for want, got in zip(shape, array.shape[1:], strict=True)
        )
        if not fits or (name != "xyxy" and len(array) != len(self.xyxy)):
            rows = "N" if name == "xyxy" else str(len(self.xyxy))
            wanted = ", ".join([rows, *("any" if n < 0 else str(n) for n in shape)])
            raise SparsightError(
                f"{type(self).__name__}.{name} has shape {array.shape}, but ({wanted}) is needed."
            )
        object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class Detections(_Aligned):
    """What a detector found in one image.

    Attributes:
        xyxy: (N, 4) float32 boxes in pixels, origin at the top left, end exclusive.
        score: (N,) float32 in [0, 1].
        class_id: (N,) int64 in the detector's own classes (COCO's 80 unless it says otherwise), or None.
        keypoints: (N, K, 3) float32 of x, y, score, or None.
        embedding: (N, D) float32 appearance vectors, or None.

    Raises:
        SparsightError: the arrays do not share their first dimension.
    """

    score: NDArray[np.float32]
    class_id: NDArray[np.int64] | None = None
    keypoints: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._set("xyxy", np.float32, (4,))
        self._set("score", np.float32, ())
        self._set("class_id", np.int64, ())
        self._set("keypoints", np.float32, (-1, 3))
        self._set("embedding", np.float32, (-1,))

    @classmethod
    def empty(cls) -> Detections:
        """No detections at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def from_supervision(cls, detections: Any) -> Detections:
        """From a ``supervision.Detections`` (missing confidences become 1)."""
        count = len(detections.xyxy)
        score = np.ones(count, np.float32) if detections.confidence is None else detections.confidence
        return cls(detections.xyxy, score, detections.class_id)

    def to_supervision(self) -> Any:
        """As a ``supervision.Detections`` (needs the package ``supervision``)."""
        try:
            import supervision
        except ImportError:
            raise SparsightError(
                "to_supervision needs the package supervision: pip install 'sparsight[supervision]'."
            ) from None
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=None if self.class_id is None else self.class_id.astype(int),
        )


@dataclass(frozen=True, eq=False)
class Tracks(_Aligned):
    """The tracks seen in one frame.

    Attributes:
        xyxy: (N, 4) float32 boxes in pixels.
        id: (N,) int64 track numbers, from 1, never used twice by one tracker.
        score: (N,) float32 score of the detection that each track took.
        class_id: (N,) int64, or None.
        detection: (N,) int64 row of that detection in the tracker's input.

    Raises:
        SparsightError: the arrays do not share their first dimension.
    """

    id: NDArray[np.int64]
    score: NDArray[np.float32]
    class_id: NDArray[np.int64] | None = None
    detection: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self._set("xyxy", np.float32, (4,))
        self._set("id", np.int64, ())
        self._set("score", np.float32, ())
        self._set("class_id", np.int64, ())
        self._set("detection", np.int64, ())

    @classmethod
    def empty(cls) -> Tracks:
        """No tracks at all."""
        none = np.zeros(0, np.int64)
        return cls(np.zeros((0, 4), np.float32), none, np.zeros(0, np.float32), none, none)
