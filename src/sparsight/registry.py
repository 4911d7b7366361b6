"""Registries are plain dicts from name to function; these look names up kindly."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
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
    except (KeyError, TypeError):  # a list, say, is no key
        raise SparsightError(unknown(kind, name, table)) from None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not known, with the nearest known one and the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} called {name!r}: {hint}known are {', '.join(names)}."


def resolve(target: str) -> Any:
    """Import ``"package.module:attribute"`` or ``"package.module"``; keeps tables free of heavy imports."""
    module, _, attribute = target.partition(":")
    imported = importlib.import_module(module)
    return getattr(imported, attribute) if attribute else imported


def lazy(package: str, public: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562) that imports each of its ``public`` names on first use."""

    def attribute(name: str) -> Any:
        if name in public:
            return resolve(public[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
