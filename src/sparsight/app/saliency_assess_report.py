"""``report.html`` of an assessment of saliency models: self-contained, with plots and conclusions."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from sparsight import __version__
from sparsight.app import saliency_assess_charts as draw
from sparsight.app.charts import Series, line_chart
from sparsight.files import write_text
from sparsight.saliency.assess.agreement import Agreement, PerImage, Ranking
from sparsight.saliency.assess.assessment import Assessment
from sparsight.saliency.assess.conclusions import METRICS, PROPERTIES, TRUTHS
from sparsight.saliency.assess.effects import Effect, PropertyEffects
from sparsight.saliency.assess.mixing import ENOUGH, Mixing
from sparsight.saliency.assess.properties import PROPERTIES as MEASURED
from sparsight.saliency.assess.statistics import ALPHA
from sparsight.saliency.assess.tables import Scores
from sparsight.saliency.assess.wording import listed, number, p_text, plural, property_name, truth_name

REPORT = "report.html"


def write_report(found: Assessment, out: Path, settings: list[tuple[str, str]]) -> Path:
    """Write the page about an assessment into ``out``: all charts are inside, nothing is fetched to show it.

    Args:
        found: the three experiments.
        out: the folder.
        settings: name and value of what the assessment was made with.
    """
    scores = found.scores
    experiments = {
        key: [each for each in found.conclusions if each.experiment == key]
        for key in (TRUTHS, PROPERTIES, METRICS)
    }
    page = _template("saliency_assess.html.j2").render(
        title="Assessment of saliency models",
        subtitle=f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}",
        facts=_facts(scores),
        one_truth=""
        if found.agreement.between is not None
        else listed([truth_name(truth) for truth in found.agreement.consensus]),
        truths=experiments[TRUTHS],
        properties=experiments[PROPERTIES],
        metrics=experiments[METRICS],
        models=[
            {"name": name, "colour": f"var(--model-{index % 10})"} for index, name in enumerate(scores.models)
        ],
        rankings=_rankings(scores, found.agreement),
        per_image=[_per_image(scores, each) for each in found.agreement.per_image],
        effects=[_effects(scores, each) for each in found.effects],
        mixings=[_mixing(scores, each) for each in found.mixings],
        measured=MEASURED.items(),
        notes=found.notes,
        settings=settings,
        alpha=f"{ALPHA:g}",
        enough=f"{ENOUGH:.0%}",
    )
    path = out / REPORT
    write_text(path, page)
    return path


def _facts(scores: Scores) -> list[dict[str, str]]:
    truths = list(dict.fromkeys(measure.truth for measure in scores.measures))
    return [
        {"value": f"{len(scores.models)}", "label": "models"},
        *(
            {"value": f"{int((scores.dataset == index).sum()):,}", "label": f"images of {name}"}
            for index, name in enumerate(scores.datasets)
        ),
        *(
            {
                "value": f"{sum(measure.truth == truth for measure in scores.measures)}",
                "label": f"metrics against {truth_name(truth)}",
            }
            for truth in truths
        ),
    ]


def _rankings(scores: Scores, found: Agreement) -> dict[str, Any]:
    order = [int(index) for index in found.order]
    names = [_ranking_name(scores, each) for each in found.rankings]
    ordered = [names[index] for index in order]
    ranks = np.array([found.rankings[index].ranks for index in order])
    by_truth: dict[str, Ranking] = {}
    for each in found.rankings:
        key = f"{scores.datasets[each.dataset]}, {truth_name(each.measure.truth)}"
        if key not in by_truth or np.nan_to_num(each.w) > np.nan_to_num(by_truth[key].w):
            by_truth[key] = each
    return {
        "lines": Markup(
            draw.rank_lines(ordered, scores.models, ranks, "ranks of the models by every metric")
        ),
        "tau": Markup(
            draw.matrix(ordered, ordered, found.tau[np.ix_(order, order)], "Kendall's tau of the rankings")
        ),
        "consensus": Markup(
            draw.rank_lines(
                [truth_name(truth) for truth in found.consensus],
                scores.models,
                np.array(list(found.consensus.values())),
                "mean rank over metrics by each ground truth",
            )
        )
        if len(found.consensus) > 1
        else "",
        "shown": [_difference(scores, key, each) for key, each in by_truth.items()],
        "all": [
            _difference(scores, _ranking_name(scores, each), each)
            for each in found.rankings
            if each not in by_truth.values()
        ],
        "table": {
            "columns": names,
            "rows": [
                {
                    "model": model,
                    "cells": [
                        {
                            "mean": f"{each.means[index]:.3f}",
                            "interval": f"{each.low[index]:.3f} to {each.high[index]:.3f}",
                            "best": each.ranks[index] == each.ranks.min(),
                        }
                        for each in found.rankings
                    ],
                }
                for index, model in enumerate(scores.models)
            ],
        },
    }


def _difference(scores: Scores, key: str, each: Ranking) -> dict[str, Any]:
    return {
        "title": f"{key}: {each.measure.name}" if each.measure.name not in key else key,
        "note": f"Friedman χ²({len(scores.models) - 1}) = {number(each.chi2)}, {p_text(each.p)}, "
        f"Kendall's W = {number(each.w)}, {plural(each.images, 'image')}",
        "chart": Markup(
            draw.critical_difference(
                scores.models, each.mean_ranks, each.critical, f"mean ranks by {each.measure.name}"
            )
        ),
    }


def _per_image(scores: Scores, each: PerImage) -> dict[str, Any]:
    series = [("between the truths", each.between)]
    if np.isfinite(each.within).all():
        series.append(("within one truth", each.within))
    return {
        "name": scores.datasets[each.dataset],
        "histogram": Markup(
            draw.two_histograms(
                series, "agreement on single images", f"Kendall's tau on each of {len(each.images)} images"
            )
        ),
        "tau": Markup(
            draw.matrix(
                [scores.measures[index].name for index in each.fixations],
                [scores.measures[index].name for index in each.regions],
                each.tau,
                "mean tau over images of each two metrics",
            )
        ),
    }


def _effects(scores: Scores, found: PropertyEffects) -> dict[str, Any]:
    metrics = list(dict.fromkeys(effect.measure.name for effect in found.effects))
    keys = list(dict.fromkeys((effect.split.property, effect.split.kind) for effect in found.effects))
    shape = len(keys), len(metrics)
    epsilon, rho, sure = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    strongest: dict[tuple[str, str], Effect] = {}
    for effect in found.effects:
        key = (effect.split.property, effect.split.kind)
        at = keys.index(key), metrics.index(effect.measure.name)
        epsilon[at], rho[at], sure[at] = effect.epsilon_squared, effect.rho, effect.p_holm < ALPHA
        best = strongest.get(key)
        if best is None or np.nan_to_num(effect.epsilon_squared) > np.nan_to_num(best.epsilon_squared):
            strongest[key] = effect
    rows = [f"{name}, {kind}" if name == "size" else name for name, kind in keys]
    names = list(found.properties.values)
    plain = [index for index, (_, kind) in enumerate(keys) if kind != "absolute"]
    return {
        "name": scores.datasets[found.dataset],
        "images": f"{len(found.properties.images):,}",
        "epsilon": Markup(draw.matrix(rows, metrics, epsilon, "epsilon squared", full=0.5, marks=sure))
        if rows
        else "",
        "rho": Markup(
            draw.matrix([rows[index] for index in plain], metrics, rho[plain], "Spearman's rho", full=0.8)
        )
        if plain
        else "",
        "together": Markup(draw.matrix(names, names, found.correlation, "correlation of the properties")),
        "charts": [
            {
                "title": f"{property_name(key[0])}"
                + (f", {key[1]}" if key[0] == "size" else "")
                + f": {effect.measure.name}"
                + ("" if effect.measure.higher_is_better else " (lower is better)"),
                "note": f"ε² = {number(effect.epsilon_squared)}, Holm-corrected {p_text(effect.p_holm)}; "
                f"images: " + ", ".join(map(str, effect.counts)),
                "chart": Markup(
                    draw.groups_chart(
                        effect.labels,
                        effect.means,
                        effect.low,
                        effect.high,
                        scores.models,
                        effect.model_means,
                        f"{effect.measure.name} by {key[0]}",
                    )
                ),
            }
            for key, effect in strongest.items()
        ],
    }


def _mixing(scores: Scores, found: Mixing) -> dict[str, Any]:
    parts = found.components
    metrics = [measure.name for measure in found.measures]
    heads = [f"component {index + 1}" for index in range(parts.kept)]
    kind = "varimax-rotated " if parts.rotated else ""
    order = np.lexsort(
        (-np.abs(parts.loadings).max(axis=1), np.abs(parts.loadings).argmax(axis=1))
    )  # metrics of one component together
    sizes = [float(len(each.metrics)) for each in found.sets]
    explained = [each.explained for each in found.sets]
    return {
        "name": scores.datasets[found.dataset],
        "rows": f"{found.rows:,}",
        "scree": Markup(draw.scree(parts.eigenvalues, parts.chance, parts.kept, "eigenvalues")),
        "loadings": Markup(
            draw.matrix(
                [f"{head} ({share:.0%})" for head, share in zip(heads, parts.loading_explained, strict=True)],
                [metrics[index] for index in order],
                parts.loadings[order].T,
                f"{kind}loadings",
                marks=np.abs(parts.loadings[order].T) >= 0.6,
            )
        ),
        "loadings_title": f"{kind}loadings".capitalize(),
        "plane": Markup(
            draw.loading_plane(metrics, parts.loadings[:, :2], "loadings of the first two components")
        )
        if parts.kept > 1
        else "",
        "correlation": Markup(
            draw.matrix(
                [metrics[index] for index in order],
                [metrics[index] for index in order],
                found.correlation[np.ix_(order, order)],
                "Pearson correlation of the metrics",
            )
        ),
        # With one component, overall is the same again.
        "mixed": [
            {
                "title": title,
                "chart": Markup(
                    draw.intervals(
                        scores.models, found.mixed[:, index], found.low[:, index], found.high[:, index], title
                    )
                ),
            }
            for index, title in enumerate(
                [*heads, "overall, weighted by variance"][: parts.kept + (parts.kept > 1)]
            )
        ],
        "agreement": Markup(
            draw.matrix(
                [*heads, "overall"],
                [metrics[index] for index in order],
                found.agreement[:, order],
                "tau of the models' order by a component and by one metric",
            )
        ),
        "sets_chart": Markup(
            line_chart(
                [Series("explained", sizes, explained, dots=True)],
                x_label="metrics in the set",
                y_label="variance of all metrics explained by the best set",
                x_range=(1, max(2.0, sizes[-1])),
                y_range=(min(0.5, *explained) if len(explained) > 1 else 0, 1),
                whole_x=True,
            )
        ),
        "sets": [
            {
                "size": len(each.metrics),
                "metrics": ", ".join(metrics[index] for index in each.metrics),
                "explained": f"{each.explained:.1%}",
                "recommended": index == found.recommended,
            }
            for index, each in enumerate(found.sets[: max(6, found.recommended + 2)])
        ],
        "recommended": listed([metrics[index] for index in found.sets[found.recommended].metrics]),
    }


def _ranking_name(scores: Scores, each: Ranking) -> str:
    name = each.measure.name
    return name if len(scores.datasets) == 1 else f"{name} · {scores.datasets[each.dataset]}"


def _template(name: str) -> jinja2.Template:
    # Names come from files and people: everything that the templates print is escaped, but for charts.
    def read(part: str) -> str:
        return resources.files("sparsight.app").joinpath(f"templates/{part}").read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template(name)
