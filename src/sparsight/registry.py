"""Registries are plain dicts from name to function; these look names up kindly."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sparsight.errors import SparsightError

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of ``table`` called ``name``.

    Raises:
        SparsightError: no such entry; the sentence suggests the nearest name and lists all of them.
    """
    try:
        return table[name]
    except KeyError:
        raise SparsightError(unknown(kind, name, table)) from None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not known, with the nearest known one and the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} called {name!r}: {hint}known are {', '.join(names)}."


def resolve(target: str) -> Any:
    """Import ``"package.module:attribute"``; keeps tables of names free of heavy imports."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
