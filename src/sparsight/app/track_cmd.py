"""``sparsight track``: follow people without knowing them, and say how good tracks are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sparsight.app.track_compare_cmd import compare
from sparsight.app.track_options import DETECTORS, EMBEDDERS, TRACKERS
from sparsight.app.track_tune_cmd import tune

track_app = typer.Typer(help="Tracks alone: make them, evaluate them, convert them.", no_args_is_help=True)
FPS = 25.0
"""Frames per second where nobody says."""
Out = Annotated[Path, typer.Option(help="Folder for the results; made if it is not there.", metavar="DIR")]


@track_app.command()
def run(
    source: Annotated[
        str,
        typer.Argument(
            help="Video file, folder of pictures, camera number, rtsp:// or http:// address, or a "
            "MOTChallenge text file of detections.",
            metavar="SOURCE",
            show_default=False,
        ),
    ],
    detector: Annotated[
        str | None,
        typer.Option(
            help=f"What finds people: {DETECTORS} Text files need none.",
            metavar="NAME",
            show_default="ssdlite",
        ),
    ] = None,
    tracker: Annotated[
        str, typer.Option(help=f"What follows them from frame to frame: {TRACKERS}", metavar="NAME")
    ] = "sort",
    reid: Annotated[
        str | None,
        typer.Option(
            help=f"How people look, for deepsort and botsort: {EMBEDDERS}, or none: by motion alone.",
            metavar="NAME",
            show_default="auto, where there are pictures",
        ),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Process each Nth frame only.", metavar="N")] = 1,
    max_frames: Annotated[
        int | None,
        typer.Option(
            "--max-frames", min=1, help="Stop after so many frames.", metavar="N", show_default=False
        ),
    ] = None,
    out: Out = Path("out"),
    device: Annotated[str, typer.Option(help="Where the networks run.", metavar="auto|cpu|cuda")] = "auto",
) -> None:
    """Detect and track, and write DIR/tracks.txt (MOTChallenge).

    Nobody is known again and nothing is drawn: this is for measuring.
    To watch people, see "sparsight watch".

    Examples:

      sparsight track run street.mp4 --detector yolox

      sparsight track run PETS09-S2L1/det/det.txt --tracker "bytetrack(max_age=60)"

      sparsight track run street.mp4 --tracker deepsort --reid osnet_x0_25
    """
    from sparsight.app.track_run import track_source

    result = track_source(
        source,
        out,
        detector=detector,
        tracker=tracker,
        reid=reid,
        every=every,
        max_frames=max_frames,
        device=device,
    )
    rate = result.frames / result.seconds if result.seconds else 0.0
    typer.echo(
        f"{result.tracks} tracks in {result.frames} frames, {result.seconds:.1f} s ({rate:.1f} frames/s)"
    )
    typer.echo(result.path)
    if result.interrupted is not None:
        raise typer.Exit(128 + result.interrupted)


@track_app.command(name="eval")
def evaluate(
    gt: Annotated[
        Path,
        typer.Option(
            help="Ground truth: a file, or a folder of sequences.", metavar="FILE|DIR", show_default=False
        ),
    ],
    pred: Annotated[
        Path,
        typer.Option(
            help="Results: a file, or a folder with one each.", metavar="FILE|DIR", show_default=False
        ),
    ],
    metrics: Annotated[
        str, typer.Option(help="Which: hota, clear, identity, longterm.", metavar="NAME,...")
    ] = "hota,clear,identity",
    preset: Annotated[
        str | None,
        typer.Option(
            help="Score names as PoseTReID does instead: pyppbox3 (the papers) or pyppbox4.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    spread: Annotated[
        float,
        typer.Option(
            help="With a preset: largest difference of coordinates; 16 is what is usual online.",
            metavar="PIXELS",
        ),
    ] = 5,
    benchmark: Annotated[
        str,
        typer.Option(help="What counts: auto, mot15, mot16, mot17, mot20, kitti.", metavar="NAME"),
    ] = "auto",
    visibility: Annotated[
        float,
        typer.Option(min=0, max=1, help="People seen less than this do not count.", metavar="SHARE"),
    ] = 0,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames per second, for absences in the report.",
            metavar="N",
            show_default="as seqinfo.ini says; 25 without one",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all values to this file.", metavar="OUT", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write evaluation.html (tables and plots) and evaluation.json here.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score results against ground truth.

    Files may be MOTChallenge, PoseTReID (pyppbox), KITTI tracking or CSV; a
    folder of ground truth holds SEQUENCE/gt/gt.txt, SEQUENCE.txt, or a
    gt_map.txt. Values agree with trackeval's.

    Examples:

      sparsight track eval --gt MOT15/train --pred out --metrics hota,clear,identity --out report

      sparsight track eval --gt gta.mp4.txt --pred result_gta.mp4.txt --preset pyppbox3

      sparsight track eval --gt gta.mp4.txt --pred out/people.txt --preset pyppbox4 --spread 16
    """
    import json

    from rich.console import Console

    from sparsight.app.outputs import check_folder
    from sparsight.app.track_report import as_json, table_of, write_report
    from sparsight.errors import SparsightError
    from sparsight.files import write_text
    from sparsight.track.metrics import evaluate as score
    from sparsight.track.metrics import pyppbox
    from sparsight.track.metrics.evaluation import frame_rates

    for path, option in ((out, "--out"), (None if json_file is None else json_file.parent, "--json")):
        if path is not None:
            check_folder(path, option)
    _refuse_overwriting(json_file, (gt, pred))
    if fps is not None and not 0 < fps < float("inf"):
        raise SparsightError(f"--fps is {fps:g}, but frames per second must be above 0.")
    values: dict[str, Any]
    if preset is not None:
        values = pyppbox.evaluate(gt, pred, preset=preset, spread=spread)
    else:
        names = [name.strip() for name in metrics.split(",") if name.strip()]
        values = score(gt, pred, names, benchmark=benchmark, visibility=visibility)
    console = Console()
    console.print(table_of(values, console.width))
    text = json.dumps(as_json(values), indent=2, ensure_ascii=False) + "\n"
    if json_file is not None:
        write_text(json_file, text)
    if out is not None:
        write_text(out / "evaluation.json", text)
        rates = frame_rates(gt) if fps is None else {}
        page = write_report(out, values, gt=gt, pred=pred, fps=fps or FPS, rates=rates)
        console.print(str(page), soft_wrap=True, highlight=False)


@track_app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="File to read, or folder of ground truth: SEQUENCE/gt/gt.txt, or a gt_map.txt (PoseTReID).",
            metavar="SOURCE",
            show_default=False,
        ),
    ],
    target: Annotated[
        Path, typer.Argument(help="File, or folder, to write.", metavar="TARGET", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Its format: mot, pyppbox, kitti, csv.", metavar="NAME", show_default=False
        ),
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="Format of SOURCE.", metavar="NAME", show_default="told from its first line"
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help='Names for the numbers in SOURCE: the identities.json that "sparsight watch" wrote.',
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Convert labelled boxes from one format to another.

    What the new format cannot hold is said; CSV holds everything. Of a folder,
    the ground truth of each sequence is converted: to pyppbox with a gt_map.txt,
    else as SEQUENCE/gt/gt.txt.

    Examples:

      sparsight track convert gta.mp4.txt gta.txt --to mot

      sparsight track convert out/tracks.txt named.txt --to pyppbox --names out/identities.json

      sparsight track convert posetreid MOT --to mot
    """
    from sparsight.app.outputs import check_folder
    from sparsight.app.people import read_names, with_names
    from sparsight.errors import SparsightError
    from sparsight.track import formats
    from sparsight.track.formats.folders import convert_folder
    from sparsight.track.formats.pyppbox import GT_MAP

    if source.name == GT_MAP and source.is_file():
        source = source.parent
    if source.is_dir():
        if from_ is not None or names is not None:
            raise SparsightError(f"{source} is a folder: leave out --from and --names, which are for a file.")
        check_folder(target, "TARGET")
        done = convert_folder(source, target, to)
    else:
        check_folder(target.parent, "TARGET")
        _refuse_overwriting(target, (source,) if names is None else (source, names))
        if names is None:
            done = formats.convert(source, target, to, format=from_)
        else:
            done = formats.convert(with_names(formats.read(source, from_), read_names(names)), target, to)
    typer.echo(f"{done.rows} rows in {target}")
    if done.left_out:
        typer.echo(f"left out, since {to} does not hold them: {', '.join(done.left_out)}", err=True)
    if done.rounded:
        typer.echo(f"{done.rounded} boxes were rounded to whole pixels", err=True)


def _refuse_overwriting(target: Path | None, inputs: tuple[Path, ...]) -> None:
    from sparsight.errors import SparsightError

    if target is not None and target.resolve() in {path.resolve() for path in inputs}:
        raise SparsightError(f"{target} would be overwritten by the result: choose another file.")


track_app.command()(compare)
track_app.command()(tune)
