from __future__ import annotations

import importlib

import pytest

import sparsight
from sparsight import SparsightError
from sparsight.registry import lookup, resolve, unknown

ROOMS = [
    "sparsight",
    "sparsight.media",
    "sparsight.nets",
    "sparsight.prune",
    "sparsight.saliency",
    "sparsight.track",
]


def test_a_near_name_is_suggested_and_all_are_listed() -> None:
    assert unknown("tracker", "srot", ["sort", "ocsort"]) == (
        "there is no tracker called 'srot': did you mean 'sort'? known are ocsort, sort."
    )
    assert "did you mean" not in unknown("tracker", "zzz", ["sort"])
    with pytest.raises(SparsightError, match="known are sort"):
        lookup("tracker", "zzz", {"sort": 1})
    assert lookup("tracker", "sort", {"sort": 1}) == 1


def test_targets_are_modules_or_their_attributes() -> None:
    assert resolve("sparsight.errors:SparsightError") is SparsightError
    assert resolve("sparsight.errors").SparsightError is SparsightError


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_can_be_had(room: str) -> None:
    package = importlib.import_module(room)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


def test_the_version_is_said() -> None:
    assert sparsight.__version__.count(".") == 2
