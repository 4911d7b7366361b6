"""A classifier of people in a file: NumPy arrays in a zip archive, nothing that could run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.track.classify import KINDS, Calibration, Classifier, Machine

SUFFIX = ".npz"
VERSION = 1
MAX_BYTES = 2 << 30

_NUMBERS = ("threshold", "far", "steepness", "slope", "offset")


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write ``classifier`` to ``path`` at once or not at all; only its owner may read it: it knows faces.

    Raises:
        SparsightError: the name of the file does not end in ``.npz``.
    """
    if path.suffix.lower() != SUFFIX:
        raise SparsightError(f"cannot write a classifier as {path}: name a file that ends in {SUFFIX}.")
    machine, calibration = classifier.machine, classifier.calibration
    arrays: dict[str, Any] = {
        "version": np.int64(VERSION),
        "people": np.array(classifier.people, np.str_),
        "kind": np.array(classifier.kind),
        "embedder": np.array(classifier.embedder),
        "weights": np.array(classifier.weights),
        "rows": machine.rows,
        "bias": machine.bias,
        "gamma": np.float64(machine.gamma),
        **{name: np.float64(getattr(calibration, name)) for name in _NUMBERS},
    }
    if machine.coef is not None:
        arrays["coef"] = machine.coef
    with replacing(path, mode=0o600) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def load_classifier(path: Path) -> Classifier:
    """Read what :func:`save_classifier` wrote; nothing is unpickled, every shape is checked.

    Raises:
        SparsightError: no such file, or one that is damaged, too large or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise SparsightError(f"{path} unpacks to more than 2 GiB: that is no classifier of people.")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _checked(arrays)
    except FileNotFoundError:
        raise SparsightError(
            f"there is no classifier {path}: make one with sparsight identity train."
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise SparsightError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except SparsightError:
        raise
    # Damaged archives and headers raise whatever their parsers tripped over.
    except Exception:
        raise SparsightError(
            f"{path} is not a classifier of people: make one with sparsight identity train."
        ) from None


def _checked(arrays: dict[str, NDArray[Any]]) -> Classifier:
    """The classifier made of ``arrays``; ValueError or KeyError where they are not one."""
    version = int(arrays["version"])
    if version != VERSION:
        raise SparsightError(
            f"the classifier is of version {version}, and {VERSION} can be read: train it again."
        )
    kind, people = str(arrays["kind"]), tuple(arrays["people"].tolist())
    rows, bias = (_floats(arrays[name]) for name in ("rows", "bias"))
    coef = _floats(arrays["coef"]) if kind == "rbf" else None
    numbers = {name: float(_floats(arrays[name])) for name in (*_NUMBERS, "gamma")}
    wanted = (len(people), len(people) if coef is None else len(rows))
    given = (len(bias), len(rows) if coef is None else coef.shape[1])
    if (
        kind not in KINDS
        or not people
        or not all(isinstance(name, str) for name in people)
        or (rows.ndim, bias.ndim) != (2, 1)
        or wanted != given
        or (coef is not None and coef.shape != (len(people), len(rows)))
    ):
        raise ValueError
    gamma = numbers.pop("gamma")
    return Classifier(
        people,
        kind,
        Machine(rows, bias, coef, gamma),
        Calibration(**numbers),
        str(arrays["embedder"]),
        str(arrays["weights"]),
    )


def _floats(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError
    return array
