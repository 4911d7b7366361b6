from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from made_scores import METRICS, Metric, scores_of, two_truths

from sparsight import SparsightError
from sparsight.saliency.assess import Assessment, RegionProperties, assess, data_frames, write_tables
from sparsight.saliency.assess.conclusions import METRICS as ABOUT_METRICS
from sparsight.saliency.assess.conclusions import PROPERTIES as ABOUT_PROPERTIES
from sparsight.saliency.assess.conclusions import TRUTHS as ABOUT_TRUTHS
from sparsight.saliency.assess.conclusions import of_agreement
from sparsight.saliency.assess.mixing import varimax_rotation
from sparsight.saliency.assess.properties import PROPERTIES
from sparsight.saliency.assess.statistics import Values, nemenyi
from sparsight.saliency.assess.wording import listed, number, p_text, plural, sentence, split_name

UP = [0.0, 0.6, 1.2, 1.8, 2.4, 3.0]


def properties_of(images: int, seed: int = 2) -> RegionProperties:
    rng = np.random.default_rng(seed)
    values = {name: rng.uniform(0, 0.4, images) for name in PROPERTIES}
    values["number"] = rng.integers(1, 4, images).astype(float)
    return RegionProperties("made", tuple(f"{index:03d}" for index in range(images)), values)


@pytest.fixture(scope="module")
def reversed_truths() -> Assessment:
    """Regions rank the models the other way round; larger regions are easier."""
    properties = properties_of(150)
    values = two_truths(UP, UP[::-1], images=150)
    values += (4 * properties.values["size"])[:, None, None] * np.array([1, 1, -1, 1, 1, -1.0])
    return assess(scores_of(values), [properties], varimax=True)


def claims(found: Assessment, about: str) -> str:
    return "\n".join(each.claim for each in found.conclusions if each.experiment == about)


def evidence(found: Assessment, part: str) -> str:
    return next(each.evidence for each in found.conclusions if part in each.claim)


def test_truths(reversed_truths: Assessment) -> None:
    said = claims(reversed_truths, ABOUT_TRUTHS)
    assert "On made, f ranks first by 3 of 3 metrics against eye fixations" in said
    assert "On made, a ranks first by 3 of 3 metrics against segmented regions" in said
    assert "The metrics against eye fixations agree almost completely on the order of the models." in said
    assert "All rankings together agree hardly" in said
    assert "the metrics fall into 2 groups: auc, nss and kl; f, s and mae." in said
    assert "Fixations and regions rank the models the other way round." in said
    assert "the truth itself matters" in said
    between = reversed_truths.agreement.between
    assert between is not None
    shown = evidence(reversed_truths, "the other way round")
    assert f"tau = −1.00 (p = {between.p_tau:.2g})" in shown and "6 models" in shown
    w = reversed_truths.agreement.concordance["fixations"]
    assert f"W = {w.w:.2f}, permutation p < 0.001, 3 rankings of 6 models" in evidence(
        reversed_truths, "against eye fixations agree"
    )


def test_properties(reversed_truths: Assessment) -> None:
    said = claims(reversed_truths, ABOUT_PROPERTIES)
    assert "On made, scores depend most on size (terciles), then on size (fixed limits).\n" in said
    assert "On made, scores depend on size (terciles) by 6 of 6 metrics: best where it is large" in said
    assert "nothing shows that scores depend on eccentricity" in said
    assert "Dunn" in evidence(reversed_truths, "depend on size (terciles)")
    assert "Dunn" not in evidence(reversed_truths, "nothing shows that scores depend on eccentricity")
    effect = max(
        (each for each in reversed_truths.effects[0].effects if each.split.kind == "terciles"),
        key=lambda each: each.epsilon_squared,
    )
    shown = evidence(reversed_truths, "depend on size (terciles)")
    assert f"Strongest for {effect.measure.name}: Kruskal-Wallis H(2) = " in shown
    assert f"epsilon squared = {effect.epsilon_squared:.2f} (large)" in shown
    assert f"Cliff's delta = {effect.delta[2, 0]:.2f} (large)" in shown
    caution = next(
        each.caution for each in reversed_truths.conclusions if "depend on size (terc" in each.claim
    )
    assert "What chance scores against regions depends on their size" in caution


def test_what_sees_nothing_shows_what_chance_does() -> None:
    properties = properties_of(90)
    values = two_truths(UP, UP, images=90)
    values += (6 * properties.values["size"])[:, None, None] * np.array([1, 1, -1, 1, 1, -1.0])
    scores = scores_of(values)
    models = ("uniform", *scores.models[1:])

    def said(values: Values) -> tuple[str, str]:
        found = assess(replace(scores, models=models, values=values), [properties])
        each = next(each for each in found.conclusions if "depend on size (terc" in each.claim)
        return each.evidence, each.caution

    assert "Chance depends on it, too: epsilon squared of" in said(values)[1]
    blind = values.copy()
    blind[:, 0] = np.random.default_rng(3).normal(size=(90, 6))
    assert "Chance hardly depends on it: epsilon squared is" in said(blind)[0]
    blind[:, 0] = 0.5
    evidence, caution = said(blind)
    assert "Chance does not depend on it" in evidence
    assert not caution


def test_metrics(reversed_truths: Assessment) -> None:
    said = claims(reversed_truths, ABOUT_METRICS)
    assert re.search(r"On made, 2 components carry \d\d% of what varies in 6 metrics; the other \d+% ", said)
    assert "Component 1 stands for " in said and "Component 2 stands for " in said
    assert "By the mixed score on made, the models rank " in said
    chosen = reversed_truths.mixings[0].sets[reversed_truths.mixings[0].recommended]
    names = [METRICS[index].name for index in chosen.metrics]
    assert f"report {listed(names)}: together they tell {chosen.explained:.0%} of" in said
    assert f"{chosen.explained:.1%} of the variance of all" in evidence(reversed_truths, "On made, report")


def test_an_effect_that_may_be_chance_is_called_so() -> None:
    """The headline and the sentences about each property do not contradict one another."""
    found = assess(scores_of(two_truths(UP, UP, images=60)), [properties_of(60)])
    effects = found.effects[0].effects
    assert min(each.p_holm for each in effects) > 0.05
    said = claims(found, ABOUT_PROPERTIES)
    assert "depend most" not in said and "matters" not in said
    shown = re.search(
        r"the largest effect in this sample is that of (.+), not significant \(p = ([\d.]+)\)", said
    )
    assert shown is not None
    medians: dict[str, list[float]] = {}
    least: dict[str, float] = {}
    for each in effects:
        key = split_name(each.split.property, each.split.kind)
        medians.setdefault(key, []).append(each.epsilon_squared)
        least[key] = min(least.get(key, 1.0), each.p_holm)
    largest = max(medians, key=lambda key: np.median(medians[key]))
    assert shown.group(1) == largest
    assert p_text(least[largest]) == f"p = {shown.group(2)}"
    assert f"nothing shows that scores depend on {largest}." in said


@pytest.mark.parametrize(
    ("within", "p", "words"),
    [
        (0.75, 0.001, r"agree less on .* do: the truth itself matters\.$"),
        (0.55, 0.001, r"agree a little less on the order of the models than two metrics of one truth do\.$"),
        (0.40, 0.001, r"agree more on the order of the models than two metrics of one truth do\.$"),
        (0.75, 0.2, r"nothing shows that the two truths agree less on the order .* do\.$"),
        (0.50, np.nan, r"nothing shows that the two truths agree less on the order .* do\.$"),
    ],
)
def test_a_cause_is_named_only_for_a_difference_that_is_large_and_sure(
    reversed_truths: Assessment, within: float, p: float, words: str
) -> None:
    each = reversed_truths.agreement.per_image[0]
    means = ((0.5, 0.4, 0.6), (within, within - 0.1, within + 0.1))
    changed = replace(each, means=means, p_difference=p)
    found = of_agreement(reversed_truths.scores, replace(reversed_truths.agreement, per_image=(changed,)))
    claim = next(one.claim for one in found if one.claim.startswith("Image by image"))
    assert re.search(words, claim), claim


def test_components_and_the_set_to_report_do_not_contradict_one_another() -> None:
    """One component, and more metrics to report than one: the sentences say why."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(200, 6, 1)) + 0.75 * rng.normal(size=(200, 6, 6))
    found = assess(scores_of(values * np.array([1, 1, -1, 1, 1, -1.0])))
    mixing = found.mixings[0]
    assert mixing.components.kept == 1
    assert len(mixing.sets[mixing.recommended].metrics) > 1
    said = claims(found, ABOUT_METRICS)
    assert "one thing" not in said
    assert re.search(r"On made, 1 component carries \d\d% of what varies in 6 metrics; the other", said)
    assert "That is more than there are components" in evidence(found, "On made, report")


def test_groups_of_few_models_may_be_chance() -> None:
    found = assess(scores_of(two_truths([0, 1, 2, 3], [3, 2, 1, 0], images=40)))
    each = next(one for one in found.conclusions if "fall into" in one.claim)
    assert "Of 4 models a single swap can part two metrics" in each.caution


def test_every_claim_states_its_evidence(reversed_truths: Assessment) -> None:
    for each in reversed_truths.conclusions:
        assert each.claim.endswith(".") and each.evidence.endswith(".")
        assert any(letter.isdigit() for letter in each.evidence)
        assert "nan" not in each.claim + each.evidence + each.caution
        assert "  " not in each.claim + each.evidence + each.caution


def test_little_data_makes_modest_sentences() -> None:
    found = assess(scores_of(two_truths([0, 3, 6], [0, 3, 6], images=6)), [properties_of(6)])
    cautions = " ".join(each.caution for each in found.conclusions)
    assert "even a perfect agreement can be chance (p at least 0.33)" in cautions
    assert "6 images are too few for the chi-square approximation" in cautions
    assert "6 images are few" in cautions
    assert "18 rows are few for 6 metrics" in cautions
    said = claims(found, ABOUT_TRUTHS)
    assert "Nothing shows that fixations and regions rank the 3 models alike" in said
    assert "too few images to tell what the properties" in claims(found, ABOUT_PROPERTIES)


def test_one_image_two_models_two_metrics() -> None:
    found = assess(scores_of(two_truths([0, 3], [0, 3], images=1)[:, :, :2], METRICS[:2]))
    assert not found.mixings
    assert found.notes == ("The metrics of made were not mixed: fewer than two vary on the same two images.",)
    assert "on 1 image" in found.conclusions[0].evidence


def test_metrics_that_agree_are_one_group() -> None:
    values = two_truths(UP, UP, images=80)
    found = assess(scores_of(values[:, :, :3], METRICS[:3]))
    assert "All metrics order the models much alike." in claims(found, ABOUT_TRUTHS)
    assert "Component 1 is what all 3 metrics have in common." in claims(found, ABOUT_METRICS)
    copy = values[:, :, [0, 0, 1]]
    metrics = (Metric("one", "fixations"), Metric("two", "fixations"), Metric("three", "fixations"))
    said = claims(assess(scores_of(copy, metrics)), ABOUT_METRICS)
    assert "1 pair of metrics says nearly the same" in said


def test_a_contrast_without_rotation() -> None:
    # Both truths share most of what varies; what is left sets one against the other.
    common = 1.5 * np.random.default_rng(0).normal(size=(150, 6, 1)) * np.array([1, 1, -1, 1, 1, -1.0])
    found = assess(scores_of(two_truths(UP, UP[::-1], images=150) + common))
    said = claims(found, ABOUT_METRICS)
    assert found.mixings[0].components.kept == 2
    assert "Component 1 is what all 6 metrics have in common." in said
    assert re.search(
        r"Component 2 sets (auc|nss|kl|,| |and)+ against (f|s|mae|,| |and)+ \(--varimax", said
    ) or (re.search(r"Component 2 sets (f|s|mae|,| |and)+ against (auc|nss|kl|,| |and)+ \(--varimax", said))


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("scikit_posthocs", lambda: nemenyi(np.eye(3))),
        ("statsmodels.multivariate.factor_rotation", lambda: varimax_rotation(np.eye(3)[:, :2])),
    ],
)
def test_a_missing_package(
    module: str, needed: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SparsightError, match=r"pip install 'sparsight\[assess\]'"):
        needed()


@pytest.mark.parametrize("module", ["pandas", "pyarrow"])
def test_tables_need_packages(
    reversed_truths: Assessment, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SparsightError, match=rf"needs {module}: pip install"):
        write_tables(reversed_truths, tmp_path)


def test_tables_hold_every_number(reversed_truths: Assessment, tmp_path: Path) -> None:
    frames = data_frames(reversed_truths)
    assert len(frames["rankings"]) == 6 * 6
    assert len(frames["ranking_correlations"]) == 15
    assert len(frames["ranking_pairs"]) == 6 * 15
    assert len(frames["regions"]) == 150
    assert len(frames["property_effects"]) == 8 * 6
    assert len(frames["per_image"]) == 150
    assert len(frames["metric_correlations"]) == 15
    assert frames["metric_sets"].recommended.sum() == 1
    assert (frames["loadings"].varimax).all()
    row = frames["rankings"].query("metric == 'kl' and model == 'f'").iloc[0]
    assert row["rank"] == 1 and row.low < row["mean"] < row.high
    files = write_tables(reversed_truths, tmp_path / "tables")
    assert {path.stem for path in files} == set(frames)
    for path in files:
        read = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
        frame = frames[path.stem]
        assert list(read.columns) == list(frame.columns)
        for name in frame.select_dtypes("number").columns:
            assert read[name].to_numpy(float) == pytest.approx(frame[name].to_numpy(float), nan_ok=True)


def test_words() -> None:
    assert [p_text(value) for value in (0.0002, 0.0123, 0.4321, np.nan)] == [
        "p < 0.001",
        "p = 0.012",
        "p = 0.43",
        "no p",
    ]
    assert [number(value) for value in (-0.004, -0.5, 12.34, 1234.5, np.nan)] == [
        "0.00",
        "−0.50",
        "12.3",
        "1,234",
        "undefined",
    ]
    assert (plural(1, "image"), plural(0, "image")) == ("1 image", "0 images")
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert (listed(["a"]), listed([]), listed(["a", "b"])) == ("a", "", "a and b")
    assert (sentence(""), sentence("one. two")) == ("", "One. two.")
