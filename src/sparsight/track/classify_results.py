"""How good a classifier of people is: a confusion matrix and shares with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.track.classify import Calibration, decide
from sparsight.track.classify_threshold import exact_interval, stranger_decisions
from sparsight.track.classify_train import Trial


@dataclass(frozen=True)
class Share:
    """A share of crops, everyone's weighing the same, and the 95% interval of people like them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, eq=False)
class Results:
    """What cross-validation says of a classifier.

    Attributes:
        confusion: (P + 1, P + 1) int64 crops. Rows: who it is, and last, all crops once more as strangers,
            each by machines that do not know its person. Columns: who it was taken for; last, unknown.
        accuracy: crops whose best score is the right person's, threshold or not.
        named, mistaken, rejected: crops of people enrolled given the right name, another, or none.
        false_accepts: crops of strangers given a name.
        accepted_people: people of whom, as strangers, at least one crop was given a name.
    """

    confusion: NDArray[np.int64]
    accuracy: Share
    named: Share
    mistaken: Share
    rejected: Share
    false_accepts: Share
    accepted_people: int


def results(trial: Trial, calibration: Calibration) -> Results:
    """Count what was taken for what; strangers meet thresholds that owe nothing to them."""
    label, people = trial.label, trial.enrolled.shape[1]
    enrolled = decide(trial.enrolled, calibration)
    stranger = stranger_decisions(trial.stranger, label, calibration.far)
    confusion = np.zeros((people + 1, people + 1), np.int64)
    # -1, unknown, is the last column.
    np.add.at(confusion, (label, enrolled.person), 1)
    np.add.at(confusion, (people, stranger), 1)
    count = np.bincount(label, minlength=people)

    def share(hit: NDArray[np.bool_]) -> Share:
        value = float((np.bincount(label, hit, minlength=people) / count).mean())
        return Share(value, *exact_interval(value, people))

    return Results(
        confusion,
        accuracy=share(enrolled.nearest == label),
        named=share(enrolled.person == label),
        mistaken=share((enrolled.person >= 0) & (enrolled.person != label)),
        rejected=share(enrolled.person < 0),
        false_accepts=share(stranger >= 0),
        accepted_people=len(np.unique(label[stranger >= 0])),
    )
