"""Evaluate results against ground truth: files, folders or arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve
from sparsight.track.formats import Table
from sparsight.track.formats.pyppbox import GT_MAP, read_map
from sparsight.track.metrics.labels import Labels, Source, identified, load, sequence_length
from sparsight.track.metrics.preprocessing import counted, rules_for
from sparsight.track.motchallenge import read_info

METRICS: dict[str, str] = {
    "hota": "sparsight.track.metrics.hota",
    "clear": "sparsight.track.metrics.clear",
    "identity": "sparsight.track.metrics.identity",
    "longterm": "sparsight.track.metrics.longterm",
}
"""Metric name → module with ``score(pairs)`` and ``combine(sequences)``."""

_ENDINGS = (".txt", ".csv")
TRACKS, PEOPLE = "tracks.txt", "people.txt"
"""What ``track run`` and ``watch`` write into their folder, by number and by name."""
_COVERED = 0.8
"""Share of the frames with people below which a result is said to be short."""


def evaluate(
    gt: Source,
    pred: Source,
    metrics: Sequence[str] = ("hota", "clear", "identity"),
    *,
    benchmark: str = "auto",
    visibility: float = 0.0,
    length: int | None = None,
) -> dict[str, Any]:
    """Score reported tracks against true ones.

    Args:
        gt: the ground truth: a file in any of ``sparsight.track.formats.FORMATS``, (N, 6 or more) rows
            ``frame, id, x, y, w, h[, score[, class, visibility]]`` as in MOTChallenge, or a folder of
            sequences (``SEQUENCE/gt/gt.txt``, ``SEQUENCE.txt``, or with a ``gt_map.txt``).
        pred: what was reported, likewise; in a folder, ``SEQUENCE.txt`` or ``SEQUENCE/tracks.txt``.
        metrics: which of ``METRICS``.
        benchmark: what counts, one of ``BENCHMARKS``; ``"auto"`` tells it from the ground truth's columns.
        visibility: people of whom less than this share can be seen do not count, nor do reports of them.
        length: frames of the sequence; by default those of the ``seqinfo.ini`` beside the ground truth, or up
            to the last row of either side.

    Returns:
        For each metric its values by the names that ``trackeval`` gives them, with which they agree to 1e-9:
        ``["hota"]["HOTA"]`` (19 thresholds; quote the mean), ``["clear"]["MOTA"]`` and so on.
        Of folders, those of all sequences together, and under ``"sequences"`` those of each, by name.

    Raises:
        SparsightError: unknown metric or benchmark, files that cannot be read or are malformed, an identity
            twice in a frame, frames behind the end of the sequence, or sequences without a result.
    """
    if not metrics:
        raise SparsightError(f"no metrics are named: give one or more of {', '.join(METRICS)}.")
    modules = {name: resolve(lookup("metric", name, METRICS)) for name in metrics}
    if not is_folder(gt):
        if is_folder(pred):
            raise SparsightError(f"{pred} is a folder, but {gt} is a file: give two files or two folders.")
        compared = compare_sources(gt, pred, benchmark=benchmark, visibility=visibility, length=length)
        return {name: module.score(compared) for name, module in modules.items()}
    sequences: dict[str, dict[str, Any]] = {}
    for name, (truth, result) in find_sequences(gt, pred).items():
        compared = compare_sources(truth, result, benchmark=benchmark, visibility=visibility, length=length)
        sequences[name] = {metric: module.score(compared) for metric, module in modules.items()}
    together: dict[str, Any] = {
        metric: module.combine([scores[metric] for scores in sequences.values()])
        for metric, module in modules.items()
    }
    return together | {"sequences": sequences}


def compare_sources(
    gt: Source, pred: Source, *, benchmark: str = "auto", visibility: float = 0.0, length: int | None = None
) -> Any:
    """The pairs of boxes that count, see :func:`evaluate`."""
    truth, result, frames = both_sides(gt, pred, length=length)
    return counted(frames, truth, result, rules_for(benchmark, truth), visibility=visibility)[0]


def frame_rates(gt: Source) -> dict[str | None, float]:
    """Frames per second by sequence, for those beside which a ``seqinfo.ini`` lies; of a file, under None.

    Raises:
        SparsightError: see :func:`evaluate`.
    """
    if not isinstance(gt, (str, Path)):
        return {}
    truth: Mapping[str, Path] | dict[None, Path] = {None: Path(gt)}
    if is_folder(gt):
        truth = _known(Path(gt)).truth
    rates: dict[str | None, float] = {}
    for name, path in truth.items():
        for folder in list(path.parents)[:2]:
            if (folder / "seqinfo.ini").is_file():
                rates[name] = read_info(folder).frame_rate
                break
    return rates


def tell_of_gaps(truth: Table, result: Table) -> None:
    """Say so where the result covers far fewer frames than the ground truth, as that of a part would."""
    true, told = np.unique(truth.frame), np.unique(result.frame)
    covered = int(np.isin(true, told).sum())
    if covered >= _COVERED * len(true):
        return
    logging.getLogger(__name__).warning(
        "%s has people in %d of the %d frames in which %s has (from 0, its last is frame %d, the other's "
        "frame %d): everybody in the rest counts as missed.",
        result.source,
        covered,
        len(true),
        truth.source,
        int(told.max(initial=0)),
        int(true.max(initial=0)),
    )


def both_sides(gt: Source, pred: Source, *, length: int | None = None) -> tuple[Labels, Labels, int]:
    """Both sides of one sequence, and its number of frames.

    Raises:
        SparsightError: see :func:`evaluate`.
    """
    first_frame = 1
    if isinstance(gt, (np.ndarray, list)) and isinstance(pred, (np.ndarray, list)):
        # Two arrays may both count from 0.
        numbers = [rows[:, 0].min() for rows in map(np.asarray, (gt, pred)) if rows.ndim == 2 and rows.size]
        first_frame = 0 if 0 in numbers else 1
    table = load(gt, "the ground truth", first_frame=first_frame)
    if "type" in table.columns:  # regions have no identity
        regions = table.columns["type"] == "DontCare"
        table.id[regions] = np.iinfo(np.int64).max - np.arange(int(regions.sum()))
    truth = identified(table)
    result = identified(load(pred, "the result", first_frame=first_frame))
    length = length or sequence_length(gt)
    last = [int(side.frame[-1]) + 1 if len(side) else 0 for side in (truth, result)]
    if length is None:
        if 0 < last[0] < last[1]:
            logging.getLogger(__name__).warning(
                "%s goes on to frame %d, but %s ends with frame %d: reports after it count as false.",
                result.table.source,
                last[1],
                truth.table.source,
                last[0],
            )
        return truth, result, max(last)
    for side, end in ((truth, last[0]), (result, last[1])):
        if end > length:
            row = int(np.searchsorted(side.frame, length))
            raise SparsightError(
                f"{side.table.where(row)}: frame {int(side.frame[row]) + 1} lies behind the end of the "
                f"sequence, which has {length} frames: is this another sequence's file?"
            )
    return truth, result, length


@dataclass(frozen=True)
class _Folder:
    """The sequences of a folder of ground truth: name → file, and names of results and of their folders."""

    truth: Mapping[str, Path]
    results: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, tuple[str, ...]]


def find_sequences(gt: Source, pred: Source, *, named: bool = False) -> dict[str, tuple[Path, Path]]:
    """The ground truth and the result of each sequence in two folders, by name in order.

    Results that belong to no sequence are told of, and left out.

    Args:
        gt, pred: the folders.
        named: of what ``watch`` wrote about a sequence, take the file with names, not that with numbers.

    Raises:
        SparsightError: there are none, or one has no result: names what is there instead.
    """
    assert isinstance(gt, (str, Path))
    if not isinstance(pred, (str, Path)) or not Path(pred).is_dir():
        raise SparsightError(f"{gt} is a folder, but the result is not: give two files or two folders.")
    known = _known(Path(gt))
    found, missing = {}, []
    for name, truth in known.truth.items():
        files = (PEOPLE, TRACKS) if named else (TRACKS,)
        written = [f"{run}/{file}" for file in files for run in known.runs[name]]
        candidates = [Path(pred) / result for result in (*known.results[name], *written)]
        result = next((path for path in candidates if path.is_file() and path != truth), None)
        if result is None:
            missing.append(name)
        else:
            found[name] = truth, result
    if missing:
        there = sorted(path.name for path in Path(pred).iterdir() if not path.name.startswith("."))
        raise SparsightError(
            f"{pred} holds no result for {_some(missing)}: expected {known.results[missing[0]][0]}, "
            f"found {_some(there) if there else 'nothing'}."
        )
    used = {path.resolve() for pair in found.values() for path in pair}
    if extra := [path for path in _results_in(Path(pred)) if not used & {file.resolve() for file in path}]:
        logging.getLogger(__name__).warning(
            "%s also holds %s, of which %s has no ground truth: not counted.",
            pred,
            _some([path[0].name if len(path) == 1 else path[0].parent.name for path in extra]),
            gt,
        )
    return found


def _results_in(folder: Path) -> list[tuple[Path, ...]]:
    """Everything that looks like a result: a file of its own, or the files of a run."""
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [(path,) for path in there if path.suffix in _ENDINGS and path.name != GT_MAP]
    runs = [(path / TRACKS, path / PEOPLE) for path in there]
    return [*files, *(run for run in runs if any(file.is_file() for file in run))]


def _known(folder: Path) -> _Folder:
    results: dict[str, tuple[str, ...]]
    if (folder / GT_MAP).is_file():
        truth = read_map(folder / GT_MAP)
        results = {name: (f"result_{path.name}", f"{name}.txt", path.name) for name, path in truth.items()}
        return _Folder(truth, results, {name: (name, Path(name).stem) for name in truth})
    truth = {path.parents[1].name: path for path in sorted(folder.glob("*/gt/gt.txt"))}
    if not truth and (folder / "gt" / "gt.txt").is_file():
        truth = {folder.resolve().name: folder / "gt" / "gt.txt"}
    if not truth:
        truth = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS}
    if not truth:
        raise SparsightError(
            f"{folder} holds no ground truth: expected SEQUENCE/gt/gt.txt, SEQUENCE.txt, or {GT_MAP}."
        )
    results = {name: tuple(f"{name}{ending}" for ending in _ENDINGS) for name in truth}
    return _Folder(truth, results, {name: (name,) for name in truth})


def is_folder(source: Source) -> bool:
    """Whether a source is a folder of sequences."""
    return isinstance(source, (str, Path)) and Path(source).is_dir()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
