"""All metrics by name, and all scores of one map at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from numpy.typing import ArrayLike

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.saliency.metrics import densities, fixations, oddity, regions, roc, structure, transport
from sparsight.saliency.metrics.case import Case, case

Kind = Literal["fixations", "density", "regions", "oddity"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, what it needs, and how it is read.

    Attributes:
        name: its key in ``METRICS``.
        kind: the ground truth it compares with.
        higher_is_better: the direction.
        function: from a ``Case`` to the score.
        needs: arguments of ``score_map`` that it cannot do without.
    """

    name: str
    kind: Kind
    higher_is_better: bool
    function: Callable[[Case], float]
    needs: tuple[str, ...]


def _table() -> dict[str, Metric]:
    xy, density, mask = ("xy",), ("density",), ("mask",)
    pair = ("target", "distractors")
    rows: list[tuple[str, Kind, bool, Callable[[Case], float], tuple[str, ...]]] = [
        ("auc", "fixations", True, roc.score_auc, xy),
        ("auc_judd", "fixations", True, roc.score_auc_judd, xy),
        ("auc_borji", "fixations", True, roc.score_auc_borji, xy),
        ("shuffled_auc", "fixations", True, roc.score_shuffled_auc, ("xy", "other_xy")),
        ("nss", "fixations", True, fixations.score_nss, xy),
        ("log_likelihood", "fixations", True, fixations.score_log_likelihood, xy),
        ("information_gain", "fixations", True, fixations.score_information_gain, ("xy", "baseline")),
        ("cc", "density", True, densities.score_cc, density),
        ("sim", "density", True, densities.score_sim, density),
        ("kl", "density", False, densities.score_kl, density),
        ("emd", "density", False, transport.score_emd, density),
        ("f_adaptive", "regions", True, partial(regions.score_f, how="adaptive"), mask),
        ("f_max", "regions", True, partial(regions.score_f, how="max"), mask),
        ("f_mean", "regions", True, partial(regions.score_f, how="mean"), mask),
        ("weighted_f", "regions", True, structure.score_weighted_f, mask),
        ("iou_adaptive", "regions", True, partial(regions.score_iou, how="adaptive"), mask),
        ("iou_max", "regions", True, partial(regions.score_iou, how="max"), mask),
        ("iou_mean", "regions", True, partial(regions.score_iou, how="mean"), mask),
        ("mae", "regions", False, regions.score_mae, mask),
        ("s_measure", "regions", True, structure.score_s_measure, mask),
        ("e_adaptive", "regions", True, partial(structure.score_e_measure, how="adaptive"), mask),
        ("e_max", "regions", True, partial(structure.score_e_measure, how="max"), mask),
        ("e_mean", "regions", True, partial(structure.score_e_measure, how="mean"), mask),
        ("region_auc", "regions", True, regions.score_region_auc, mask),
        (
            "fixations_to_target",
            "oddity",
            False,
            oddity.score_fixations_to_target,
            ("target", "distractor_size"),
        ),
        ("gsi", "oddity", True, oddity.score_gsi, pair),
        ("msr_target", "oddity", True, oddity.score_msr_target, pair),
        ("msr_background", "oddity", False, oddity.score_msr_background, pair),
    ]
    return {name: Metric(name, kind, up, function, needs) for name, kind, up, function, needs in rows}


METRICS: dict[str, Metric] = _table()


def score_map(
    map: ArrayLike,
    *,
    xy: ArrayLike | None = None,
    density: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    other_xy: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    target: ArrayLike | None = None,
    distractors: ArrayLike | None = None,
    distractor_size: float | None = None,
    metrics: str | Iterable[str] = "all",
    preset: str = "mit",
    seed: int | None = None,
) -> dict[str, float]:
    """Score one map by many metrics, what they share computed once.

    Args:
        map: H×W saliency, any real dtype, finite.
        xy: (N, 2) fixations on this image, pixels; see ``inside`` for those that may lie outside.
        density: H×W density of fixations, any scale (``density_map``).
        mask: H×W salient region: booleans, or 0 and 1, or grey levels of which those above 128 are the
            region.
        other_xy: (M, 2) fixations made on other images, scaled to this image's size, pixels.
        baseline: H×W density that information gain is over, usually a centre prior.
        target, distractors: H×W masks of an odd-one-out display.
        distractor_size: side of a distractor, pixels.
        metrics: ``"all"`` that the ground truth given here allows, or names of ``METRICS``.
        preset: whose definitions: ``"mit"``, ``"pysaliency"`` or ``"pysod"``.
        seed: of the metrics that draw random numbers; ``None``: the preset's.

    Returns:
        Name to score, in the order of ``METRICS``, or of the names given.

    Raises:
        SparsightError: an unknown name, a named metric whose ground truth is missing, sizes that differ, NaN,
        no fixations,
            fixations outside the map, an empty mask. Each sentence says which.
    """
    truth = {
        "xy": xy,
        "density": density,
        "mask": mask,
        "other_xy": other_xy,
        "baseline": baseline,
        "target": target,
        "distractors": distractors,
        "distractor_size": distractor_size,
    }
    missing = {name for name, value in truth.items() if value is None}
    if isinstance(metrics, str) and metrics == "all":
        chosen = [metric for metric in METRICS.values() if not missing.intersection(metric.needs)]
    else:
        names = [metrics] if isinstance(metrics, str) else list(metrics)
        chosen = [lookup("saliency metric", name, METRICS) for name in names]
        for metric in chosen:
            if lacking := missing.intersection(metric.needs):
                raise SparsightError(
                    f"the metric {metric.name!r} needs {' and '.join(sorted(lacking))}: "
                    "give it or leave the metric out."
                )
    given = case(map, preset=preset, seed=seed, **truth)  # type: ignore[arg-type]
    if metrics == "all" and given.mask is not None and given.mask.all():
        # Nothing lies outside the region, and the other metrics can still be had.
        chosen.remove(METRICS["region_auc"])
    return {metric.name: metric.function(given) for metric in chosen}
