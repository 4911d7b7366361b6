"""``identities.json``: who was seen in a run, when, by which cameras."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparsight.app.outputs import IDENTITIES, THUMBNAILS
from sparsight.app.sights import UNIDENTIFIED_FROM, UNKNOWN
from sparsight.app.timeline import Span
from sparsight.app.watch_names import clean
from sparsight.errors import SparsightError
from sparsight.files import write_bytes, write_text
from sparsight.track.formats.table import UNKNOWN as NOBODY
from sparsight.track.formats.table import Table

if TYPE_CHECKING:
    from sparsight.app.camera import Camera
    from sparsight.track import Gallery


@dataclass(frozen=True)
class Identity:
    """One person as seen in one run.

    Attributes:
        number: the person's number in the gallery, or the track's where there is no gallery.
        name: given by a classifier or by ``sparsight identity name``, or None.
        spans: when and where, in order of time.
        tracks: the track number of each span.
        frames: frames seen in, over all cameras.
    """

    number: int
    name: str | None
    spans: tuple[Span, ...]
    tracks: tuple[int, ...]
    frames: int

    @property
    def label(self) -> str:
        """The name, or "person" and the number."""
        return self.name or f"person {self.number}"

    @property
    def cameras(self) -> list[str]:
        """Their names, in order of first sight."""
        return list(dict.fromkeys(span.camera for span in self.spans))


def identities(cameras: Sequence[Camera], names: dict[int, str]) -> list[Identity]:
    """Everybody identified by any of ``cameras``, in order of number.

    Somebody is called what a classifier called most frames of them, or else by the name in ``names``, those
    of the gallery. Of two who were before one camera at once, only the one it saw longer has the name.
    """
    found: dict[int, list[tuple[Span, int, int]]] = {}
    called: dict[int, Counter[str]] = {}
    for camera in cameras:
        table = camera.sights
        for row in table.identified().tolist():
            who, frames = int(table.person[row]), int(table.frames[row])
            span = Span(who, camera.name, float(table.first[row]), float(table.last[row]))
            found.setdefault(who, []).append((span, int(table.track[row]), frames))
            if table.name[row] != UNKNOWN:
                called.setdefault(who, Counter())[camera.people[table.name[row]]] += frames
    people = []
    for who in sorted(found):
        rows = sorted(found[who], key=lambda row: row[0].start)
        spans, tracks, counts = zip(*rows, strict=True)
        people.append(Identity(who, names.get(who), spans, tracks, sum(counts)))
    if not called:
        return people
    return _told_apart(
        [
            replace(one, name=called[one.number].most_common(1)[0][0]) if one.number in called else one
            for one in people
        ],
        called,
    )


def _told_apart(people: list[Identity], called: Collection[int]) -> list[Identity]:
    """Take a name from whoever was beside its bearer; who was ``called`` by a classifier comes first."""
    bearers: dict[str, list[Identity]] = {}
    nameless: set[int] = set()
    for one in sorted(people, key=lambda one: (one.number not in called, -one.frames)):
        if one.name is not None:
            others = bearers.setdefault(one.name, [])
            if not any(_beside(one, other) for other in others):
                others.append(one)
                continue
        nameless.add(one.number)
    return [replace(one, name=None) if one.number in nameless else one for one in people]


def _beside(one: Identity, other: Identity) -> bool:
    return any(
        a.camera == b.camera and a.start < b.end and b.start < a.end for a in one.spans for b in other.spans
    )


def write_identities(
    out: Path, people: Sequence[Identity], gallery: Gallery | None, since: float = 0.0
) -> Path:
    """Write ``identities.json`` and the thumbnails it names under ``out``, each whole or not at all.

    Args:
        out: folder of the results.
        people: everybody identified.
        gallery: where the thumbnails come from, if there is one.
        since: seconds of the last writing: the thumbnails of those not seen after it are there already.
    """
    rows = []
    for one in people:
        thumbnail = f"{THUMBNAILS}/{one.number}.jpg"
        last_seen = max(span.end for span in one.spans)
        if gallery is not None and last_seen >= since:
            picture = gallery.thumbnail(one.number)
            if picture is not None:
                write_bytes(out / thumbnail, picture)
        rows.append(
            {
                "id": one.number,
                "name": one.name,
                "first_seen": round(one.spans[0].start, 3),
                "last_seen": round(last_seen, 3),
                "frames": one.frames,
                "cameras": one.cameras,
                "thumbnail": thumbnail if (out / thumbnail).exists() else None,
                "tracks": [
                    {
                        "camera": span.camera,
                        "track": track,
                        "first": round(span.start, 3),
                        "last": round(span.end, 3),
                    }
                    for span, track in zip(one.spans, one.tracks, strict=True)
                ],
            }
        )
    path = out / IDENTITIES
    write_text(path, json.dumps({"identities": rows}, indent=2, ensure_ascii=False) + "\n")
    return path


def read_names(path: Path) -> dict[int, str]:
    """The names in an ``identities.json``, by number.

    Raises:
        SparsightError: it cannot be read, or is something else.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["identities"]
        return {int(row["id"]): str(row["name"]) for row in rows if row["name"] is not None}
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except (ValueError, KeyError, TypeError):
        raise SparsightError(
            f"{path} is no list of identities: give the identities.json that sparsight watch wrote."
        ) from None


def with_names(table: Table, names: Mapping[int, str]) -> Table:
    """The rows of a ``tracks.txt`` by name; people without one by number, those not identified as Unknown."""

    def called(number: int) -> str:
        return NOBODY if number < 0 or number >= UNIDENTIFIED_FROM else names.get(number, str(number))

    said = np.array([clean(called(number)) for number in table.id.tolist()], object)
    return replace(table, columns={**table.columns, "name": said})
