"""The one exception that users meet."""

from __future__ import annotations


class SparsightError(Exception):
    """Bad input, said in one sentence: what is wrong, where, and what to do about it.

    The command line prints the sentence and exits with code 2.
    """
