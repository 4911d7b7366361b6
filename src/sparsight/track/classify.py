"""Who is it, of the people enrolled? A classifier on appearance vectors that also says "nobody I know".

One score per enrolled person (the field's open-set setting: Scheirer et al., "Toward Open Set Recognition",
TPAMI 2013): the best one names the crop if it exceeds a threshold, which training chose so that people who
are not enrolled pass at a stated rate only. Training is in :mod:`sparsight.track.classify_train`; what it
made needs NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""Nobody who is enrolled."""

KINDS = ("cosine", "linear", "rbf")
"""What scores a person: the cosine with their mean vector, or a support vector machine of its own."""

_CHUNK = 4096  # rows at a time, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class Machine:
    """One score per person.

    A cosine prototype or a linear machine scores x by its row r and bias b as <r, x> + b; a radial one by all
    rows, Σ_j c_j exp(−γ |x − r_j|²) + b.

    Attributes:
        rows: (P, D) float64 prototypes or hyperplanes; of a radial machine (S, D) support vectors of anybody.
        bias: (P,) float64.
        coef: (P, S) float64 of a radial machine, else None.
        gamma: γ of a radial machine, else 0.
    """

    rows: NDArray[np.float64]
    bias: NDArray[np.float64]
    coef: NDArray[np.float64] | None = None
    gamma: float = 0.0

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (N, P) float64 of unit vectors (N, D)."""
        out = np.empty((len(vectors), len(self.bias)))
        for start in range(0, len(vectors), _CHUNK):
            part = vectors[start : start + _CHUNK].astype(np.float64)
            like = part @ self.rows.T
            if self.coef is not None:
                own = np.einsum("nd,nd->n", part, part)[:, None] + np.einsum("sd,sd->s", self.rows, self.rows)
                like = np.exp(-self.gamma * np.maximum(own - 2 * like, 0)) @ self.coef.T
            out[start : start + _CHUNK] = like + self.bias
        return out


@dataclass(frozen=True)
class Calibration:
    """From scores to decisions and probabilities.

    Attributes:
        threshold: the best score must be greater, or it is nobody enrolled.
        far: the rate of people not enrolled that pass, for which the threshold was chosen.
        steepness: s of softmax(s · scores), the probability of each person if it is one of them (temperature
            scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
        slope, offset: a and b of 1 / (1 + exp(−(a · best + b))), the probability that it is one of them where
            that is as likely as not (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
    """

    threshold: float
    far: float
    steepness: float
    slope: float
    offset: float


@dataclass(frozen=True, eq=False)
class Decisions:
    """Row by row, who it is.

    Attributes:
        person: (N,) int64 index of an enrolled person, -1 for unknown.
        nearest: (N,) int64 who it would be if it had to be one of them.
        probability: (N,) float64 that it is ``nearest``.
        known: (N,) float64 probability that it is anybody enrolled.
    """

    person: NDArray[np.int64]
    nearest: NDArray[np.int64]
    probability: NDArray[np.float64]
    known: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, eq=False)
class Classifier:
    """What ``sparsight identity train`` makes.

    Attributes:
        people: the names of those enrolled.
        kind: one of ``KINDS``.
        machine: gives the scores.
        calibration: what scores mean.
        embedder: what makes the vectors, as :func:`sparsight.track.build_embedder` takes it.
        weights: ``name`` of that embedder, which says which weights.
    """

    people: tuple[str, ...]
    kind: str
    machine: Machine
    calibration: Calibration
    embedder: str
    weights: str

    def recognise(self, vectors: NDArray[np.float32]) -> Decisions:
        """Decide about crops by their unit vectors (N, D); one of zeros, which tells nothing, is unknown."""
        told = vectors.any(axis=1)
        scores = self.machine(vectors)
        scores[~told] = 0
        found = decide(scores, self.calibration)
        return Decisions(
            np.where(told, found.person, UNKNOWN),
            found.nearest,
            np.where(told, found.probability, 0),
            np.where(told, found.known, 0),
        )


def decide(scores: NDArray[np.float64], calibration: Calibration) -> Decisions:
    """What scores (N, P) say; those of several crops of one person may be averaged first."""
    nearest = scores.argmax(axis=1)
    best = scores.max(axis=1)
    known = known_probability(best, calibration)
    # The best score taken off: its exponential is one, so the sum is all that the division needs.
    among = 1 / np.exp(calibration.steepness * (scores - best[:, None])).sum(axis=1)
    person = np.where(best > calibration.threshold, nearest, UNKNOWN)
    return Decisions(person, nearest, known * among, known)


def probabilities(scores: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """The probability (N, P) of each enrolled person; what a row lacks to 1 is that of nobody enrolled."""
    best = scores.max(axis=1, keepdims=True)
    weight = np.exp(calibration.steepness * (scores - best))
    share: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return share * known_probability(best, calibration)


def known_probability(best: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """The probability that whoever has this best score is enrolled, where that is as likely as not."""
    from scipy.special import expit

    likely: NDArray[np.float64] = expit(calibration.slope * best + calibration.offset)
    return likely
