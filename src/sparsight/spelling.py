"""Names with parameters, as ``agp(start=0)`` or ``block(4, 4)``: how settings are written in text."""

from __future__ import annotations

import ast
from typing import Any

from sparsight.errors import SparsightError

NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
"""What ``ast.literal_eval`` raises for text that is no literal, or one that cannot be, as ``{[]: 1}``."""


def spelled(text: str, *, words: bool = False) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """``"name(1, b=2)"`` → ``("name", (1,), {"b": 2})``; a bare name has no parameters. Nothing is executed.

    Args:
        text: what somebody wrote.
        words: a parameter may be a word without quotes, as in ``name(kind=fine)``, since shells eat quotes.

    Raises:
        SparsightError: the text is neither a name nor a call with literal parameters.
    """

    def value(node: ast.expr) -> Any:
        return node.id if words and isinstance(node, ast.Name) else ast.literal_eval(node)

    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, (), {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            named = {word.arg: value(word.value) for word in tree.keywords if word.arg}
            return tree.func.id, tuple(value(each) for each in tree.args), named
    except NO_LITERAL:
        pass
    raise SparsightError(f"{text!r} is not a name, alone or with parameters as in name(size=320).")


def trailing_brackets(text: str) -> tuple[str, str]:
    """``"net.onnx(size=8)"`` → ``("net.onnx", "(size=8)")``; the second is empty if there are none."""
    if not text.endswith(")"):
        return text, ""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[place], 0)
        if not depth:
            return text[:place], text[place:]
    return text, ""


def split_names(text: str) -> list[str]:
    """``"a,b(c=1,d=(2,3))"`` → ``["a", "b(c=1,d=(2,3))"]``: commas within brackets part no names."""
    names, depth = [""], 0
    for letter in text:
        depth = max(0, depth + {"(": 1, ")": -1}.get(letter, 0))
        if letter == "," and not depth:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names if name.strip()]
