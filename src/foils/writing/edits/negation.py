"""Negation at the main auxiliary of a sentence, by rule; negating twice gives the sentence back."""

from __future__ import annotations

import re

from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option
from foils.writing.edits.lexicon import VERBS
from foils.writing.edits.region import Source, terms

_BE = ("is", "are", "was", "were", "am")
_HAVE = ("has", "have", "had")
_MODALS = ("can", "could", "may", "might", "must", "shall", "should", "will", "would")
_AUXILIARY = re.compile(rf"(?<![\w'’-])(?:{'|'.join((*_BE, *_HAVE, *_MODALS, 'cannot'))})(?![\w'’-])")
# What opens a clause that is not the main one.
_OPENS = re.compile(
    r"\b(?:who|which|that|when|where|whose|if|because|although|though|while|whereas|since|unless|whether|as|what|how|why|than)\b"
)
_CLOSES = re.compile(r"[,;:()–—]")
_NEGATED = re.compile(r"\s+(?:not|no|never|nor|neither|nothing|none|nobody|n't)\b")
_PARTICIPLE = re.compile(
    r"\s+(?:\w+ly\s+|also\s+|long\s+|since\s+|always\s+)?(?:\w+ed|\w+en|been|had|made|held|led|lost|built|found|sold|sent|set|put|said|brought|thought|become|begun|come|gone|done|seen|known|grown|shown|won|paid|kept|left|met|read|run|sung|told|taught|worn)\b"
)
_OBJECT = r"(?=\s+(?:the|a|an|its|his|her|their|our|this|these|those|any|all|several|many|two|three|only|one)\b)"
_PAST = re.compile(rf"(?<![\w'’-])(?:{'|'.join(VERBS)})(?![\w'’-]){_OBJECT}")
_DID_NOT = re.compile(rf"(?<![\w'’-])did not (?:{'|'.join(VERBS.values())})(?![\w'’-]){_OBJECT}")
_PASTS = {base: past for past, base in VERBS.items()}


def negated(sentence: str) -> Edit | None:
    """The edit that negates a sentence, or takes its negation away; None where no rule holds.

    The main auxiliary is the first one that no relative pronoun or conjunction before it takes; "not" goes in or out
    behind it, "can" and "cannot" change places. Without an auxiliary, "caused the" and "did not cause the" change
    places, for verbs of a list before an object. Questions, contractions (isn't) and other negatives (never, no,
    "can not") are left alone: what has two forms could not be given back.

    >>> negated("The embargo was lifted.")
    Edit(start=12, end=15, before='was', after='was not')
    >>> negated("It cannot be cured.")
    Edit(start=3, end=9, before='cannot', after='can')
    """
    if sentence.rstrip().endswith("?"):
        return None
    auxiliaries = list(_AUXILIARY.finditer(sentence))
    mains = [found for found in auxiliaries if _in_main(sentence, found.start())] or auxiliaries
    verbs = sorted((*_PAST.finditer(sentence), *_DID_NOT.finditer(sentence)), key=lambda found: found.start())
    first = next((verb for verb in verbs if _in_main(sentence, verb.start()) and _finite(sentence, verb.start())), None)
    if first is not None and not (mains and mains[0].start() < first.start()):
        return _verb(first)
    return _at_auxiliary(sentence, mains[0]) if mains else None


def _in_main(sentence: str, at: int) -> bool:
    # A pronoun or conjunction opens a clause that one verb closes: "symptoms that are mild will pass".
    clause = _CLOSES.split(sentence[:at])[-1]
    verbs = sum(1 for form in (_AUXILIARY, _PAST, _DID_NOT) for _ in form.finditer(clause))
    return len(_OPENS.findall(clause.lower())) <= verbs


def _finite(sentence: str, at: int) -> bool:
    # No participle: "has caused the", "caused by", "and, named the"; what stands before must end a subject.
    return (
        re.search(
            r"(?:\b(?:to|be|been|being|has|have|had|is|are|was|were|not|by)\s(?:\w+ly\s)?|^\s*|[,;:(–—]\s*)$",
            sentence[:at],
        )
        is None
    )


def _verb(found: re.Match[str]) -> Edit:
    word = found.group()
    after = f"did not {VERBS[word]}" if word in VERBS else _PASTS[word.removeprefix("did not ")]
    return Edit(found.start(), found.end(), word, after)


def _at_auxiliary(sentence: str, found: re.Match[str]) -> Edit | None:
    word, rest = found.group(), sentence[found.end() :]
    bare = rest[4:] if rest.startswith(" not ") else rest
    taken_out = bare is not rest
    if not re.match(r" (?!only\b)\S", bare) or _NEGATED.match(bare) or (word in _HAVE and not _PARTICIPLE.match(bare)):
        return None
    if word in ("can", "cannot"):
        return None if taken_out else Edit(found.start(), found.end(), word, "cannot" if word == "can" else "can")
    if taken_out:
        return Edit(found.start(), found.end() + 4, f"{word} not", word)
    return Edit(found.start(), found.end(), word, f"{word} not")


def negation(source: Source, draw: Draw) -> list[Option]:
    """The negation of each sentence of the region for which there is a rule; see `negated`."""
    options: list[Option] = []
    for start, end in source.region:
        edit = negated(source.text[start:end])
        if edit is not None:
            options.append((Edit(start + edit.start, start + edit.end, edit.before, edit.after),))
    return options


def one_clause(source: Source, edit: Edit) -> bool:
    """Whether a negation is likely to deny the answer.

    Nothing that opens or closes a clause is between it and a known answer; or, where none is known, no other sentence
    shares more words with the query, and the sentence is a quarter of the text at least: the rest answers, too.
    """
    if not source.answer_spans:
        shared = {span: len(source.asked & terms(source.text[slice(*span)])) for span in source.region}
        return any(
            a <= edit.start < b and shared[a, b] == max(shared.values()) and 4 * (b - a) >= len(source.text)
            for a, b in source.region
        )
    between = (
        source.text[min(edit.end, end) : max(edit.start, start)] if (end <= edit.start or edit.end <= start) else ""
        for start, end in source.answer_spans
    )
    return any(not _CLOSES.search(part) and not _OPENS.search(part) and "." not in part for part in between)
