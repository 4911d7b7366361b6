"""Folders of ground truth from one layout to another: PoseTReID's ``gt_map.txt``, and MOTChallenge's."""

from __future__ import annotations

from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.files import write_text
from sparsight.track.formats import Converted, convert
from sparsight.track.formats.pyppbox import GT_MAP, format_map, read_map


def truths_in(folder: Path) -> dict[str, Path]:
    """The ground truth of each video or sequence of a folder, by name.

    Raises:
        SparsightError: there is none, or a map is malformed.
    """
    if (folder / GT_MAP).is_file():
        return read_map(folder / GT_MAP)
    found = {path.parents[1].name: path for path in sorted(folder.glob("*/gt/gt.txt"))}
    if not found:
        raise SparsightError(f"{folder} holds no ground truth: expected SEQUENCE/gt/gt.txt or {GT_MAP}.")
    return found


def convert_folder(source: Path, target: Path, to: str) -> Converted:
    """Convert the ground truth of a whole folder.

    As ``pyppbox`` it is written to ``target/gt_map.txt`` and a file beside it for each sequence, as any other
    format to ``target/SEQUENCE/gt/gt.txt``.

    Args:
        source: a folder of either layout.
        target: another folder; made if it is not there.
        to: one of ``sparsight.track.formats.FORMATS``.

    Returns:
        What came of all of them together.

    Raises:
        SparsightError: see :func:`truths_in` and :func:`sparsight.track.formats.convert`, or the result would
            overwrite what is read.
        OSError: the target cannot be written.
    """
    truths = truths_in(source)
    files = {name: f"{name}.txt" if to == "pyppbox" else f"{name}/gt/gt.txt" for name in truths}
    for name in truths:
        if name != Path(name).name or name == "..":
            raise SparsightError(
                f"{source / GT_MAP} names {name}, which is no name of a file alone: write it without folders."
            )
    for name, file in files.items():
        if (target / file).resolve() in {path.resolve() for path in truths.values()}:
            raise SparsightError(f"{truths[name]} would be overwritten by the result: choose another folder.")
    done = [convert(truths[name], target / file, to) for name, file in files.items()]
    if to == "pyppbox":
        write_text(target / GT_MAP, format_map(files))
    left_out = sorted({column for one in done for column in one.left_out})
    return Converted(sum(one.rows for one in done), tuple(left_out), sum(one.rounded for one in done))
