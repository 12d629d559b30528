"""Reading recipes of several phases: what is refused, and with which words."""

from __future__ import annotations

import pytest

from foils.core.errors import SpecError
from foils.recipe import load_recipe, read_yaml

GOOD = """
title: Two
phases:
  - name: warm
    data: titles
    mine: Random(k=2)
    share: 0.5
  - name: judge
    teach: pointwise
    mine: Dense('student', k=20) >> Uniform(k=4)
  - name: last
    start: base
    rate: 0.5
    mine: Dense('warm', k=9) >> CrossEncoder('judge') >> Between(hi=0.1) >> Top(k=3)
    loss: 2*InfoNCE()
"""


def read(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return load_recipe(path)


def test_phases_are_read_in_order(tmp_path):
    recipe = read(tmp_path, GOOD)
    assert [phase.name for phase in recipe.phases] == ["warm", "judge", "last"]
    warm, judge, last = recipe.phases
    assert (warm.data, warm.share, warm.start) == ("titles", 0.5, "previous")
    assert (judge.teach, judge.reads()) == ("pointwise", ("student",))
    assert (last.start, last.rate, last.reads()) == ("base", 0.5, ("warm", "judge"))
    shown = recipe.text()["phases"]
    assert shown[0]["mine"] == "Random(k=2)"
    assert shown[1] == {"name": "judge", "mine": "Dense('student', k=20) >> Uniform(k=4)", "teach": "pointwise"}
    assert shown[2]["loss"] == "2.0*InfoNCE()"
    with pytest.raises(SpecError, match=r"several phases \(warm, judge, last\)"):
        _ = recipe.mine


def test_a_recipe_without_phases_has_one(tmp_path):
    recipe = read(tmp_path, "mine: Random(k=2)\n")
    assert recipe.only.name == "own"
    assert recipe.text()["mine"] == "Random(k=2)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Two", "title: Two\nmine: Random(k=2)", "mine: a recipe with phases"),
        ("title: Two", "title: Two\nminee: x", "unknown key 'minee'. Did you mean 'mine'"),
        ("share: 0.5", "share: 0", "phase 'warm': share: 0 must be a number above 0"),
        ("share: 0.5", "shares: 1", "phase 'warm': unknown key 'shares'. Did you mean 'share'"),
        ("data: titles", "data: abstracts", "data: 'abstracts' is none of titles, sentences"),
        ("name: judge", "name: warm", "phase 'warm': another phase or model has that name"),
        ("name: judge", "name: student", "another phase or model"),
        ("name: judge", "name: a judge", "number 2 needs a name"),
        ("start: base", "start: first", "start: 'first' is neither base, previous nor"),
        ("start: base", "start: judge", "start: 'judge' makes a model of another kind"),
        ("start: base", "adds: [judge, warm]", "adds: 'warm' is no earlier phase"),
        ("start: base", "adds: warm", "is no list"),
        ("mine: Random(k=2)", "mine: Dense('last', k=2)", "phase 'warm': 'last' is made by a later phase or by this"),
        ("mine: Dense('student', k=20)", "mine: Dense('judge', k=20)", "'judge' is made by a later phase or by this"),
        ("start: base", "teach: pointwise", "loss: a phase that teaches"),
        ("mine: Dense('student', k=20) >> Uniform(k=4)", "loss: InfoNCE()", "loss: a phase that teaches"),
        ("mine: Dense('student', k=20) >> Uniform(k=4)", "adds: []", "teach: a cross-encoder needs negatives"),
        ("teach: pointwise", "teach: pointwise\n    rate: 2", "rate: a phase that teaches"),
        ("loss: 2*InfoNCE()", "loss: 2*InfoNSE()", "unknown loss 'InfoNSE'"),
    ],
)
def test_what_is_refused(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(SpecError, match=message):
        read(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-2.5e+2", -250.0),
        (".5e1", 5.0),
        ("1_000e0", 1000.0),
        ("0.1", 0.1),
        ("12", 12),
        ("'1e-3'", "1e-3"),
        ("1e-3x", "1e-3x"),
        ("e3", "e3"),
        ("2020-01-02e", "2020-01-02e"),
        ("1e", "1e"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(text, value):
    found = read_yaml(f"rate: {text}")["rate"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", "'0.001'"])
def test_a_rate_in_scientific_notation_is_a_rate(tmp_path, written):
    text = GOOD.replace("rate: 0.5", f"rate: {written}")
    if "'" in written:
        with pytest.raises(SpecError, match="rate"):
            read(tmp_path, text)
    else:
        assert read(tmp_path, text).phases[2].rate == 0.001


def test_a_teacher_that_nobody_uses_is_refused(tmp_path):
    with pytest.raises(SpecError, match="'judge', teaches a cross-encoder that nobody uses"):
        read(tmp_path, GOOD[: GOOD.index("  - name: last")])
