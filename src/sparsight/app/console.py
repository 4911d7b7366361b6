"""The progress bar and the closing summary of ``watch``."""

from __future__ import annotations

import time

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from sparsight.app.groundtruth import RunningScore
from sparsight.app.watch import WatchOptions, WatchResult, watch


def watch_with_progress(options: WatchOptions) -> int:
    """Watch with a live progress bar on stderr, then say what was seen and where the results are.

    Returns:
        The exit code: 0, or 128 plus the signal's number when one ended the run early (130 for Ctrl-C).
    """
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,  # the summary, or the error, says it all
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("loading networks", total=None, note="")
        begin: float | None = None
        figures = ""

        def progress(frames: int, total: int | None, in_view: int) -> None:
            nonlocal begin
            now = time.perf_counter()
            begin = begin or now
            rate = f"{(frames - 1) / (now - begin):.1f} frames/s" if frames > 1 else ""
            note = "  ".join(filter(None, (f"{in_view} in view", rate, figures)))
            bar.update(task, description="watching", completed=frames, total=total, note=note)

        def scored(score: RunningScore) -> None:
            nonlocal figures
            figures = str(score)

        result = watch(options, progress, scored)
    for warning in result.warnings:
        typer.echo(f"sparsight: {warning}", err=True)
    summarise(result, Console())
    return 128 + result.interrupted if result.interrupted else 0


def summarise(result: WatchResult, console: Console) -> None:
    """Print what a run came to."""
    rate = result.frames / result.seconds if result.seconds else 0.0
    early = ", stopped early" if result.interrupted else ""
    console.print(
        f"[bold]{len(result.people)} people[/bold] in {result.frames} frames, "
        f"{result.seconds:.1f} s ({rate:.1f} frames/s){early}"
    )
    if result.score is not None:
        console.print(f"against the ground truth: {result.score}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "median ms", "95% ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in result.stages.summary():
        table.add_row(stage.name, f"{stage.median_ms:.1f}", f"{stage.p95_ms:.1f}")
    console.print(table)
    console.print("Look at:")
    for file in result.files:
        console.print(f"  {file}", soft_wrap=True, highlight=False, markup=False)
