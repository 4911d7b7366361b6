"""The folder that a run writes into: checked before any work, held by one run, cleared of the last one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sparsight.errors import SparsightError

if sys.platform != "win32":
    import fcntl

REPORT, IDENTITIES, THUMBNAILS, GALLERY = "report.html", "identities.json", "thumbnails", "gallery.sqlite"
VIDEO, PARTIAL_VIDEO, TRACKS, PEOPLE = "video.mp4", "video.partial.mp4", "tracks.txt", "people.txt"
SCORE = "score.json"


def check_folder(folder: Path, option: str = "--out") -> None:
    """Make sure that results can be written in ``folder``, which need not exist yet; nothing is made.

    Args:
        folder: where they are to go.
        option: the one that chooses another folder, for the sentence.

    Raises:
        SparsightError: it is a file, lies in one, or must not be written.
    """
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SparsightError(f"{folder} cannot be used: {reason}, choose another {option}.") from None
        if not place.is_dir():
            raise SparsightError(f"{place} is a file, not a folder: choose another {option}.")
        if not os.access(place, os.W_OK | os.X_OK):
            raise SparsightError(
                f"the folder {place} must not be written to: check who owns it, or choose another {option}."
            )
        return


def folder_names(names: Iterable[str]) -> list[str]:
    """Names of cameras made fit for folders beside the results, those that stand twice numbered from 2."""
    taken = {"", REPORT, IDENTITIES, THUMBNAILS, GALLERY, SCORE}
    fit = []
    for name in names:
        # Not every file name is text; ".." would lead out of the folder; some systems drop dots at the end.
        plain = name.encode("utf-8", "replace").decode().strip(". ") or "camera"
        candidate, number = plain, 2
        while candidate.casefold() in taken:
            candidate, number = f"{plain}-{number}", number + 1
        taken.add(candidate.casefold())
        fit.append(candidate)
    return fit


def camera_folders(out: Path, names: Sequence[str]) -> list[Path]:
    """Where the film and tracks of each camera go: ``out`` itself, or, of several, a folder each in it."""
    return [out] if len(names) == 1 else [out / name for name in names]


def check(out: Path, folders: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Make sure that results can be written under ``out``, and that none would overwrite one of ``inputs``.

    Raises:
        SparsightError: they cannot, or one would.
    """
    for folder in (out, *folders):
        check_folder(folder)
    written = {path.resolve() for path in _results(out, folders)} | {(out / THUMBNAILS).resolve()}
    for path in inputs:
        if path.resolve() in written:
            raise SparsightError(f"{path} would be overwritten by the results: choose another --out.")


@contextlib.contextmanager
def claimed(out: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Make ``out`` and keep other runs away from it; if the block raises, what it left empty is removed.

    Raises:
        SparsightError: another run is writing into it.
        OSError: it cannot be made or written.
    """
    made = [path for path in (*folders, out, *out.parents) if not path.exists()]
    for folder in (out, *folders):
        folder.mkdir(parents=True, exist_ok=True)
    ours = False
    try:
        with _locked(out):
            ours = True
            yield
    except BaseException:
        for folder in folders if ours else ():
            for name in (TRACKS, PEOPLE):
                with contextlib.suppress(OSError):
                    if not (folder / name).stat().st_size:
                        (folder / name).unlink()
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def clear(out: Path, folders: Iterable[Path]) -> None:
    """Remove an earlier run's results, finished or not: what is found in ``out`` afterwards is of one run."""
    for path in _results(out, folders):
        path.unlink(missing_ok=True)
        # What a killed process left behind of writing it, see sparsight.files.replacing.
        for left in path.parent.glob(f".{path.stem}-????????{path.suffix}"):
            left.unlink(missing_ok=True)
    for picture in (out / THUMBNAILS).glob("[0-9]*.jpg"):
        picture.unlink(missing_ok=True)


def _results(out: Path, folders: Iterable[Path]) -> list[Path]:
    return [
        out / REPORT,
        out / IDENTITIES,
        out / SCORE,
        *(folder / name for folder in folders for name in (VIDEO, PARTIAL_VIDEO, TRACKS, PEOPLE)),
    ]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` against other runs. The system lets go of it when the process ends, however it ends."""
    if sys.platform == "win32":  # folders cannot be locked there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SparsightError(
            f"another run is writing into {folder}: wait for it, or choose another folder with --out."
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
