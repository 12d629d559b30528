"""What holds for every kind of edit, over generated texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core.answers import tokens_of
from foils.writing.edits import BOUND, EDITS, VIEWS, Draw, Source, apply, edited, options
from foils.writing.edits.dates import dates
from foils.writing.edits.numbers import numerals
from grammar import draws, sources

KINDS = [*EDITS, *VIEWS, "identity"]
few = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("kind", KINDS)
@few
@given(source=sources, draw=draws, reach=st.sampled_from(["answer", "region"]))
def test_an_edit_changes_its_spans_and_nothing_else(kind, source, draw, reach):
    made = edited(kind, source, draw, reach=reach)
    found = options(kind, source, draw, reach)
    assert (made is None) == (not found)
    if made is None:
        return
    assert made.text != source.text
    assert made.edits == tuple(sorted(made.edits))
    at = 0  # what lies between the spans, in both texts
    left, right = source.text, made.text
    for edit in made.edits:
        assert edit.before != edit.after
        assert left[at : edit.start] == right[: edit.start - at]
        assert left[edit.start : edit.end] == edit.before
        right = right[edit.start - at :]
        assert right.startswith(edit.after)
        right, at = right[len(edit.after) :], edit.end
    assert left[at:] == right
    assert apply(source.text, made.edits) == made.text


@pytest.mark.parametrize("kind", KINDS)
@few
@given(source=sources, draw=draws)
def test_the_same_draw_gives_the_same_edit(kind, source, draw):
    again = Source(
        source.text, source.title, source.query, source.answers, source.positives, source.gazetteer, source.donors
    )
    assert edited(kind, source, draw) == edited(kind, again, Draw(draw.key))


@pytest.mark.parametrize("kind", sorted(set(EDITS) - {"deletion", "facet"}))
@few
@given(source=sources, draw=draws)
def test_options_begin_in_the_region(kind, source, draw):
    for option in options(kind, source, draw, "region"):
        assert any(a < edit.end and edit.start < b for edit in option for a, b in source.region)


@pytest.mark.parametrize("kind", BOUND)
@few
@given(source=sources, draw=draws)
def test_edits_of_a_few_words_touch_an_answer_or_a_word_of_the_query(kind, source, draw):
    found = options(kind, source, draw)
    everywhere = options(kind, source, draw, "region")
    assert set(found) <= set(everywhere)
    if source.query or source.answers:
        touching = [o for o in everywhere if any(source.answering(e.start, e.end) for e in o)]
        assert found == (touching or [o for o in everywhere if any(source.binds(e.start, e.end) for e in o)])


@few
@given(source=sources, draw=draws)
def test_a_number_keeps_its_form_and_leaves_a_tenth(source, draw):
    before = {numeral.start: numeral for numeral in numerals(source.text)}
    for option in options("number", source, draw, "region"):
        edit = option[0]
        if not edit.before[-1:].isdigit() and not edit.before[:1].isdigit():
            continue  # in words
        old = before[edit.start]
        new = {n.start: n for n in numerals(apply(source.text, option[:1]))}[edit.start]
        assert re.sub(r"\d", "0", old.whole + old.decimals) == re.sub(r"\d", "0", new.whole + new.decimals)
        assert bool(old.suffix) == bool(new.suffix)
        if old.year:
            assert 1 <= abs(old.value - new.value) <= 30
        else:
            assert not 0.9 <= new.value / old.value <= 1.1
        assert old.above < new.value < old.below
        assert tokens_of(edit.after) not in tokens_of(" ".join([source.query, *source.answers, *source.positives]))


@few
@given(source=sources, draw=draws)
def test_a_date_stays_a_date_in_its_form(source, draw):
    before = {date.start: date for date in dates(source.text)}
    for option in options("date", source, draw, "region"):
        old = next(d for d in before.values() if any(d.start <= e.start < d.end for e in option))
        start = old.start
        inside = tuple(edit for edit in option if old.start <= edit.start < old.end)
        new = next(d for d in dates(apply(source.text, inside)) if d.start == start)
        assert new.valid
        assert (new.day, new.month, new.year) != (old.day, old.month, old.year)
        assert [name for name, _ in new.spans] == [name for name, _ in old.spans]
        assert abs(new.year - old.year) <= 30


@few
@given(source=sources, draw=draws)
def test_a_new_name_is_no_alias_and_unknown(source, draw):
    for option in options("entity", source, draw, "region"):
        for edit in option:
            known = " ".join([source.query, *source.answers, *source.positives])
            assert tokens_of(edit.after) not in tokens_of(known)
            kinds = source.gazetteer.types
            if edit.before in kinds:
                assert kinds[edit.before] == kinds[edit.after]
                assert not source.gazetteer.same(edit.before, edit.after)


@few
@given(source=sources, draw=draws)
def test_negating_twice_gives_the_text_back(source, draw):
    made = edited("negation", source, draw)
    if made is not None:
        # The region may be another one for the negated text; all its sentences are it without query and answers.
        whole = Source(source.text)
        for nth in range(len(options("negation", whole, draw))):
            once = edited("negation", whole, draw, nth)
            assert edited("negation", Source(once.text), draw, nth).text == source.text
