"""Second thoughts: who was taken for one person, or for two, and by all that is known now is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track.gallery import Gallery
from sparsight.track.gallery_index import NEAREST
from sparsight.track.gallery_places import seen_together, travel
from sparsight.track.gallery_records import BY_EVIDENCE
from sparsight.track.gallery_strangers import OTHERS, stranger_chance, tail

ENOUGH = 8
"""Vectors that both sides of a revision must have: with fewer there is nothing to have second thoughts on."""
ALIKE = 0.8
"""Two people are taken for one if most of what is known of each is within so many times the greatest distance
of the other."""
UNLIKE = 1.25
"""A sight is split off from a person beyond so many times the greatest distance."""

_COMPARED = 4 * (OTHERS + 1)  # people whose vectors are compared one by one


def split_misplaced(
    gallery: Gallery, model: str, tracklet: int, mean: NDArray[np.float32], max_distance: float
) -> bool:
    """Split a sight off from the person it was taken for if, seen whole, it is far from their other sights.

    Args:
        gallery: where they are.
        model: name of the embedder.
        tracklet: row number of a sight that has ended.
        mean: (D,) mean of its vectors, of length one.
        max_distance: greatest distance at which somebody is known again.

    Returns:
        Whether it was.
    """
    with gallery.transaction():
        sides = gallery.sides(model, tracklet, len(mean))
        if sides is None:
            return False
        person, own, others = sides
        if len(others) < ENOUGH or len(own) < ENOUGH:
            return False
        if np.sort(1 - others @ mean)[:NEAREST].mean() <= UNLIKE * max_distance:
            return False
        gallery.split(person, [tracklet], BY_EVIDENCE)
        return True


def merge_alike(
    gallery: Gallery,
    model: str,
    person: int,
    dimension: int,
    max_distance: float,
    false_accept: float,
) -> int | None:
    """Merge ``person`` with the one other person that they are, by all that is known of both.

    Never merged are people who were seen at once or too far apart for the time between, people with two names
    (whoever named them knew better), and people who are no more alike than strangers may be at the rate
    ``false_accept`` (:mod:`sparsight.track.gallery_strangers`).

    Returns:
        Whose number both have now, or None if nobody is that alike.
    """
    with gallery.transaction():
        own = gallery.vectors(model, person, dimension)
        if len(own) < ENOUGH:
            return None
        persons, near = _near(gallery, model, person, own)
        sights = None
        for column in np.argsort(near)[: int((near <= ALIKE * max_distance).sum())].tolist():
            other = int(persons[column])
            sights = sights or gallery.tracklets(person)
            if seen_together(sights, gallery.tracklets(other), travel(gallery)) is not None:
                near[column] = np.inf  # the next one may be meant
                continue
            theirs = gallery.vectors(model, other, dimension)
            among, back = _near(gallery, model, other, theirs)
            if (
                len(theirs) < ENOUGH
                or not len(among)
                or among[back.argmin()] != person
                or back.min() > ALIKE * max_distance
                or stranger_chance(near[None], max_distance, tail(model)) > false_accept
                or stranger_chance(back[None], max_distance, tail(model)) > false_accept
            ):
                return None
            one, two = gallery.person(min(person, other)), gallery.person(max(person, other))
            if one.name is not None and two.name is not None:
                return None
            if two.name is not None:
                one, two = two, one
            gallery.merge(one.id, two.id, BY_EVIDENCE)
            return one.id
        return None


def _near(
    gallery: Gallery, model: str, person: int, vectors: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The persons (P,) nearest to most of ``vectors`` (N, D) of ``person``, and how far most are, (P,).

    A few of the vectors say who is worth comparing with all.
    """
    persons, distance = gallery.distances(model, vectors[:: -(-len(vectors) // ENOUGH)])
    rough = np.median(distance, axis=0)
    rough[persons == person] = np.inf
    worth = persons[np.argsort(rough)[: min(_COMPARED, np.isfinite(rough).sum())]]
    persons, distance = gallery.distances(model, vectors, worth)
    return persons, np.median(distance, axis=0).astype(np.float32)
