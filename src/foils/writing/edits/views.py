"""Views of a text that mean the same, for positives: synonyms, dropped tokens, a crop, a span."""

from __future__ import annotations

import re

from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option, disjoint, replaced
from foils.writing.edits.region import Source, Span
from foils.writing.edits.swaps import opposites

SYNONYM_SHARE = 0.3  # of the words that have one
DROP_SHARE = 0.1  # of the words outside the region
CROP = (0.5, 0.9)  # of the words, the bounds of its share
_TOKEN = re.compile(r"\S+\s*")


def synonym(source: Source, draw: Draw) -> list[Option]:
    """About 30 % of the words that have a synonym in the list, changed together."""
    found = [
        replaced(source.text, *match.span(), after)
        for match, after in opposites(source.text, "synonym", draw)
        if match.group()[0].islower() and not source.answering(*match.span())
    ]
    return _chosen(found, SYNONYM_SHARE, draw, "synonym")


def drop(source: Source, draw: Draw) -> list[Option]:
    """About 10 % of the words, taken out; none within a known answer. Every text keeps its first word."""
    tokens = [match for match in _TOKEN.finditer(source.text) if match.start() and not source.answering(*match.span())]
    return _chosen([Edit(*match.span(), match.group(), "") for match in tokens], DROP_SHARE, draw, "drop")


def crop(source: Source, draw: Draw) -> list[Option]:
    """A run of half to nine tenths of the words; it holds the first known answer, if there is one.

    Izacard et al. 2021, Contriever, arXiv:2112.09118, section 3.2: independent cropping, there between two views of a
    document; the bounds are ours.
    """
    tokens = [match.span() for match in _TOKEN.finditer(source.text)]
    low, high = CROP
    size = round(len(tokens) * (low + (high - low) * draw.share("crop", "size")))
    if size < 1 or size >= len(tokens):
        return []
    need = next(iter(sorted(source.answer_spans)), None)
    starts = [at for at in range(len(tokens) - size + 1) if need is None or _holds(tokens, at, size, need)]
    return [_kept(source.text, _run(tokens, draw.pick(starts, "crop", "start"), size))] if starts else []


def span(source: Source, draw: Draw) -> list[Option]:
    """One sentence of the region alone: what answers, without its context.

    The inverse cloze task (Lee, Chang and Toutanova 2019, arXiv:1906.00300, section 4) draws a sentence as the query
    and its context as the document; here the sentence is a short positive of the query that there is.
    """
    if len(source.sentences) < 2 or not source.region:
        return []
    return [_kept(source.text, draw.pick(source.region, "span"))]


def _run(tokens: list[Span], at: int, size: int) -> Span:
    return tokens[at][0], tokens[at + size - 1][1]


def _holds(tokens: list[Span], at: int, size: int, need: Span) -> bool:
    start, end = _run(tokens, at, size)
    return start <= need[0] and need[1] <= end


def _kept(text: str, kept: Span) -> Option:
    start, end = kept[0], kept[0] + len(text[slice(*kept)].rstrip())
    ends = (Edit(0, start, text[:start], ""), Edit(end, len(text), text[end:], ""))
    return tuple(edit for edit in ends if edit.before)


def _chosen(edits: list[Edit], share: float, draw: Draw, what: str) -> list[Option]:
    apart = disjoint(edits)
    kept = [edit for edit in apart if draw.share(what, edit.start) < share]
    option = tuple(kept) or apart[: len(apart) and 1]
    return [option] if option else []
