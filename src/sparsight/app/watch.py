"""The main job: follow people through sources, know them again, show what draws the eye."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sparsight import assets, saliency
from sparsight.app import outputs
from sparsight.app.camera import Camera
from sparsight.app.groundtruth import PRESET, RunningScore
from sparsight.app.people import Identity, identities, write_identities
from sparsight.app.report import write_report
from sparsight.app.stages import StageTimes
from sparsight.app.track_options import built, looks
from sparsight.app.watch_looks import Once
from sparsight.app.watch_names import known_people
from sparsight.app.workers import Workers
from sparsight.errors import SparsightError
from sparsight.media import VideoReader, open_video
from sparsight.track import Gallery, Identifier, build_detector, build_embedder
from sparsight.track.classify_tracks import TrackNamer
from sparsight.track.detect.recorded import Recorded
from sparsight.track.gallery import on_server
from sparsight.track.gallery_places import set_places, set_travel
from sparsight.track.metrics.pyppbox import ONLINE_SPREAD

if TYPE_CHECKING:
    from sparsight.saliency import SaliencyModel

IDENTITIES_EVERY = 5.0
"""Seconds between two writings of identities.json: a kill loses no more than that of it."""
WALL = "wall"
"""The clock of all live cameras: unix time."""
SAMPLES = ("vtest.avi", "bikes.mp4")
"""Sample videos of people, the better one first."""


@dataclass(frozen=True)
class WatchOptions:
    """What to watch and how; ``sparsight watch --help`` explains each."""

    sources: tuple[str, ...]
    out: Path
    detector: str = "ssdlite"
    tracker: str = "sort"
    reid: str = "auto"
    gallery: Path | str | None = None
    same_place: tuple[tuple[str, ...], ...] = ()
    travel: tuple[tuple[str, str, float], ...] = ()
    saliency: bool = True
    every: int = 1
    max_frames: int | None = None
    groundtruth: Path | None = None
    preset: str = PRESET
    spread: float = ONLINE_SPREAD
    people: Path | None = None
    device: str = "auto"


@dataclass
class WatchResult:
    """What a run came to.

    Attributes:
        cameras: one per source.
        people: everybody identified, by any camera.
        frames: frames processed over all cameras.
        seconds: wall-clock time of the loop, set-up left out.
        interrupted: number of the signal that ended the run early, or None.
        stages: milliseconds per stage.
        score: figures against ground truth, where there is one.
        files: what was written.
        warnings: what went less than well, a sentence each.
    """

    cameras: list[Camera]
    people: list[Identity] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    interrupted: int | None = None
    stages: StageTimes = field(default_factory=StageTimes)
    score: RunningScore | None = None
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Progress = Callable[[int, int | None, int], None]
"""Called after every frame with the frames done, the frames in all (None: unknown) and the people in view."""
Scored = Callable[[RunningScore], None]
"""Called after every frame with the figures against ground truth so far, before ``Progress``."""


def watch(
    options: WatchOptions, progress: Progress | None = None, scored: Scored | None = None
) -> WatchResult:
    """Watch ``options.sources`` until they end, and write what was seen under ``options.out``.

    Nothing is written before every source is open and every network is loaded.

    Raises:
        SparsightError: a source, a network, the gallery or the output folder cannot be used.
        OSError: the results cannot be written.
    """
    result = WatchResult([])
    if options.groundtruth is None and (options.preset, options.spread) != (PRESET, ONLINE_SPREAD):
        raise SparsightError(
            "--preset and --spread are for scores against a ground truth: name it with --groundtruth FILE, "
            "or leave them out."
        )
    if options.groundtruth is not None:
        if len(options.sources) > 1:
            raise SparsightError(
                f"the ground truth {options.groundtruth} is of one source, but {len(options.sources)} are "
                "given: watch one, or leave out --groundtruth."
            )
        result.score = RunningScore(options.groundtruth, options.preset, options.spread)
    with ExitStack() as stack:
        readers = [stack.enter_context(_open(source, options)) for source in options.sources]
        names = outputs.folder_names(reader.name for reader in readers)
        folders = outputs.camera_folders(options.out, names)
        path = options.gallery or options.out / outputs.GALLERY
        inputs = [*map(Path, options.sources), *filter(None, [options.groundtruth, options.people])]
        local = [] if on_server(path) else [Path(path)]
        outputs.check(options.out, folders, [*inputs, *local])
        for file in local:
            outputs.check_folder(file.parent, "--gallery")
        detector = build_detector(options.detector, device=options.device)
        if isinstance(detector, Recorded) and len(readers) > 1:
            raise SparsightError(
                f"the detections {options.detector} are of one source, but {len(readers)} are given: watch "
                "one, or choose another --detector."
            )
        trackers = [built(options.tracker) for _ in readers]
        model = saliency.build("deeprare", device=options.device) if options.saliency else None
        embedder = None if options.reid == "none" else build_embedder(options.reid, device=options.device)
        known = None if options.people is None else known_people(options.people, embedder, options.device)
        stack.enter_context(outputs.claimed(options.out, folders))
        gallery = None
        if embedder is not None:
            gallery = stack.enter_context(_remembering(path, lambda: result.frames > 0))
        outputs.clear(options.out, folders)
        if gallery is not None:
            _place(gallery, options)
        started, films = time.time(), uuid.uuid4().hex
        for name, reader, folder in zip(names, readers, folders, strict=True):
            identifier = None
            once = None if embedder is None else Once(embedder)
            if gallery is not None and once is not None:
                # Cameras share the time of day; films watched together are taken to have begun together.
                clock = WALL if reader.live else films
                identifier = Identifier(gallery, once, camera=name, clock=clock)
            camera = Camera(name, reader, identifier, folder, started)
            camera.looks = once
            if known is not None:
                shared = once is not None and known.embedder is embedder
                camera.namer = TrackNamer(known.classifier, once if shared and once else known.embedder)
                camera.people = known.classifier.people
            camera.names = _names(gallery)
            camera.score = result.score
            stack.callback(camera.abandon)
            result.cameras.append(camera)
        with stopping_on_signals(readers) as stopped:
            looking = embedder if looks(options.tracker) else None
            workers = Workers(list(zip(readers, trackers, strict=True)), detector, looking)
            stack.callback(workers.stop)
            _loop(result, options.out, gallery, workers, model, stopped, progress, scored)
            workers.stop()
            for camera in result.cameras:
                camera.conclude()
            for camera in result.cameras:
                result.files += camera.finish()
            result.warnings = [reader.warning for reader in readers if reader.warning]
            result.people = identities(result.cameras, _names(gallery))
            result.files.append(write_identities(options.out, result.people, gallery))
            result.files.append(write_report(options, result, gallery))
            if result.score is not None:
                result.files.append(result.score.write(options.out))
        result.interrupted = stopped[0] if stopped else None
    return result


def sample_video() -> Path:
    """A video of people to try things on: the first sample that can be had.

    Raises:
        SparsightError: none can.
    """
    reasons = []
    for name in SAMPLES:
        try:
            return assets.path(name)
        except SparsightError as error:
            reasons.append(str(error))
    raise SparsightError(" ".join(reasons))


def _open(source: str, options: WatchOptions) -> VideoReader:
    if source in SAMPLES and not Path(source).exists():
        source = str(assets.path(source))
    return open_video(source, every=options.every, max_frames=options.max_frames)


@contextmanager
def _remembering(address: Path | str, begun: Callable[[], bool]) -> Iterator[Gallery]:
    """The gallery at ``address``; a file made for a run that fails before it has ``begun`` goes again."""
    if on_server(address):
        with Gallery(address) as gallery:
            yield gallery
        return
    path = Path(address)
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Gallery(path) as gallery:
            yield gallery
    except BaseException:
        if new and not begun():
            path.unlink(missing_ok=True)
        raise


def _loop(
    result: WatchResult,
    out: Path,
    gallery: Gallery | None,
    workers: Workers,
    model: SaliencyModel | None,
    stopped: list[int],
    progress: Progress | None,
    scored: Scored | None,
) -> None:
    """Take the frames of all sources until all have ended or a signal came."""
    counts = [camera.reader.frame_count for camera in result.cameras]
    total = None if None in counts else sum(count for count in counts if count is not None)
    begin = written = time.perf_counter()
    seen_until = 0.0
    for number, seen in workers.seen():
        if stopped:
            break
        result.cameras[number].take(seen, model, result.stages)
        result.frames += 1
        now = time.perf_counter()
        result.seconds = now - begin
        if now - written > IDENTITIES_EVERY:
            names = _names(gallery)
            write_identities(out, identities(result.cameras, names), gallery, since=seen_until)
            seen_until = min(each.last_time for each in result.cameras)
            for each in result.cameras:
                each.names = names
            written = now
        if scored is not None and result.score is not None:
            scored(result.score)
        if progress is not None:
            progress(result.frames, total, sum(each.in_view for each in result.cameras))
        if stopped:
            break


def _place(gallery: Gallery, options: WatchOptions) -> None:
    """Keep in ``gallery`` what was said about where the cameras are."""
    set_places(gallery, options.same_place)
    for origin, destination, seconds in options.travel:
        set_travel(gallery, origin, destination, seconds)


def _names(gallery: Gallery | None) -> dict[int, str]:
    return {} if gallery is None else {one.id: one.name for one in gallery.people() if one.name is not None}


@contextmanager
def stopping_on_signals(readers: Sequence[VideoReader]) -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM, so that the files can be finished; a second one ends at once.

    ``readers`` are stopped, lest one waits for a camera that has gone silent.
    """
    stopped: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)
        for reader in readers:
            reader.stop()

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us there stops us in another way
        yield stopped
        return
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
