"""Small edits of a text, each by rule: what may be changed, where, and how.

An edit kind is a function ``(source, draw) -> options``: all that can be done to the text, each option a tuple of
`Edit`. `edited` draws one of them by key. English only; the word lists and rules are this library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from foils.writing.draft import Edit
from foils.writing.edits.dates import date
from foils.writing.edits.deletion import deletion, facet
from foils.writing.edits.edit import Draw, Edited, Option, apply, disjoint, like, replaced
from foils.writing.edits.entities import entity
from foils.writing.edits.gazetteer import Gazetteer
from foils.writing.edits.identity import identity
from foils.writing.edits.negation import negated, negation, one_clause
from foils.writing.edits.numbers import number
from foils.writing.edits.plausible import Bigrams
from foils.writing.edits.region import Source, places, terms
from foils.writing.edits.swaps import antonym, comparison, modality, unit
from foils.writing.edits.views import crop, drop, span, synonym

__all__ = [
    "BOUND",
    "EDITS",
    "VIEWS",
    "Bigrams",
    "Draw",
    "Edit",
    "Edited",
    "Gazetteer",
    "Option",
    "Reach",
    "Source",
    "apply",
    "carried_out",
    "edited",
    "identity",
    "negated",
    "options",
]

Reach = Literal["answer", "region"]
Kind = Callable[[Source, Draw], list[Option]]

EDITS: Mapping[str, Kind] = {
    "number": number,
    "date": date,
    "entity": entity,
    "negation": negation,
    "antonym": antonym,
    "comparison": comparison,
    "unit": unit,
    "modality": modality,
    "deletion": deletion,
    "facet": facet,
}
"""Edits after which the text says something else, by name."""

VIEWS: Mapping[str, Kind] = {"synonym": synonym, "drop": drop, "crop": crop, "span": span}
"""Changes after which it says the same, or less of it, by name."""

_ALL: Mapping[str, Kind] = {**EDITS, **VIEWS, "identity": identity}


BOUND = ("number", "date", "entity", "antonym", "comparison", "unit", "modality")
"""Kinds that change a few words of a sentence, and so may leave its answer standing; see `options`."""


def options(kind: str, source: Source, draw: Draw, reach: Reach = "answer") -> list[Option]:
    """What an edit kind can do to a text, in the order of the text.

    Args:
        kind: a name of `EDITS` or `VIEWS`, or ``identity``.
        source: the text.
        draw: of the ids.
        reach: ``answer`` keeps those edits of a few words that touch a known answer, or else a word of the query, and
            negations of the clause that a known answer stands in, or of the sentences that share most words with the
            query, and deletions of known answers; ``region`` keeps all in the sentences that answer, of which many
            leave the text as relevant as it was.
    """
    found = [option for option in _ALL[kind](source, draw) if apply(source.text, option) != source.text]
    if reach == "answer" and kind in BOUND and (source.query or source.answers):
        touching = [option for option in found if any(source.answering(edit.start, edit.end) for edit in option)]
        return touching or [option for option in found if any(source.binds(edit.start, edit.end) for edit in option)]
    if reach == "answer" and kind == "negation" and source.query:
        return [option for option in found if one_clause(source, option[0])]
    if reach == "answer" and kind == "deletion" and not source.answer_spans:
        return []
    return found


def edited(kind: str, source: Source, draw: Draw, nth: int = 0, reach: Reach = "answer") -> Edited | None:
    """The text with one option of a kind, drawn by key; None where there is none.

    Args:
        kind: as for `options`.
        source: the text.
        draw: of the ids; the same draw and source, the same edit.
        nth: which of the options in their drawn order; None where there are fewer.
        reach: as for `options`.
    """
    found = options(kind, source, draw, reach)
    order = draw.ordered(range(len(found)), kind)
    return carried_out(kind, source, found[order[nth]]) if nth < len(order) else None


def carried_out(kind: str, source: Source, option: Option) -> Edited:
    """The text with an option carried out.

    What was said to be in the query (the number, year, name or word that the query asks with) changes wherever the text
    and its title say it, so that they do not contradict themselves.
    """
    title = source.title
    if kind in BOUND:
        if kind != "date":
            option = disjoint([*option, *_elsewhere(source.text, source, option[:1])])
        title = apply(title, disjoint(_in_title(title, source, option)))
    return Edited(apply(source.text, option), title, kind, option)


def _elsewhere(text: str, source: Source, option: Option) -> Iterator[Edit]:
    """Further places of a word or number that the query asks with."""
    for edit in option:
        if " " not in edit.before and not source.asked.isdisjoint(terms(edit.before)):
            word = _before(source.text, edit.start)
            for start, end in places(text, edit.before):
                if len(edit.before) >= 4 or _before(text, start) == word:
                    yield _again(text, start, end, edit)


def _in_title(title: str, source: Source, option: Option) -> Iterator[Edit]:
    yield from _elsewhere(title, source, option)
    for edit in option:
        if len(edit.before) >= 4:
            yield from (_again(title, start, end, edit) for start, end in places(title, edit.before))


def _again(text: str, start: int, end: int, edit: Edit) -> Edit:
    small = edit.before[0].isupper() and text[start].islower()
    return replaced(
        text, start, end, like(text[start:end], edit.after[0].lower() + edit.after[1:] if small else edit.after)
    )


def _before(text: str, at: int) -> str:
    return next(iter(text[max(0, at - 24) : at].lower().split()[-1:]), "")
