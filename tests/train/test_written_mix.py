"""Written negatives in declared shares: fixed ones, ones that follow training, and caps."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.pairs import CANDIDATE
from foils.core.spec import parse
from foils.follow import Job, follow
from foils.mine import Miner
from foils.recipe import load_recipe
from foils.store import Negatives
from foils.train import TrainOptions, generations
from little import make_shard

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=16, save_every=5, dev_share=0)
POOL = "Dense('student', k=20) + Written()"


@pytest.fixture(scope="module")
def beside(learnable, tmp_path_factory):
    return make_shard(learnable, tmp_path_factory.mktemp("written") / "shards", everywhere=False)


def drawn(beside, text, models, out):
    mined = Miner().mine(beside, parse(text), split="train", seed=0, encoders=models, out=out)
    kept = mined.kept(beside)
    kept = kept.take(kept.label == CANDIDATE)
    return kept, kept.ranks["written"] > 0


def test_quotas(beside, models, tmp_path):
    """Shares of the first draw are the weights; a share of none is none; caps leave written ones to their own k."""
    kept, written = drawn(
        beside, f"{POOL} >> Mix(k=1, kinds=['student', 'written'], weights=[3, 1])", models, tmp_path / "a"
    )
    assert len(kept) == len(beside.query_rows("train"))
    assert written.mean() == pytest.approx(0.25, abs=3.5 * np.sqrt(0.25 * 0.75 / len(kept)))
    kept, written = drawn(beside, f"{POOL} >> Mix(k=5, kinds=['written'])", models, tmp_path / "b")
    assert written.all()
    assert np.bincount(kept.query).max() == 2, "no more than there are"
    kept, written = drawn(beside, "(Dense('student', k=20) >> Top(k=3)) + Written(k=1)", models, tmp_path / "c")
    assert np.bincount(kept.query)[kept.queries].tolist() == [4] * len(kept.queries)
    assert (np.bincount(kept.query[written])[kept.queries] == 1).all()


def test_shares_follow_what_written_negatives_do(beside, static_path, tmp_path):
    path = tmp_path / "own.yaml"
    mix = "AdaptiveMix(k=4, kinds=['student', 'written'], eta=4, floor=0.1)"
    path.write_text(f"mine: {POOL} >> {mix}\ncontrast: Own()\nrefresh: Every(steps=8)\n")
    result = follow(load_recipe(path), beside, str(static_path), out=tmp_path / "run", job=Job(), options=OPTIONS)
    assert any("share/written" in entry for entry in result.run.record["health"])
    number = [entry["number"] for entry in generations.listing(result.run.out)][-1]
    told = Negatives.open(generations.folder_of(result.run.out, number)).manifest["generation"]["mix"]
    shares = [told[kind]["share"] for kind in ("student", "written")]
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert min(shares) >= 0.1
    assert shares[0] != pytest.approx(0.5, abs=1e-4), "they have moved"
