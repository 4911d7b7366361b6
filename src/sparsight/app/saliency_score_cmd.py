"""``sparsight saliency score``: models on a data set, by all metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from sparsight.spelling import split_names

_MOST_NAMED = 5


def score(
    models: Annotated[
        str,
        typer.Option(
            help="What is scored: deeprare, itti, gbvs, maps:FOLDER, onnx:FILE, ... with commas between; "
            "options in brackets, as 'deeprare(size=320)'.",
            metavar="NAME,NAME,...",
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="osie, mit1003, cat2000, toronto, salicon, figrim, pascal_s, dut_omron, ecssd, msra_b, sod, "
            "jian_li, p3, o3, or folder:PATH.",
            metavar="NAME",
        ),
    ] = "osie",
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set's official files.", metavar="DIR", show_default=False),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            help="auc, nss, kl, ... with commas between, or all there is truth for.", metavar="NAME,..."
        ),
    ] = "all",
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    limit: Annotated[
        int | None,
        typer.Option(help="Score the first so many images only.", min=1, metavar="N", show_default=False),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Blur of fixations into a density, in pixels (default: one degree, where it is known).",
            metavar="PX",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Whose definitions of the metrics.", metavar="mit|pysaliency|pysod")
    ] = "mit",
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    resize: Annotated[
        bool, typer.Option("--resize", help="Stretch maps and masks that are not of their image's size.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 if an image was left out.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder for the results; a run that was killed goes on there.", metavar="DIR")
    ] = Path("out/score"),
) -> None:
    """Score saliency models on a data set, with and without a centre prior.

    Writes DIR/scores.parquet (every image), DIR/scores.csv (means with 95%
    intervals), DIR/table.md (the same to paste) and DIR/report.html. Started again after a kill with the same
    options it goes on; with other models it adds them.

    Examples:

      sparsight saliency score --dataset osie --root OSIE --models deeprare,itti,center_bias --jobs 2

      sparsight saliency score --dataset folder:photos --models maps:mine,uniform --metrics nss,cc

      sparsight saliency score --dataset osie --root OSIE --models 'deeprare,deeprare(size=320)'

      sparsight saliency score --dataset osie --root OSIE --models 'onnx:net.onnx(range=byte,log=True)'
    """
    from rich.console import Console

    from sparsight.app.outputs import REPORT, check_folder, claimed
    from sparsight.app.saliency_score_report import TABLE, print_table, write_report, write_table
    from sparsight.files import write_text
    from sparsight.saliency.datasets import load
    from sparsight.saliency.scoring import fewer, score_dataset, summarise
    from sparsight.saliency.scoring_parts import SCORES, SUMMARY

    check_folder(out)
    data = load(dataset, root)
    with claimed(out, ()):
        with _bar() as progress:
            scored = score_dataset(
                data,
                split_names(models),
                metrics="all" if metrics == "all" else split_names(metrics),
                out=out,
                jobs=jobs,
                limit=limit,
                sigma=sigma,
                seed=seed,
                preset=preset,
                resize=resize,
                progress=progress,
            )
        summary = summarise(scored.table, seed=seed)
        write_text(out / SUMMARY, summary.to_csv(index=False))
        write_table(out / TABLE, scored, summary)
        write_report(out / REPORT, scored, summary)
    if scored.outside:
        typer.echo(f"sparsight: {scored.outside:,} fixations lie outside their image: dropped.", err=True)
    for sentence in fewer(scored):
        typer.echo(f"sparsight: {sentence}", err=True)
    for reason in list(scored.skipped.values())[:_MOST_NAMED]:
        typer.echo(f"sparsight: left out: {reason}", err=True)
    if len(scored.skipped) > _MOST_NAMED:
        typer.echo(
            f"sparsight: {len(scored.skipped)} images were left out in all, see {out / REPORT}.", err=True
        )
    print_table(scored, summary, Console())
    typer.echo("Look at:")
    for name in (REPORT, TABLE, SUMMARY, SCORES):
        typer.echo(f"  {out / name}")
    if strict and scored.skipped:
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("maps"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("scoring", total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update
