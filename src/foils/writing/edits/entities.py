"""Named entities: another name of the same type, from the corpus."""

from __future__ import annotations

import re

from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option, disjoint, replaced
from foils.writing.edits.gazetteer import Gazetteer, Type, mentions, shape, title_type, words_of
from foils.writing.edits.region import Source, places

TRIALS = 32  # names tried for one place


def entity(source: Source, draw: Draw) -> list[Option]:
    """Another name of the same type and shape for each name of the region, at all its places in the text.

    Types are person, place, organisation, event, nationality and, for titles, condition; shapes are acronym, one word
    and several. The new name comes from the gazetteer, is no alias of the old one and stands nowhere in the query, its
    answers or its positives. Of a person with several names, the first or last alone is replaced along; an acronym in
    brackets behind a name follows it. What the title calls a condition is found whatever its case. Names whose type the
    corpus leaves open stay.
    """
    gazetteer = source.gazetteer
    if gazetteer is None:
        return []
    options, seen = [], set()
    for name, kind in _named(source, gazetteer):
        if name in seen:
            continue
        seen.add(name)
        new = _another(name, kind, source, gazetteer, draw)
        if new is not None:
            option = _everywhere(source.text, name, new, kind)
            option = disjoint([*option, *_acronym(source.text, name, new)])
            if option:
                options.append(option)
    return sorted(options)


def _named(source: Source, gazetteer: Gazetteer) -> list[tuple[str, Type]]:
    found = [
        (m.name, gazetteer.types[m.name])
        for m in mentions(source.text)
        if m.name in gazetteer.types and source.within(m.start, m.end)
    ]
    kind = title_type(source.title)
    if kind is not None and any(source.within(*span) for span in places(source.text, source.title)):
        found.append((source.title, kind))
    return found


def _another(name: str, kind: Type, source: Source, gazetteer: Gazetteer, draw: Draw) -> str | None:
    names = gazetteer.slots.get((kind, shape(name)), ())
    for trial in range(TRIALS if names else 0):
        new = draw.pick(names, "entity", name, trial)
        parts = new.split(" ") if kind == "person" else [new]
        if not gazetteer.same(name, new) and not source.knows(new) and not any(source.knows(part) for part in parts):
            return new
    return None


def _everywhere(text: str, name: str, new: str, kind: Type) -> Option:
    edits = [
        _edit(text, start, end, new, kind)
        for start, end in places(text, name)
        if kind == "condition" or text[start:end] == name
    ]
    if kind == "person" and " " in name and " " in new:
        for at in (0, -1):
            word, fresh = name.split(" ")[at], new.split(" ")[at]
            alone = (span for span in places(text, word) if text[slice(*span)] == word and len(word) > 2)
            edits += [Edit(a, b, word, fresh) for a, b in alone if not any(e.start < b and a < e.end for e in edits)]
    return disjoint(edits)


def _acronym(text: str, name: str, new: str) -> list[Edit]:
    # "acute lymphoblastic leukemia (ALL)": its letters are the name once more.
    short = next((m[1] for _, end in places(text, name) if (m := re.match(r"\s\(([A-Z]{2,6})\)", text[end:]))), None)
    fresh = "".join(word[0] for word in words_of(new)).upper()
    if short is None or len(fresh) < 2 or fresh == short:
        return []
    return [Edit(a, b, short, fresh) for a, b in places(text, short) if text[a:b] == short]


def _edit(text: str, start: int, end: int, new: str, kind: Type) -> Edit:
    # "a reactive arthritis" within a sentence stays in small letters, where the new name has no other capital.
    spelt = new[0].lower() + new[1:] if kind == "condition" and text[start].islower() and new[1:].islower() else new
    return replaced(text, start, end, spelt)
