"""Effects of a study, by hand; its sentences, on records made for them."""

from __future__ import annotations

import numpy as np
import pytest

from foils.audit.estimators import wilson
from foils.evaluate.significance import holm, over_seeds
from foils.study import effects
from foils.study.advice import duration, sentences
from foils.study.pareto import front
from foils.study.rates import rate as rate_of

GENERATOR = np.random.default_rng(3)
M = "nDCG@10"


def arm(mean, seeds=3, queries=50):
    return {seed: {M: np.clip(GENERATOR.normal(mean, 0.1, queries), 0, 1)} for seed in range(seeds)}


ARMS = {"start": arm(0.2, seeds=1), "in-batch": arm(0.5), "bm25": arm(0.52), "simans": arm(0.6)}


def test_differences_are_paired_by_query_and_seed():
    found = effects.versus(ARMS, [M], [("simans", "in-batch"), ("bm25", "in-batch")], rounds=500)
    expected = {
        name: over_seeds([ARMS[name][seed][M] - ARMS["in-batch"][seed][M] for seed in range(3)], rounds=500)
        for name in ("simans", "bm25")
    }
    for name, one in expected.items():
        told = found[name, "in-batch"][M]
        assert told["difference"] == pytest.approx(one.mean)
        assert (told["low"], told["high"]) == pytest.approx((one.interval.low, one.interval.high))
    both = holm([found[name, "in-batch"][M]["p"] for name in ("simans", "bm25")])
    assert [found[name, "in-batch"][M]["holm"] for name in ("simans", "bm25")] == pytest.approx(both)


def test_the_start_model_stands_against_every_seed_and_seeds_that_both_have_count():
    found = effects.versus(ARMS, [M], [("bm25", "start")], rounds=200)["bm25", "start"][M]
    assert found["difference"] == pytest.approx(
        np.mean([ARMS["bm25"][seed][M] - ARMS["start"][0][M] for seed in range(3)])
    )
    fewer = {**ARMS, "bm25": {1: ARMS["bm25"][1]}, "other": {7: ARMS["bm25"][1]}}
    found = effects.versus(fewer, [M], [("bm25", "in-batch"), ("other", "in-batch")], rounds=200)
    assert list(found) == [("bm25", "in-batch")]
    assert found["bm25", "in-batch"][M]["difference"] == pytest.approx(
        np.mean(ARMS["bm25"][1][M] - ARMS["in-batch"][1][M])
    )


def test_what_is_detectable_is_of_one_test_whatever_else_is_compared():
    """As the sentences and tables say of it: no correction is in it."""
    alone = effects.versus(ARMS, [M], [("simans", "in-batch")], rounds=200)["simans", "in-batch"][M]
    pairs = [("bm25", "in-batch"), ("simans", "in-batch"), ("start", "in-batch")]
    among = effects.versus(ARMS, [M], pairs, rounds=200)["simans", "in-batch"][M]
    assert among["detectable"] == pytest.approx(alone["detectable"])
    assert among["holm"] > alone["holm"]


def test_families_that_are_corrected_together():
    names = ["start", "in-batch", "bm25"]
    to_baseline, to_start = effects.families(names, "in-batch", every=False)
    assert to_baseline == [("start", "in-batch"), ("bm25", "in-batch")]
    assert to_start == [("in-batch", "start"), ("bm25", "start")]
    assert effects.families(names, "start", every=False) == [[("in-batch", "start"), ("bm25", "start")]]
    (every,) = effects.families(names, "in-batch", every=True)
    assert sorted(map(sorted, every)) == [["bm25", "in-batch"], ["bm25", "start"], ["in-batch", "start"]]


def test_the_front_is_what_nobody_beats_in_both():
    costs = dict(zip("abcdef", GENERATOR.permutation(6).tolist(), strict=True))
    reached = dict(zip("abcdef", GENERATOR.permutation(6).tolist(), strict=True))
    slow = [
        name
        for name in costs
        if not any(costs[o] <= costs[name] and reached[o] >= reached[name] for o in costs if o != name)
    ]
    assert sorted(front(costs, reached)) == sorted(slow)
    assert front({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5}) == ["a"]


def record(differences, *, seeds=3, failed=None, baseline="in-batch", start=-0.2):
    """A record with an arm for each (difference, low, high, holm, seconds); the baseline takes 60 s."""

    def one(name, seconds, versus, rate=None):
        rate = {"value": rate, "low": rate, "high": rate, "kind": "true" if rate else "none"}
        return {
            "name": name,
            "versus": versus,
            "seconds": {"total": seconds},
            "seeds": [0] if name == "start" else list(range(seeds)),
            "rate": rate,
        }

    def against(difference, low, high, corrected):
        ends = {"low": low, "high": high, "holm": corrected, "p": corrected, "detectable": 0.012}
        return {M: {"difference": difference, **ends}}

    arms = [one("start", 0, {}), one("in-batch", 60, {"start": against(-start, 0.1, 0.3, 0.001)})]
    for name, (*values, seconds, rate) in differences.items():
        arms.append(one(name, seconds, {baseline: against(*values)}, rate))
    return {"arms": arms, "baseline": baseline, "main": M, "failed": failed or {}}


def test_the_best_is_recommended_with_its_price_and_what_cannot_be_told_apart_is_said():
    told = sentences(
        record(
            {
                "bm25": (0.001, -0.01, 0.011, 0.8, 70, 0.44),
                "denoised": (0.021, 0.012, 0.03, 0.001, 600, None),
                "tiers": (0.018, 0.01, 0.026, 0.003, 90, 0.02),
                "bad": (-0.03, -0.04, -0.02, 0.001, 90, None),
            }
        )
    )
    assert told[0] == (
        "Take denoised: it adds +.021 [+.012, +.030] nDCG@10 to in-batch for 9 min more. "
        "Cheaper, and with intervals that overlap its own: tiers (90 s)."
    )
    assert told[1] == "tiers adds +.018 [+.010, +.026] nDCG@10 for 30 s more."
    assert told[2] == (
        "bm25 and in-batch are not distinguishable here (+.001 [-.010, +.011] nDCG@10). "
        "4 times in 5, one uncorrected test would have seen a true difference above about .012."
    )
    assert told[3] == "Worse than in-batch: bad -.030 [-.040, -.020] nDCG@10."
    assert "in-batch is +.200 [+.100, +.300] nDCG@10 above the model before training" in told[4]
    assert told[5].endswith("relevant by the fuller labels: bm25 44 %.")
    assert len(told) == 6


def test_where_nothing_helps_one_stays_and_luck_is_told():
    told = sentences(record({"bm25": (0.001, -0.01, 0.011, 0.8, 70, None)}, seeds=1, failed={"kd": "no"}))
    assert told[0] == "No recipe here is better than in-batch by nDCG@10: stay with in-batch."
    assert told[-2].startswith("One seed: the intervals are over queries alone")
    assert told[-1] == "Not finished: kd. The same command tries again."
    assert sentences(record({}, seeds=2))[0] == "Nothing was compared with in-batch: name more recipes."
    assert sentences(record({}, seeds=2))[-1].startswith("Two seeds")
    hurts = record({"bm25": (0.1, 0.05, 0.2, 0.001, 70, None)}, start=0.2)
    assert any(line.startswith("Training itself hurts") for line in sentences(hurts))


def test_a_difference_counts_from_either_side():
    turned = record({})
    turned["arms"].append({**turned["arms"][1], "name": "bm25", "versus": {}})
    turned["arms"][1]["versus"]["bm25"] = {
        M: {"difference": -0.1, "low": -0.2, "high": -0.05, "p": 0.001, "holm": 0.001, "detectable": 0.01}
    }
    assert sentences(turned)[0].startswith("Take bm25: it adds +.100 [+.050, +.200]")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5370, "1.5 h")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_rate_of_nothing_is_bounded_by_what_so_many_queries_rule_out():
    found = rate_of([np.stack([np.zeros(50, int), np.full(50, 4)], axis=1)], rounds=200)
    assert (found["value"], found["low"]) == (0, 0)
    assert found["high"] == pytest.approx(wilson(0.0, 50.0)[1])
    assert rate_of([np.zeros((3, 2), int)], rounds=200)["kind"] == "none"
