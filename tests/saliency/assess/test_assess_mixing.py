from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from made_scores import Metric, scores_of, two_truths
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from sparsight.saliency.assess import mixing as mix
from sparsight.saliency.assess.statistics import Values

UP = [0.0, 0.6, 1.2, 1.8, 2.4]


def correlated(rows: int = 400, seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(rows, 2))
    loads = np.array([[1, 0.1], [0.9, 0], [0.8, -0.1], [0.1, 1], [0, 0.9], [0.2, 0.2]])
    return np.asarray(latent @ loads.T + rng.normal(0, 0.4, (rows, 6)))


def test_components_are_scikit_learns() -> None:
    values = correlated()
    standard = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    theirs = PCA().fit(standard)
    found = mix.principal_components(np.corrcoef(values.T), len(values))
    assert found.eigenvalues == pytest.approx(theirs.explained_variance_)
    assert found.explained == pytest.approx(theirs.explained_variance_ratio_)
    assert found.kept == 2
    wanted = theirs.components_[:2].T * np.sqrt(theirs.explained_variance_[:2])
    assert np.abs(found.loadings) == pytest.approx(np.abs(wanted))
    assert (found.loadings.sum(axis=0) > 0).all()
    projected = standard @ found.weights
    assert np.cov(projected.T) == pytest.approx(np.eye(2), abs=1e-9)
    # A loading is the correlation of a metric with a component.
    both = np.corrcoef(np.hstack([values, projected]).T)
    assert found.loadings == pytest.approx(both[:6, 6:])


def varimax_value(loadings: Values) -> float:
    return float((loadings**2).var(axis=0).sum())


def test_varimax_against_all_rotations() -> None:
    loadings = mix.principal_components(np.corrcoef(correlated().T), 400).loadings
    angles = np.linspace(0, np.pi / 2, 20_001)
    best = max(
        varimax_value(loadings @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])) for a in angles
    )
    rotation = mix.varimax_rotation(loadings)
    assert rotation.T @ rotation == pytest.approx(np.eye(2), abs=1e-9)
    assert varimax_value(loadings @ rotation) == pytest.approx(best, rel=1e-6)


def test_rotated_components_explain_as_much_and_stay_uncorrelated() -> None:
    values = correlated()
    correlation = np.corrcoef(values.T)
    plain = mix.principal_components(correlation, 400)
    turned = mix.principal_components(correlation, 400, varimax=True)
    assert turned.rotated and not plain.rotated
    assert turned.loading_explained.sum() == pytest.approx(plain.loading_explained.sum())
    assert (np.diff(turned.loading_explained) <= 0).all()
    standard = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    assert np.cov((standard @ turned.weights).T) == pytest.approx(np.eye(2), abs=1e-9)
    assert (np.abs(turned.loadings[:3, 0]) > 0.85).all() and (np.abs(turned.loadings[:3, 1]) < 0.2).all()
    alone = mix.principal_components(np.array([[1, 0.9], [0.9, 1]]), 100, varimax=True)
    assert alone.kept == 1 and not alone.rotated


@pytest.mark.parametrize("rows", [12, 60, 1000])
def test_eigenvalues_by_chance_are_those_of_unrelated_columns(rows: int) -> None:
    rng = np.random.default_rng(5)
    drawn = [np.sort(np.linalg.eigvalsh(np.corrcoef(rng.normal(size=(5, rows)))))[::-1] for _ in range(2_000)]
    found = mix.principal_components(np.eye(5), rows).chance
    assert found == pytest.approx(np.percentile(drawn, 95, axis=0), rel=0.1, abs=0.03)


def test_unrelated_metrics_keep_one_component() -> None:
    values = np.random.default_rng(0).normal(size=(200, 6))
    assert mix.principal_components(np.corrcoef(values.T), 200).kept == 1


def test_sets_are_the_best_regressions() -> None:
    values = correlated()
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    found = mix.metric_sets(np.corrcoef(values.T))
    for size in (1, 2, 3):
        fits = {}
        for chosen in itertools.combinations(range(6), size):
            known = standard[:, list(chosen)]
            left = standard - LinearRegression().fit(known, standard).predict(known)
            fits[chosen] = 1 - (left**2).sum() / (standard**2).sum()
        best = max(fits, key=lambda chosen: fits[chosen])
        assert tuple(sorted(found[size - 1].metrics)) == best
        assert found[size - 1].explained == pytest.approx(fits[best])
        assert found[size - 1].exhaustive
    assert found[-1].explained == pytest.approx(1)
    assert [each.explained for each in found] == sorted(each.explained for each in found)


def test_copies_add_nothing_and_break_nothing() -> None:
    values = correlated()[:, [0, 0, 3, 3]]
    found = mix.metric_sets(np.corrcoef(values.T))
    assert len(found) == 2
    assert found[1].explained == pytest.approx(1)
    assert {index // 2 for index in found[1].metrics} == {0, 1}


def test_many_metrics_grow_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    correlation = np.corrcoef(correlated().T)
    exact = mix.metric_sets(correlation)
    monkeypatch.setattr(mix, "_MOST_SUBSETS", 5)
    grown = mix.metric_sets(correlation)
    assert not grown[1].exhaustive
    assert all(a.explained <= b.explained + 1e-9 for a, b in zip(grown, exact, strict=True))
    assert grown[1].explained > 0.9 * exact[1].explained


def test_mixed_scores_of_made_models() -> None:
    scores = scores_of(two_truths(UP, UP[::-1], images=200))
    found = mix.mixing(scores, 0, varimax=True)
    assert found is not None
    assert found.rows == 1000 and found.images == 200
    assert found.components.kept == 2
    columns = [np.flatnonzero(np.abs(found.components.loadings[:, index]) > 0.6) for index in (0, 1)]
    assert {tuple(column) for column in columns} == {(0, 1, 2), (3, 4, 5)}
    fixations = 0 if columns[0][0] == 0 else 1
    assert found.ranks[fixations].tolist() == [5, 4, 3, 2, 1]
    assert found.ranks[1 - fixations].tolist() == [1, 2, 3, 4, 5]
    assert found.agreement[fixations, :3] == pytest.approx(1)
    assert found.agreement[fixations, 3:] == pytest.approx(-1)
    table = scores.oriented.reshape(-1, 6)
    assert found.correlation == pytest.approx(np.corrcoef(table.T))
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(table).statistic)
    standard = (table - table.mean(axis=0)) / table.std(axis=0, ddof=1)
    wanted = (standard @ found.components.weights).reshape(200, 5, 2).mean(axis=0)
    assert found.mixed[:, :2] == pytest.approx(wanted)
    share = found.components.loading_explained
    assert found.mixed[:, 2] == pytest.approx(wanted @ share / share.sum())
    assert (found.low <= found.mixed).all() and (found.mixed <= found.high).all()
    recommended = found.sets[found.recommended]
    assert recommended.explained >= mix.ENOUGH > found.sets[found.recommended - 1].explained
    assert not found.caution


def test_what_cannot_be_mixed() -> None:
    values = two_truths(UP, UP, images=40)
    values[:25, 0, 5] = np.nan  # would cost more than half of the images
    values[15:30, 1, 1] = np.nan
    found = mix.mixing(scores_of(values), 0)
    assert found is not None
    assert found.left_out == ("mae",)
    assert found.images == 25
    few = mix.mixing(scores_of(two_truths(UP, UP, images=4)), 0)
    assert few is not None and "20 rows are few for 6 metrics" in few.caution
    assert mix.mixing(scores_of(two_truths(UP, UP, images=1)), 0) is None


def test_a_metric_that_is_constant_on_one_data_set() -> None:
    values = two_truths(UP, UP, images=20)
    values[:, :, 2] = 1.0
    values[:3, :, 2] = 2.0
    values[:3, 0, 0] = np.nan
    found = mix.mixing(scores_of(values), 0)
    assert found is not None
    assert found.left_out == ("kl",)


def test_many_metrics_in_time() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3, 24))
    metrics = [Metric(f"m{index}", "fixations") for index in range(24)]
    found = mix.mixing(scores_of(values, metrics), 0)
    assert found is not None and len(found.sets) == 24
