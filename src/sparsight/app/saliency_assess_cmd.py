"""``sparsight saliency assess``: two ground truths, properties of regions, and metrics mixed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsight.app.outputs import check_folder
from sparsight.errors import SparsightError
from sparsight.spelling import split_names

if TYPE_CHECKING:
    from sparsight.saliency.assess import RegionProperties, Scores
    from sparsight.saliency.datasets import Dataset

PRIORS = ("none", "centre")

TABLES = "tables"

_MOST_NAMED = 8

_PACKAGES = {
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "scikit_posthocs": "scikit-posthocs",
    "statsmodels": "statsmodels",
}


def assess(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SCORES_DIR", help="Folders that `saliency score` wrote.", show_default=False),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Data set whose regions are measured, or, with --models and without SCORES_DIR, that is "
            "scored first; repeatable.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of each --dataset, in the same order.", metavar="DIR", show_default=False),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Only these models.", metavar="NAME,NAME,...", show_default=False),
    ] = None,
    prior: Annotated[
        str, typer.Option(help="Scores without a centre prior, or with it.", metavar="|".join(PRIORS))
    ] = "none",
    varimax: Annotated[
        bool, typer.Option("--varimax", help="Rotate the components, so that each metric belongs to few.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes that score, where that comes first.", min=1)] = 1,
    out: Annotated[
        Path, typer.Option(help="Folder for the results; made if it is not there.", metavar="DIR")
    ] = Path("out/assess"),
) -> None:
    """Assess saliency models: ground truths, properties of regions, and metrics.

    Writes DIR/report.html, with plots and conclusions that state the
    statistics behind them, and every number as DIR/tables/NAME.csv and
    .parquet.

    Examples:

      sparsight saliency assess scores/osie scores/sod --dataset sod --root SOD

      sparsight saliency assess --dataset sod --root SOD --models deeprare,gbvs,uniform
    """
    check_folder(out)
    _check_packages()
    if prior not in PRIORS:
        raise SparsightError(f"there is no prior {prior!r}: give --prior none or --prior centre.")
    names = None if models is None else split_names(models)
    places = list(tables or [])
    data = _load(dataset or [], root or [])
    if not places and (not data or names is None):
        raise SparsightError(
            "there is nothing to assess: name folders that `sparsight saliency score` wrote, or models and "
            "a data set with --models and --dataset."
        )
    from sparsight.saliency.assess import assess as assess_scores
    from sparsight.saliency.assess import read_scores, write_tables
    from sparsight.saliency.metrics import METRICS

    if not places and names is not None:
        places = [_score(each, names, jobs, out) for each in data]
    scores = read_scores(places, METRICS, prior, names)
    properties, without = _properties(data, scores)
    found = assess_scores(scores, properties, varimax)

    from sparsight.app.saliency_assess_report import write_report

    files = write_tables(found, out / TABLES)
    report = write_report(
        found,
        out,
        [
            ("scores", ", ".join(map(str, places))),
            ("centre prior", prior),
            ("data sets", ", ".join(scores.datasets)),
            ("models", ", ".join(scores.models)),
            ("metrics", ", ".join(measure.name for measure in scores.measures)),
            ("rotation", "varimax" if varimax else "none"),
            (f"in the folder {TABLES}", ", ".join(path.name for path in files if path.suffix == ".csv")),
        ],
    )
    notes = (*without, *found.notes)
    for note in notes[:_MOST_NAMED]:
        typer.echo(f"sparsight: {note}", err=True)
    if len(notes) > _MOST_NAMED:
        typer.echo(f"sparsight: {len(notes) - _MOST_NAMED} notes more: see the end of {report}.", err=True)
    for conclusion in found.conclusions:
        typer.echo(f"- {conclusion.claim}")
    typer.echo(report)


def _check_packages() -> None:
    """What would otherwise be missed only after the scoring."""
    for name, package in _PACKAGES.items():
        if importlib.util.find_spec(name) is None:
            raise SparsightError(f"assessing needs {package}: pip install 'sparsight[assess]'.")


def _load(names: Sequence[str], roots: Sequence[Path]) -> list[Dataset]:
    """The data sets; those that are folders of one's own need no root."""
    from sparsight.saliency.datasets import load

    official = [name for name in names if not name.startswith("folder:")]
    if len(roots) > len(official):
        raise SparsightError(
            f"there are {len(roots)} --root for {len(official)} --dataset: give one --root for each, in the "
            "same order."
        )
    folders = iter(roots)
    return [load(name, next(folders, None) if name in official else None) for name in names]


def _score(data: Dataset, models: list[str], jobs: int, out: Path) -> Path:
    """Score ``models`` on a data set into a folder of ``out``, or go on with it."""
    from sparsight.saliency.scoring import score_dataset

    place = out / f"scores-{data.name}"
    with _bar(f"scoring {data.name}") as progress:
        score_dataset(data, models, out=place, jobs=jobs, progress=progress)
    return place


def _properties(data: Sequence[Dataset], scores: Scores) -> tuple[list[RegionProperties], list[str]]:
    """Regions of the scored images of the data sets that have any; a note about each that has none."""
    from sparsight.saliency.assess import measure

    found, notes = [], []
    for each in data:
        if not any(each.masks or ()):
            notes.append(f"{each.name} has no segmented regions: their properties are not assessed.")
            continue
        if each.name not in scores.datasets:
            raise SparsightError(
                f"there are no scores on {each.name}: the scores are on {', '.join(scores.datasets)}."
            )
        which = scores.datasets.index(each.name)
        scored = {
            name for name, dataset in zip(scores.images, scores.dataset, strict=True) if dataset == which
        }
        with _bar(f"measuring {each.name}") as progress:
            found.append(measure(each, scored, progress))
    return found, notes


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
