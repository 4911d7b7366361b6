"""To and from the HDF5 files of pysaliency: ``FileStimuli`` or ``Stimuli``, and ``Fixations`` or scanpaths.

The format is that of pysaliency 0.2.22 and of its successor: ``FileStimuli`` 1.0 to 2.1, ``Stimuli`` 1.0 and
1.1, ``Fixations`` 1.0 to 1.2, ``FixationTrains`` 1.0 to 1.3, ``ScanpathFixations`` 1.0.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.media import write_image
from sparsight.media.paths import check_file
from sparsight.registry import resolve
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.fixations import NOBODY, Fixations, in_order
from sparsight.saliency.datasets.matlab import reading

STIMULI, FIXATIONS = "stimuli.hdf5", "fixations.hdf5"

_MAX_ENTRIES = 500_000_000
_MAX_IMAGE = 450_000_000


def read_pysaliency(stimuli: str | Path, fixations: str | Path | None = None) -> Dataset:
    """A data set from pysaliency's files.

    Args:
        stimuli: a file that ``Stimuli.to_hdf5`` or ``FileStimuli.to_hdf5`` wrote. Pictures that are inside
            the file are unpacked beside it, as PNG files in ``NAME-images``.
        fixations: a file that ``to_hdf5`` of ``Fixations``, ``FixationTrains`` or ``ScanpathFixations``
        wrote.

    Raises:
        SparsightError: h5py is missing, or a file is missing, damaged or of another format.
    """
    library = _h5py()
    stimuli = Path(stimuli)
    images = _images(library, stimuli)
    # Names of a whole data set differ, but for files in several folders.
    common = Path(os.path.commonpath([path.parent for path in images])) if images else stimuli.parent
    names = tuple(Path(os.path.relpath(path, common)).with_suffix("").as_posix() for path in images)
    looked = None if fixations is None else _read_fixations(library, Path(fixations), len(images))
    return Dataset(stimuli.resolve().parent.name, tuple(images), names, looked)


def write_pysaliency(dataset: Dataset, folder: str | Path) -> tuple[Path, Path | None]:
    """Write ``folder/stimuli.hdf5`` (``FileStimuli`` 2.1) and ``folder/fixations.hdf5`` (``Fixations`` 1.0).

    Pictures stay where they are: the file holds their paths, relative to ``folder``. pysaliency needs a time
    for each fixation: it is its number among those of its viewer on the image. Durations become an attribute
    where they are known; what the data set tells of regions is left out.

    Returns:
        The two files; None for that of the fixations if the data set has none.

    Raises:
        SparsightError: h5py is missing, or a picture cannot be read.
    """
    library = _h5py()
    folder = Path(folder)
    target = folder / STIMULI
    text = library.special_dtype(vlen=str)
    with replacing(target) as temporary, library.File(temporary, "w") as file:
        paths = [os.path.relpath(path, folder) for path in dataset.images]
        file.create_dataset("filenames", data=np.array(paths, object), dtype=text)
        shapes = file.create_dataset(
            "shapes", (len(dataset),), dtype=library.special_dtype(vlen=np.dtype("int64"))
        )
        for index in range(len(dataset)):
            shapes[index] = np.array([*dataset.size(index), 3])
        file.create_dataset("names", data=np.array(dataset.names, object), dtype=text)
        _mark(file, "FileStimuli", "2.1", ["names"])
        file.attrs["size"] = len(dataset)
    if dataset.fixations is None:
        return target, None
    looked = folder / FIXATIONS
    with replacing(looked) as temporary, library.File(temporary, "w") as file:
        _write_fixations(file, dataset.fixations)
    return target, looked


def _h5py() -> Any:
    try:
        return resolve("h5py")
    except ImportError:
        raise SparsightError("files of pysaliency need h5py: pip install h5py.") from None


def _images(library: Any, path: Path) -> list[Path]:
    with _opened(library, path) as file, reading(path):
        kind = _format(file, path, {"FileStimuli": ("1.0", "2.0", "2.1"), "Stimuli": ("1.0", "1.1")})
        if kind == "FileStimuli":
            names = [_decoded(name) for name in _array(file, "filenames")]
            # From version 2.0 on they start from the file's folder; a full path stays what it is.
            return [path.parent / name for name in names]
        folder = path.with_name(f"{path.stem}-images")
        images = []
        for index in range(int(file.attrs["size"])):
            stored = file[str(index)]
            if stored.size > _MAX_IMAGE:
                raise ValueError(f"picture {index} is {stored.shape}")
            target = folder / f"{index:05d}.png"
            if not target.is_file():
                write_image(target, np.asarray(stored[()]).astype(np.uint8))
            images.append(target)
        return images


def _read_fixations(library: Any, path: Path, images: int) -> Fixations:
    known = {
        "Fixations": ("1.0", "1.1", "1.2"),
        "FixationTrains": ("1.0", "1.1", "1.2", "1.3"),
        "ScanpathFixations": ("1.0",),
    }
    with _opened(library, path) as file, reading(path):
        kind = _format(file, path, known)
        if kind == "Fixations":
            arrays = _plain(file)
        elif kind == "ScanpathFixations":
            arrays = _scanpaths(file["scanpaths"])
        else:
            arrays = _trains(file)
        x, y, duration, subject, image = arrays
        if len({len(part) for part in arrays}) != 1:
            raise ValueError("its arrays differ in length")
        if len(image) and not 0 <= image.min() <= image.max() < images:
            raise ValueError(f"it is about image {int(image.max())} of {images}")
        return in_order(x, y, duration, subject, image)


_Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _plain(file: Any) -> _Arrays:
    """x, y, duration, subject and image of ``Fixations``."""
    x = _array(file, "x").astype(np.float64)
    people = next((_array(file, name) for name in ("subject", "subjects") if name in file), None)
    times = next((_array(file, name) for name in ("duration", "durations") if name in file), None)
    return (
        x,
        _array(file, "y").astype(np.float64),
        np.full(len(x), np.nan) if times is None else times.astype(np.float64),
        np.full(len(x), NOBODY) if people is None else people,
        _array(file, "n").astype(np.int64),
    )


def _scanpaths(file: Any) -> _Arrays:
    """The same of ``Scanpaths``, whose rows are as long as the longest path."""
    x, y = _array(file, "xs"), _array(file, "ys")
    lengths = _array(file, "lengths" if "lengths" in file else "length").astype(np.int64)
    inside = np.arange(x.shape[1]) < lengths[:, None]
    people = file["scanpath_attributes"]
    subject = _array(people, "subject") if "subject" in people else np.full(len(x), NOBODY)
    more = file["fixation_attributes"]
    times = next((_array(more, name) for name in ("durations", "duration") if name in more), None)
    return (
        x[inside].astype(np.float64),
        y[inside].astype(np.float64),
        np.full(int(inside.sum()), np.nan) if times is None else times[inside].astype(np.float64),
        np.repeat(subject, lengths),
        np.repeat(_array(file, "n").astype(np.int64), lengths),
    )


def _trains(file: Any) -> _Arrays:
    """The same of ``FixationTrains``, whose rows end in NaN."""
    x, y = _array(file, "train_xs"), _array(file, "train_ys")
    inside = ~np.isnan(x)
    lengths = inside.sum(axis=1)
    more = file.get("scanpath_fixation_attributes", {})  # from version 1.2 on
    times = next((_array(more, name) for name in ("durations", "duration") if name in more), None)
    return (
        x[inside],
        y[inside],
        np.full(int(inside.sum()), np.nan) if times is None else times[inside].astype(np.float64),
        np.repeat(_array(file, "train_subjects"), lengths),
        np.repeat(_array(file, "train_ns").astype(np.int64), lengths),
    )


def _write_fixations(file: Any, looked: Fixations) -> None:
    order = np.lexsort((np.arange(len(looked)), looked.subject, looked.image))
    new = np.ones(len(looked), bool)
    new[1:] = (np.diff(looked.image[order]) != 0) | (np.diff(looked.subject[order]) != 0)
    starts = np.flatnonzero(new)
    time = np.empty(len(looked))
    time[order] = np.arange(len(looked)) - np.repeat(starts, np.diff([*starts, len(looked)]))
    for name, values in (("x", looked.x), ("y", looked.y), ("t", time), ("n", looked.image)):
        file.create_dataset(name, data=values)
    # What was looked at before is not told: that would be a scanpath, and not every data set has them.
    for name in ("x_hist", "y_hist", "t_hist"):
        file.create_dataset(name, data=np.full((len(looked), 1), np.nan))
    file.create_dataset("subjects", data=looked.subject)
    attributes = ["subjects"]
    if not np.isnan(looked.duration).all():
        file.create_dataset("duration", data=looked.duration)
        attributes.append("duration")
    # The oldest version is the one that every pysaliency reads.
    _mark(file, "Fixations", "1.0", attributes)


def _mark(file: Any, kind: str, version: str, attributes: list[str]) -> None:
    file.attrs["type"] = np.bytes_(kind)
    file.attrs["version"] = np.bytes_(version)
    file.attrs["__attributes__"] = np.bytes_(json.dumps(attributes))


def _format(file: Any, path: Path, known: dict[str, tuple[str, ...]]) -> str:
    kind, version = (_decoded(file.attrs.get(name, "none")) for name in ("type", "version"))
    if version not in known.get(kind, ()):
        expected = ", ".join(f"{name} {' or '.join(versions)}" for name, versions in known.items())
        raise SparsightError(
            f"{path} holds {kind} {version}, which is not read: export it from pysaliency as {expected}."
        )
    return kind


def _array(group: Any, name: str) -> NDArray[Any]:
    stored = group[name]
    if stored.size > _MAX_ENTRIES:
        raise ValueError(f"{name} is {stored.shape}")
    return np.asarray(stored[()])


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _opened(library: Any, path: Path) -> Any:
    check_file(path, "file of pysaliency")
    try:
        return library.File(path, "r")
    except OSError as error:
        raise SparsightError(
            f"{path} is not an HDF5 file that can be read ({error}): export it again."
        ) from None
