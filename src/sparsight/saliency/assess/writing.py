"""The numbers of an assessment as tables, for whoever goes on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sparsight.files import replacing
from sparsight.saliency.assess.agreement import Agreement
from sparsight.saliency.assess.assessment import Assessment
from sparsight.saliency.assess.effects import PropertyEffects
from sparsight.saliency.assess.mixing import Mixing
from sparsight.saliency.assess.statistics import missing
from sparsight.saliency.assess.tables import Scores

Rows = list[dict[str, Any]]


def data_frames(found: Assessment) -> dict[str, Any]:
    """All numbers as long tables: name → ``pandas.DataFrame``; those without rows are left out.

    Raises:
        SparsightError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise missing("pandas") from None
    tables = _of_agreement(found.scores, found.agreement)
    for effects in found.effects:
        _extend(tables, _of_effects(found.scores, effects))
    for mixed in found.mixings:
        _extend(tables, _of_mixing(found.scores, mixed))
    tables["conclusions"] = [vars(conclusion) for conclusion in found.conclusions]
    return {name: pandas.DataFrame(rows) for name, rows in tables.items() if rows}


def write_tables(found: Assessment, folder: Path) -> list[Path]:
    """Write every table as ``NAME.csv`` and ``NAME.parquet``, each whole or not at all.

    Returns:
        The files.

    Raises:
        SparsightError: pandas or pyarrow is not installed.
        OSError: the folder cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing("pyarrow") from None
    files = []
    for name, frame in data_frames(found).items():
        for path in (folder / f"{name}.csv", folder / f"{name}.parquet"):
            with replacing(path) as temporary:
                if path.suffix == ".csv":
                    frame.to_csv(temporary, index=False, lineterminator="\n")
                else:
                    parquet.write_table(pyarrow.Table.from_pandas(frame, preserve_index=False), temporary)
            files.append(path)
    return files


def _extend(tables: dict[str, Rows], more: dict[str, Rows]) -> None:
    for name, rows in more.items():
        tables.setdefault(name, []).extend(rows)


def _of_agreement(scores: Scores, found: Agreement) -> dict[str, Rows]:
    heads = [
        {
            "dataset": scores.datasets[each.dataset],
            "metric": each.measure.name,
            "truth": each.measure.truth,
        }
        for each in found.rankings
    ]
    models = list(enumerate(scores.models))
    tables: dict[str, Rows] = {
        "rankings": [
            {
                **head,
                "model": model,
                "mean": each.means[index],
                "low": each.low[index],
                "high": each.high[index],
                "rank": each.ranks[index],
                "mean_rank": each.mean_ranks[index],
            }
            for head, each in zip(heads, found.rankings, strict=True)
            for index, model in models
        ],
        "ranking_tests": [
            {
                **head,
                "images": each.images,
                "friedman_chi2": each.chi2,
                "p": each.p,
                "kendall_w": each.w,
                "critical_difference": each.critical,
                "group": found.groups[row],
                "caution": each.caution,
            }
            for row, (head, each) in enumerate(zip(heads, found.rankings, strict=True))
        ],
        "ranking_pairs": [
            {**head, "a": a, "b": b, "nemenyi_p": each.pairs[first, second]}
            for head, each in zip(heads, found.rankings, strict=True)
            for first, a in models
            for second, b in models[first + 1 :]
        ],
        "ranking_correlations": [
            {
                **{f"{key}_a": value for key, value in one.items()},
                **{f"{key}_b": value for key, value in two.items()},
                "tau": found.tau[first, second],
                "rho": found.rho[first, second],
            }
            for first, one in enumerate(heads)
            for second, two in list(enumerate(heads))[first + 1 :]
        ],
        "concordance": [{"truth": truth, **vars(each)} for truth, each in found.concordance.items()],
        "consensus": [
            {"truth": truth, "model": model, "mean_rank": ranks[index]}
            for truth, ranks in found.consensus.items()
            for index, model in models
        ],
    }
    if found.between is not None:
        tables["truths"] = [vars(found.between)]
    for per_image in found.per_image:
        dataset = scores.datasets[per_image.dataset]
        _extend(
            tables,
            {
                "per_image": [
                    {"dataset": dataset, "image": image, "tau_between": between, "tau_within": within}
                    for image, between, within in zip(
                        per_image.images, per_image.between, per_image.within, strict=True
                    )
                ],
                "per_image_metrics": [
                    {
                        "dataset": dataset,
                        "fixations": scores.measures[one].name,
                        "regions": scores.measures[two].name,
                        "tau": per_image.tau[row, column],
                        "low": per_image.tau_low[row, column],
                        "high": per_image.tau_high[row, column],
                    }
                    for row, one in enumerate(per_image.fixations)
                    for column, two in enumerate(per_image.regions)
                ],
            },
        )
    return tables


def _of_effects(scores: Scores, found: PropertyEffects) -> dict[str, Rows]:
    dataset = scores.datasets[found.dataset]
    heads = [
        {
            "dataset": dataset,
            "property": each.split.property,
            "split": each.split.kind,
            "metric": each.measure.name,
        }
        for each in found.effects
    ]
    both = list(zip(heads, found.effects, strict=True))
    return {
        "regions": [
            {
                "dataset": dataset,
                "image": image,
                **{name: values[row] for name, values in found.properties.values.items()},
            }
            for row, image in enumerate(found.properties.images)
        ],
        "property_effects": [
            {
                **head,
                "kruskal_h": each.h,
                "p": each.p,
                "p_holm": each.p_holm,
                "p_bh": each.p_bh,
                "epsilon_squared": each.epsilon_squared,
                "spearman_rho": each.rho,
                "spearman_p": each.p_rho,
                "caution": each.caution,
            }
            for head, each in both
        ],
        "property_groups": [
            {
                **head,
                "group": label,
                "images": each.counts[group],
                "mean": each.means[group],
                "low": each.low[group],
                "high": each.high[group],
                "models_kendall_w": each.w[group],
                "models_p_holm": each.p_models[group],
                "critical_difference": each.critical[group],
            }
            for head, each in both
            for group, label in enumerate(each.labels)
        ],
        "property_models": [
            {
                **head,
                "group": label,
                "model": model,
                "mean": each.model_means[group, index],
                "mean_rank": each.mean_ranks[group, index],
                "kruskal_p_holm": each.model_p[index],
                "epsilon_squared": each.model_epsilon[index],
            }
            for head, each in both
            for group, label in enumerate(each.labels)
            for index, model in enumerate(scores.models)
        ],
        "property_pairs": [
            {
                **head,
                "a": each.labels[one],
                "b": each.labels[two],
                "dunn_p_holm": each.pairs[one, two],
                "cliffs_delta": each.delta[one, two],
                "models_tau": each.stability[one, two],
            }
            for head, each in both
            for one, two in zip(*np.triu_indices(len(each.labels), 1), strict=True)
        ],
    }


def _of_mixing(scores: Scores, found: Mixing) -> dict[str, Rows]:
    dataset = scores.datasets[found.dataset]
    parts = found.components
    names = [measure.name for measure in found.measures]
    columns = [*(f"component {index + 1}" for index in range(parts.kept)), "overall"]
    return {
        "metric_correlations": [
            {
                "dataset": dataset,
                "a": one,
                "b": two,
                "pearson": found.correlation[first, second],
                "spearman": found.spearman[first, second],
            }
            for first, one in enumerate(names)
            for second, two in list(enumerate(names))[first + 1 :]
        ],
        "components": [
            {
                "dataset": dataset,
                "component": index + 1,
                "eigenvalue": value,
                "explained": parts.explained[index],
                "chance": parts.chance[index],
                "kept": index < parts.kept,
            }
            for index, value in enumerate(parts.eigenvalues)
        ],
        "loadings": [
            {
                "dataset": dataset,
                "metric": name,
                "component": component + 1,
                "loading": parts.loadings[row, component],
                "weight": parts.weights[row, component],
                "varimax": parts.rotated,
            }
            for row, name in enumerate(names)
            for component in range(parts.kept)
        ],
        "mixed_scores": [
            {
                "dataset": dataset,
                "score": column,
                "model": model,
                "mean": found.mixed[row, index],
                "low": found.low[row, index],
                "high": found.high[row, index],
                "rank": found.ranks[index, row],
            }
            for index, column in enumerate(columns)
            for row, model in enumerate(scores.models)
        ],
        "mixed_against_single": [
            {"dataset": dataset, "score": column, "metric": name, "tau": found.agreement[index, row]}
            for index, column in enumerate(columns)
            for row, name in enumerate(names)
        ],
        "metric_sets": [
            {
                "dataset": dataset,
                "size": len(each.metrics),
                "metrics": " ".join(names[index] for index in each.metrics),
                "explained": each.explained,
                "exhaustive": each.exhaustive,
                "recommended": index == found.recommended,
            }
            for index, each in enumerate(found.sets)
        ],
    }
