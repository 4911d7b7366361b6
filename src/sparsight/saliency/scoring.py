"""Score saliency models on a data set: one row for each image, model and centre prior."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight import __version__
from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.registry import lookup
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.metrics import METRICS, PRESETS
from sparsight.saliency.models import accepts
from sparsight.saliency.scoring_parts import (
    SCORES,
    chunk_of,
    claim,
    pandas,
    part,
    read_parts,
    read_skipped,
)
from sparsight.saliency.scoring_truth import make_field
from sparsight.saliency.scoring_workers import Chunk, Work, score_chunks

RESAMPLES = 2000
"""Resamples of the images for the interval of a mean."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What scoring came to.

    Attributes:
        table: ``pandas.DataFrame`` with the columns dataset, image, model, prior (``"none"`` or ``"centre"``)
            and one of float64 for each metric; NaN where an image has nothing to score by.
        metrics: names of the metrics.
        skipped: image → why it was left out.
        outside: fixations that lay outside their image and were dropped.
        fixations: fixations that were kept, on the whole data set.
        settings: what the scores depend on.
    """

    table: Any
    metrics: tuple[str, ...]
    skipped: dict[str, str]
    outside: int
    fixations: int
    settings: dict[str, Any]


def score_dataset(
    dataset: Dataset,
    models: Sequence[str],
    *,
    metrics: str | Sequence[str] = "all",
    out: str | Path | None = None,
    jobs: int = 1,
    limit: int | None = None,
    sigma: float | None = None,
    seed: int = 0,
    preset: str = "mit",
    resize: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Score models on the images of a data set, with and without a centre prior.

    Fixations outside their image are dropped and counted. Images that cannot be read, or whose fixations
    cannot, or that have nothing that one of the metrics needs, are left out and named. A map that a model
    cannot give, or of another size, is an error: models that are scored on different images cannot be
    compared.

    Args:
        dataset: what ``datasets.load`` gives.
        models: names for ``saliency.build``.
        metrics: names of ``METRICS``, or ``"all"`` that the data set has something to score by.
        out: a folder to keep the scores in: ``scores.parquet``, and files of a few images each, from which a
            run that was killed goes on. Other models may be added to it later.
        jobs: processes; each computes with one thread if there are several.
        limit: score the first so many images only. Fixations of all others still serve as the centre bias.
        sigma: deviation in pixels of the Gaussian that turns fixations into a density; by default the data
            set's own, or 0.03 of the image's longer side.
        seed: of everything random: the images that lend fixations to the shuffled AUC, jitter.
        preset: whose definitions of the metrics, see ``score_map``.
        resize: stretch maps, masks and densities to their image's size, rather than refuse them.
        progress: hears how many maps of how many are scored.

    Raises:
        SparsightError: bad input, an ``out`` that was made with other settings, or a missing optional
        package.
    """
    pandas()
    models = _checked_models(models)
    if jobs < 1 or (limit is not None and limit < 1):
        raise SparsightError(f"cannot score with jobs={jobs} and limit={limit}: give 1 or more.")
    if sigma is not None and not 0 < sigma < float("inf"):
        raise SparsightError(f"cannot make a density with sigma={sigma}: give pixels above zero.")
    if seed < 0:
        raise SparsightError(f"cannot draw with seed={seed}: give a whole number from 0 on.")
    lookup("preset", preset, PRESETS)
    chosen = _chosen_metrics(metrics, dataset)
    sizes, broken = _sizes(dataset)
    skipped = {**dataset.unread, **broken}
    dataset, outside = _on_image(dataset, sizes)
    skipped |= _nothing_to_score(dataset, skipped, chosen)
    wanted = [index for index in range(len(dataset))[:limit] if dataset.names[index] not in skipped]
    skipped = {name: why for name, why in skipped.items() if name in set(dataset.names[:limit])}
    if not wanted:
        why = next(iter(skipped.values()), "it has no images.")
        raise SparsightError(f"no image of {dataset.name} can be scored; the first one: {why}")
    settings = {
        "sparsight": __version__,
        "dataset": dataset.name,
        "its images": len(dataset),
        "its files and fixations": _fingerprint(dataset, sizes),
        "metrics": list(chosen),
        "preset": preset,
        "sigma": dataset.sigma if sigma is None else sigma,
        "seed": seed,
        "resize": resize,
        "limit": limit,
    }
    field = make_field(dataset, sizes, sigma, seed, resize)
    work = Work(field, Path(), chosen, preset, seed, resize)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if out is None else Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder, settings)
        table, unread = _run(replace(work, out=folder), wanted, models, jobs, progress)
        if out is not None:
            with replacing(folder / SCORES) as temporary:
                table.to_parquet(temporary, index=False)
    kept = 0 if dataset.fixations is None else len(dataset.fixations)
    return Scored(table, chosen, skipped | unread, outside, kept, settings)


def summarise(table: Any, *, seed: int = 0, resamples: int = RESAMPLES) -> Any:
    """The mean of every score over the images, with an interval that holds it in 95 of 100 cases.

    The interval runs from the 2.5th to the 97.5th percentile of the means of resamples of the images (B.
    Efron, "Bootstrap methods: Another look at the jackknife", 1979); all models get the same resamples.

    Args:
        table: as ``Scored.table``.
        seed: of the resamples.
        resamples: how many.

    Returns:
        ``pandas.DataFrame`` with a row for each data set, model, prior and metric and the columns dataset,
        model, prior, metric, images (that have a score), mean, low, high. Metrics without any score are left
        out.
    """
    library = pandas()
    names = [name for name in table.columns if name in METRICS]
    rows = []
    for (dataset, model, prior), group in table.groupby(["dataset", "model", "prior"], sort=False):
        values = group[names].to_numpy(np.float64)
        means, low, high = _interval(values, np.random.default_rng(seed), resamples)
        counts = (~np.isnan(values)).sum(axis=0)
        rows += [
            (dataset, model, prior, name, int(count), mean, under, over)
            for name, count, mean, under, over in zip(names, counts, means, low, high, strict=True)
            if count
        ]
    return library.DataFrame(
        rows, columns=["dataset", "model", "prior", "metric", "images", "mean", "low", "high"]
    )


def fewer(scored: Scored) -> list[str]:
    """A sentence for each set of metrics that not all the images have something to score by."""
    images = scored.table.groupby("image")[list(scored.metrics)].count().gt(0).sum()
    total = scored.table["image"].nunique()
    return [
        f"{', '.join(metrics.index)}: scored on {count} of {total} images, "
        "the others have nothing to score by."
        for count, metrics in images[images < total].groupby(images)
    ]


Floats = NDArray[np.float64]


def _interval(values: Floats, rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats, Floats]:
    """Mean and bounds of each column of ``values`` (images, metrics), NaN left out."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    count = len(values)
    # How often each image is drawn is all that a mean depends on.
    drawn = rng.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=0) / known.sum(axis=0)
        spread = (drawn @ filled) / (drawn @ known.astype(np.float64))
    bounds = np.full((2, values.shape[1]), np.nan)
    some = known.any(axis=0)
    bounds[:, some] = np.nanquantile(spread[:, some], [0.025, 0.975], axis=0)
    return means, bounds[0], bounds[1]


def _run(
    work: Work, wanted: Sequence[int], models: Sequence[str], jobs: int, progress: Callable[[int, int], None]
) -> tuple[Any, dict[str, str]]:
    """Score what is missing in ``work.out``, and put all together."""
    images: dict[int, list[int]] = {}
    for index in wanted:
        images.setdefault(chunk_of(index), []).append(index)
    chunks = []
    for first, indices in images.items():
        missing = tuple(model for model in models if not part(work.out, model, first).is_file())
        if missing:
            chunks.append(Chunk(first, tuple(indices), missing))
    total = len(wanted) * len(models)
    done = total - sum(len(chunk.images) * len(chunk.models) for chunk in chunks)
    progress(done, total)

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    score_chunks(work, chunks, jobs, step)
    unread = {name: why for first in images for name, why in read_skipped(work.out, first).items()}
    table = read_parts([part(work.out, model, first) for model in models for first in images])
    if not len(table):
        raise SparsightError(f"no image could be scored; the first one: {next(iter(unread.values()))}")
    return table, unread


def _checked_models(models: Sequence[str]) -> list[str]:
    """The names, each once, after making sure that there are such models."""
    names = list(dict.fromkeys(models))
    if not names:
        raise SparsightError("there is no model to score: name one or more.")
    for name in names:
        accepts(name, "")
    return names


def _chosen_metrics(metrics: str | Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """Names of metrics that the data set has something to score by."""
    has = {need for need, images in _truths(dataset).items() if images.any()}
    if metrics == "all":
        names = tuple(name for name, metric in METRICS.items() if has.issuperset(metric.needs))
        if not names:
            raise SparsightError(
                f"{dataset.name} has neither fixations nor regions: there is nothing to score models by."
            )
        return names
    named = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    for name in named:
        if lacking := set(lookup("saliency metric", name, METRICS).needs) - has:
            raise SparsightError(
                f"the metric {name} needs {' and '.join(sorted(lacking))}, which {dataset.name} does not "
                "have: leave it out."
            )
    if not named:
        raise SparsightError("there is no metric to score by: name one or more, or all.")
    return tuple(name for name in METRICS if name in named)


def _sizes(dataset: Dataset) -> tuple[NDArray[np.int64], dict[str, str]]:
    """(images, 2) height and width, zeros for a file that is no picture; and what is wrong with those."""
    sizes = np.zeros((len(dataset), 2), np.int64)
    broken = {}
    for index, name in enumerate(dataset.names):
        try:
            sizes[index] = dataset.size(index)
        except SparsightError as error:
            broken[name] = str(error)
    return sizes, broken


def _on_image(dataset: Dataset, sizes: NDArray[np.int64]) -> tuple[Dataset, int]:
    """The data set without the fixations outside its images, and how many those are."""
    looked = dataset.fixations
    if looked is None:
        return dataset, 0
    inside = looked.inside(sizes)
    of_pictures = sizes[looked.image, 0] > 0
    return replace(dataset, fixations=looked.keep(inside)), int((~inside & of_pictures).sum())


def _truths(dataset: Dataset) -> dict[str, NDArray[np.bool_]]:
    """What metrics need → which images have it, (images,) each; a region may yet turn out to be empty."""

    def given(paths: Sequence[Path | None] | None) -> NDArray[np.bool_]:
        return np.array([path is not None for path in paths or [None] * len(dataset)], bool)

    looked = np.zeros(len(dataset), bool)
    if dataset.fixations is not None:
        looked = dataset.fixations.counts(len(dataset)) > 0
    distractors = given(dataset.distractors)
    return {
        "xy": looked,
        "other_xy": looked,
        "baseline": looked,
        "density": looked | given(dataset.densities),
        "mask": given(dataset.masks),
        "target": given(dataset.targets),
        "distractors": distractors,
        "distractor_size": distractors,
    }


def _nothing_to_score(dataset: Dataset, skipped: dict[str, str], metrics: Sequence[str]) -> dict[str, str]:
    """Images that have nothing for any of the metrics, and what they lack."""
    truths = _truths(dataset)
    useful = np.zeros(len(dataset), bool)
    for name in metrics:
        useful |= np.logical_and.reduce([truths[need] for need in METRICS[name].needs])
    words = {"fixations": "fixations on it", "density": "density", "regions": "region", "oddity": "target"}
    if dataset.fixations is not None:
        words["density"] = words["fixations"]
    lacks = " and no ".join(dict.fromkeys(words[METRICS[name].kind] for name in metrics))
    return {
        name: f"{dataset.images[index]} has no {lacks}."
        for index, name in enumerate(dataset.names)
        if not useful[index] and name not in skipped
    }


def _fingerprint(dataset: Dataset, sizes: NDArray[np.int64]) -> str:
    """Changes with the names and sizes of the images, the fixations, and which images have regions."""
    digest = hashlib.sha256(repr(dataset.names).encode())
    digest.update(np.ascontiguousarray(sizes).tobytes())
    if dataset.fixations is not None:
        for values in (dataset.fixations.x, dataset.fixations.y, dataset.fixations.image):
            digest.update(values.tobytes())
    for paths in (dataset.densities, dataset.masks, dataset.targets, dataset.distractors):
        digest.update(repr([path is not None for path in paths or ()]).encode())
    return digest.hexdigest()[:16]
