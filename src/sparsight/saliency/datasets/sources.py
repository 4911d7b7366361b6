"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve
from sparsight.saliency.datasets.dataset import Dataset

_ROOM = "sparsight.saliency.datasets"

DATASETS: dict[str, str] = {
    "cat2000": f"{_ROOM}.point_maps:cat2000",
    "dut_omron": f"{_ROOM}.fixation_tables:dut_omron",
    "ecssd": f"{_ROOM}.regions:ecssd",
    "figrim": f"{_ROOM}.gaze_structs:figrim",
    "jian_li": f"{_ROOM}.regions:jian_li",
    "mit1003": f"{_ROOM}.point_maps:mit1003",
    "mit300": f"{_ROOM}.point_maps:mit300",
    "msra_b": f"{_ROOM}.regions:msra_b",
    "o3": f"{_ROOM}.odd_one_out:o3",
    "osie": f"{_ROOM}.gaze_structs:osie",
    "p3": f"{_ROOM}.odd_one_out:p3",
    "pascal_s": f"{_ROOM}.fixation_tables:pascal_s",
    "salicon": f"{_ROOM}.gaze_structs:salicon",
    "sod": f"{_ROOM}.regions:sod",
    "toronto": f"{_ROOM}.point_maps:toronto",
}
"""Data set → "module:reader". The reader takes the folder of the official files."""


def load(name: str, root: str | Path | None = None) -> Dataset:
    """The data set called ``name``; images and masks are opened when they are asked for.

    Args:
        name: one of ``DATASETS``, or ``folder:PATH`` for one's own, see
        ``sparsight.saliency.datasets.folder``. root: the folder that holds the official files.

    Raises:
        SparsightError: no such data set or folder, files that are missing or not laid out as published.
    """
    kind, colon, path = name.partition(":")
    if colon and kind == "folder":
        reader, root = resolve(f"{_ROOM}.folder:folder"), path
    else:
        reader = resolve(lookup("saliency data set", name, DATASETS))
        if root is None:
            raise SparsightError(f"the files of {name} are not at hand: give their folder with --root.")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise SparsightError(f"there is no folder {folder}: give the one that holds the files of {name}.")
    dataset: Dataset = reader(folder)
    return dataset
