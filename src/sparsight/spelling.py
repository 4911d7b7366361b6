"""Names with parameters, as ``agp(start=0)`` or ``block(4, 4)``: how settings are written in text."""

from __future__ import annotations

import ast
from typing import Any

from sparsight.errors import SparsightError


def spelled(text: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """``"name(1, b=2)"`` → ``("name", (1,), {"b": 2})``; a bare name has no parameters. Nothing is executed.

    Raises:
        SparsightError: the text is neither a name nor a call with literal parameters.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, (), {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            named = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
            return tree.func.id, tuple(ast.literal_eval(value) for value in tree.args), named
    except (SyntaxError, ValueError):
        pass
    raise SparsightError(f"{text!r} is not a name like 'agp' or a name with parameters like 'agp(start=0)'.")
