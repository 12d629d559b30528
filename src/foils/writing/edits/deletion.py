"""The answer taken out of a text, and another aspect of its topic put in its place."""

from __future__ import annotations

from foils.core.answers import compile_answers, tokens_of
from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option
from foils.writing.edits.region import Source, Span, sentences, terms

LEAST_LEFT = 0.5  # of the text's characters; the length check of written texts asks for as much


def deletion(source: Source, draw: Draw) -> list[Option]:
    """The text without the sentences that answer, all of them at once; the title stays: topic kept, answer gone.

    All that hold a known answer; nothing where under half of the text would be left. Where no answer is known, the
    sentences of the region in the order of how many words they share with the query, until the next one would leave
    less than half; what is left then mostly still answers.
    """
    gone = source.region if source.answer_spans else _likeliest(source)
    left = len(source.text) - sum(end - start for start, end in gone)
    if not gone or left < LEAST_LEFT * len(source.text) or not left:
        return []
    return [tuple(_out(source.text, span) for span in gone)]


def _likeliest(source: Source) -> list[Span]:
    taken: list[Span] = []
    left = LEAST_LEFT * len(source.text)
    shared = {span: len(source.asked & terms(source.text[slice(*span)])) for span in source.region if source.query}
    for start, end in sorted(shared, key=lambda span: (-shared[span], span)):
        left -= end - start
        if left < 0:
            break
        taken.append((start, end))
    return sorted(taken)


def _out(text: str, span: Span) -> Edit:
    start, end = span
    while end < len(text) and text[end].isspace():
        end += 1
    return Edit(start, end, text[start:end], "")


def facet(source: Source, draw: Draw) -> list[Option]:
    """Another aspect of the same topic in place of the answer: each sentence of the region becomes one of a donor.

    A donor is a text of the same topic about something else (`foils.writing.facets`). Of its sentences those count that
    hold no answer and do not share all words of the query; for each sentence of the region the one nearest in length is
    taken, and those left over go. One option a donor.
    """
    gone = source.region if source.query else []
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
        if fit:
            options.append(_exchanged(source.text, gone, fit))
    return options


def _exchanged(text: str, gone: list[Span], fit: list[str]) -> Option:
    edits, left = [], list(fit)
    for start, end in gone:
        if left:
            best = min(left, key=lambda other: (abs(len(other) - (end - start)), other))
            left.remove(best)
            edits.append(Edit(start, end, text[start:end], best))
        else:
            edits.append(_out(text, (start, end)))
    return tuple(edits)
