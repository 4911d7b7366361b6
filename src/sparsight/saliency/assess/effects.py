"""Second experiment: which properties of salient regions make an image hard, and for which models.

After Riche et al., "A study of parameters affecting visual saliency assessment" (2013), second experiment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.assess.properties import RegionProperties
from sparsight.saliency.assess.statistics import (
    FEWEST_IN_GROUP,
    Values,
    adjust,
    bootstrap_means,
    cliffs_delta,
    critical_difference,
    dunn,
    friedman,
    kruskal_wallis,
    rho_matrix,
    tau_matrix,
)
from sparsight.saliency.assess.tables import Measure, Scores

SIZE_LIMITS = (0.05, 0.20)
"""Absolute limits between small, medium and large: shares of the image."""

_UNEVEN = 0.25
"""A third of the images that is smaller than this share of them is worth a note."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images of a data set in groups by one property.

    Attributes:
        property: its name.
        kind: ``"terciles"``, ``"absolute"`` or ``"count"``.
        labels: (G,) names of the groups, lowest first.
        group: (I,) index of each image's group, −1 for none.
        values: (I,) the property.
        note: what had to be done to make groups, or empty.
    """

    property: str
    kind: str
    labels: tuple[str, ...]
    group: NDArray[np.int64]
    values: Values
    note: str = ""


@dataclass(frozen=True, eq=False)
class Effect:
    """How scores by one metric depend on one property.

    Attributes:
        split: the groups.
        labels: (G,) names of the groups that hold enough images.
        measure: the metric.
        counts: (G,) images in each group.
        means, low, high: (G,) score averaged over models, with 95% bootstrap intervals.
        model_means: (G, M) mean score of each model.
        h, p, epsilon_squared: Kruskal-Wallis on the scores averaged over models.
        p_holm, p_bh: p corrected for all effects that were tested together.
        pairs: (G, G) p of Dunn's test, Holm-corrected within the effect.
        delta: (G, G) Cliff's delta of row against column, above 0 where the row scores better.
        rho, p_rho: Spearman's correlation of property and score (higher is better).
        model_p, model_epsilon: (M,) Kruskal-Wallis of each model alone, Holm-corrected over models.
        w: (G,) Kendall's W of the models' ranks in each group, from Friedman's test.
        p_models: (G,) p of that test, Holm-corrected over groups.
        mean_ranks: (G, M) of the models, 1 the best.
        critical: (G,) difference of mean ranks that is significant (Nemenyi).
        stability: (G, G) tau of the models' mean ranks in two groups.
        caution: why the test means little, or empty.
    """

    split: Split
    labels: tuple[str, ...]
    measure: Measure
    counts: NDArray[np.int64]
    means: Values
    low: Values
    high: Values
    model_means: Values
    h: float
    p: float
    epsilon_squared: float
    p_holm: float
    p_bh: float
    pairs: Values
    delta: Values
    rho: float
    p_rho: float
    model_p: Values
    model_epsilon: Values
    w: Values
    p_models: Values
    mean_ranks: Values
    critical: Values
    stability: Values
    caution: str


@dataclass(frozen=True, eq=False)
class PropertyEffects:
    """All effects on one data set.

    Attributes:
        dataset: index of the data set in the scores.
        properties: as measured.
        splits: one per property, and size by absolute limits.
        effects: one per split and metric, in this order; splits with too few images are missing.
        correlation: (P, P) Spearman's rho between properties, in the order of ``properties.values``: effects
            of properties that go together cannot be told apart.
        notes: what was left out, and why.
    """

    dataset: int
    properties: RegionProperties
    splits: tuple[Split, ...]
    effects: tuple[Effect, ...]
    correlation: Values
    notes: tuple[str, ...]


def splits_of(properties: RegionProperties) -> tuple[Split, ...]:
    """Groups of images by every property: terciles, the number by count, the size also by fixed limits."""
    found = []
    for name, values in properties.values.items():
        found.append(_by_count(name, values) if name == "number" else _terciles(name, values))
        if name == "size":
            low, high = SIZE_LIMITS
            found.append(
                Split(
                    name,
                    "absolute",
                    (f"below {low:.0%}", f"{low:.0%} to {high:.0%}", f"{high:.0%} and more"),
                    np.digitize(values, SIZE_LIMITS).astype(np.int64),
                    values,
                )
            )
    return tuple(found)


def property_effects(scores: Scores, properties: RegionProperties, seed: int = 0) -> PropertyEffects:
    """Test how every metric depends on every property, over the images that have scores and regions.

    All tests on the scores averaged over models are one family for the corrections of Holm and of Benjamini
    and Hochberg.

    Args:
        scores: holds the data set that the properties are of.
        properties: as ``measure`` gives them.
        seed: of the bootstrap.

    Raises:
        SparsightError: no image has both.
    """
    if properties.dataset not in scores.datasets:
        raise SparsightError(
            f"there are no scores on {properties.dataset}, whose regions were measured: the scores are on "
            f"{', '.join(scores.datasets)}."
        )
    dataset = scores.datasets.index(properties.dataset)
    place = {name: index for index, name in enumerate(properties.images)}
    of_image = np.array(
        [
            place.get(name, -1) if which == dataset else -1
            for name, which in zip(scores.images, scores.dataset, strict=True)
        ]
    )
    if (of_image < 0).all():
        raise SparsightError(
            f"none of the {len(place)} images of {properties.dataset} with regions has scores: give the root "
            "of the data set that was scored."
        )
    columns = scores.columns(dataset)
    splits = splits_of(properties)
    notes = list(properties.notes) + [split.note for split in splits if split.note]
    effects = []
    for split in splits:
        for column in columns:
            rows = scores.scored(dataset, [column])
            rows = rows[of_image[rows] >= 0]
            group = split.group[of_image[rows]]
            found = _effect(
                split,
                scores.measures[column],
                scores.values[rows[group >= 0], :, column],
                group[group >= 0],
                split.values[of_image[rows[group >= 0]]],
                seed,
            )
            if isinstance(found, str):
                notes.append(found)
            else:
                effects.append(found)
    holm = adjust([effect.p for effect in effects], "holm")
    bh = adjust([effect.p for effect in effects], "fdr_bh")
    table = np.array(list(properties.values.values()))
    return PropertyEffects(
        dataset,
        properties,
        splits,
        tuple(
            replace(effect, p_holm=float(strict), p_bh=float(mild))
            for effect, strict, mild in zip(effects, holm, bh, strict=True)
        ),
        rho_matrix(table),
        tuple(dict.fromkeys(notes)),
    )


def _terciles(name: str, values: Values) -> Split:
    low, high = np.quantile(values, (1 / 3, 2 / 3))
    words = ("small", "medium", "large") if name == "size" else ("low", "middle", "high")
    form = ".1%" if name == "size" else ".3g"
    labels = (f"{words[0]} (≤ {low:{form}})", words[1], f"{words[2]} (> {high:{form}})")
    group = (values > low).astype(np.int64) + (values > high)
    sizes = np.bincount(group, minlength=3)
    note = ""
    if sizes.min() < _UNEVEN * len(values):
        note = (
            f"Terciles of {name} are uneven ({', '.join(map(str, sizes))} images): many images share a value."
        )
    return Split(name, "terciles", labels, group, values, note)


def _by_count(name: str, values: Values) -> Split:
    return Split(name, "count", ("1", "2", "3 and more"), np.clip(values, 1, 3).astype(np.int64) - 1, values)


def _effect(
    split: Split, measure: Measure, values: Values, group: NDArray[np.int64], of: Values, seed: int
) -> Effect | str:
    """The effect on (I, M) ``values`` of images in ``group``, or a sentence about why there is none."""
    sizes = np.bincount(group, minlength=len(split.labels))
    kept = np.flatnonzero(sizes >= FEWEST_IN_GROUP)
    few = [f"{split.labels[index]} ({sizes[index]})" for index in range(len(sizes)) if index not in kept]
    what = f"{split.property} by {split.kind}"
    if len(kept) < 2:
        return f"No test of {what}: fewer than two of its groups have {FEWEST_IN_GROUP} images."
    inside = np.isin(group, kept)
    values, of, group = values[inside], of[inside], np.searchsorted(kept, group[inside])
    better = values if measure.higher_is_better else -values
    average = better.mean(axis=1)
    everyone = kruskal_wallis(average, group)
    alone = kruskal_wallis(better, group)
    parts = [np.flatnonzero(group == index) for index in range(len(kept))]
    tests = [friedman(-better[part]) for part in parts]
    mean_ranks = np.array([test.mean_ranks for test in tests])
    intervals = [bootstrap_means(values[part].mean(axis=1), seed) for part in parts]
    means, low, high = np.array(intervals).T
    varied = bool(np.isfinite(everyone.p[0]))
    return Effect(
        split=split,
        labels=tuple(split.labels[index] for index in kept),
        measure=measure,
        counts=sizes[kept],
        means=means,
        low=low,
        high=high,
        model_means=np.array([values[part].mean(axis=0) for part in parts]),
        h=float(everyone.h[0]),
        p=float(everyone.p[0]),
        epsilon_squared=float(everyone.epsilon_squared[0]),
        p_holm=np.nan,
        p_bh=np.nan,
        pairs=dunn([average[part] for part in parts]) if varied else np.full((len(kept),) * 2, np.nan),
        delta=np.array([[cliffs_delta(average[a], average[b]) for b in parts] for a in parts]),
        rho=float(rho_matrix(np.array([of, average]))[0, 1]),
        p_rho=float(scipy.stats.spearmanr(of, average).pvalue) if varied and np.ptp(of) else np.nan,
        model_p=adjust(alone.p, "holm"),
        model_epsilon=alone.epsilon_squared,
        w=np.array([test.w for test in tests]),
        p_models=adjust([test.p for test in tests], "holm"),
        mean_ranks=mean_ranks,
        critical=np.array([critical_difference(values.shape[1], test.blocks) for test in tests]),
        stability=tau_matrix(-mean_ranks),
        caution=f"left out, fewer than {FEWEST_IN_GROUP} images: {', '.join(few)}" if few else "",
    )
