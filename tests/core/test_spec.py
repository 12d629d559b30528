import typing

import pytest

from foils.core.errors import SpecError
from foils.core.spec import full, parse
from foils.stages import BM25, Dense, Random, SimANS, Top, Uniform


@pytest.mark.parametrize(
    "text",
    [
        "Dense('student', k=400) >> SimANS(k=15, a=0.7)",
        "BM25(k=200) + Dense('student', k=200) >> PositiveAware(by='student') >> Top(k=8, by='student')",
        "Dense('s', k=50) >> (Ranks(hi=10) >> Uniform(k=2)) + (Ranks(lo=11) >> Uniform(k=2)) >> Distinct()",
        "Random(k=3)",
        "Dense('a b', k=3) >> Between(hi=-0.5)",
    ],
)
def test_what_is_printed_is_read_back(text):
    value = parse(text)
    assert repr(value) == text
    assert parse(full(value)) == value == parse(repr(value))
    assert hash(parse(full(value))) == hash(value)


def test_plus_binds_tighter_than_then():
    value = parse("BM25(k=2) + Dense('s', k=2) >> Top(k=1, by='s')")
    assert value == (BM25(k=2) + Dense("s", k=2)) >> Top(k=1, by="s")
    assert value != BM25(k=2) + (Dense("s", k=2) >> Top(k=1, by="s"))


def test_line_breaks_and_positional_fields():
    assert parse("Dense('s',\n k=4)\n >> Top(2)") == Dense("s", k=4) >> Top(k=2)


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("Dense('s', k=1) >> SimAns(k=1)", "Did you mean 'SimANS'", 20),
        ("Top(kk=1)", "no field 'kk'. Did you mean 'k'?", 5),
        ("SimANS(k=1, sharpness=2)", "no field 'sharpness'. It has: k, a, b", 13),
        ("Top(k='3')", "k must be a whole number", 1),
        ("Top(k=True)", "k must be a whole number", 1),
        ("Top(k=0)", "k must be at least 1", 1),
        ("BM25(k=5, b=1.5)", "b must be between 0 and 1", 1),
        ("PositiveAware(kind='ratio')", "one of 'relative', 'absolute'", 1),
        ("Top()", "needs k=…", 1),
        ("Top(k=1", "cannot read this", 4),
        ("Top", "needs parentheses", 1),
        ("Top(k=n)", "a literal is needed", 7),
        ("Top(k=1) | Top(k=2)", "only '>>' (then), '+' (pool or sum)", 1),
        ("Top(k=1, k=2)", "", None),
        ("__import__('os').system('x')", "only declared names", 1),
        ("InfoNCE()", "is a loss, not a stage", 1),
        ("ü >> Top(k=1, kk=1)", "unknown stage 'ü'", 1),
        ("Top(k=1) >> 3", "does not join", 1),
        ("", "the pipeline is empty", None),
        ("(5)", "5 is no stage", 2),
        ("'BM25(k=5)'", "is no stage", 1),
        ("BM25(k=5) # then\n>> Top(k=1)", "comments cannot stand", 11),
        ("(BM25(k=5) # then\n) >> Top(k=1)", "cannot read this", None),
        ("Top(k={[1]: 2})", "a literal is needed", 7),
        ("Between(hi=1e999)", "hi must be a number or None", 1),
        ("Softmax(k=1, temperature=-1e999)", "temperature must be a number", 1),
        ("Top(k=1)" + " >> Top(k=1)" * 20_000, "240,008 characters", None),
        ("\ud800", "cannot read a pipeline", None),
    ],
)
def test_faults_are_named_with_their_position(text, said, column):
    import foils.train.losses  # noqa: F401 - declares InfoNCE

    with pytest.raises(SpecError) as caught:
        parse(text)
    assert said in str(caught.value)
    if column is not None:
        assert f"(at column {column})" in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_whole_is_of_the_first_kind():
    import foils.train  # noqa: F401 - declares InBatch

    assert repr(parse("InBatch() >> PositiveAware()", "contrast", "stage")) == "InBatch() >> PositiveAware()"
    with pytest.raises(SpecError, match="is no contrast"):
        parse("PositiveAware()", "contrast", "stage")


def test_a_number_sign_in_quotes_is_no_comment():
    assert parse("(Dense('#1', k=2))") == Dense("#1", k=2)


def test_values_are_frozen_and_checked_in_python_too():
    with pytest.raises(SpecError, match="at least 1"):
        Uniform(k=0)
    with pytest.raises(SpecError, match="a whole number"):
        Random(k=typing.cast(int, 1.5))
    assert SimANS(k=1, a=2).a == 2.0
    with pytest.raises(AttributeError):
        SimANS(k=1).a = 3.0
