"""What base classes promise beyond single stages: sources after sources, scorers after filters, pools after both."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE
from foils.stages import BM25, Context, Dense, Promote, Random, Uniform
from little import write_jsonl


def run(text: str, ctx):
    return foils.parse(text)(ctx.data.positives(ctx.split).bare(), ctx)


@pytest.mark.parametrize("second", ["Dense('student', k=3)", "Random(k=3)", "BM25(k=2)"])
def test_a_source_after_a_source_keeps_what_was_there(second, context):
    first, both = run("BM25(k=20)", context()), run(f"BM25(k=20) >> {second}", context())
    at = both.find(first)
    assert (at >= 0).all()
    assert (both.label[at] == first.label).all()
    assert both["bm25"][at].tolist() == first["bm25"].tolist()


def test_what_was_dropped_is_not_scored(context):
    pairs = run("BM25(k=20) >> Top(k=2) >> CrossEncoder('judge')", context())
    assert (pairs.dropped != 0).any()
    assert (np.isnan(pairs["judge"]) == (pairs.dropped != 0)).all()


def test_what_was_judged_before_a_source_stays_out(context):
    pairs = run("Dense('student', k=60) >> PositiveAware(margin=0.3) >> Random(k=150)", context())
    judged = pairs.dropped == 2
    assert (judged & (pairs.ranks["random"] > 0)).any()
    assert (pairs.dropped[judged & (pairs.label == CANDIDATE)] == 2).all()


def test_a_pool_of_fresh_branches_remembers_what_it_leaves_out(context):
    pairs = run("BM25(k=20) >> Dense('student', k=3) + Random(k=2)", context())
    left = (pairs.ranks["bm25"] > 0) & (pairs.ranks["student"] == 0) & (pairs.ranks["random"] == 0)
    left &= pairs.label == CANDIDATE
    assert left.any()
    assert set(pairs.dropped[left].tolist()) == {-2}
    assert (pairs.dropped[(pairs.ranks["random"] > 0) & (pairs.label == CANDIDATE)] == 0).all()


def test_nested_pools_number_their_steps_in_reading_order(context):
    text = "BM25(k=20) >> (Ranks(hi=9) >> (Ranks(hi=3) >> Top(k=1)) + Ranks(lo=5)) + (Ranks(lo=15) >> Top(k=2))"
    stage, pairs = foils.parse(text), run(text, context())
    names = [repr(step) for step in stage.steps()]
    assert names == ["BM25(k=20)", "Ranks(hi=9)", "Ranks(hi=3)", "Top(k=1)", "Ranks(lo=5)", "Ranks(lo=15)", "Top(k=2)"]
    rank = pairs.ranks["bm25"]
    kept = (pairs.dropped == 0) & (pairs.label == CANDIDATE)
    assert kept[(rank >= 5) & (rank <= 9) & (pairs.label == CANDIDATE)].all()
    assert not kept[((rank > 9) & (rank < 15)) | (rank == 4)].any()
    for query in pairs.queries:
        here = kept & (pairs.query == query)
        assert (here & (rank <= 3)).sum() <= 1
        assert (here & (rank >= 15)).sum() <= 2


def test_a_judging_step_in_a_later_branch_has_its_own_number(context):
    text = "Dense('student', k=40) >> (Ranks(hi=9) >> Top(k=2)) + (PositiveAware(margin=0.3) >> Top(k=2))"
    dropped = run(text, context()).dropped
    assert set(dropped[dropped > 0].tolist()) == {4}


def test_promoted_positives_start_the_later_branches(context):
    text = "BM25(k=20) >> CrossEncoder('judge') >> Promote(at=0.7) >> (Uniform(k=1)) + BM25(k=4)"
    first = run("BM25(k=20) >> CrossEncoder('judge') >> Promote(at=0.7)", context())
    pairs = run(text, context())
    promoted = first.take(first.label == 1)
    at = pairs.find(promoted)
    assert (pairs.label[at] == 1).all()
    per_query = np.bincount(pairs.query[(pairs.ranks["bm25"] > 0) & (pairs.label == 0) & (pairs.dropped == 0)])
    assert per_query.max() <= 5


def test_a_scorer_in_one_branch_scores_the_rows_of_the_others(context):
    ctx = context()
    pairs = run("(BM25(k=2) >> CrossEncoder('judge')) + BM25(k=9) + Random(k=3) >> Top(k=5, by='judge')", ctx)
    queries, docs = ctx.data.queries.texts(pairs.query), ctx.data.corpus.texts(pairs.doc)
    assert pairs["judge"].tolist() == ctx.reranker("judge").score(queries, docs).tolist()


def test_two_kinds_of_samplers_do_not_share_their_draws(context):
    one, other = (run(f"BM25(k=30) >> {sampler}", context()) for sampler in ("Uniform(k=3)", "SimANS(k=3, a=0.0)"))
    assert one.key.tolist() == other.key.tolist()
    assert (one.dropped != other.dropped).any()


def test_a_labeler_gives_one_of_three_labels(context, monkeypatch):
    monkeypatch.setattr(Promote, "relabel", lambda self, view: view.label + 1)
    with pytest.raises(PipelineError, match="labels must be 1, 0 or -1"):
        run("BM25(k=3) >> Promote(at=0.5)", context())


def test_logits_of_minus_infinity_are_never_drawn(context, monkeypatch):
    monkeypatch.setattr(Uniform, "logits", lambda self, view: np.where(view.doc % 3 == 0, 0.0, -np.inf))
    pairs = run("BM25(k=30) >> Uniform(k=25)", context())
    candidate = pairs.label == CANDIDATE
    assert ((pairs.dropped[candidate] == 0) == (pairs.doc[candidate] % 3 == 0)).all()


def test_of_copies_a_source_offers_the_first(tmp_path, models, cache):
    texts = ["salt binds ice", "SALT  binds ice", "salt binds Ice", "light moves wood", "iron reflects heat"]
    folder = tmp_path / "copies"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts)])
    write_jsonl(folder / "queries.jsonl", [{"_id": "q", "text": "salt binds ice"}])
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\td4\t1\n")
    data = foils.load(folder)
    for stage in (Dense("student", k=2), BM25(k=2), Random(k=2)):
        rows = data.query_rows("train")
        out = stage(data.positives("train").bare(), Context(data, "train", 0, rows, rows, models, cache))
        found = sorted(out.doc[out.label == CANDIDATE].tolist())
        # BM25 finds documents that share a word only; the two others fill their k with the next text.
        assert found == ([0] if isinstance(stage, BM25) else [0, 3])
