"""``sparsight track compare``: several trackers, detectors and re-identifiers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsight.app.track_options import DETECTORS, EMBEDDERS, TRACKERS


def compare(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of sequences: SEQUENCE/gt/gt.txt, and SEQUENCE/img1 or a film in SEQUENCE; or a "
            "gt_map.txt (PoseTReID) with its videos.",
            metavar="DIR",
            show_default=False,
        ),
    ],
    trackers: Annotated[
        list[str],
        typer.Option("--tracker", help=f"May be repeated: {TRACKERS}", metavar="NAME"),
    ] = ["sort", "bytetrack", "ocsort", "botsort"],  # noqa: B006 typer takes lists only
    detectors: Annotated[
        list[str],
        typer.Option(
            "--detector",
            help="Folder in each sequence that holds det.txt; groundtruth for the true boxes; or a detector "
            f"to run: {DETECTORS} May be repeated.",
            metavar="NAME",
        ),
    ] = ["det"],  # noqa: B006
    reids: Annotated[
        list[str],
        typer.Option("--reid", help=f"May be repeated: {EMBEDDERS}, or none.", metavar="NAME"),
    ] = ["none"],  # noqa: B006
    sequences: Annotated[
        str | None, typer.Option(help="Only these sequences.", metavar="NAME,...", show_default=False)
    ] = None,
    benchmark: Annotated[
        str,
        typer.Option(help="What counts: auto, mot15, mot16, mot17, mot20, kitti.", metavar="NAME"),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write comparison.html and comparison.json here.", metavar="DIR", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run.", metavar="auto|cpu|cuda")] = "auto",
) -> None:
    """Run every combination on every sequence, and say how good and how fast each is.

    HOTA, MOTA and IDF1 as by "sparsight track eval"; "returns kept" (the
    identity accuracy) is the share of people who come back into view and keep
    their identity. Where the ground truth has names, "score" is PoseTReID's
    online one (pyppbox4, 16 pixels), each number being called after whom it
    first stood beside. frames/s count detector, embedder, tracker and
    re-identification, as far as they run: detections from a file cost nothing.

    Examples:

      sparsight track compare MOT15/train --detector det --detector det_frcnn

      sparsight track compare mine --detector yolox --tracker deepsort --reid auto

      sparsight track compare posetreid --detector groundtruth --out comparison
    """
    import json

    from rich.console import Console

    from sparsight.app import track_compare
    from sparsight.app.outputs import check_folder
    from sparsight.files import write_text

    if out is not None:
        check_folder(out)
    names = [name.strip() for name in (sequences or "").split(",") if name.strip()]
    with Console(stderr=True).status("reading") as status:
        found = track_compare.compare(
            folder,
            detectors=detectors,
            trackers=trackers,
            reids=reids,
            names=names,
            device=device,
            benchmark=benchmark,
            progress=status.update,
        )
    console = Console()
    console.print(track_compare.table_of(found))
    if out is not None:
        text = json.dumps(track_compare.as_json(found), indent=2, ensure_ascii=False) + "\n"
        write_text(out / "comparison.json", text)
        console.print(str(track_compare.write_report(out, found, folder)), soft_wrap=True, highlight=False)
