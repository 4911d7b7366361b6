"""Any exported detector of the YOLO or DETR family: what its outputs mean is told from the file.

Sources of the layouts: the exporters of YOLOv5 to v7 (a row per anchor: centre, size, objectness, classes),
of Ultralytics' v8, v9, v11, v12 (a column per cell: centre, size, classes) and v10 (its best boxes: corners,
score, class), of YOLOv6 and YOLOX (a row per cell), of RT-DETR by its authors, by Ultralytics and by
Transformers.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.registry import lookup
from sparsight.spelling import NO_LITERAL
from sparsight.track.detect import yolox
from sparsight.track.detect.detector import IOU, PERSON, Decode, NetworkDetector, Prepare, try_out
from sparsight.track.detect.fitting import Placement, channels_first, letterbox, stretch
from sparsight.track.types import Image

if TYPE_CHECKING:
    from onnx import ModelProto

FREE_SIDE = 640
"""The input's sides where neither file nor caller says: what most of these networks were trained with."""
COCO = 80
_MAX_NAMES = 1 << 16
"""Characters of metadata that are parsed; a thousand class names take a third of them."""
_UNIT = 2.0
"""Boxes none of whose coordinates exceed this are in units of the input's sides, not in pixels."""

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
Boxes: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.float32]]"


@dataclass(frozen=True)
class Metadata:
    """What an exporter left in the file.

    Attributes:
        names: the classes' names in order; empty where the file has none.
        size: height and width of the input that it was made for, if said.
    """

    names: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Layout:
    """What a network's outputs mean.

    Attributes:
        decode: turns them into boxes and scores.
        prepare: fits an image to the input.
        classes: how many there are.
        overlapping: whether boxes of one thing come several times, so that the best must be picked.
    """

    decode: Decode
    prepare: Prepare
    classes: int
    overlapping: bool


def onnx(
    file: Path,
    device: str = "auto",
    score: float = 0.4,
    iou: float | None = None,
    classes: Collection[int | str] | None = ("person",),
    input_size: int | tuple[int, int] | None = None,
    layout: str | None = None,
) -> NetworkDetector:
    """A network in an ONNX file.

    Args:
        file: the file.
        device: as for ``sparsight.nets.Session``.
        score: the least score.
        iou: the overlap above which the lower of two boxes goes; by default 0.45, and 1 (none goes) for
            networks that give each thing once.
        classes: names or numbers of those to look for; None for all. In files without names, "person" is 0.
        input_size: side, or height and width, of the input in pixels, where the file leaves them free.
        layout: one of ``LAYOUTS``; by default it is told from the file and from what the network answers to a
            black image.

    Raises:
        SparsightError: the file is no such network, its layout is none that is known, or a wrong option.
    """
    metadata, session = _open(Path(file), device, input_size)
    answer = try_out(session)
    kind = layout or recognise(answer, metadata.names, session)
    made = lookup("layout", kind, LAYOUTS)(answer, metadata.names, session) if kind else None
    if made is None:
        shapes = {name: output.shape for name, output in answer.items()}
        raise SparsightError(
            f"the outputs {shapes} of {file} are not laid out as {layout or 'any known detector'}: export it "
            f"as one of {', '.join(LAYOUTS)}, without anything behind it."
        )
    return NetworkDetector(
        "onnx",
        session,
        made.prepare,
        made.decode,
        made.classes,
        score,
        (IOU if made.overlapping else 1.0) if iou is None else iou,
        _numbers(classes, metadata.names),
    )


def recognise(answer: Outputs, names: tuple[str, ...], session: Session) -> str | None:
    """The name of the layout of the outputs for a black image; None if it is none that is known."""
    shapes = [output.shape for output in answer.values()]
    if _picked(answer) is not None:
        return "picked"
    if _pair(answer) is not None:
        return "detr"
    found = next((output for output in answer.values() if output.ndim == 3), None)
    if found is None or min(found.shape) < 1 or max(found.shape[1:]) < 5:
        return None
    _, height, width = session.input_shape
    cells = {_cells(height, width, strides) for strides in ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))}
    rows, columns = found.shape[1:]
    in_units = np.abs(found[..., :4]).max() <= _UNIT
    if columns in cells or (rows < columns and rows not in cells):
        return "detr" if names and in_units and columns == 4 + len(names) else "anchor_free"
    if rows in cells:
        if names and columns == 4 + len(names):
            return "anchor_free"
        if columns < 6:
            return None
        # Untouched, centres are offsets within a cell; decoded, they reach across the input.
        small = np.abs(found[..., :2]).max() < min(height, width) / 4
        return "yolox" if small and len(shapes) == 1 and rows == _cells(height, width) else "anchors"
    if rows in {3 * count for count in cells}:
        return "anchors"
    # Exporters fill up with zeros where nothing is found.
    if columns == 6 and (not in_units or not found[..., :4].any() or len(names) not in (0, 2)):
        return "end_to_end"
    return "detr" if in_units and columns >= 5 else None


# --- Layouts ---------------------------------------------------------------------------------------------


def _anchors(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """YOLOv5 to v7: (1, N, 5 + classes) of centre, size in pixels, objectness, classes."""
    name = _main(answer)
    if name is None or answer[name].shape[2] < 6:
        return None
    room = answer[name].shape[2] - 5
    classes = min(len(names), room) or room

    def decode(outputs: Outputs) -> Boxes:
        found = outputs[name]
        return _corners(found[..., :4]), found[..., 5 : 5 + classes] * found[..., 4:5]

    return Layout(decode, _letterboxed, classes, True)


def _anchor_free(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """YOLOv8 to v12: (1, 4 + classes, N) of centre, size in pixels, classes; masks may follow."""
    name = _main(answer)
    if name is None:
        return None
    shape = answer[name].shape[1:]
    columns_first = shape[0] < shape[1]
    room = min(shape) - 4
    if room < 1:
        return None
    classes = min(len(names), room) or room

    def decode(outputs: Outputs) -> Boxes:
        found = outputs[name].transpose(0, 2, 1) if columns_first else outputs[name]
        return _corners(found[..., :4]), found[..., 4 : 4 + classes]

    return Layout(decode, _letterboxed, classes, True)


def _end_to_end(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """YOLOv10, and others exported with their suppression: (1, N, 6) of corners in pixels, score, class."""
    name = _main(answer)
    if name is None or answer[name].shape[2] != 6:
        return None
    classes = len(names) or COCO

    def decode(outputs: Outputs) -> Boxes:
        found = outputs[name]
        return found[..., :4], _spread(found[..., 4], found[..., 5], classes)

    return Layout(decode, _letterboxed, classes, False)


def _yolox(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """YOLOX, undecoded: see :mod:`sparsight.track.detect.yolox`."""
    shapes = [output.shape for output in answer.values()]
    cells = len(yolox.grid(session)[0])
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1] != cells or shapes[0][2] < 6:
        return None
    return Layout(yolox.decoder(session), yolox.prepare, shapes[0][2] - 5, True)


def _detr(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """RT-DETR: boxes and scores as two outputs, or (1, N, 4 + classes); scores or their logits."""
    parts = _boxes_and_scores(answer)
    if parts is None:
        return None
    boxes, scores = parts
    _, height, width = session.input_shape
    side = np.array([width, height] * 2, np.float32)
    scale = side if np.abs(boxes).max() <= _UNIT else np.ones(4, np.float32)
    logits = bool(scores.min() < 0 or scores.max() > 1)
    # Of corners, no second comes before the first; of centres and sizes, many a size is less than its centre.
    corners = bool((boxes[..., 2:] >= boxes[..., :2]).all())

    def decode(outputs: Outputs) -> Boxes:
        parts = _boxes_and_scores(outputs)
        assert parts is not None  # as it was for the black image
        boxes, scores = parts
        xyxy = (boxes if corners else _corners(boxes)) * scale
        return xyxy, _sigmoid(scores) if logits else scores

    return Layout(decode, _stretched, scores.shape[2], False)


def _rows_picked(answer: Outputs, names: tuple[str, ...], session: Session) -> Layout | None:
    """RT-DETR as its authors export it: labels and scores (1, N), boxes (1, N, 4) as corners in pixels."""
    picked = _picked(answer)
    if picked is None:
        return None
    classes = len(names) or COCO

    def decode(outputs: Outputs) -> Boxes:
        boxes, scores, labels = (outputs[key] for key in picked)
        return boxes, _spread(scores, labels, classes)

    return Layout(decode, _stretched, classes, False)


LAYOUTS: dict[str, Callable[[Outputs, tuple[str, ...], Session], Layout | None]] = {
    "anchors": _anchors,
    "anchor_free": _anchor_free,
    "end_to_end": _end_to_end,
    "yolox": _yolox,
    "detr": _detr,
    "picked": _rows_picked,
}
"""Name of a layout → what makes it of a network's answer to a black image, or None where it does not fit."""


def _main(answer: Outputs) -> str | None:
    """The output with the boxes: the first of three dimensions (masks and raw maps have four and five)."""
    return next((name for name, output in answer.items() if output.ndim == 3), None)


def _pair(answer: Outputs) -> tuple[str, str] | None:
    """The names of two outputs (1, N, 4) and (1, N, classes): boxes and scores."""
    three = [name for name, output in answer.items() if output.ndim == 3]
    if len(three) != 2 or answer[three[0]].shape[1] != answer[three[1]].shape[1]:
        return None
    boxes = [name for name in three if answer[name].shape[2] == 4]
    if len(boxes) == 2:  # four classes
        boxes = [name for name in boxes if "box" in name.lower()] or boxes
    if not boxes:
        return None
    return boxes[0], next(name for name in three if name != boxes[0])


def _boxes_and_scores(outputs: Outputs) -> Boxes | None:
    """Boxes (N, A, 4) and scores (N, A, classes), from two outputs or from one."""
    pair, name = _pair(outputs), _main(outputs)
    if pair is not None:
        return outputs[pair[0]], outputs[pair[1]]
    if name is None or outputs[name].shape[2] < 5:
        return None
    return outputs[name][..., :4], outputs[name][..., 4:]


def _picked(answer: Outputs) -> tuple[str, str, str] | None:
    """The names of boxes (1, N, 4), scores (1, N) and class numbers (1, N)."""
    boxes = [name for name, output in answer.items() if output.ndim == 3 and output.shape[2] == 4]
    flat = [name for name, output in answer.items() if output.ndim == 2]
    if len(answer) != 3 or len(boxes) != 1 or len(flat) != 2:
        return None
    labels = [name for name in flat if answer[name].dtype.kind in "iu"]
    labels = labels or [name for name in flat if "label" in name.lower() or "class" in name.lower()]
    if len(labels) != 1:
        return None
    return boxes[0], next(name for name in flat if name != labels[0]), labels[0]


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centres and sizes (..., 4) as corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def _spread(score: NDArray[np.float32], label: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Scores (N, A) of the classes (N, A) as (N, A, classes), zero elsewhere; other classes are dropped."""
    number = np.where(np.isfinite(label), label, -1).astype(np.int64)
    known = (number >= 0) & (number < classes)
    scores = np.zeros((*score.shape, classes), np.float32)
    np.put_along_axis(scores, np.where(known, number, 0)[..., None], np.where(known, score, 0)[..., None], -1)
    return scores


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = 0.5 * (1 + np.tanh(0.5 * logits))
    return values


def _cells(height: int, width: int, strides: tuple[int, ...] = (8, 16, 32)) -> int:
    return sum((height // stride) * (width // stride) for stride in strides)


def _letterboxed(image: Image, height: int, width: int) -> tuple[NDArray[np.float32], Placement]:
    fitted, placement = letterbox(image, height, width, yolox.FILL, centred=True)
    return channels_first(fitted, 1 / 255), placement


def _stretched(image: Image, height: int, width: int) -> tuple[NDArray[np.float32], Placement]:
    fitted, placement = stretch(image, height, width)
    return channels_first(fitted, 1 / 255), placement


# --- The file --------------------------------------------------------------------------------------------


def _open(file: Path, device: str, input_size: int | tuple[int, int] | None) -> tuple[Metadata, Session]:
    import onnx as format

    try:
        model = format.load(str(file), load_external_data=False)
    # Whatever is wrong with the file, the session says it better.
    except Exception:
        return Metadata(), Session(file, device)
    metadata = _metadata(model)
    fixed = _sides(model)
    height, width = _asked(input_size) or metadata.size or (FREE_SIDE, FREE_SIDE)
    if input_size is None:
        height, width = fixed[0] or height, fixed[1] or width
    start = partial(Session, device=device, input_shape=(3, height, width))
    if not _fix_target_size(model, height, width):
        return metadata, start(file)
    format.external_data_helper.load_external_data_for_model(model, str(file.parent))
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / file.name
        format.save(model, str(changed))
        return metadata, start(changed)


def _metadata(model: ModelProto) -> Metadata:
    """Names and size; what cannot be read is left out. Nothing is executed."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    names, size = _literal(entries.get("names", "")), _literal(entries.get("imgsz", ""))
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, (list, tuple)):
        names = ()
    usable = isinstance(size, (list, tuple)) and len(size) == 2
    if not usable or not all(isinstance(side, int) and 0 < side <= 1 << 14 for side in size):
        size = None
    return Metadata(tuple(str(name) for name in names), None if size is None else (size[0], size[1]))


def _literal(text: str) -> Any:
    """A Python literal, or None."""
    if not text or len(text) > _MAX_NAMES:
        return None
    try:
        return ast.literal_eval(text)
    except NO_LITERAL:
        return None


def _sides(model: ModelProto) -> tuple[int, int]:
    """Height and width that the file fixes; 0 for what it leaves free."""
    if not model.graph.input:
        return 0, 0
    dims = model.graph.input[0].type.tensor_type.shape.dim
    sides = [max(int(dim.dim_value), 0) for dim in dims[2:4]]
    return (sides[0], sides[1]) if len(sides) == 2 else (0, 0)


def _fix_target_size(model: ModelProto, height: int, width: int) -> bool:
    """Make a constant of the second input by which RT-DETR's authors scale boxes; whether there is one.

    With the input's own size in its place, boxes come in pixels of the input.
    """
    from onnx import TensorProto, numpy_helper

    constants = {constant.name for constant in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 2 or inputs[1].type.tensor_type.elem_type != TensorProto.INT64:
        return False
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([[width, height]], np.int64), inputs[1].name)
    )
    model.graph.input.remove(inputs[1])
    return True


def _asked(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else size
    good = isinstance(sides, (tuple, list)) and len(sides) == 2
    if not good or not all(isinstance(side, int) and 0 < side <= 1 << 14 for side in sides):
        raise SparsightError(f"input_size={size!r} is no size: give a side, or (height, width), in pixels.")
    return sides[0], sides[1]


def _numbers(classes: Collection[int | str] | None, names: tuple[str, ...]) -> Collection[int] | None:
    """The class numbers meant by names and numbers.

    Raises:
        SparsightError: there is no class of that name.
    """
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Collection):
        classes = (classes,)
    table = {name: number for number, name in enumerate(names)} or {"person": PERSON}
    return [lookup("class", one, table) if isinstance(one, str) else one for one in classes]
