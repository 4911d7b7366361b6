"""``sparsight watch`` and ``sparsight demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsight.app.track_options import DETECTORS, EMBEDDERS, TRACKERS

if TYPE_CHECKING:
    from sparsight.app.watch import WatchOptions

Out = Annotated[Path, typer.Option(help="Folder for the results; made if it is not there.", metavar="DIR")]
Device = Annotated[
    str,
    typer.Option(help="Where the networks run; auto takes a GPU if there is one.", metavar="auto|cpu|cuda"),
]
Saliency = Annotated[
    bool, typer.Option("--saliency/--no-saliency", help="Also show what draws the eye (DeepRare).")
]
MaxFrames = Annotated[
    int | None,
    typer.Option("--max-frames", min=1, help="Stop after so many frames of each source.", metavar="N"),
]


def watch(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Video file, folder of pictures, camera number (0, 1, ...), rtsp:// or http:// address, or "
            "the name of a sample (vtest.avi). Several are watched side by side with one memory of people.",
            metavar="SOURCE",
            show_default=False,
        ),
    ],
    detector: Annotated[
        str, typer.Option(help=f"What finds people: {DETECTORS}", metavar="NAME")
    ] = "ssdlite",
    tracker: Annotated[
        str, typer.Option(help=f"What follows them from frame to frame: {TRACKERS}", metavar="NAME")
    ] = "sort",
    reid: Annotated[
        str,
        typer.Option(
            help=f"What knows them again, and what deepsort and botsort look at: {EMBEDDERS}, or none.",
            metavar="NAME",
        ),
    ] = "auto",
    people: Annotated[
        Path | None,
        typer.Option(
            help='Names for people you know, from "sparsight identity train"; everybody else is Unknown.',
            metavar="FILE.npz",
            show_default=False,
        ),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            help="Memory of people, kept from run to run; name one file to share it between folders, or "
            "postgresql://... to share it between machines.",
            metavar="FILE",
            show_default="DIR/gallery.sqlite",
        ),
    ] = None,
    same_place: Annotated[
        list[str] | None,
        typer.Option(
            help="Cameras with overlapping views, which may see one person at once; kept in the gallery.",
            metavar="A,B",
            show_default=False,
        ),
    ] = None,
    travel: Annotated[
        list[str] | None,
        typer.Option(
            help="Seconds that the way between two cameras takes at least; kept in the gallery.",
            metavar="A:B=SECONDS",
            show_default=False,
        ),
    ] = None,
    saliency: Saliency = True,
    every: Annotated[
        int, typer.Option(min=1, help="Process each Nth frame only, to be faster.", metavar="N")
    ] = 1,
    max_frames: MaxFrames = None,
    groundtruth: Annotated[
        Path | None,
        typer.Option(
            help="Who is where in truth (PoseTReID, MOTChallenge, KITTI or CSV): shows running figures and "
            "writes DIR/score.json.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="With a ground truth: how names are scored, pyppbox3 (the papers) or pyppbox4.",
            metavar="NAME",
        ),
    ] = "pyppbox4",
    spread: Annotated[
        float,
        typer.Option(help="With a ground truth: largest difference of coordinates.", metavar="PIXELS"),
    ] = 16,
    out: Out = Path("out"),
    device: Device = "auto",
) -> None:
    """Follow people through video, know them again, and show what draws the eye.

    Writes into DIR: report.html (open this first), video.mp4, identities.json,
    tracks.txt (MOTChallenge, by number), people.txt (PoseTReID, by name).

    The results of an earlier run in DIR are replaced; the people in its gallery
    are known again. Ctrl-C ends the run and finishes the files.

    Examples:

      sparsight watch shop.mp4

      sparsight watch 0 1 --gallery museum.sqlite      two cameras, one memory

      sparsight watch hall.mp4 --people staff.npz      names from "identity train"

      sparsight watch rtsp://camera/stream --no-saliency --every 2
    """
    from sparsight.app.watch import WatchOptions

    _run(
        WatchOptions(
            sources=tuple(sources),
            out=out,
            detector=detector,
            tracker=tracker,
            reid=reid,
            gallery=gallery,
            same_place=tuple(tuple(one.split(",")) for one in same_place or ()),
            travel=tuple(_way(one) for one in travel or ()),
            saliency=saliency,
            every=every,
            max_frames=max_frames,
            groundtruth=groundtruth,
            preset=preset,
            spread=spread,
            people=people,
            device=device,
        )
    )


def demo(
    out: Out = Path("out/demo"),
    saliency: Saliency = True,
    max_frames: MaxFrames = None,
    device: Device = "auto",
) -> None:
    """See it work: fetch a sample video of people and watch it."""
    from sparsight.app.watch import WatchOptions, sample_video

    _run(
        WatchOptions(
            sources=(str(sample_video()),), out=out, saliency=saliency, max_frames=max_frames, device=device
        )
    )


def _way(text: str) -> tuple[str, str, float]:
    """The cameras and seconds of ``A:B=20``."""
    from sparsight.errors import SparsightError

    cameras, _, seconds = text.rpartition("=")
    origin, _, destination = cameras.partition(":")
    try:
        return origin, destination, float(seconds)
    except ValueError:
        raise SparsightError(f"{text!r} is no way between cameras: say A:B=20 for 20 seconds.") from None


def _run(options: WatchOptions) -> None:
    from sparsight.app.console import watch_with_progress

    code = watch_with_progress(options)
    if code:
        raise typer.Exit(code)
