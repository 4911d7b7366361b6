"""Numbers and names as a report says them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sparsight.saliency.assess.tables import FIXATIONS, REGIONS

_MOST_LISTED = 6

_TRUTHS = {FIXATIONS: "eye fixations", REGIONS: "segmented regions", "oddity": "odd ones out"}

_PROPERTIES = {
    "size": "size",
    "number": "the number of regions",
    "eccentricity": "eccentricity",
    "contrast_histogram": "contrast of colours to the surround",
    "contrast_colour": "contrast of the mean colour to the surround",
    "congestion": "clutter (congestion)",
    "edges": "clutter (edges)",
}


def p_text(p: float) -> str:
    """``p = 0.012``, ``p < 0.001``, or that there is none."""
    if not np.isfinite(p):
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def number(value: float, digits: int = 2) -> str:
    """A number as it is read aloud: two decimals below 10, fewer above."""
    if not np.isfinite(value):
        return "undefined"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.{1 if abs(value) >= 10 else digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def plural(count: int, noun: str) -> str:
    """``1 metric``, ``2 metrics``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def sentence(text: str) -> str:
    """With a capital and a full stop; empty stays empty."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def extent(counts: Iterable[int]) -> str:
    """The least and the most of some counts."""
    low, high = min(counts := list(counts)), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def listed(names: Sequence[str]) -> str:
    """Names with commas and an "and", cut short where they are many."""
    if len(names) > _MOST_LISTED:
        return f"{', '.join(names[:_MOST_LISTED])} and {len(names) - _MOST_LISTED} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def truth_name(name: str) -> str:
    """A ground truth in words."""
    return _TRUTHS.get(name, name)


def property_name(name: str) -> str:
    """A property in words."""
    return _PROPERTIES.get(name, name)


def split_name(what: str, kind: str) -> str:
    """A property in words, with how images were grouped by it where there are two ways."""
    suffix = (
        {"terciles": " (terciles)", "absolute": " (fixed limits)"}.get(kind, "") if what == "size" else ""
    )
    return f"{property_name(what)}{suffix}"


def agreement_word(w: float) -> str:
    """How well rankings agree, for a Kendall's W or tau (a convention)."""
    for least, word in ((0.9, "almost completely"), (0.7, "strongly"), (0.5, "moderately"), (0.3, "weakly")):
        if w >= least:
            return word
    return "hardly"


def alike_word(tau: float) -> str:
    """How alike two rankings are, for a tau that is significant."""
    return "almost the same" if tau >= 0.8 else "much alike" if tau >= 0.6 else "somewhat alike"


def often_word(rho: float) -> str:
    """How often two things go together, for a rank correlation."""
    return "mostly" if rho >= 0.5 else "sometimes" if rho >= 0.2 else "hardly more often than not"
