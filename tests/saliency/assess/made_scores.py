"""Tables of scores whose structure is known, because they were made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsight.saliency.assess.statistics import Values
from sparsight.saliency.assess.tables import Scores, make_scores


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    higher_is_better: bool = True


METRICS = (
    Metric("auc", "fixations"),
    Metric("nss", "fixations"),
    Metric("kl", "density", higher_is_better=False),
    Metric("f", "regions"),
    Metric("s", "regions"),
    Metric("mae", "regions", higher_is_better=False),
)


def two_truths(
    by_fixations: Sequence[float],
    by_regions: Sequence[float],
    images: int = 120,
    noise: float = 0.5,
    seed: int = 0,
) -> Values:
    """(images, models, 6) scores: three metrics see one quality of a model, three another."""
    rng = np.random.default_rng(seed)
    models = len(by_fixations)
    latent = np.stack([np.array(by_fixations), np.array(by_regions)], axis=1)
    seen = latent + rng.normal(0, 0.7, (images, models, 2))  # both metrics of a truth see the same map
    values = np.repeat(seen, 3, axis=2) + rng.normal(0, noise, (images, models, 6))
    signs = np.array([1.0 if metric.higher_is_better else -1.0 for metric in METRICS])
    return np.asarray(values * signs)


def scores_of(
    values: Values, metrics: Sequence[Metric] = METRICS, dataset: str = "made", models: str = "abcdefghij"
) -> Scores:
    images, count, _ = values.shape
    names = [f"{index:03d}" for index in range(images)]
    return make_scores(
        [dataset] * (images * count),
        [name for name in names for _ in range(count)],
        list(models[:count]) * images,
        values.reshape(images * count, -1),
        metrics,
    )
