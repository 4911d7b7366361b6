"""Equations become MathML when the manual is built: browsers draw it themselves, and nothing is fetched."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_EQUATION = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>',
    re.DOTALL,
)


def on_page_content(page_html: str, **_: Any) -> str:
    """What MkDocs calls with the HTML of each page."""

    def drawn(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        return str(convert(html.unescape(match[3]).strip(), display=display))

    return _EQUATION.sub(drawn, page_html)
