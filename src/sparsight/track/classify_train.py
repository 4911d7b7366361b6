"""Fit a classifier of people, and choose its threshold on people that it was not shown.

Needs the extra ``svm`` (scikit-learn) for support vector machines; the cosine prototype needs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup
from sparsight.track.classify import KINDS, Calibration, Classifier, Machine
from sparsight.track.classify_threshold import groups, open_set_threshold

MIN_PEOPLE = 3
"""People that a threshold for strangers needs: one to be the stranger, and two who differ."""

MIN_CROPS = 4
"""Crops that a person needs: fewer do not show how much one person's crops differ."""

BLOCKS = 5
"""Parts, at most, into which each person's crops are split to be held out in turn."""

MOST = 10_000
"""Crops that support vector machines are fitted to: their products with one another fill 800 MB."""

COST = 10.0
"""C of the support vector machines: what a crop on the wrong side costs."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What cross-validation found; every score is of a crop that the machine was not fitted to.

    Attributes:
        enrolled: (N, P) float64 scores where the person of the crop is enrolled by other crops.
        stranger: (N, P) float64 scores where that person isn't enrolled at all: their own column is -inf.
        label: (N,) int64 person of each crop.
    """

    enrolled: NDArray[np.float64]
    stranger: NDArray[np.float64]
    label: NDArray[np.int64]


def train(
    vectors: NDArray[np.float32],
    label: NDArray[np.int64],
    people: Sequence[str],
    *,
    embedder: str,
    weights: str,
    kind: str = "linear",
    far: float = 0.01,
) -> tuple[Classifier, Trial]:
    """Fit a classifier.

    The threshold and the probabilities are set by cross-validation: each person is left out in turn to find
    what strangers score, and each person's crops, in blocks of neighbours (crops of one track follow one
    another and are near copies), to find what those enrolled score.

    Args:
        vectors: (N, D) float32 of length one.
        label: (N,) person of each, an index into ``people``; the crops of a person in the order of time.
        people: (P,) names.
        embedder, weights: as in :class:`Classifier`.
        kind: one of ``KINDS``.
        far: the rate of strangers' crops that may be taken for somebody, in (0, 1).

    Returns:
        The classifier, and what cross-validation found.

    Raises:
        SparsightError: too few people or crops, or too many for the kind; a rate out of range; scikit-learn
            is missing.
    """
    lookup("classifier", kind, dict.fromkeys(KINDS))
    if not 0 < far < 1:
        raise SparsightError(f"far is {far}, but a rate of false accepts lies between 0 and 1.")
    if len(people) < MIN_PEOPLE:
        given = "is 1 person" if len(people) == 1 else f"are {len(people)} people"
        raise SparsightError(
            f"there {given} to learn from: give at least {MIN_PEOPLE}, each of whom is left out in turn to "
            "find what strangers look like."
        )
    count = np.bincount(label, minlength=len(people))
    if count.min() < MIN_CROPS:
        few = int(count.argmin())
        raise SparsightError(
            f"there are {count[few]} usable crops of {people[few]}: give at least {MIN_CROPS} of everyone."
        )
    if kind != "cosine" and len(label) > MOST:
        raise SparsightError(
            f"there are {len(label)} crops, and a {kind} classifier takes {MOST} at most: use fewer of each "
            "person, or the cosine kind."
        )
    fitted = _Fitter(vectors, label, len(people), kind)
    trial = cross_validate(fitted)
    machine = fitted(np.arange(len(label)), np.arange(len(people)))
    calibration = calibrate(trial, far)
    return Classifier(tuple(people), kind, machine, calibration, embedder, weights), trial


class _Fitter:
    """Fits machines to parts of one set of crops, whose products with one another are taken once."""

    def __init__(
        self, vectors: NDArray[np.float32], label: NDArray[np.int64], people: int, kind: str
    ) -> None:
        self.vectors, self.label, self.people, self.kind = vectors.astype(np.float64), label, people, kind
        if kind != "cosine":
            try:
                import sklearn.svm  # noqa: F401
            except ImportError:
                raise SparsightError(
                    f"training a {kind} classifier needs scikit-learn: pip install 'sparsight[svm]', or use "
                    "the cosine kind."
                ) from None
            self.kernel = self.vectors @ self.vectors.T
        if kind == "rbf":
            # One over the mean squared distance from the mean vector: as far as crops are from one another.
            centred = self.vectors - self.vectors.mean(axis=0)
            spread = float(np.einsum("nd,nd->n", centred, centred).mean())
            self.gamma = 1 / max(spread, 1e-6)
            own = self.kernel.diagonal()
            self.kernel = np.exp(-self.gamma * np.maximum(own[:, None] + own - 2 * self.kernel, 0))

    def __call__(self, rows: NDArray[np.int64], people: NDArray[np.int64]) -> Machine:
        """The machine of ``people``, fitted to the crops ``rows``, all of which are of them."""
        mine = self.label[rows] == people[:, None]
        if self.kind == "cosine":
            total = mine.astype(np.float64) @ self.vectors[rows]
            length = np.linalg.norm(total, axis=1, keepdims=True)
            return Machine(total / np.maximum(length, 1e-12), np.zeros(len(people)))
        from sklearn.svm import SVC

        kernel = np.ascontiguousarray(self.kernel[np.ix_(rows, rows)])
        coef, bias = np.zeros(mine.shape), np.zeros(len(people))
        # Each person against all the others: more than two sides at once would have no "nobody".
        for row, one in enumerate(mine):
            fit = SVC(C=COST, kernel="precomputed", class_weight="balanced").fit(kernel, one)
            coef[row, fit.support_] = fit.dual_coef_[0]
            bias[row] = fit.intercept_[0]
        if self.kind == "linear":
            return Machine(coef @ self.vectors[rows], bias)
        used = coef.any(axis=0)
        return Machine(self.vectors[rows[used]], bias, coef[:, used], self.gamma)


def cross_validate(fit: _Fitter) -> Trial:
    """Score every crop by machines that did not see it, and by machines that did not see its person."""
    label, everyone = fit.label, np.arange(fit.people)
    enrolled = np.empty((len(label), fit.people))
    stranger = np.full((len(label), fit.people), -np.inf)
    block = blocks(label, fit.people)
    for part in range(int(block.max()) + 1):
        held = block == part
        enrolled[held] = fit(np.flatnonzero(~held), everyone)(fit.vectors[held].astype(np.float32))
    group = groups(fit.people)
    for part in range(int(group.max()) + 1):
        held, others = (group == part)[label], np.flatnonzero(group != part)
        scores = fit(np.flatnonzero(~held), others)(fit.vectors[held].astype(np.float32))
        stranger[np.ix_(held, others)] = scores
    return Trial(enrolled, stranger, label)


def blocks(label: NDArray[np.int64], people: int) -> NDArray[np.int64]:
    """In which block of neighbours each crop is: (N,) from 0, every person's crops spread over all blocks."""
    count = np.bincount(label, minlength=people)
    most = int(min(BLOCKS, count.min()))
    order = np.argsort(label, kind="stable")
    place = np.empty(len(label), np.int64)
    place[order] = np.arange(len(label)) - np.repeat(np.cumsum(count) - count, count)
    return place * most // count[label]


def calibrate(trial: Trial, far: float) -> Calibration:
    """Threshold and probabilities from cross-validated scores."""
    slope, offset = _logistic(trial.enrolled.max(axis=1), trial.stranger.max(axis=1))
    return Calibration(
        threshold=open_set_threshold(trial.stranger, trial.label, far),
        far=far,
        steepness=_steepness(trial.enrolled, trial.label),
        slope=slope,
        offset=offset,
    )


def _steepness(scores: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """The factor on scores under which the right person is most probable, over all crops.

    Where every crop is right, the best factor would be infinite; as in Platt's targets, the right person is
    held to be so in n + 1 of n + 2 cases.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    people = scores.shape[1]
    doubt = 1 / (len(label) + 2)
    target = np.full(scores.shape, doubt / (people - 1))
    target[np.arange(len(label)), label] = 1 - doubt

    def loss(logarithm: float) -> float:
        return float(-(target * log_softmax(np.exp(logarithm) * scores, axis=1)).sum())

    spread = max(float(scores.std()), 1e-9)
    found = minimize_scalar(loss, bounds=(np.log(0.01 / spread), np.log(1000 / spread)), method="bounded")
    return float(np.exp(found.x))


def _logistic(enrolled: NDArray[np.float64], stranger: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of Platt's logistic between two sets of best scores, each set weighing the same."""
    from scipy.optimize import minimize
    from scipy.special import expit

    score = np.concatenate([enrolled, stranger])
    target = np.concatenate(
        [
            np.full(len(enrolled), (len(enrolled) + 1) / (len(enrolled) + 2)),
            np.full(len(stranger), 1 / (len(stranger) + 2)),
        ]
    )
    weight = np.concatenate(
        [np.full(len(enrolled), 1 / len(enrolled)), np.full(len(stranger), 1 / len(stranger))]
    )
    centre, scale = float(score.mean()), max(float(score.std()), 1e-9)
    x = (score - centre) / scale

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = at[0] * x + at[1]
        gap = weight * (expit(z) - target)
        value = (weight * (np.logaddexp(0, z) - target * z)).sum()
        return float(value), np.array([(gap * x).sum(), gap.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    slope = max(float(found.x[0]), 0.0) / scale
    return slope, float(found.x[1]) - slope * centre
