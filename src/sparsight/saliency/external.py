"""Models that come from elsewhere: a network in an ONNX file, and maps that were made before."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.registry import lookup
from sparsight.saliency.intake import check_image, lifted, stretched
from sparsight.saliency.levels import resize
from sparsight.saliency.models import SaliencyModel
from sparsight.saliency.result import Map, SaliencyResult

SIZE = (288, 384)
"""Height and width of the input where the file leaves them free and nobody says: a photograph's shape."""

RANGES = {"unit": 1.0, "byte": 255.0}
"""Name → what a white pixel's value is before mean and deviation."""

_LOG_LIMIT = 80  # float32 holds exponentials of -87 to 88

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class OnnxModel:
    """An image → the map that a network in an ONNX file gives.

    The file says whether the network takes channels first, (N, 3, H, W), or last, (N, H, W, 3), and which
    size. Its output must be one map: (H, W), or that with further dimensions of one; its size does not
    matter. The map is stretched to the picture and keeps its values, for some scores depend on them; only one
    with values below zero is lifted, by its minimum.

    Args:
        path: the file.
        size: (height, width) or side of the input, where the file leaves it free; by default ``SIZE``.
        range: ``"unit"`` (0 to 1) or ``"byte"`` (0 to 255): the pixels' values before mean and deviation.
        mean, std: of red, green and blue, or one number for the three, in units of the range: the network
            gets (pixel − mean) / std. By default ImageNet's.
        bgr: give the channels as blue, green, red (mean and deviation stay those of red, green, blue).
        log: the output is the logarithm of a density; its exponential is the map (times a constant, where
            float32 could not hold it).
        output: the name of the output, if there are several.
        device: as for ``sparsight.nets.Session``.

    Raises:
        SparsightError: no such file, not a network of one image input and one output, or an option out of its
            range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        range: str = "unit",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        bgr: bool = False,
        log: bool = False,
        output: str | None = None,
        device: str = "auto",
    ) -> None:
        self.path = Path(path)
        white = lookup("range of pixel values", range, RANGES)
        self._mean = _colour("mean", mean, _IMAGENET_MEAN, white)
        self._std = _colour("std", std, _IMAGENET_DEVIATION, white)
        if not (self._std > 0).all():
            raise SparsightError(f"a network's input cannot have std={std}: give numbers above zero.")
        self._white, self._bgr, self._log = np.float32(white), bgr, log
        self._last, shape = _layout(self.path, size)
        self._session = Session(
            self.path, device=device, input_shape=shape, outputs=None if output is None else [output]
        )
        if len(self._session.output_names) > 1:
            names = ", ".join(self._session.output_names)
            raise SparsightError(f"{self.path.name} has several outputs ({names}): give one as output.")
        self.size = shape[:2] if self._last else shape[1:]

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The map of ``image``.

        Raises:
            SparsightError: ``image`` is no image, or the network gives something else than a finite map.
        """
        values = np.asarray(self._session(self._input(image)), np.float32)
        sides = [side for side in values.shape if side != 1]
        if len(sides) != 2:
            raise SparsightError(
                f"{self.path.name} gives an array of shape {values.shape}, not one map: use a network that "
                "ends in a saliency map."
            )
        values = values.reshape(sides)
        if not np.isfinite(values).all():
            raise SparsightError(f"{self.path.name} gives NaN or infinite values: check mean, std and range.")
        if self._log:
            peak = values.max()
            values = np.exp(values if abs(peak) < _LOG_LIMIT else values - peak)
        return _kept(values, image.shape[:2])

    def _input(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``image`` as the network takes it, one sample."""
        x = stretched(image, (self.size[0], self.size[1])).astype(np.float32)
        x = (x * (self._white / np.float32(255)) - self._mean) / self._std
        x = x[..., ::-1] if self._bgr else x
        return np.ascontiguousarray(x[None] if self._last else x.transpose(2, 0, 1)[None], np.float32)


def _colour(
    name: str, given: float | Sequence[float] | None, imagenet: Sequence[float], white: float
) -> NDArray[np.float32]:
    """Three numbers for red, green and blue: as given, or ImageNet's in the range of the pixels."""
    values = (
        np.array(imagenet, np.float32) * np.float32(white) if given is None else np.asarray(given, np.float32)
    )
    if values.shape not in ((), (1,), (3,)) or not np.isfinite(values).all():
        raise SparsightError(f"a network's input cannot have {name}={given}: give one number or three.")
    return np.asarray(np.broadcast_to(values, (3,)), np.float32)


def _layout(path: Path, size: int | tuple[int, int] | None) -> tuple[bool, tuple[int, int, int]]:
    """Whether the channels of a network's input come last, and its shape without the batch."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise SparsightError(f"there is no ONNX file {path}: check the path.")
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise SparsightError(f"{path} is not an ONNX file that can be read: export it again.") from error
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [node for node in graph.input if node.name not in stored]
    dims = [side.dim_value for side in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    first, last = dims[1:2] == [3], dims[3:] == [3]
    if len(dims) != 4 or not (first or last):
        raise SparsightError(
            f"{path.name} does not take one RGB picture: its input must be (N, 3, H, W) or (N, H, W, 3)."
        )
    if first and last:
        last = False
    fixed = (dims[1], dims[2]) if last else (dims[2], dims[3])
    asked = (
        (size, size)
        if isinstance(size, int)
        else size or tuple(side or usual for side, usual in zip(fixed, SIZE, strict=True))
    )
    height, width = asked
    if min(height, width) < 1 or any(own and own != side for own, side in zip(fixed, asked, strict=True)):
        raise SparsightError(
            f"{path.name} takes pictures of {fixed[0] or 'any'}x{fixed[1] or 'any'} (height x width), not "
            f"{height}x{width}: leave out size, or give one that fits."
        )
    return last, (height, width, 3) if last else (3, height, width)


class StoredMaps:
    """Maps in a folder, called as their images are but for the ending: .npy, .png, .jpg or .jpeg.

    A map NAME.saliency.png, as ``sparsight saliency predict`` writes it, serves as well where there is no
    other for NAME. Images that lie in folders of a data set have their maps in folders of the same names. A
    map keeps its values, for some scores depend on them; only one with values below zero is lifted, by its
    minimum.

    Args:
        folder: where the maps are.
        resize: stretch a map to the size of its image, where they differ.

    Raises:
        SparsightError: no such folder, or one without maps.
    """

    def __init__(self, folder: str | Path, *, resize: bool = False) -> None:
        self.folder, self.resize = Path(folder), resize
        if not self.folder.is_dir():
            raise SparsightError(f"there is no folder {self.folder} of saliency maps: check the path.")
        maps = [path for path in sorted(self.folder.rglob("*")) if path.suffix.lower() in _SUFFIXES]
        maps.sort(key=lambda path: -_SUFFIXES.index(path.suffix.lower()))  # the most exact of two comes last
        self._files = {path.relative_to(self.folder).with_suffix("").as_posix(): path for path in maps}
        if not self._files:
            raise SparsightError(f"{self.folder} holds no saliency maps: they end in {', '.join(_SUFFIXES)}.")

    def named(self, name: str) -> SaliencyModel:
        """The map for the image called ``name``.

        Raises:
            SparsightError: the folder has no map for it.
        """
        # As it stands first: a name without its ending may hold dots.
        names = (name, PurePath(name).with_suffix("").as_posix())
        wanted = (*names, *(f"{each}{_PREDICTED}" for each in names))
        path = next((self._files[each] for each in wanted if each in self._files), None)
        if path is None:
            raise SparsightError(
                f"{self.folder} holds no map for the image {name}: make one, or leave it out."
            )
        return functools.partial(_stored, path, self.resize)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """Refused: an image alone does not say which map is its own.

        Raises:
            SparsightError: always.
        """
        raise SparsightError(
            f"the maps in {self.folder} go by their images' names: call predict(model, image, name)."
        )


_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg")
_PREDICTED = ".saliency"  # what the command line adds to the name of a picture


def _stored(path: Path, stretch: bool, image: NDArray[np.uint8]) -> SaliencyResult:
    """The map in ``path`` for ``image``.

    Raises:
        SparsightError: no sound map, or of another size than the image and not to be stretched.
    """
    check_image(image)
    values = _read_map(path)
    shape = image.shape[:2]
    if values.shape != shape and not stretch:
        own, its = (f"{sides[1]}x{sides[0]}" for sides in (values.shape, shape))
        raise SparsightError(
            f"{path} is {own} pixels, its image {its}: make maps of the images' size, or give --resize "
            "(in Python resize=True)."
        )
    return _kept(values, shape)


def _kept(values: Map, shape: tuple[int, ...]) -> SaliencyResult:
    """A map at the size of its image, its values kept if they are from 0 upwards."""
    large = resize(lifted(values), shape)
    return SaliencyResult(large, top=float(large.max()) or 1.0)


def _read_map(path: Path) -> Map:
    """A map as float32, any range. Nothing is unpickled."""
    if path.suffix.lower() != ".npy":
        from sparsight.media import read_image

        values = np.asarray(read_image(path).mean(axis=2), np.float32)
    else:
        try:
            # Mapped, a header that promises more than the file holds is refused before memory is taken.
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SparsightError(f"{path} is not a sound .npy file: write the map again.") from error
        if not isinstance(stored, np.ndarray) or stored.ndim != 2 or stored.dtype.kind not in "fiub":
            raise SparsightError(f"{path} does not hold one map: write an array of H×W numbers to it.")
        values = np.array(stored, np.float32)
    if not values.size or not np.isfinite(values).all():
        raise SparsightError(
            f"{path} holds no values, or NaN or infinite values: repair the model that made it."
        )
    return values
