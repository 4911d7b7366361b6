"""``report.html``: one self-contained page about a run."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from sparsight import __version__
from sparsight.app.outputs import REPORT
from sparsight.app.people import Identity
from sparsight.app.timeline import clock, lay_out
from sparsight.files import write_text
from sparsight.media import Image, colours, encode_jpeg, heat, overlay

if TYPE_CHECKING:
    from sparsight.app.camera import Camera
    from sparsight.app.watch import WatchOptions, WatchResult
    from sparsight.track import Gallery

_MOST_PEOPLE = 200
_MOST_DECISIONS = 60
_PICTURE_QUALITY = 85
_DECISIONS_NOTE = (
    "Every time somebody came into view, their appearance was compared with everyone known. The distance is "
    "the cosine distance between appearance vectors (0: the same, 2: the opposite); up to the limit, the "
    "nearest person who was not in view at the same moment is taken to have come back. Those known again "
    "come first."
)
_EYE_NOTE = (
    "Warm colours mark what is rare in its picture, at some level of detail, and so draws the eye "
    "(DeepRare). Fine levels answer to edges and colours, coarse ones to shapes and objects."
)


def write_report(options: WatchOptions, result: WatchResult, gallery: Gallery | None) -> Path:
    """Write the page under ``options.out``: all pictures are inside, nothing is fetched to show it."""
    people = result.people
    hues = {one.number: _css(one.number) for one in people}
    labels = {one.number: one.label for one in people}
    length = max((camera.last_time for camera in result.cameras), default=0.0)
    rate = result.frames / result.seconds if result.seconds else 0.0
    total = sum(stage.total_ms for stage in result.stages.summary()) or 1.0
    spans = [span for one in people for span in one.spans]
    decisions = None if gallery is None else _decisions(result.cameras, labels)
    page = _template().render(
        title=f"Watched: {', '.join(camera.name for camera in result.cameras)}",
        subtitle=f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}",
        warnings=result.warnings,
        facts=[
            {"value": len(people), "label": "people identified"},
            {"value": result.frames, "label": "frames"},
            {"value": clock(length), "label": "of video"},
            {"value": f"{rate:.1f}", "label": "frames per second"},
        ],
        people=[_person_card(one, hues[one.number], gallery) for one in people[:_MOST_PEOPLE]],
        timeline=lay_out(spans, labels, hues, length),
        decisions=None if decisions is None else decisions[:_MOST_DECISIONS],
        decisions_note=_DECISIONS_NOTE,
        decisions_left_out=_left_out(decisions),
        walked=[
            {"data": _picture(camera.walked), "caption": f"{camera.name}: the paths of the people identified"}
            for camera in result.cameras
            if camera.walked is not None
        ],
        eye_note=_EYE_NOTE,
        eye=[picture for camera in result.cameras for picture in _eye(camera)],
        stages=[
            {
                "name": stage.name,
                "count": stage.count,
                "median": f"{stage.median_ms:.1f}",
                "p95": f"{stage.p95_ms:.1f}",
                "total": f"{stage.total_ms / 1000:.1f}",
                "share": round(100 * stage.total_ms / total, 1),
            }
            for stage in result.stages.summary()
        ],
        settings=[
            ("Sources", ", ".join(camera.reader.name for camera in result.cameras)),
            ("Detector", options.detector),
            ("Tracker", options.tracker),
            ("Re-identification", options.reid),
            ("Names", "none" if options.people is None else str(options.people)),
            ("Gallery", str(gallery.path) if gallery is not None else "none"),
            ("Saliency", "deeprare" if options.saliency else "none"),
            ("Every", str(options.every)),
            ("Device", options.device),
        ],
    )
    path = options.out / REPORT
    write_text(path, page)
    return path


def _template() -> jinja2.Template:
    # Names come from people and files: everything that the template prints is escaped.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = resources.files("sparsight.app").joinpath("templates/report.html.j2").read_text("utf-8")
    return environment.from_string(source)


def _person_card(one: Identity, hue: str, gallery: Gallery | None) -> dict[str, Any]:
    picture = gallery.thumbnail(one.number) if gallery is not None else None
    seconds = sum(span.end - span.start for span in one.spans)
    visits = f"{len(one.spans)} times, " if len(one.spans) > 1 else ""
    return {
        "label": one.label,
        "colour": hue,
        "picture": _jpeg(picture),
        "seen": f"{clock(one.spans[0].start)} to {clock(max(span.end for span in one.spans))}",
        "detail": f"{visits}{seconds:.0f} s in view, {one.frames} frames, {', '.join(one.cameras)}",
    }


def _decisions(cameras: Sequence[Camera], labels: dict[int, str]) -> list[dict[str, Any]]:
    """A row per sight that was taken for a person, those known again first, each in order of time."""
    rows = []
    for camera in cameras:
        if camera.identifier is None:
            continue
        for match in camera.identifier.matches():
            sight = match.tracklet
            who = labels.get(sight.person, f"person {sight.person}")
            rows.append(
                {
                    "again": sight.distance is not None,
                    "when": sight.first_seen,
                    "track": sight.track,
                    "picture": _jpeg(match.crop),
                    "known": who if sight.distance is not None else "nobody near enough",
                    "known_picture": _jpeg(match.matched_crop),
                    "decision": f"{match.decision}: {who}",
                    "distance": "" if sight.distance is None else f"{sight.distance:.3f}",
                    "limit": f"{camera.identifier.max_distance:.3f}",
                    "camera": sight.camera,
                    "time": clock(sight.first_seen - camera.started),
                }
            )
    return sorted(rows, key=lambda row: (not row["again"], row["when"]))


def _left_out(decisions: list[dict[str, Any]] | None) -> str:
    missing = 0 if decisions is None else len(decisions) - _MOST_DECISIONS
    return f"{missing} more decisions are not shown." if missing > 0 else ""


def _eye(camera: Camera) -> list[dict[str, str]]:
    if camera.saliency_mean is None or camera.saliency_last is None or camera.background is None:
        return []
    pictures = [(overlay(camera.background, camera.saliency_mean), "where the eye goes on average")]
    levels = camera.saliency_last.enlarged_levels().items()
    pictures += [(heat(level), f"level {name}, in the last frame") for name, level in levels]
    return [{"data": _picture(image), "caption": f"{camera.name}: {caption}"} for image, caption in pictures]


def _picture(image: Image) -> str:
    return _jpeg(encode_jpeg(image, _PICTURE_QUALITY)) or ""


def _jpeg(data: bytes | None) -> str | None:
    """A JPEG as a data address, which an HTML page carries inside."""
    return None if data is None else f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _css(number: int) -> str:
    """The colour that ``number`` has in the video."""
    red, green, blue = colours([number])[0].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
