"""The answer taken out of a text, and another aspect of its topic put in its place."""

from __future__ import annotations

from foils.core.answers import compile_answers, tokens_of
from foils.writing.edits.edit import Draw, Edit, Option
from foils.writing.edits.region import Source, Span, sentences, terms

LEAST_LEFT = 0.5  # of the text's characters; the length check of written texts asks for as much


def answering(source: Source) -> list[Span]:
    """The sentences that answer: all that hold a known answer; else the one that shares most words with the query."""
    if source.answer_spans or not source.query:
        return source.region if source.answer_spans else []
    wanted = terms(source.query)
    return sorted(source.region, key=lambda span: (-len(wanted & terms(source.text[slice(*span)])), span))[:1]


def deletion(source: Source, draw: Draw) -> list[Option]:
    """The text without the sentences that answer, all of them at once; None of it where under half would be left.

    See `answering`; the title stays, so the topic is kept and the answer is gone.
    """
    gone = answering(source)
    left = len(source.text) - sum(end - start for start, end in gone)
    if not gone or left < LEAST_LEFT * len(source.text):
        return []
    edits = []
    for start, end in gone:
        while end < len(source.text) and source.text[end].isspace():
            end += 1
        edits.append(Edit(start, end, source.text[start:end], ""))
    return [tuple(edits)]


def facet(source: Source, draw: Draw) -> list[Option]:
    """Another aspect of the same topic in place of the answer: each answering sentence becomes one of a donor.

    A donor is a text of the same topic about something else (`foils.writing.facets`). From the first donor that has
    enough sentences which hold no answer and share fewer words with the query, those nearest in length are taken.
    """
    gone = answering(source)
    if not gone:
        return []
    holds = compile_answers(list(source.answers), "string") if source.answers else None
    wanted = terms(source.query)
    options = []
    for donor in source.donors:
        fit = []
        for start, end in sentences(donor):
            text = donor[start:end]
            if (holds is not None and holds(tokens_of(text))) or source.knows(text) or len(text) < 20:
                continue
            if not wanted or len(wanted & terms(text)) < len(wanted):
                fit.append(text)
        if len(fit) >= len(gone):
            options.append(_exchanged(source, gone, fit))
    return options


def _exchanged(source: Source, gone: list[Span], fit: list[str]) -> Option:
    edits, left = [], list(fit)
    for start, end in gone:
        best = min(left, key=lambda text: (abs(len(text) - (end - start)), text))
        left.remove(best)
        edits.append(Edit(start, end, source.text[start:end], best))
    return tuple(edits)
