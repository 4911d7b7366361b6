"""What the three experiments found, in sentences that state the statistics behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsight.saliency.assess.agreement import SAME, Agreement, PerImage, Ranking
from sparsight.saliency.assess.effects import Effect, PropertyEffects
from sparsight.saliency.assess.mixing import ENOUGH, Mixing
from sparsight.saliency.assess.statistics import ALPHA, Values, adjust, magnitude
from sparsight.saliency.assess.tables import FIXATIONS, REGIONS, Scores
from sparsight.saliency.assess.wording import (
    agreement_word,
    alike_word,
    extent,
    listed,
    number,
    often_word,
    p_text,
    plural,
    property_name,
    sentence,
    split_name,
    truth_name,
)

TRUTHS, PROPERTIES, METRICS = "truths", "properties", "metrics"

_LOADS = 0.6
"""A metric belongs to a component that it correlates with so much."""

_COPIES = 0.95
"""Two metrics that correlate so much say the same."""

_GOES_WITH = 0.5

_BLIND = ("uniform", "random")
"""Models that see nothing of the image: what they score is chance."""

_OF_CHANCE = 0.08
"""An effect on chance that is more than small (epsilon squared)."""


_LITTLE = 0.1
"""A difference of tau that is called little."""

_CONTRASTS = 0.3
"""Where no metric belongs to a component, those that load so much say what it sets against what."""

_MANY_MODELS = 6
"""With fewer, one swapped pair changes tau by more than a tenth or so."""

_NOT_INDEPENDENT = (
    "Metrics share maps and formulas, so they are no independent judges: take p as a guide, W as the finding."
)


@dataclass(frozen=True)
class Conclusion:
    """One finding.

    Attributes:
        experiment: ``"truths"``, ``"properties"`` or ``"metrics"``.
        claim: the finding in plain words.
        evidence: the statistics that it stands on.
        caution: why it may mean little, or empty.
    """

    experiment: str
    claim: str
    evidence: str
    caution: str = ""


def of_agreement(scores: Scores, found: Agreement) -> list[Conclusion]:
    """What the first experiment found: leaders, and how metrics and truths agree."""
    conclusions = []
    for dataset, name in enumerate(scores.datasets):
        for truth in dict.fromkeys(each.measure.truth for each in found.rankings):
            rankings = [
                each for each in found.rankings if (each.dataset, each.measure.truth) == (dataset, truth)
            ]
            if rankings:
                conclusions.append(_leader(scores.models, name, truth, rankings))
    told = False
    for truth, agreed in found.concordance.items():
        if truth == "all" and len(found.concordance) == 2:
            continue  # it is the other one
        if agreed.judges > 1:
            whose = "All rankings together" if truth == "all" else f"The metrics against {truth_name(truth)}"
            conclusions.append(
                Conclusion(
                    TRUTHS,
                    f"{whose} agree {agreement_word(agreed.w)} on the order of the models.",
                    f"Kendall's W = {number(agreed.w)}, permutation {p_text(agreed.p)}, {agreed.judges} "
                    f"rankings of {agreed.things} models.",
                    sentence(agreed.caution) or ("" if told else _NOT_INDEPENDENT),
                )
            )
            told = True
    groups = [
        [_row_name(scores, found.rankings[index]) for index in np.flatnonzero(found.groups == group)]
        for group in np.unique(found.groups)
    ]
    if len(found.rankings) > 1:
        inner = found.tau[np.triu_indices(len(found.tau), 1)]
        claim = (
            "All metrics order the models much alike."
            if len(groups) == 1
            else f"By the order that they give the models, the metrics fall into {len(groups)} groups: "
            + "; ".join(listed(group) for group in sorted(groups, key=len, reverse=True))
            + "."
        )
        conclusions.append(
            Conclusion(
                TRUTHS,
                claim,
                "This is about the order of the models alone, not about what else varies over images. "
                f"Average linkage of Kendall's tau, cut at {SAME:g}; tau of two rankings lies from "
                f"{number(np.nanmin(inner))} to {number(np.nanmax(inner))}, median "
                f"{number(np.nanmedian(inner))}.",
                ""
                if len(groups) == 1 or len(scores.models) >= _MANY_MODELS
                else f"Of {len(scores.models)} models a single swap can part two metrics: such groups may be "
                "chance.",
            )
        )
    if found.between is not None:
        conclusions += _between(scores, found)
    for each in found.per_image:
        conclusions += _per_image(scores, each)
    return conclusions


def of_effects(scores: Scores, found: PropertyEffects) -> list[Conclusion]:
    """What the second experiment found on one data set: what makes images hard."""
    name = scores.datasets[found.dataset]
    by_split: dict[tuple[str, str], list[Effect]] = {}
    for effect in found.effects:
        by_split.setdefault((effect.split.property, effect.split.kind), []).append(effect)
    if not by_split:
        return [
            Conclusion(
                PROPERTIES,
                f"On {name} there are too few images to tell what the properties of regions do.",
                f"{len(found.properties.images)} images with regions.",
            )
        ]
    strength = {
        key: float(np.nanmedian([effect.epsilon_squared for effect in effects]))
        for key, effects in by_split.items()
        if any(np.isfinite(effect.epsilon_squared) for effect in effects)
    }
    order = sorted(strength, key=lambda key: -strength[key])
    conclusions = []
    if len(order) > 1:
        conclusions.append(
            Conclusion(
                PROPERTIES,
                _largest({key: by_split[key] for key in order}, name),
                "Median epsilon squared over metrics: "
                + ", ".join(f"{split_name(*key)} {number(strength[key])}" for key in order)
                + ".",
                _confounds(found),
            )
        )
    conclusions += [_property(by_split[key], *key, name, scores.models) for key in order]
    return conclusions


def of_mixing(scores: Scores, found: Mixing) -> list[Conclusion]:
    """What the third experiment found on one data set: how many metrics it takes."""
    name = scores.datasets[found.dataset]
    parts = found.components
    metrics = [measure.name for measure in found.measures]
    share = float(parts.loading_explained.sum())
    caution = sentence(found.caution)
    conclusions = [
        Conclusion(
            METRICS,
            f"On {name}, {plural(parts.kept, 'component')} {'carries' if parts.kept == 1 else 'carry'} "
            f"{share:.0%} of what varies in {len(metrics)} metrics; the other {1 - share:.0%} single metrics "
            "have to themselves, or chance does.",
            f"Eigenvalues {', '.join(number(value) for value in parts.eigenvalues[: parts.kept + 1])} "
            f"against {', '.join(number(value) for value in parts.chance[: parts.kept + 1])} by chance "
            f"(Horn's parallel analysis, 95%), {found.rows:,} rows of {found.images:,} images.",
            caution,
        )
    ]
    for index in range(parts.kept):
        loading = parts.loadings[:, index]
        order = [int(which) for which in np.argsort(-np.abs(loading), kind="stable")]
        strong = [which for which in order if abs(loading[which]) >= _LOADS]
        conclusions.append(
            Conclusion(
                METRICS,
                _component(index, metrics, loading, strong, parts.rotated),
                f"{parts.loading_explained[index]:.0%} of the "
                f"variance{' after varimax' if parts.rotated else ''}; loadings "
                + ", ".join(f"{metrics[which]} {number(loading[which])}" for which in order[:6])
                + ".",
            )
        )
    left, right = np.triu_indices(len(metrics), 1)
    pairs = found.correlation[left, right]
    copies = [int(index) for index in np.argsort(-pairs) if pairs[index] >= _COPIES]
    if copies:
        shown_pairs = [
            f"{metrics[left[index]]} and {metrics[right[index]]} ({number(pairs[index], 3)})"
            for index in copies
        ]
        conclusions.append(
            Conclusion(
                METRICS,
                f"{plural(len(copies), 'pair')} of metrics say{'s' * (len(copies) == 1)} nearly the same: "
                "one of each is enough.",
                f"Pearson's r of at least {_COPIES}: {listed(shown_pairs)}.",
            )
        )
    conclusions.append(_mixed_order(scores, found, metrics, caution))
    chosen = found.sets[found.recommended]
    names = [metrics[index] for index in chosen.metrics]
    smaller = (
        f" With one fewer, {found.sets[found.recommended - 1].explained:.1%}." if found.recommended else ""
    )
    own = (
        " That is more than there are components: a component is what metrics share, and a metric must also "
        "be told for what it has to itself."
        if len(names) > parts.kept
        else ""
    )
    conclusions.append(
        Conclusion(
            METRICS,
            f"On {name}, report {listed(names)}: {'it tells' if len(names) == 1 else 'together they tell'} "
            f"{chosen.explained:.0%} of what varies in all {len(metrics)} metrics."
            if len(names) < len(metrics)
            else f"On {name}, report every metric: none can be told from the others.",
            f"{plural(len(names), 'metric')} of {len(metrics)} explain{'s' * (len(names) == 1)} "
            f"{chosen.explained:.1%} of the variance of all (linear regression; {ENOUGH:.0%} asked for; "
            f"{'all sets tried' if chosen.exhaustive else 'grown one by one'}).{smaller}{own}",
            caution,
        )
    )
    return conclusions


def _leader(models: Sequence[str], name: str, truth: str, rankings: Sequence[Ranking]) -> Conclusion:
    ranks = np.mean([each.ranks for each in rankings], axis=0)
    best = int(ranks.argmin())
    first = sum(each.ranks[best] == each.ranks.min() for each in rankings)
    corrected = adjust([each.p for each in rankings], "holm")
    real = int(np.count_nonzero(corrected < ALPHA))
    rivals = [
        model
        for other, model in enumerate(models)
        if other != best and not all(each.pairs[best, other] < ALPHA for each in rankings)
    ]
    beaten = (
        f"by at least one metric it cannot be told from {listed(rivals)}"
        if rivals
        else "by every metric it differs significantly from every other model"
    )
    w = [each.w for each in rankings]
    images = [each.images for each in rankings]
    chosen = rankings[int(np.nanargmax(w))] if np.isfinite(w).any() else rankings[0]
    return Conclusion(
        TRUTHS,
        f"On {name}, {models[best]} ranks first by {first} of {plural(len(rankings), 'metric')} against "
        f"{truth_name(truth)}; {beaten}.",
        f"Mean rank {number(ranks[best])} of {len(models)}. Models differ by {real} of {len(rankings)} "
        f"metrics (Friedman, Holm-corrected p < {ALPHA:g}; Nemenyi for pairs); Kendall's W from "
        f"{number(np.nanmin(w))} to {number(np.nanmax(w))}, highest for {chosen.measure.name} "
        f"(χ²({len(models) - 1}) = {number(chosen.chi2)}, {p_text(chosen.p)}); {extent(images)} images."
        if np.isfinite(w).any()
        else f"Mean rank {number(ranks[best])} of {len(models)} on {extent(images)} image.",
        sentence(next((each.caution for each in rankings if each.caution), "")),
    )


def _between(scores: Scores, found: Agreement) -> list[Conclusion]:
    assert found.between is not None
    both = found.between
    first, second = found.consensus[FIXATIONS], found.consensus[REGIONS]
    where = {
        truth: sorted(
            {scores.datasets[each.dataset] for each in found.rankings if each.measure.truth == truth}
        )
        for truth in (FIXATIONS, REGIONS)
    }
    caution = sentence(both.caution)
    if where[FIXATIONS] != where[REGIONS]:
        caution = (
            f"{caution} Fixations are of {listed(where[FIXATIONS])} and regions of {listed(where[REGIONS])}: "
            "the images differ as well as the truths."
        ).strip()
    if not np.isfinite(both.tau):
        claim = "Whether fixations and regions rank the models alike cannot be said."
    elif both.p_tau < ALPHA and both.tau > 0:
        claim = f"Fixations and regions rank the models {alike_word(both.tau)}."
    elif both.p_tau < ALPHA:
        claim = "Fixations and regions rank the models the other way round."
    else:
        claim = (
            f"Nothing shows that fixations and regions rank the {both.n} models alike: the choice of the "
            "ground truth may decide which model wins."
        )
    conclusions = [
        Conclusion(
            TRUTHS,
            claim,
            f"Mean ranks over metrics: Kendall's tau = {number(both.tau)} ({p_text(both.p_tau)}), "
            f"Spearman's rho = {number(both.rho)} ({p_text(both.p_rho)}), permutation, {both.n} models.",
            caution,
        )
    ]
    shift = second - first
    mover = int(np.abs(shift).argmax())
    if abs(shift[mover]) >= 1:
        conclusions.append(
            Conclusion(
                TRUTHS,
                f"In this sample, {scores.models[mover]} moves most between the ground truths: it stands "
                f"higher by {truth_name(FIXATIONS if shift[mover] > 0 else REGIONS)}.",
                f"Mean rank {number(first[mover])} by fixations and {number(second[mover])} by regions, of "
                f"{len(first)} models.",
            )
        )
    return conclusions


def _per_image(scores: Scores, each: PerImage) -> list[Conclusion]:
    name = scores.datasets[each.dataset]
    (between, low, high), (within, within_low, within_high) = each.means
    gap = within - between
    lead = f"Image by image on {name}, "
    than = "on the order of the models than two metrics of one truth do"
    if not np.isfinite(within):
        claim = f"{lead}the two truths agree {agreement_word(between)}."
    elif not each.p_difference < ALPHA:
        claim = f"{lead}nothing shows that the two truths agree less {than}."
    elif gap < 0:
        claim = f"{lead}the two truths agree more {than}."
    elif gap < _LITTLE:
        claim = f"{lead}the two truths agree a little less {than}."
    else:
        claim = f"{lead}the two truths agree less {than}: the truth itself matters."
    return [
        Conclusion(
            TRUTHS,
            claim,
            f"Mean tau over {len(each.images)} images {number(between)} [{number(low)}, {number(high)}] "
            f"between truths ({p_text(each.p_between)}), {number(within)} [{number(within_low)}, "
            f"{number(within_high)}] within one (difference {p_text(each.p_difference)}; Wilcoxon "
            f"signed-rank); the same best model on {each.same_best:.0%} of the images.",
            sentence(each.caution),
        ),
        Conclusion(
            TRUTHS,
            "An image on which a model does well by one truth is "
            f"{often_word(float(np.nanmean(each.difficulty)))} one on which it does well by the other.",
            f"Spearman's rho over {len(each.images)} images, per model from "
            f"{number(np.nanmin(each.difficulty))} to {number(np.nanmax(each.difficulty))}, mean "
            f"{number(float(np.nanmean(each.difficulty)))}.",
            sentence(each.caution),
        ),
    ]


def _largest(by_split: Mapping[tuple[str, str], Sequence[Effect]], name: str) -> str:
    """Which properties move the scores, of those that a test found to; ``by_split`` from most to least."""
    real = [key for key, effects in by_split.items() if any(each.p_holm < ALPHA for each in effects)]
    if real:
        more = f", then on {listed([split_name(*key) for key in real[1:]])}" if real[1:] else ""
        return f"On {name}, scores depend most on {split_name(*real[0])}{more}."
    key, effects = next(iter(by_split.items()))
    least = float(np.nanmin([each.p_holm for each in effects]))
    return (
        f"On {name}, nothing shows that scores depend on any property: the largest effect in this sample is "
        f"that of {split_name(*key)}, not significant ({p_text(least)})."
    )


def _property(
    effects: Sequence[Effect], what: str, kind: str, name: str, models: Sequence[str]
) -> Conclusion:
    real = [effect for effect in effects if effect.p_holm < ALPHA]
    strongest = max(effects, key=lambda effect: np.nan_to_num(effect.epsilon_squared))
    split = split_name(what, kind)
    if not real:
        claim = f"On {name}, nothing shows that scores depend on {split}."
    else:
        favours: dict[str, list[str]] = {}
        for effect in real:
            better = effect.means if effect.measure.higher_is_better else -effect.means
            favours.setdefault(effect.labels[int(better.argmax())], []).append(effect.measure.name)
        told = [
            f"best where it is {label} by {listed(metrics)}"
            for label, metrics in sorted(favours.items(), key=lambda item: -len(item[1]))
        ]
        claim = (
            f"On {name}, scores depend on {split} by {len(real)} of {plural(len(effects), 'metric')}: "
            f"{'; '.join(told)}."
        )
    top, bottom = _extremes(strongest)
    stable = [effect.stability[np.triu_indices(len(effect.labels), 1)].mean() for effect in effects]
    caution = sentence(next((effect.caution for effect in effects if effect.caution), ""))
    chance, is_warning = _chance(strongest, what, models) if real else ("", False)
    if is_warning:
        caution = f"{caution} {chance}".strip()
    evidence = (
        f"Strongest for {strongest.measure.name}: Kruskal-Wallis H({len(strongest.labels) - 1}) = "
        f"{number(strongest.h)}, Holm-corrected {p_text(strongest.p_holm)}, epsilon squared = "
        f"{number(strongest.epsilon_squared)} ({magnitude(strongest.epsilon_squared, 'epsilon')})"
    )
    if real:  # pairs are compared only after a test that found something
        evidence += (
            f"; {strongest.labels[top]} against {strongest.labels[bottom]}: Dunn "
            f"{p_text(strongest.pairs[top, bottom])}, Cliff's delta = {number(strongest.delta[top, bottom])} "
            f"({magnitude(strongest.delta[top, bottom], 'delta')})"
        )
    evidence += f". The models' order keeps between groups: mean tau {number(float(np.nanmean(stable)))}."
    if chance and not is_warning:
        evidence += f" {chance}"
    return Conclusion(PROPERTIES, claim, evidence, caution)


def _chance(effect: Effect, what: str, models: Sequence[str]) -> tuple[str, bool]:
    """How far the property changes the scores of a model that sees nothing, and whether that is a warning."""
    metric = effect.measure.name
    for blind in _BLIND:
        if blind in models:
            found = float(effect.model_epsilon[list(models).index(blind)])
            if not np.isfinite(found):
                return f"Chance does not depend on it: {metric} is constant for {blind}.", False
            if found < _OF_CHANCE:
                return f"Chance hardly depends on it: epsilon squared is {number(found)} for {blind}.", False
            return (
                f"Chance depends on it, too: epsilon squared of {metric} is {number(found)} for {blind}, "
                "which sees nothing."
            ), True
    if what == "size":
        return (
            "What chance scores against regions depends on their size for most metrics: score uniform and "
            "random, too, before blaming the models."
        ), True
    return "", False


def _extremes(effect: Effect) -> tuple[int, int]:
    """The groups with the largest difference, the better one first."""
    top, bottom = np.unravel_index(int(effect.delta.argmax()), effect.delta.shape)
    return int(top), int(bottom)


def _confounds(found: PropertyEffects) -> str:
    names = list(found.properties.values)
    left, right = np.triu_indices(len(names), 1)
    rho = found.correlation[left, right]
    pairs = [
        f"{property_name(names[left[index]])} and {property_name(names[right[index]])} (rho "
        f"{number(rho[index])})"
        for index in np.argsort(-np.abs(np.nan_to_num(rho)))
        if abs(rho[index]) >= _GOES_WITH
    ]
    return f"Properties go together, so that their effects mix: {listed(pairs)}." if pairs else ""


def _component(
    index: int, metrics: Sequence[str], loading: Values, strong: Sequence[int], rotated: bool
) -> str:
    """What a component stands for."""
    head = f"Component {index + 1}"
    order = np.argsort(-np.abs(loading), kind="stable")
    least = _LOADS if strong else _CONTRASTS
    up = [metrics[which] for which in order if loading[which] >= least]
    down = [metrics[which] for which in order if loading[which] <= -least]
    if len(up) == len(metrics) and len(metrics) > 2:
        return f"{head} is what all {len(metrics)} metrics have in common."
    if up and down:
        hint = "" if rotated else " (--varimax would give each a component of its own)"
        return f"{head} sets {listed(up)} against {listed(down)}{hint}."
    if strong:
        return f"{head} stands for {listed(up or down)}."
    return f"{head} belongs to no metric in particular."


def _mixed_order(scores: Scores, found: Mixing, metrics: Sequence[str], caution: str) -> Conclusion:
    order = np.argsort(found.ranks[-1], kind="stable")
    near, far = int(np.nanargmax(found.agreement[-1])), int(np.nanargmin(found.agreement[-1]))
    by_first = found.agreement[-1]
    return Conclusion(
        METRICS,
        f"By the mixed score on {scores.datasets[found.dataset]}, the models rank "
        f"{' > '.join(scores.models[index] for index in order)}; of single metrics, {metrics[near]} orders "
        f"them most alike and {metrics[far]} least.",
        "Component scores weighted by the variance that they explain; tau with the order by "
        f"{metrics[near]} {number(by_first[near])}, by {metrics[far]} {number(by_first[far])}, median over "
        f"metrics {number(np.nanmedian(by_first))}.",
        caution,
    )


def _row_name(scores: Scores, each: Ranking) -> str:
    return (
        each.measure.name
        if len(scores.datasets) == 1
        else f"{each.measure.name} ({scores.datasets[each.dataset]})"
    )
