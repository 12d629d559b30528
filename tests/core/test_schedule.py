"""Numbers that depend on the progress of training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest

import foils
from foils.core import declared
from foils.core.errors import PipelineError, SpecError, StoreError
from foils.core.pairs import Pairs
from foils.core.schedule import Competence, Cosine, Linear, Log, Step
from foils.core.spec import Declared, declare, full, parse, require, resolve, scheduled
from foils.mine import Miner
from foils.recipe import load_recipe
from foils.stages import Between, Dense, Ensure, PositiveAware, SimANS, Top

SHAPES: list[Any] = [
    Linear(0.2, 0.05),
    Cosine(0.2, 0.05),
    Log(0.2, 0.05),
    Log(0.3, 0.1, 0.5),
    Step((0.2, 0.1, 0.05), (0.3, 0.6)),
]


def test_values_by_the_formulas():
    assert [Linear(60, 30).at(t) for t in (0, 0.25, 0.5, 1)] == [60, 52.5, 45, 30]
    assert Linear(0.1, 0.7).at(1) == 0.7
    assert Cosine(60, 30).at(0) == 60
    assert Cosine(60, 30).at(1) == 30
    # Losses, section 11: c = 0.01 after 0, 250, 500 and 1000 of 1000 steps.
    golden = [0.01, 0.5000749944, 0.7071421356, 1]
    assert [Competence(0.01).at(t) for t in (0, 0.25, 0.5, 1)] == pytest.approx(golden, abs=1e-10)
    assert (Competence(0.3).at(0), Competence(0.3).at(1), Competence(1).at(0.4)) == (0.3, 1, 1)
    assert [Log(60, 30, 99).at(t) for t in (0, 1)] == [60, 30]
    assert Log(60, 30, 99).at(9 / 99) == pytest.approx(45)
    assert Cosine(60, 30).at(0.25) == pytest.approx(30 + 30 * (1 + math.cos(math.pi / 4)) / 2)
    step = Step((8.0, 4.0, 2.0), (0.5, 0.75))
    assert [step.at(t) for t in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [8, 8, 4, 4, 2, 2]
    assert Step((3.0,), ()).at(0.7) == 3


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_text_round_trips(shape):
    stage = Dense("student", k=40) >> PositiveAware(margin=shape, by="student") >> Top(k=Step((8, 4), (0.5,)))  # type: ignore[arg-type]
    assert parse(repr(stage)) == stage == parse(full(stage))
    assert hash(parse(full(stage))) == hash(stage)
    assert scheduled(stage)
    assert not scheduled(resolve(stage, 0.5))


def test_positional_and_named_arguments_are_read():
    assert parse("Top(k=Linear(8, 2))") == parse("Top(Linear(start=8, end=2))") == Top(k=Linear(8, 2))  # type: ignore[arg-type]


def test_resolving_reaches_every_branch_and_rounds_whole_numbers():
    text = "(Dense('s', k=Linear(101, 20)) >> Top(k=2)) + Random(k=Linear(1, 4)) >> Between(hi=Linear(1, 0), by='s')"
    middle = resolve(parse(text), 0.5)
    assert middle == parse("(Dense('s', k=60) >> Top(k=2)) + Random(k=2) >> Between(hi=0.5, by='s')")
    assert resolve(parse(text), 0) == parse("(Dense('s', k=101) >> Top(k=2)) + Random(k=1) >> Between(hi=1, by='s')")
    assert resolve(Ensure("random", k=Linear(1, 9)), 1) == Ensure("random", k=9)  # type: ignore[arg-type]
    plain = Dense("s", k=3) >> Top(k=2)
    assert resolve(plain, 0.3) is plain


def test_losses_and_contrasts_resolve_too():
    import foils.train  # noqa: F401 - declares InfoNCE and InBatch

    loss = parse("0.5*InfoNCE(temperature=Linear(0.1, 0.02)) + InfoNCE()", "loss")
    assert repr(resolve(loss, 1)) == "0.5*InfoNCE(temperature=0.02) + InfoNCE()"
    contrast = parse("InBatch() >> PositiveAware(margin=Linear(0.2, 0))", "contrast", "stage")
    assert repr(resolve(contrast, 0.5)) == "InBatch() >> PositiveAware(margin=0.1)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Top(k=Linear(3, 0))", "at progress 1, Top(k=0): k must be at least 1"),
        ("Top(k=Step([3, 0, 3], [0.3, 0.4]))", "at progress 0.3, Top(k=0): k must be at least 1"),
        (
            "Between(lo=Linear(0, 2), hi=Linear(1, 0))",
            "at progress 0.5, Between(hi=0.5): hi must be",
        ),
        ("Top(k=Linear(Linear(1, 2), 3))", "start must be a number"),
        ("Top(k=Liner(1, 2))", "a literal is needed here"),
        ("Top(k=Top(k=1))", "a literal is needed here"),
        ("Top(k=Linear)", "a literal is needed here"),
        ("Dense(Linear(1, 2), k=3)", "encoder must be a text in quotes"),
        ("PositiveAware(kind=Linear(1, 2))", "kind must be one of"),
        ("Quantile(hi=Competence(0.0))", "above 0 and at most 1"),
        ("Quantile(hi=Competence(1.5))", "above 0 and at most 1"),
        ("Top(k=Log(1, 2, 0))", "steepness must be above 0"),
        ("Linear(1, 2)", "is a schedule, not a stage"),
        ("Top(k=Linear(1))", "Linear needs end=…"),
        ("Top(k=Linear(1, 2, 3))", "Linear takes at most 2 arguments"),
        ("Top(k=Linear(1, stop=3))", "Linear has no field 'stop'"),
        ("Top(k=Step([2, 1], [0.5, 0.7]))", "switches must be of 1 times"),
        ("Top(k=Step([3, 2, 1], [0.7, 0.5]))", "switches must be ascending times"),
        ("Top(k=Step([3, 2], [0]))", "switches must be ascending times above 0"),
        ("Top(k=Step([], []))", "values must be at least one number"),
        ("Top(k=Step([Linear(1, 2)], []))", "values must be a list of a number"),
        ("Top(k=Linear(1, 2) + 1)", "a literal is needed here"),
    ],
)
def test_what_cannot_be_is_refused_with_its_time(text, said):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_numbers_in_a_list_may_be_scheduled(monkeypatch):
    monkeypatch.setattr(declared, "_REGISTRY", dict(declared._REGISTRY))

    @declare
    class Levels(Declared):
        """For this test."""

        role: ClassVar = "stage"
        levels: tuple[float, ...]
        share: float | None = None

        def check(self):
            require(self.share is None or self.share > 0, self, "share", "above 0")
            require(all(level > 0 for level in self.levels), self, "levels", "above 0")

    made = parse("Levels([Linear(1, 2), 5])")
    assert made == Levels((Linear(1, 2), 5.0)) == parse(made.full())
    assert resolve(made, 0.5).levels == (1.5, 5.0)
    with pytest.raises(SpecError, match=r"at progress 1, .*levels must be above 0"):
        Levels((Linear(1, 0),))
    with pytest.raises(SpecError, match="levels must be a list of a number"):
        Levels(("one",))
    assert resolve(Levels((1.0,), share=Linear(1, 2)), 0.5).share == 1.5
    with pytest.raises(SpecError, match="share must be above 0"):
        Levels((1.0,), share=Linear(1, 0))


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan])
def test_progress_is_between_0_and_1(t):
    with pytest.raises(SpecError, match="between 0"):
        resolve(Top(k=Linear(4, 2)), t)  # type: ignore[arg-type]


def test_a_scheduled_stage_does_not_run_as_it_is(context):
    with pytest.raises(PipelineError, match="depends on the progress"):
        SimANS(k=3, a=Linear(1, 2))(Pairs.empty(), context())  # type: ignore[arg-type]


def test_mining_at_a_progress_is_mining_with_its_numbers(data, models, tmp_path):
    text = "Dense('student', k=Linear(30, 10)) >> Between(hi=Linear(0.9, 0.5)) >> Top(k=Step([4, 2], [0.5]))"
    job = {"split": "train", "seed": 0, "encoders": models}
    late = Miner(at=0.5).mine(data, parse(text), **job, out=tmp_path / "late")
    plain = foils.mine(
        data, "Dense('student', k=20) >> Between(hi=0.7) >> Top(k=2)", encoders=models, out=tmp_path / "p"
    )
    assert [p.read_bytes() for p in late.parts()] == [p.read_bytes() for p in plain.parts()]
    assert late.pipeline == plain.pipeline
    assert late.manifest["schedule"] == {"pipeline": full(parse(text)), "at": 0.5}
    assert "schedule" not in plain.manifest
    assert Miner(at=0.5).mine(data, parse(text), **job, out=tmp_path / "late").path == late.path
    with pytest.raises(StoreError, match="of another run"):
        Miner(at=0.6).mine(data, parse(text), **job, out=tmp_path / "late")
    with pytest.raises(SpecError, match="between 0"):
        Miner(at=2).mine(data, parse(text), **job, out=tmp_path / "never")
    first = foils.mine(data, text, encoders=models, out=tmp_path / "first")
    assert first.pipeline == "Dense('student', k=30) >> Between(hi=0.9) >> Top(k=4)"
    assert first.manifest["schedule"]["at"] == 0.0


def test_recipes_schedule_what_they_mine_and_minimise(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("mine: BM25(k=9) >> Top(k=Linear(4, 1))\n")
    assert scheduled(load_recipe(path).mine)
    path.write_text("loss: InfoNCE(temperature=Linear(0.1, 0.02))\n")
    assert scheduled(load_recipe(path).loss)
    path.write_text("loss: InfoNCE(temperature=Linear(0.1, 0.0))\n")
    with pytest.raises(SpecError, match="at progress 1"):
        load_recipe(path)


def test_between_is_checked_at_each_time():
    assert resolve(Between(lo=0.0, hi=Linear(1, 0.5)), 1).hi == 0.5  # type: ignore[arg-type]
