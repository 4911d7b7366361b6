"""``sparsight track tune``: search a tracker's parameters on labelled sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sparsight.app.track_options import DETECTORS, EMBEDDERS


def tune(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of sequences: SEQUENCE/gt/gt.txt, and SEQUENCE/img1 or a film in SEQUENCE; or a "
            "gt_map.txt (PoseTReID) with its videos.",
            metavar="DIR",
            show_default=False,
        ),
    ],
    tracker: Annotated[
        str,
        typer.Option(
            help="Whose parameters to seek: sort, centroid, deepsort, bytetrack, ocsort, botsort.",
            metavar="NAME",
        ),
    ] = "sort",
    detector: Annotated[
        str,
        typer.Option(
            help="Folder in each sequence that holds det.txt; groundtruth for the true boxes; or a detector "
            f"to run: {DETECTORS}",
            metavar="NAME",
        ),
    ] = "det",
    reid: Annotated[
        str,
        typer.Option(
            help=f"How people look, for deepsort and botsort: {EMBEDDERS}, or none.", metavar="NAME"
        ),
    ] = "none",
    sequences: Annotated[
        str | None, typer.Option(help="Only these sequences.", metavar="NAME,...", show_default=False)
    ] = None,
    objective: Annotated[
        str, typer.Option(help="What to make as high as possible: HOTA, MOTA or IDF1.", metavar="NAME")
    ] = "HOTA",
    trials: Annotated[int, typer.Option(min=1, help="Sets of parameters to try.", metavar="N")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the search.", metavar="N")] = 0,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Fix a parameter; may be repeated.", metavar="NAME=VALUE", show_default=False
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write the result and all trials here.", metavar="OUT", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run.", metavar="auto|cpu|cuda")] = "auto",
) -> None:
    r"""Find the parameters with which a tracker does best on your own sequences.

    Needs Optuna: pip install 'sparsight\[tune]'. The defaults are tried first, so
    the result is never worse on these sequences; keep some others apart to see
    whether it holds there. The last line printed is what --tracker of "watch",
    "track run" and "track compare" takes, in quotes.

    Examples:

      sparsight track tune MOT15/train --tracker bytetrack --detector det_frcnn --trials 200

      sparsight track tune mine --tracker sort --detector yolox --set max_age=60 --objective IDF1
    """
    import dataclasses
    import json

    from rich.console import Console
    from rich.progress import Progress

    from sparsight.app.outputs import check_folder
    from sparsight.files import write_text
    from sparsight.track import sequences as labelled
    from sparsight.track.tuning import tune as search

    if json_file is not None:
        check_folder(json_file.parent, "--json")
    fixed = dict(_setting(text) for text in fix or [])
    names = [name.strip() for name in (sequences or "").split(",") if name.strip()]
    chosen = labelled.find(folder, names)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking", total=len(chosen))
        embedder = None
        if reid != "none":
            from sparsight.track import build_embedder

            embedder = build_embedder(reid, device=device)
        ready = []
        for sequence in chosen:
            found, _ = labelled.detected(sequence, detector, device)
            if embedder is not None:
                found, _ = labelled.looked_at(sequence, found, embedder)
            ready.append((sequence, found))
            bar.advance(task)
        task = bar.add_task("tuning", total=trials)

        def progress(number: int, best: float) -> None:
            bar.update(task, completed=number, description=f"best {objective} {100 * best:.2f}")

        result = search(
            tracker, ready, objective=objective, trials=trials, seed=seed, fixed=fixed, progress=progress
        )
    typer.echo(
        f"{objective} {100 * result.value:.2f} (with the defaults {100 * result.default_value:.2f}) on "
        f"{len(ready)} sequences"
    )
    typer.echo(written(tracker, {**fixed, **result.params}))
    if json_file is not None:
        values = {**dataclasses.asdict(result), "fixed": fixed}
        write_text(json_file, json.dumps(values, indent=2) + "\n")


def written(tracker: str, params: dict[str, Any]) -> str:
    """A tracker with its parameters, as every ``--tracker`` takes it: ``sort(iou=0.1)``."""
    texts = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
        for name, value in params.items()
    )
    return f"{tracker}({', '.join(texts)})"


def _setting(text: str) -> tuple[str, Any]:
    """``"max_age=60"`` → ``("max_age", 60)``; what is no literal is text."""
    import ast

    from sparsight.errors import SparsightError
    from sparsight.spelling import NO_LITERAL

    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SparsightError(f"--set {text} is no setting: write NAME=VALUE, as in --set max_age=60.")
    try:
        return name.strip(), ast.literal_eval(value)
    except NO_LITERAL:
        return name.strip(), value
