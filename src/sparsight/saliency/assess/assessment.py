"""The three experiments of the framework in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsight.saliency.assess import conclusions
from sparsight.saliency.assess.agreement import Agreement, agreement
from sparsight.saliency.assess.conclusions import Conclusion
from sparsight.saliency.assess.effects import PropertyEffects, property_effects
from sparsight.saliency.assess.mixing import Mixing, mixing
from sparsight.saliency.assess.properties import RegionProperties
from sparsight.saliency.assess.tables import Scores


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the three experiments found.

    Attributes:
        scores: what they were made on.
        agreement: first, two ground truths.
        effects: second, properties of the regions, one for each data set whose regions were measured.
        mixings: third, metrics, one for each data set.
        conclusions: all findings as sentences.
        notes: what was left out, and why.
    """

    scores: Scores
    agreement: Agreement
    effects: tuple[PropertyEffects, ...]
    mixings: tuple[Mixing, ...]
    conclusions: tuple[Conclusion, ...]
    notes: tuple[str, ...]


def assess(
    scores: Scores, properties: Sequence[RegionProperties] = (), varimax: bool = False, seed: int = 0
) -> Assessment:
    """Make the three experiments of Riche et al. (2013) on a table of scores.

    Args:
        scores: models' scores, as ``read_scores`` or ``make_scores`` gives them.
        properties: regions of some of the data sets; without any, the second experiment is left out.
        varimax: rotate the components of the third.
        seed: of every bootstrap and permutation.

    Raises:
        SparsightError: properties do not fit the scores, or an optional package is missing.
    """
    agreed = agreement(scores, seed)
    effects = tuple(property_effects(scores, each, seed) for each in properties)
    notes = list(scores.notes)
    mixings = []
    for dataset, name in enumerate(scores.datasets):
        mixed = mixing(scores, dataset, varimax, seed)
        if mixed is None:
            notes.append(f"The metrics of {name} were not mixed: fewer than two vary on the same two images.")
            continue
        mixings.append(mixed)
        if mixed.left_out:
            notes.append(
                f"Not mixed on {name}, for want of scores or of variation: {', '.join(mixed.left_out)}."
            )
    notes += [note for effect in effects for note in effect.notes]
    found = conclusions.of_agreement(scores, agreed)
    for effect in effects:
        found += conclusions.of_effects(scores, effect)
    for mixed in mixings:
        found += conclusions.of_mixing(scores, mixed)
    return Assessment(scores, agreed, effects, tuple(mixings), tuple(found), tuple(notes))
