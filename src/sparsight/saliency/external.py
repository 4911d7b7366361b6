"""Models that come from elsewhere: a network in an ONNX file, and maps that were made before."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.fuse import minmax, resize
from sparsight.saliency.intake import check_image
from sparsight.saliency.models import SaliencyModel
from sparsight.saliency.result import Map, SaliencyResult


class StoredMaps:
    """Maps in a folder, called as their images are but for the ending: .npy, .png, .jpg or .jpeg.

    Args:
        folder: where the maps are.

    Raises:
        SparsightError: no such folder, or one without maps.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SparsightError(f"there is no folder {self.folder} of saliency maps: check the path.")
        self._files = {
            path.stem: path
            for suffix in reversed(_SUFFIXES)  # of two maps for one image the more exact one comes last
            for path in sorted(self.folder.iterdir())
            if path.suffix.lower() == suffix
        }
        if not self._files:
            raise SparsightError(f"{self.folder} holds no saliency maps: they end in {', '.join(_SUFFIXES)}.")

    def named(self, name: str) -> SaliencyModel:
        """The map for the image called ``name``.

        Raises:
            SparsightError: the folder has no map for it.
        """
        # The stem is tried first as it stands: image names may hold dots.
        path = self._files.get(name) or self._files.get(Path(name).stem)
        if path is None:
            raise SparsightError(
                f"{self.folder} holds no map for the image {name}: make one, or leave it out."
            )
        return functools.partial(_stored, path)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """Refused: an image alone does not say which map is its own.

        Raises:
            SparsightError: always.
        """
        raise SparsightError(
            f"the maps in {self.folder} go by their images' names: call predict(model, image, name)."
        )


_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg")


def _stored(path: Path, image: NDArray[np.uint8]) -> SaliencyResult:
    """The map in ``path``, scaled to [0, 1] and stretched to the size of ``image``."""
    check_image(image)
    return SaliencyResult(resize(minmax(_read_map(path)), image.shape[:2]))


def _read_map(path: Path) -> Map:
    """A map as float32, any range. Nothing is unpickled."""
    if path.suffix.lower() != ".npy":
        from sparsight.media import read_image

        values = read_image(path).mean(axis=2, dtype=np.float32)
    else:
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SparsightError(f"{path} is not a sound .npy file: write the map again.") from error
        if values.ndim != 2 or values.dtype.kind not in "fiub" or not values.size:
            raise SparsightError(f"{path} holds {values.dtype} {values.shape}: a map is H×W numbers.")
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise SparsightError(f"{path} holds NaN or infinite values: repair the model that made it.")
    return values
