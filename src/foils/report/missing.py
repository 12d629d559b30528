"""What could be on a page and is not, with the commands that make it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from foils.report.blocks import Missing
from foils.report.subject import EVALUATE, Subject


def missing(subject: Subject, *, checked: bool) -> list[Missing]:
    """What the page does not say.

    Args:
        subject: what the page is about.
        checked: whether its negatives were looked through for leaks and duplicates.
    """
    where = shlex.quote(subject.where)
    found: list[Missing] = []
    store = subject.negatives
    if subject.kind == "run" and store is None:
        text = "Negatives: this run mined none, or was given some that lie elsewhere"
        found.append(Missing(text, "foils report NEG -o page.html"))
    if store is not None and subject.data is None:
        text = f"Texts, examples and the check: {subject.no_data or 'no collection was given'}"
        found.append(Missing(text, f"foils report {where} --data DATA -o page.html"))
    if store is not None and subject.data is not None and not checked:
        found.append(Missing("Leaks and duplicates", f"foils check {shlex.quote(str(store.path))}"))
    if store is not None and subject.audit is None:
        beside = Path(subject.where) / "audit" if subject.kind == "run" else f"{store.path}-audit"
        command = f"foils audit {shlex.quote(str(store.path))} -o {shlex.quote(str(beside))}"
        found.append(Missing("The share of false negatives; this draws a sample to label", command))
    return [*found, *_of_run(subject, where)] if subject.kind == "run" else found


def _of_run(subject: Subject, where: str) -> Iterator[Missing]:
    if subject.evaluate is None and subject.finished:
        command = f"foils evaluate DATA --model {where}/model --baseline static --json > {where}/{EVALUATE}"
        yield Missing("Measures with intervals and tests", command)
    if not subject.influence:
        yield Missing("Influence of the negatives: it is counted while training", "foils train … --influence")
    for name, _, phenomena in subject.influence:
        if phenomena is None:
            folder = next((one.path for one in subject.trainings if one.name == name), subject.path)
            command = f"foils influence {shlex.quote(str(folder))} --phenomena"
            yield Missing("What sets influential negatives apart in language", command)
    later = [str(one.path / "generations" / str(g["number"])) for one in subject.trainings for g in one.generations]
    if later:
        text = "Later generations of negatives: the sections about negatives are of those that training began with"
        yield Missing(text, f"foils report {shlex.quote(later[-1])} -o page.html")
    else:
        text = "Staleness and churn: nothing was mined while training. In the recipe of one that does"
        yield Missing(text, "refresh: At(times=[0.25, 0.5, 0.75])")
