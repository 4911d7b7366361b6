"""The table of scores that an assessment is made of: read, checked, and turned into one array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.assess.statistics import Values, missing

FIXATIONS, REGIONS = "fixations", "regions"

SCORES = "scores.parquet"

_TRUTH_OF_KIND = {"fixations": FIXATIONS, "density": FIXATIONS, "regions": REGIONS}
_KEYS = ("dataset", "image", "model", "prior")
_MOST_NAMED = 5


class MetricLike(Protocol):
    """What must be known about a metric."""

    @property
    def name(self) -> str:
        """Its column in the table."""

    @property
    def kind(self) -> str:
        """What it is measured against: fixations, density, regions."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is a better one."""


@dataclass(frozen=True)
class Measure:
    """A metric of the table: its name, the truth it is measured against, and which way it points."""

    name: str
    truth: str
    higher_is_better: bool


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of M models on I images by K metrics.

    Attributes:
        datasets: names of the D data sets.
        dataset: (I,) which of them an image is of.
        images: (I,) names, unique within a data set.
        models: (M,) names.
        measures: (K,) metrics.
        values: (I, M, K) float64, NaN where there is no score (no such truth, or the model was not run).
        notes: what was left out of the table, and why, a sentence each.
    """

    datasets: tuple[str, ...]
    dataset: NDArray[np.int64]
    images: tuple[str, ...]
    models: tuple[str, ...]
    measures: tuple[Measure, ...]
    values: Values
    notes: tuple[str, ...] = ()

    @property
    def oriented(self) -> Values:
        """(I, M, K) the scores, turned so that higher is better for every metric."""
        signs = np.array([1.0 if measure.higher_is_better else -1.0 for measure in self.measures])
        return np.asarray(self.values * signs)

    def scored(self, dataset: int, columns: Sequence[int]) -> NDArray[np.int64]:
        """Images of a data set on which every model has every one of the metrics ``columns``."""
        whole = np.isfinite(self.values[:, :, list(columns)]).all(axis=(1, 2))
        return np.flatnonzero(whole & (self.dataset == dataset))

    def columns(self, dataset: int, truth: str | None = None) -> list[int]:
        """Metrics with at least one image of the data set that every model has a score on."""
        whole = np.isfinite(self.values[self.dataset == dataset]).all(axis=1).any(axis=0)
        return [
            index
            for index, measure in enumerate(self.measures)
            if whole[index] and truth in (None, measure.truth)
        ]


def read_scores(
    places: Iterable[Path],
    metrics: Mapping[str, MetricLike],
    prior: str = "none",
    models: Sequence[str] | None = None,
) -> Scores:
    """Read tables that ``sparsight saliency score`` wrote.

    Args:
        places: folders that hold a ``scores.parquet``, or such files.
        metrics: name → what is known about the metric; other columns are left out and noted.
        prior: rows of which centre prior, ``"none"`` or ``"centre"``.
        models: only these; by default all.

    Raises:
        SparsightError: a file is missing or not such a table, two rows are of the same image and model, or
            what remains does not hold two models and two metrics.
    """
    tables = [_read(place) for place in places]
    if not tables:
        raise SparsightError("there is nothing to assess: name a folder that `saliency score` wrote.")
    paths = [path for path, _ in tables]
    where = paths[0].as_posix() if len(paths) == 1 else f"the {len(paths)} tables"
    hold = "holds" if len(paths) == 1 else "hold"
    names = list(dict.fromkeys(name for _, table in tables for name in table if name not in _KEYS))
    keys = {key: np.concatenate([table[key] for _, table in tables]) for key in _KEYS}
    source = np.repeat(np.arange(len(tables)), [len(table["image"]) for _, table in tables])
    values = np.full((len(source), len(names)), np.nan)
    for index, (_, table) in enumerate(tables):
        for column, name in enumerate(names):
            if name in table:
                values[source == index, column] = table[name]

    wanted = keys["prior"] == prior
    if not wanted.any():
        known = ", ".join(sorted(set(keys["prior"].tolist()))) or "no rows at all"
        raise SparsightError(f"{where} {hold} no scores with prior {prior!r} (only {known}): give --prior.")
    if models is not None:
        for model in models:
            if model not in keys["model"]:
                known = ", ".join(sorted(set(keys["model"].tolist())))
                raise SparsightError(f"{where} {hold} no model {model!r}: known are {known}.")
        wanted &= np.isin(keys["model"], models)
    known_columns = [index for index, name in enumerate(names) if name in metrics]
    notes = []
    if len(known_columns) < len(names):
        others = [name for name in names if name not in metrics]
        notes.append(f"Columns that are no metric known here were left out: {', '.join(others)}.")
    scores = make_scores(
        keys["dataset"][wanted].tolist(),
        keys["image"][wanted].tolist(),
        keys["model"][wanted].tolist(),
        values[wanted][:, known_columns],
        [metrics[names[index]] for index in known_columns],
        where=f"{where} {hold}",
    )
    return replace(scores, notes=(*notes, *scores.notes))


def make_scores(
    dataset: Sequence[str],
    image: Sequence[str],
    model: Sequence[str],
    values: NDArray[Any],
    metrics: Sequence[MetricLike],
    where: str = "the table holds",
) -> Scores:
    """Turn a table with a row per image and model into ``Scores``.

    Infinite scores count as missing; a metric without any score, or the same everywhere, is left out; both
    are noted.

    Args:
        dataset, image, model: (N,) what each row is of.
        values: (N, K) scores.
        metrics: (K,) what is known about each column.
        where: what to call the table in an error, with its verb.

    Raises:
        SparsightError: as ``read_scores``.
    """
    rows = list(zip(dataset, image, strict=True))
    places = {row: index for index, row in enumerate(dict.fromkeys(rows))}
    datasets = {name: index for index, name in enumerate(dict.fromkeys(dataset))}
    models = {name: index for index, name in enumerate(dict.fromkeys(model))}
    if len(models) < 2:
        only = f" ({next(iter(models))})" if models else ""
        raise SparsightError(
            f"{where} {len(models) or 'no'} model{only}, and an assessment compares at least two: score more "
            "with `sparsight saliency score --models a,b`."
        )
    at = np.array([places[row] for row in rows]), np.array([models[name] for name in model])
    seen = np.bincount(at[0] * len(models) + at[1])
    if seen.max() > 1:
        index, which = divmod(int(seen.argmax()), len(models))
        name = list(places)[index]
        raise SparsightError(
            f"{where} {seen.max()} scores of model {list(models)[which]!r} on image {name[1]!r} of "
            f"{name[0]!r}: give each run once."
        )
    cube = np.full((len(places), len(models), len(metrics)), np.nan)
    cube[at] = values
    notes = []
    if endless := int(np.isinf(cube).sum()):
        notes.append(f"{endless:,} infinite scores count as missing.")
        cube[np.isinf(cube)] = np.nan
    kept = []
    for index, metric in enumerate(metrics):
        column = cube[:, :, index]
        known = column[np.isfinite(column)]
        if not known.size:
            notes.append(f"Metric {metric.name} was left out: it holds no score.")
        elif np.ptp(known) <= 1e-12 * max(1.0, float(np.abs(known).max())):
            notes.append(f"Metric {metric.name} was left out: it is {known[0]:.4g} everywhere.")
        else:
            kept.append(index)
    if len(kept) < 2:
        only = f" ({metrics[kept[0]].name})" if kept else ""
        raise SparsightError(
            f"{where} {len(kept) or 'no'} metric that varies{only}, and an assessment compares at least two: "
            "score with --metrics all."
        )
    scores = Scores(
        tuple(datasets),
        np.array([datasets[name] for name, _ in places]),
        tuple(name for _, name in places),
        tuple(models),
        tuple(
            Measure(metric.name, _TRUTH_OF_KIND.get(metric.kind, metric.kind), metric.higher_is_better)
            for metric in (metrics[index] for index in kept)
        ),
        cube[:, :, kept],
    )
    return replace(scores, notes=(*notes, *_gaps(scores)))


def _gaps(scores: Scores) -> list[str]:
    """Sentences about metrics that miss scores on images of which others of the same truth have them.

    Raises:
        SparsightError: a data set with no metric that all models have on any image.
    """
    notes = []
    for dataset, name in enumerate(scores.datasets):
        values = scores.values[scores.dataset == dataset]
        for truth in dict.fromkeys(measure.truth for measure in scores.measures):
            columns = [index for index, measure in enumerate(scores.measures) if measure.truth == truth]
            finite = np.isfinite(values[:, :, columns])
            concerned = finite.any(axis=(1, 2))
            if not concerned.any():
                continue
            whole = finite.all(axis=1)  # (images, metrics) with a score of every model
            usable = whole.any(axis=0)
            if not usable.any():
                absent = _without(scores.models, finite.any(axis=2))
                raise SparsightError(
                    f"no image of {name} has scores of all {len(scores.models)} models (there is none of "
                    f"{absent}): score the same models on every data set, or choose some with --models."
                )
            for position in np.flatnonzero(~usable):
                absent = _without(scores.models, finite[:, :, position])
                metric = scores.measures[columns[position]].name
                notes.append(f"Metric {metric} was left out on {name}: it has no scores of {absent}.")
            gaps = np.where(usable, (~whole[concerned]).sum(axis=0), 0)
            if gaps.any():
                most = int(gaps.argmax())
                notes.append(
                    f"On {name}, {np.count_nonzero(gaps)} of {len(columns)} metrics against {truth} miss "
                    f"scores; {scores.measures[columns[most]].name} most, on {gaps[most]} of "
                    f"{np.count_nonzero(concerned)} images. These are left out where they would be compared."
                )
    return notes


def _without(models: Sequence[str], known: NDArray[np.bool_]) -> str:
    """Models without anything in (images, models); if each has something, that it is never on one image."""
    names = [model for index, model in enumerate(models) if not known[:, index].any()]
    return ", ".join(names[:_MOST_NAMED]) or "all models on one image"


def _read(place: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    path = place / SCORES if place.is_dir() else place
    if not path.is_file():
        raise SparsightError(
            f"{place} holds no {SCORES}: name a folder that `sparsight saliency score --out` wrote."
        )
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing("pyarrow") from None
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SparsightError(
            f"{path} is no Parquet table that can be read ({reason.rstrip('.')}): score again."
        ) from None
    absent = [key for key in _KEYS if key not in table.column_names]
    if absent:
        raise SparsightError(
            f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}: give a table that "
            "`sparsight saliency score` wrote."
        )
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in _KEYS:
            if column.null_count:
                raise SparsightError(
                    f"{path} has {column.null_count} rows without a {name}: give a table that `sparsight "
                    "saliency score` wrote."
                )
            columns[name] = np.array(column.to_pylist(), object).astype(str)
        elif pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type):
            columns[name] = column.to_numpy().astype(np.float64)
    return path, columns
