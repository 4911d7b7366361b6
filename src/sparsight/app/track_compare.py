"""Trackers, detectors and re-identifiers on labelled sequences, each with each, scored alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from rich.table import Table

from sparsight import __version__
from sparsight.app.charts import bar_chart
from sparsight.app.groundtruth import RunningScore
from sparsight.app.sights import UNIDENTIFIED_FROM, Sights
from sparsight.app.track_options import built, looks
from sparsight.app.watch_looks import Once
from sparsight.app.watch_names import whole_pixels
from sparsight.files import write_text
from sparsight.track import Detections, Gallery, Identifier, Tracks, build_embedder
from sparsight.track import sequences as labelled
from sparsight.track.embed import Embedder
from sparsight.track.formats.table import UNKNOWN
from sparsight.track.metrics.pyppbox import Tally
from sparsight.track.sequences import LabelledSequence

REPORT = "comparison.html"
NONE = "none"
_METRICS = ("hota", "clear", "identity", "longterm")
_IN_TERMINAL = ("HOTA", "IDF1", "MOTA", "IDSW", "returns kept", "score", "frames/s")
"""What a terminal has room for."""
_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "returns kept", "score", "frames/s")


@dataclass(frozen=True)
class Compared:
    """One combination, on one sequence or on all together.

    Attributes:
        detector, tracker, reid: who took part.
        sequence: its name, None for all together.
        hota, deta, assa, mota, idf1: in [0, 1], see :func:`sparsight.track.metrics.evaluate`.
        switches: how often a person's track changed its number.
        returns: how many people came back into view.
        returns_kept: share of them that kept the identity (the identity accuracy); None without returns.
        score: PoseTReID's, online, as :class:`sparsight.app.groundtruth.RunningScore` counts it for people
            who have numbers; None where the ground truth has no names.
        frames_per_second: frames over all seconds below.
        seconds: spent detecting (0 for detections from a file), embedding, tracking and identifying.
    """

    detector: str
    tracker: str
    reid: str
    sequence: str | None
    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    switches: int
    returns: int
    returns_kept: float | None
    score: float | None
    frames_per_second: float
    seconds: dict[str, float]


def compare(
    folder: Path,
    *,
    detectors: Sequence[str],
    trackers: Sequence[str],
    reids: Sequence[str],
    names: Sequence[str] = (),
    device: str = "auto",
    benchmark: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> list[Compared]:
    """Run every combination on every sequence.

    With a re-identifier, detections carry its vectors (``deepsort`` and ``botsort`` look at them), and tracks
    are then given the numbers of people in a gallery that begins empty with each sequence, as ``watch`` does.

    Args:
        folder: the sequences, see :mod:`sparsight.track.sequences`.
        detectors: folders of detections in each sequence, names of detectors, or ``groundtruth``, see
            :func:`sparsight.track.sequences.detected`.
        trackers: names, with parameters if need be: ``bytetrack(iou=0.2)``.
        reids: names of embedders, or ``none``.
        names: the sequences; by default all.
        device: where networks run.
        benchmark: what counts, see :func:`sparsight.track.metrics.evaluate`.
        progress: told what is done next.

    Returns:
        For each combination one entry per sequence, then one for all together.

    Raises:
        SparsightError: an unknown name, or a sequence without detections or without frames where they are
            needed.
    """
    sequences = labelled.find(folder, names)
    for name in trackers:
        built(name)  # a mistake in the last one should not be found out after hours
    embedders = {name: None if name == NONE else build_embedder(name, device=device) for name in reids}
    tell = progress or (lambda what: None)
    found: list[Compared] = []
    for detector in detectors:
        seen = {}
        for sequence in sequences:
            tell(f"{detector} on {sequence.name}")
            seen[sequence.name] = labelled.detected(sequence, detector, device)
        for reid, embedder in embedders.items():
            looked = {name: (detections, 0.0) for name, (detections, _) in seen.items()}
            if embedder is not None:
                for sequence in sequences:
                    tell(f"{reid} on {sequence.name}")
                    looked[sequence.name] = labelled.looked_at(sequence, seen[sequence.name][0], embedder)
            for tracker in trackers:
                runs = []
                for sequence in sequences:
                    tell(f"{detector}, {tracker}, {reid} on {sequence.name}")
                    detections, embedding = looked[sequence.name]
                    tracks, tracking = labelled.followed(sequence, detections, built(tracker), look=True)
                    identifying = 0.0
                    if embedder is not None:
                        known = detections if looks(tracker) else None
                        tracks, identifying = _identified(sequence, tracks, embedder, known)
                    seconds = {
                        "detect": seen[sequence.name][1],
                        "embed": embedding if looks(tracker) else 0.0,
                        "track": tracking,
                        "identify": identifying,
                    }
                    runs.append((sequence, tracks, seconds))
                found += _scored((detector, tracker, reid), runs, benchmark)
    return found


def table_of(found: Sequence[Compared]) -> Table:
    """A table for the terminal: a line for each combination, of all sequences together, the best first."""
    table = Table(box=None, pad_edge=False)
    for column in ("detector", "tracker", "re-id"):
        table.add_column(column, overflow="fold")
    shown = [column for column in _IN_TERMINAL if column in _shown(found)]
    for column in shown:
        table.add_column(column, justify="right")
    for one in _together(found):
        texts = dict(zip(_COLUMNS, _texts(one), strict=True))
        table.add_row(one.detector, one.tracker, one.reid, *(texts[column] for column in shown))
    return table


def as_json(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """The same values, in what JSON can hold."""
    return [asdict(one) for one in found]


def write_report(out: Path, found: Sequence[Compared], folder: Path) -> Path:
    """Write the page: everything is inside, nothing is fetched to show it."""
    together = _together(found)
    by_name: dict[str, list[Compared]] = {}
    for one in found:
        if one.sequence is not None:
            by_name.setdefault(one.sequence, []).append(one)
    bars = [
        (_name(one), one.hota, f"HOTA {100 * one.hota:.1f}, IDF1 {100 * one.idf1:.1f}") for one in together
    ]
    columns = _shown(found)

    def row(one: Compared) -> dict[str, Any]:
        texts = dict(zip(_COLUMNS, _texts(one), strict=True))
        return {"one": one, "texts": [texts[column] for column in columns]}

    page = _template().render(
        title=f"Trackers compared on {folder}",
        subtitle=f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}",
        columns=columns,
        chart=Markup(bar_chart(bars, "HOTA of each combination, all sequences together")),
        blocks=[
            {"name": name, "rows": [row(one) for one in rows]}
            for name, rows in (("all sequences together", together), *by_name.items())
        ],
    )
    path = out / REPORT
    write_text(path, page)
    return path


def _identified(
    sequence: LabelledSequence,
    tracks: Sequence[Tracks],
    embedder: Embedder,
    detections: Sequence[Detections] | None,
) -> tuple[list[Tracks], float]:
    """Tracks with the numbers of people in a gallery of this sequence alone, and the seconds this took.

    Vectors that ``detections`` carry are not made again; None where the tracker had no need of them.
    """
    sights, rows, spent = Sights(), [], 0.0
    once = Once(embedder)
    with TemporaryDirectory() as place, Gallery(Path(place) / "gallery.sqlite") as gallery:
        identifier = Identifier(gallery, once, camera=sequence.name)
        for index, (frame, one) in enumerate(zip(sequence.frames(), tracks, strict=False)):
            begin = time.perf_counter()
            known = None if detections is None else detections[index].embedding
            once.begin(one.xyxy, None if known is None else known[one.detection])
            who = identifier.update(frame.image, one, frame.time)
            sights.correct(identifier.corrected())
            rows.append(sights.see(one.id, who.person, frame.time, who.since))
            spent += time.perf_counter() - begin
        begin = time.perf_counter()
        for track, person in identifier.finish().items():
            sights.decide(track, person)
        sights.correct(identifier.corrected())
        for tracklet in identifier.tracklets():
            sights.settle(tracklet.track, tracklet.first_seen, tracklet.person)
        spent += time.perf_counter() - begin
    named = [
        replace(one, id=sights.label(row).astype(np.int64)) for one, row in zip(tracks, rows, strict=False)
    ]
    return named, spent


def _scored(
    who: tuple[str, str, str],
    runs: Sequence[tuple[LabelledSequence, Sequence[Tracks], dict[str, float]]],
    benchmark: str,
) -> list[Compared]:
    tallies = {sequence.name: _tally(sequence, tracks) for sequence, tracks, _ in runs}
    counted = [tally for tally in tallies.values() if tally is not None]
    values = labelled.scored(
        [(sequence, tracks) for sequence, tracks, _ in runs], _METRICS, benchmark=benchmark
    )
    all_seconds = {stage: sum(seconds[stage] for *_, seconds in runs) for stage in runs[0][2]}
    parts = [
        (sequence.name, values["sequences"][sequence.name], tallies[sequence.name], sequence.length, seconds)
        for sequence, _, seconds in runs
    ]
    length = sum(sequence.length for sequence, *_ in runs)
    total = sum(counted, Tally()) if counted else None
    return [_entry(who, *part) for part in (*parts, (None, values, total, length, all_seconds))]


def _tally(sequence: LabelledSequence, tracks: Sequence[Tracks]) -> Tally | None:
    """PoseTReID's counts, where the ground truth has names."""
    if not sequence.names:
        return None
    running = RunningScore(sequence.truth)
    for frame, one in enumerate(tracks):
        names = [UNKNOWN if number >= UNIDENTIFIED_FROM else None for number in one.id.tolist()]
        running.update(frame, whole_pixels(one), one.id, names)
    return running.online.tally


def _entry(
    who: tuple[str, str, str],
    name: str | None,
    values: Any,
    tally: Tally | None,
    length: int,
    seconds: dict[str, float],
) -> Compared:
    hota, clear, long = values["hota"], values["clear"], values["longterm"]
    returns = int(long["LT_Returns"])
    return Compared(
        *who,
        sequence=name,
        hota=float(np.mean(hota["HOTA"])),
        deta=float(np.mean(hota["DetA"])),
        assa=float(np.mean(hota["AssA"])),
        mota=float(clear["MOTA"]),
        idf1=float(values["identity"]["IDF1"]),
        switches=int(clear["IDSW"]),
        returns=returns,
        returns_kept=float(long["LT_Acc"]) if returns else None,
        score=None if tally is None or not tally.total else tally.score,
        frames_per_second=length / max(sum(seconds.values()), 1e-9),
        seconds=seconds,
    )


def _shown(found: Sequence[Compared]) -> list[str]:
    """The columns that say something."""
    named = any(one.score is not None for one in found)
    return [column for column in _COLUMNS if named or column != "score"]


def _together(found: Sequence[Compared]) -> list[Compared]:
    return sorted((one for one in found if one.sequence is None), key=lambda one: -one.hota)


def _texts(one: Compared) -> list[str]:
    shares = (one.hota, one.deta, one.assa, one.mota, one.idf1)
    kept = "-" if one.returns_kept is None else f"{100 * one.returns_kept:.0f}% of {one.returns}"
    rate = one.frames_per_second
    return [
        *(f"{100 * share:.1f}" for share in shares),
        str(one.switches),
        kept,
        "-" if one.score is None else f"{one.score:.3f}",
        f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}",
    ]


def _name(one: Compared) -> str:
    return ", ".join(part for part in (one.detector, one.tracker, one.reid) if part != NONE)


def _template() -> jinja2.Template:
    def read(part: str) -> str:
        return resources.files("sparsight.app").joinpath(f"templates/{part}").read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template("track_comparison.html.j2")
