"""How good a classifier of people is: lines for the terminal, and a self-contained page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import jinja2
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from sparsight import __version__
from sparsight.files import write_text
from sparsight.track.classify import Classifier
from sparsight.track.classify_results import Results

STRANGER, UNKNOWN = "as strangers", "unknown"


def summary(classifier: Classifier, found: Results, most: int) -> Iterator[RenderableType]:
    """What a terminal shows: of up to ``most`` people a confusion matrix, of more a row of counts each."""
    for name, text, _ in facts(classifier, found):
        yield f"{escape(name)}: [bold]{escape(text)}[/bold]"
    people = [*classifier.people, STRANGER]
    table = Table(box=None, pad_edge=False)
    table.add_column("crops of", no_wrap=True)
    if len(classifier.people) <= most:
        # Numbers for columns: a terminal has no room for names side by side.
        for column in (*range(1, len(people)), UNKNOWN):
            table.add_column(str(column), justify="right", no_wrap=True)
        for place, (name, row) in enumerate(zip(people, found.confusion.tolist(), strict=True), 1):
            number = f"{place} " if place < len(people) else ""
            table.add_row(number + escape(name), *(str(count) if count else "." for count in row))
    else:
        for name in ("right", "taken for others", UNKNOWN):
            table.add_column(name, justify="right")
        for place, (name, row) in enumerate(zip(people, found.confusion.tolist(), strict=True)):
            right = row[place] if place < len(classifier.people) else 0
            counts = (right, sum(row[:-1]) - right, row[-1])
            table.add_row(escape(name), *(str(count) if count else "." for count in counts))
    yield table
    asked = classifier.calibration.far
    if found.false_accepts.value > asked:
        yield (
            f"Strangers pass at {found.false_accepts.value:.1%}, not at {asked:.1%}: so few people cannot "
            "show more; enrol more, or better crops, or ask for a lower rate."
        )


def facts(classifier: Classifier, found: Results) -> list[tuple[str, str, str]]:
    """Name, figure and meaning of each result."""
    people = len(classifier.people)
    return [
        (
            "accuracy",
            str(found.accuracy),
            "crops nearest to the right person, if nobody were ever unknown",
        ),
        ("named rightly", str(found.named), "crops of people enrolled that get their name"),
        ("named wrongly", str(found.mistaken), "crops of people enrolled that get another's name"),
        ("rejected", str(found.rejected), "crops of people enrolled that are called unknown"),
        (
            "false accepts",
            str(found.false_accepts),
            f"crops of strangers that get a name; {classifier.calibration.far:.2%} was asked for",
        ),
        (
            "strangers taken for somebody",
            f"{found.accepted_people} of {people} people",
            "in at least one of their crops",
        ),
    ]


def write_report(path: Path, classifier: Classifier, found: Results) -> Path:
    """Write the page: everything is inside, nothing is fetched to show it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.files("sparsight.app") / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    people = [*classifier.people, STRANGER]
    rows = [
        {
            "name": name,
            "cells": [
                {"count": count, "share": count / max(sum(row), 1), "right": column == place}
                for column, count in enumerate(row)
            ],
        }
        for place, (name, row) in enumerate(zip(people, found.confusion.tolist(), strict=True))
    ]
    page = environment.get_template("identity_train.html.j2").render(
        title=f"{len(classifier.people)} people, known by a {classifier.kind} classifier",
        subtitle=f"sparsight {__version__}, {time.strftime('%Y-%m-%d %H:%M')}",
        facts=[
            {"name": name, "text": text, "meaning": meaning}
            for name, text, meaning in facts(classifier, found)
        ],
        columns=[*classifier.people, UNKNOWN],
        rows=rows,
        settings=[
            ("embedder", classifier.embedder),
            ("its weights", classifier.weights),
            ("threshold", f"{classifier.calibration.threshold:.4f}"),
            ("asked rate of false accepts", f"{classifier.calibration.far:g}"),
        ],
    )
    write_text(path, page, mode=0o600)
    return path
