"""A promise of the audited candidates alone: few labels suffice, it is kept, and what is no draw of them is refused."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

import foils
from calibrate.test_calibrate import final
from foils.audit import Options, audit
from foils.calibrate import calibrate, labels_of
from foils.core.errors import DataError
from foils.core.spec import parse
from foils.terminal.calibrating import calibrated


def audited(data, negatives, out, budget, *, seed=0, dropped=0):
    options = Options(budget=budget, dropped=dropped, complete=True, seed=seed)
    audit(negatives, data, judge="qrels:train", options=options, out=out)
    return out


def stage(tmp_path, more=""):
    return f"Calibrated('{tmp_path / 't.json'}', by='run', test='drawn'{more})"


def test_labels_say_how_they_were_drawn(planted, tmp_path):
    data, negatives = planted
    found = labels_of(audited(data, negatives, tmp_path / "a", 300), data).drawn
    draw = found.draw
    assert (draw.size.sum(), draw.count.sum(), found.steps) == (8_000, 300, (0,))
    labels = labels_of(tmp_path / "a", data)
    np.testing.assert_allclose(labels.weight, (draw.size / draw.count)[found.stratum])
    assert labels_of("qrels:train", data).drawn is None


@pytest.mark.parametrize("rest", ["", " >> Top(k=8)"])
def test_one_label_a_query_is_enough(planted, tmp_path, rest):
    """What the exact test of queries refuses, for the sake of queries that are not there."""
    data, negatives = planted
    sample = audited(data, negatives, tmp_path / "a", 500)
    text = stage(tmp_path, ", target=0.1") + rest
    with pytest.raises(DataError, match=r"pass test='drawn' or test='asymptotic'"):
        calibrate(negatives, text.replace("drawn", "exact"), sample, data=data)
    found = calibrate(negatives, text, sample, data=data)
    (group,) = found.groups
    assert group.report["passes"]
    _, false = final(data, negatives, text, tmp_path / "out")
    assert false.mean() <= 0.1
    console = Console(width=80)
    with console.capture() as shown:
        console.print(calibrated(found, next(iter(parse(text).steps()))))
    assert "is false, of these very candidates." in " ".join(shown.get().split())


def test_each_group_has_a_promise_of_its_own(planted, tmp_path):
    data, negatives = planted
    sample = audited(data, negatives, tmp_path / "a", 900)
    text = stage(tmp_path, ", target=0.12, groups=2")
    found = calibrate(negatives, text, sample, data=data)
    assert [group.report["passes"] for group in found.groups] == [True, True]
    kept, false = final(data, negatives, text, tmp_path / "out")
    easy = np.isin(kept.query, data.query_rows("train_sparse")[1::2])
    assert max(false[easy].mean(), false[~easy].mean()) <= 0.12


def test_the_promise_is_broken_in_at_most_a_twentieth_of_the_audits(planted, tmp_path):
    """Audits of the same candidates with other seeds: 40 thresholds, of which about two may leave too much."""
    data, negatives = planted
    pairs = negatives.kept(data)
    false = data.positives("train").find(pairs) >= 0
    text, broken = stage(tmp_path, ", target=0.1, kind='score'"), 0
    for seed in range(40):
        sample = audited(data, negatives, tmp_path / str(seed), 300, seed=seed)
        threshold = calibrate(negatives, text, sample, data=data).groups[0].threshold
        rows = (pairs.label == 0) & (pairs["run"] < threshold)
        broken += false[rows].mean() > 0.1
    assert broken <= 5  # of 40, with a chance of a twentieth each: more in 1 of 70 such tests


def test_what_was_not_audited_counts_as_false(planted, tmp_path):
    """A folder whose filter dropped half: an audit of its negatives, with and without what was dropped."""
    data, negatives = planted
    made = f"Load('{negatives.path}', which='all') >> Ranks(1, 10, by='run')"
    half = foils.mine(data, made, split="train_sparse", out=tmp_path / "half")
    text = stage(tmp_path, ", target=0.15")
    sample = audited(data, half, tmp_path / "a", 1500)
    with pytest.raises(DataError, match=r"At least \d+\.\d% of what is kept was not audited, and counts as false"):
        calibrate(half, text, sample, data=data)
    assert calibrate(half, f"Ranks(1, 10, by='run') >> {text}", sample, data=data).groups[0].report["passes"]
    both = audited(data, half, tmp_path / "b", 1500, dropped=900)
    assert labels_of(both, data).drawn.steps == (0, 2)
    assert calibrate(half, text, both, data=data).groups[0].report["passes"]
    with pytest.raises(DataError, match=r"drew from 3,627 candidates, and here are 8,000 of their kind"):
        calibrate(negatives, text, sample, data=data)


def test_what_says_nothing_of_its_draw_is_refused(planted, tmp_path):
    data, negatives = planted
    with pytest.raises(DataError, match="rests on how labels were drawn"):
        calibrate(negatives, stage(tmp_path), "qrels:train", data=data)
    sample = audited(data, negatives, tmp_path / "a", 60)
    with pytest.raises(DataError, match=r"60 labels are too few.*takes about 1[5-9]\d, and more"):
        calibrate(negatives, stage(tmp_path), sample, data=data)
    assert not (tmp_path / "t.json").exists()
