"""Second thoughts: who was taken for one person, or for two, and by all that is known now is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track.gallery import Gallery
from sparsight.track.gallery_places import seen_together, travel
from sparsight.track.gallery_records import BY_EVIDENCE

ENOUGH = 8
"""Vectors that both sides of a revision must have: with fewer there is nothing to have second thoughts on."""
ALIKE = 0.8
"""Two people are taken for one if most of what is known of each is within so many times the greatest distance
of the other."""
UNLIKE = 1.25
"""A sight is split off from a person beyond so many times the greatest distance."""


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
        rows = gallery.store.rows(
            f"SELECT person, other.id = ?, {gallery.store.vector} FROM embedding "
            "JOIN tracklet AS other ON other.id = embedding.tracklet "
            "JOIN model ON model.id = embedding.model "
            "WHERE model.name = ? AND person = (SELECT person FROM tracklet WHERE id = ?)",
            (tracklet, model, tracklet),
        )
        others = [row[2] for row in rows if not row[1]]
        if len(others) < ENOUGH or len(rows) - len(others) < ENOUGH:
            return False
        distance = 1 - gallery.unpacked(others, len(mean)) @ mean
        if np.sort(distance)[:3].mean() <= UNLIKE * max_distance:
            return False
        gallery.split(rows[0][0], [tracklet], BY_EVIDENCE)
        return True


def merge_alike(gallery: Gallery, model: str, person: int, dimension: int, max_distance: float) -> int | None:
    """Merge ``person`` with the one other person that they are, by all that is known of both.

    Never merged are people who were seen at once or too far apart for the time between, and people with two
    names: whoever named them knew better.

    Returns:
        Whose number both have now, or None if nobody is that alike.
    """
    with gallery.transaction():
        own = gallery.vectors(model, person, dimension)
        if len(own) < ENOUGH:
            return None
        persons, distance = gallery.distances(model, own)
        near = np.median(distance, axis=0)
        near[persons == person] = np.inf
        times = travel(gallery)
        sights = gallery.tracklets(person)
        for column in np.argsort(near)[: int((near <= ALIKE * max_distance).sum())].tolist():
            other = int(persons[column])
            theirs = gallery.vectors(model, other, dimension)
            among, back = gallery.distances(model, theirs)
            if len(theirs) < ENOUGH or np.median(back[:, among == person]) > ALIKE * max_distance:
                continue
            if seen_together(sights, gallery.tracklets(other), times) is not None:
                continue
            one, two = gallery.person(min(person, other)), gallery.person(max(person, other))
            if one.name is not None and two.name is not None:
                continue
            if two.name is not None:
                one, two = two, one
            gallery.merge(one.id, two.id, BY_EVIDENCE)
            return one.id
        return None
