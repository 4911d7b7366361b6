"""Finding the files of a data set under its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.media.folder import natural_key

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def subfolder(root: Path, *choices: str) -> Path:
    """The first of ``choices`` (paths below ``root``) that is a folder.

    Raises:
        SparsightError: none is.
    """
    for choice in choices:
        if (root / choice).is_dir():
            return root / choice
    raise SparsightError(
        f"{root} has no folder {' or '.join(choices)}: give the folder that holds the official files."
    )


def optional_subfolder(root: Path, *choices: str) -> Path | None:
    """As ``subfolder``, but None if there is none."""
    return next((root / choice for choice in choices if (root / choice).is_dir()), None)


def one_file(root: Path, *choices: str) -> Path:
    """The first of ``choices`` (paths below ``root``) that is a file.

    Raises:
        SparsightError: none is.
    """
    for choice in choices:
        if (root / choice).is_file():
            return root / choice
    raise SparsightError(f"{root} has no {' or '.join(choices)}: download the official files into it.")


def pictures(
    folder: Path, *, suffixes: set[str] | None = None, deep: bool = False, leave_out: str = ""
) -> list[Path]:
    """The picture files in ``folder`` in natural order (2 before 10).

    Args:
        folder: where they are.
        suffixes: endings in small letters; by default those of all pictures.
        deep: look into folders below, too.
        leave_out: name of folders below, in any case, to leave out.

    Raises:
        SparsightError: there is none.
    """
    endings = suffixes or SUFFIXES
    found = [
        path
        for path in (folder.rglob("*") if deep else folder.iterdir())
        if path.suffix.lower() in endings
        and not path.name.startswith(".")
        and leave_out.lower() not in [part.lower() for part in path.relative_to(folder).parts[:-1]]
        and path.is_file()
    ]
    if not found:
        kinds = ", ".join(sorted(endings))
        raise SparsightError(f"{folder} holds no pictures ({kinds}): give the folder of the official files.")
    return sorted(
        found, key=lambda path: [natural_key(Path(part)) for part in path.relative_to(folder).parts]
    )


def names_of(files: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """The path of each file below ``folder``, without its ending, with slashes.

    Raises:
        SparsightError: two files differ only in their endings.
    """
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    seen: dict[str, Path] = {}
    for name, path in zip(names, files, strict=True):
        other = seen.setdefault(name, path)
        if other != path:
            raise SparsightError(f"{other} and {path} would have the same name: rename one of them.")
    return tuple(names)


def matching(names: Sequence[str], folder: Path | None, *endings: str) -> tuple[Path | None, ...] | None:
    """For each name, its file in ``folder`` (the first of ``name + ending`` there is), or None.

    Args:
        names: of images, see ``names_of``.
        folder: where the files are, laid out as the images are; None for no folder.
        endings: what to add to a name, such as ``".png"``.

    Returns:
        None if ``folder`` is None.
    """
    if folder is None:
        return None
    return tuple(
        next((path for ending in endings if (path := folder / f"{name}{ending}").is_file()), None)
        for name in names
    )


def all_matching(names: Sequence[str], folder: Path, *endings: str) -> tuple[Path, ...]:
    """As ``matching``, of a data set in which no file may be missing.

    Raises:
        SparsightError: an image has none.
    """
    found = []
    for name, path in zip(names, matching(names, folder, *endings) or (), strict=True):
        if path is None:
            raise SparsightError(f"{folder} has no file for the image {name}: download it again.")
        found.append(path)
    return tuple(found)
