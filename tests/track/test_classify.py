"""Classifiers of people: decisions, training against scikit-learn, thresholds by brute force."""

from __future__ import annotations

from dataclasses import astuple
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.svm import SVC

from sparsight import SparsightError
from sparsight.track import classify_train
from sparsight.track.classify import (
    UNKNOWN,
    Calibration,
    Classifier,
    Machine,
    decide,
    probabilities,
)
from sparsight.track.classify_results import results
from sparsight.track.classify_threshold import (
    LEFT_OUT,
    exact_interval,
    groups,
    open_set_threshold,
    share_quantile,
    stranger_decisions,
)
from sparsight.track.classify_train import COST, Trial, blocks, train

KINDS = ("cosine", "linear", "rbf")


def crowd(
    seed: int, people: int, crops: int, dimension: int = 24, spread: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors around a random direction per person."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(people, dimension))
    rows = np.repeat(centre, crops, axis=0) + spread * rng.normal(size=(people * crops, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(people), crops)


def fitted(kind: str, people: int = 6, crops: int = 8, far: float = 0.05) -> tuple[Classifier, Trial]:
    vectors, label = crowd(1, people, crops)
    names = [f"p{i}" for i in range(people)]
    return train(vectors, label, names, embedder="e", weights="w", kind=kind, far=far)


@pytest.mark.parametrize("kind", ["linear", "rbf"])
def test_scores_are_those_of_scikit_learn(kind: str) -> None:
    vectors, label = crowd(1, 6, 8)
    machine = fitted(kind)[0].machine
    new = crowd(2, 4, 9)[0]
    scores = machine(new)
    for person in range(6):
        peer = SVC(C=COST, kernel=kind, gamma=machine.gamma or "scale", class_weight="balanced")
        peer.fit(vectors.astype(np.float64), label == person)
        np.testing.assert_allclose(scores[:, person], peer.decision_function(new), atol=5e-3)


def test_a_prototype_is_the_cosine_with_the_mean() -> None:
    vectors, label = crowd(1, 6, 8)
    machine = fitted("cosine")[0].machine
    new = crowd(2, 4, 9)[0]
    for person in range(6):
        mean = vectors[label == person].astype(np.float64).mean(0)
        np.testing.assert_allclose(machine(new)[:, person], new @ mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_people_enrolled_are_named_and_strangers_are_not(kind: str) -> None:
    vectors, label = crowd(5, 20, 10, dimension=64)
    known = label < 12
    names = [f"p{i}" for i in range(12)]
    classifier, trial = train(
        vectors[known][::2], label[known][::2], names, embedder="e", weights="w", kind=kind, far=0.02
    )
    found = classifier.recognise(vectors[known][1::2])
    assert (found.person == label[known][1::2]).mean() > 0.9
    assert (classifier.recognise(vectors[~known]).person == UNKNOWN).mean() > 0.9
    counted = results(trial, classifier.calibration)
    assert counted.confusion.sum() == 2 * len(trial.label)
    assert counted.confusion[:12].trace() >= 0.9 * len(trial.label)
    assert counted.accuracy.value > 0.95
    assert counted.named.value + counted.mistaken.value + counted.rejected.value == pytest.approx(1)
    assert counted.false_accepts.low <= counted.false_accepts.value <= counted.false_accepts.high


def test_cross_validation_never_shows_a_machine_what_it_judges() -> None:
    vectors, label = crowd(3, 5, 7)
    trial = train(vectors, label, list("abcde"), embedder="e", weights="w", kind="cosine")[1]
    block = blocks(label, 5)
    for row in range(len(label)):
        for person in range(5):
            seen = (label == person) & (block != block[row])
            mean = vectors[seen].astype(np.float64).mean(0)
            assert trial.enrolled[row, person] == pytest.approx(
                vectors[row] @ mean / np.linalg.norm(mean), abs=1e-6
            )
            if person == label[row]:
                assert trial.stranger[row, person] == -np.inf
            else:
                mean = vectors[label == person].astype(np.float64).mean(0)
                expected = vectors[row] @ mean / np.linalg.norm(mean)
                assert trial.stranger[row, person] == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(4, 23), min_size=2, max_size=9), st.integers(0, 9))
def test_blocks_are_runs_of_neighbours_of_every_person(count: list[int], seed: int) -> None:
    label = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(count)), count))
    block = blocks(label, len(count))
    for person, crops in enumerate(count):
        own = block[label == person]
        assert (np.diff(own) >= 0).all()
        sizes = np.bincount(own, minlength=min(5, *count))
        assert sizes.min() >= crops // len(sizes)
        assert len(sizes) == min(5, *count)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=30), st.floats(0.01, 0.99)
)
def test_a_quantile_where_everyone_weighs_the_same(pairs: list[tuple[int, int]], share: float) -> None:
    label = np.unique([a for a, _ in pairs], return_inverse=True)[1]
    values = np.array([float(b) for _, b in pairs])

    def exceeding(limit: float) -> float:
        return float(np.mean([(values[label == one] > limit).mean() for one in np.unique(label)]))

    found = share_quantile(values, label, share)
    assert exceeding(found) <= share + 1e-9
    lower = values[values < found]
    if len(lower):
        assert exceeding(float(lower.max())) > share - 1e-9


def test_the_threshold_is_a_prediction_interval() -> None:
    """Normal scores of a new stranger exceed it at the stated rate, over many samples of few people."""
    rng = np.random.default_rng(0)
    people, crops, far = 8, 6, 0.1
    label = np.repeat(np.arange(people), crops)
    passed = []
    for _ in range(300):
        person = rng.normal(size=people)
        best = np.repeat(person, crops) + 0.5 * rng.normal(size=len(label))
        # One look-alike each, so that every row's best is ``best``: the next person's column holds it.
        scores = np.full((len(label), people), -9.0)
        scores[np.arange(len(label)), (label + 1) % people] = best
        scores[np.arange(len(label)), label] = -np.inf
        threshold = open_set_threshold(scores, label, far)
        passed.append(norm.sf(threshold / np.sqrt(1 + 0.5**2)))
    assert 0.3 * far < np.mean(passed) < far * 1.1


def test_look_alikes_do_not_vouch_for_each_other() -> None:
    """Each of two twins is judged by a threshold from which the other's likeness to them is gone."""
    vectors, label = crowd(4, 10, 6, dimension=64, spread=0.3)
    twin = vectors.copy()
    twin[label == 1] = vectors[label == 0]
    trial = train(twin, label, list("abcdefghij"), embedder="e", weights="w", kind="cosine")[1]
    found = stranger_decisions(trial.stranger, label, 0.05)
    assert (found[label == 0] == 1).all()
    assert (found[label == 1] == 0).all()
    threshold = open_set_threshold(trial.stranger, label, 0.05)
    assert threshold >= trial.stranger[label > 1].max()


@pytest.mark.parametrize("people", [3, 4, 20, 21, 47])
def test_groups_of_people_left_out(people: int) -> None:
    group = groups(people)
    assert len(group) == people
    sizes = np.bincount(group)
    assert len(sizes) == min(people, LEFT_OUT)
    assert sizes.max() - sizes.min() <= 1


def test_more_people_than_are_left_out_alone() -> None:
    vectors, label = crowd(6, 25, 4)
    classifier, trial = train(
        vectors, label, [str(i) for i in range(25)], embedder="e", weights="w", kind="cosine", far=0.1
    )
    together = groups(25)
    assert (np.isneginf(trial.stranger) == (together[label][:, None] == together)).all()
    assert np.isfinite(classifier.calibration.threshold)
    assert results(trial, classifier.calibration).confusion[-1].sum() == 100


@given(st.integers(1, 60), st.data())
def test_the_exact_interval(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    peer = binomtest(hits, count).proportion_ci(0.95, "exact")
    assert exact_interval(hits / count, count) == pytest.approx((peer.low, peer.high), abs=1e-9)


CALIBRATION = Calibration(threshold=0.5, far=0.01, steepness=3.0, slope=4.0, offset=-2.0)


def test_probabilities_by_hand() -> None:
    scores = np.array([[0.9, 0.1, -0.2], [0.4, 0.45, 0.3], [0.5, 0.0, 0.0]])
    found = decide(scores, CALIBRATION)
    assert found.person.tolist() == [0, UNKNOWN, UNKNOWN]
    assert found.nearest.tolist() == [0, 1, 0]
    share = np.exp(3 * scores) / np.exp(3 * scores).sum(1, keepdims=True)
    known = 1 / (1 + np.exp(-(4 * scores.max(1) - 2)))
    expected = share * known[:, None]
    np.testing.assert_allclose(probabilities(scores, CALIBRATION), expected)
    np.testing.assert_allclose(found.probability, expected.max(1))
    np.testing.assert_allclose(found.known, known)


def test_vectors_that_tell_nothing_are_unknown() -> None:
    machine = Machine(np.eye(3), np.full(3, 5.0))
    classifier = Classifier(("a", "b", "c"), "linear", machine, CALIBRATION, "e", "w")
    found = classifier.recognise(np.array([[0, 0, 0], [0, 1, 0]], np.float32))
    assert found.person.tolist() == [UNKNOWN, 1]
    assert found.probability[0] == 0
    assert len(classifier.recognise(np.zeros((0, 3), np.float32))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_calibrated(kind: str) -> None:
    """Of new crops, half of them of strangers, those given about p are right in about p of the cases."""
    vectors, label = crowd(8, 48, 12, dimension=16, spread=0.6)
    known = label < 24
    classifier, _ = train(
        vectors[known][::2],
        label[known][::2],
        [str(i) for i in range(24)],
        embedder="e",
        weights="w",
        kind=kind,
    )
    mine, others = vectors[known][1::2], vectors[~known][1::2]
    found = classifier.recognise(np.concatenate([mine, others]))
    right = np.concatenate([label[known][1::2], np.full(len(others), -1)]) == found.nearest
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        within = (found.probability >= low) & (found.probability <= high)
        assert abs(right[within].mean() - found.probability[within].mean()) < 0.25, (low, high)


@pytest.mark.parametrize(
    ("people", "crops", "kind", "far", "told"),
    [
        (1, 9, "linear", 0.01, "there is 1 person to learn from"),
        (2, 9, "cosine", 0.01, "there are 2 people to learn from"),
        (4, 3, "cosine", 0.01, "there are 3 usable crops of p0"),
        (4, 9, "svm", 0.01, "no classifier called 'svm'"),
        (4, 9, "linear", 0.0, "between 0 and 1"),
        (4, 9, "linear", float("nan"), "between 0 and 1"),
    ],
)
def test_what_cannot_be_trained(people: int, crops: int, kind: str, far: float, told: str) -> None:
    vectors, label = crowd(0, people, crops)
    with pytest.raises(SparsightError, match=told):
        train(
            vectors,
            label,
            [f"p{i}" for i in range(people)],
            embedder="e",
            weights="w",
            kind=kind,
            far=far,
        )


def test_too_many_crops_for_a_support_vector_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify_train, "MOST", 20)
    vectors, label = crowd(0, 3, 9)
    with pytest.raises(SparsightError, match="takes 20 at most"):
        train(vectors, label, list("abc"), embedder="e", weights="w", kind="rbf")
    assert train(vectors, label, list("abc"), embedder="e", weights="w", kind="cosine")


def test_without_scikit_learn_the_cosine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.svm", None)
    vectors, label = crowd(0, 3, 5)
    with pytest.raises(SparsightError, match=r"pip install 'sparsight\[svm\]'"):
        train(vectors, label, list("abc"), embedder="e", weights="w", kind="linear")
    classifier, _ = train(vectors, label, list("abc"), embedder="e", weights="w", kind="cosine")
    assert (classifier.recognise(vectors).nearest == label).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_crops_that_are_all_the_same(kind: str) -> None:
    """Copies of one crop have no spread; nothing may become infinite."""
    vectors, label = crowd(0, 4, 1)
    copies, labels = np.repeat(vectors, 5, axis=0), np.repeat(label, 5)
    classifier, trial = train(copies, labels, list("abcd"), embedder="e", weights="w", kind=kind)
    assert (classifier.recognise(copies).nearest == labels).all()
    assert np.isfinite(astuple(classifier.calibration)).all()
    assert all(a != b for a, b in combinations(trial.enrolled[::5].argmax(1).tolist(), 2))
