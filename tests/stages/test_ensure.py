"""What happens to queries that keep too few negatives, against slow loops over the whole score matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import foils
from foils.core import noise
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, joined
from foils.filling import share
from foils.mine import Miner
from foils.stages import BM25, Dense, Ensure, Positions, PositiveAware, Quantile, Random, Ranks, SemiHard, Top, Uniform
from foils.stages.shortfall import wanted
from foils.terminal import console
from foils.terminal import mined as terminal

MARGIN, K, DEPTH = 0.15, 4, 20
BASE = Dense("student", k=DEPTH) >> PositiveAware(margin=MARGIN) >> Top(k=K)


def run(stage, ctx, block: int | None = None) -> Pairs:
    known = ctx.data.positives(ctx.split).bare()
    size = block or len(ctx.rows)
    blocks = [ctx.rows[i : i + size] for i in range(0, len(ctx.rows), size)]
    return joined([stage(share(known, b), ctx.at(b)) for b in blocks])


def negatives(pairs: Pairs) -> dict[int, list[int]]:
    kept = pairs.take(pairs.alive & (pairs.label == CANDIDATE))
    return {q: sorted(kept.doc[kept.query == q].tolist()) for q in pairs.queries.tolist()}


class Slow:
    """Everything about a query by brute force."""

    def __init__(self, ctx) -> None:
        self.ctx = ctx
        self.known = ctx.data.positives(ctx.split)
        self.scores = ctx.vectors("student", "query") @ ctx.vectors("student", "document").T

    def positives(self, query: int) -> list[int]:
        return self.known.doc[self.known.query == query].tolist()

    def fits(self, query: int, doc: int, margin: float) -> bool:
        row = self.scores[int(np.searchsorted(self.ctx.rows, query))].astype(np.float64)
        lowest = min(row[d] for d in self.positives(query))
        return row[doc] < lowest - abs(lowest) * margin

    def ranking(self, query: int) -> list[int]:
        row = self.scores[int(np.searchsorted(self.ctx.rows, query))]
        order = sorted(range(len(row)), key=lambda d: (-row[d], d))
        return [d for d in order if d not in self.positives(query) and self.ctx.data.same[d] == d]

    def chosen(self, query: int, depth: int, margin: float = MARGIN) -> list[int]:
        return [d for d in self.ranking(query)[:depth] if self.fits(query, d, margin)][:K]


@pytest.fixture
def slow(context):
    return Slow(context())


def test_some_queries_of_the_little_collection_are_short(context):
    counts = [len(docs) for docs in negatives(run(BASE, context())).values()]
    assert 5 < sum(n < K for n in counts) < len(counts)


def test_drop(context):
    before, after = (negatives(run(stage, context())) for stage in (BASE, BASE >> Ensure("drop")))
    for query, docs in before.items():
        assert after[query] == (docs if len(docs) >= K else [])
    out = run(BASE >> Ensure(), context())
    assert (out.dropped == -4).any()


def test_deepen_by_a_slow_loop(context, slow):
    out = run(BASE >> Ensure("deepen", limit=4), context())
    found = negatives(out)
    deepened = 0
    for query, docs in found.items():
        depth = DEPTH
        while len(slow.chosen(query, depth)) < K and depth < 4 * DEPTH:
            depth *= 2
        assert docs == sorted(slow.chosen(query, depth))
        here = out.take((out.query == query) & (out.label == CANDIDATE))
        assert len(here) == min(depth, len(slow.ranking(query)))
        first = set(slow.chosen(query, DEPTH))
        tags = dict(zip(here.doc.tolist(), here.ranks["deepened"].tolist(), strict=True))
        assert {d for d in docs if not tags[d]} == first & set(docs)
        deepened += depth > DEPTH
    assert deepened > 5


def test_relax_by_a_slow_loop(context, slow):
    out = run(BASE >> Ensure("relax"), context())
    relaxed = 0
    for query, docs in negatives(out).items():
        margins = iter([MARGIN, MARGIN / 2, 0.0])
        chosen = slow.chosen(query, DEPTH, next(margins))
        for margin in margins:
            if len(chosen) >= K:
                break
            chosen = slow.chosen(query, DEPTH, margin)
            relaxed += 1
        assert docs == sorted(chosen)
        assert all(slow.fits(query, doc, 0.0) for doc in docs)  # none beats the positive
    assert relaxed > 5
    assert set(out.ranks["relaxed"].tolist()) == {0, 1, 2}


def test_a_semi_hard_region_grows_downwards(context, slow):
    base = Dense("student", k=60) >> SemiHard(margin=0.005) >> Top(k=K)
    ctx = context()
    before, out = negatives(run(base, ctx)), negatives(run(base >> Ensure("relax"), ctx))
    assert sum(map(len, out.values())) > sum(map(len, before.values()))
    for query, docs in out.items():
        assert all(slow.fits(query, doc, 0.0) for doc in docs)
    assert [SemiHard(margin=0.1).relaxed(step) for step in (1, 4)] == [SemiHard(margin=0.2), None]
    assert SemiHard(region="hard").relaxed(1) is None


def test_random_documents_are_checked_by_a_slow_loop(context, slow):
    ctx = context()
    before, out = run(BASE, ctx), run(BASE >> Ensure("random"), ctx)
    topped = negatives(out)
    seeded = replace(ctx, seed=noise.key_of(f"Ensure/{ctx.seed}"))
    draws, _ = Random(k=8 * K).retrieve(ctx.rows, 8 * K, seeded)
    for query, stream in zip(ctx.rows.tolist(), draws.tolist(), strict=True):
        chosen = negatives(before)[query]
        seen = {ctx.data.same[d] for d in before.doc[before.query == query].tolist()}
        fill = []
        for doc in stream:
            if len(chosen) + len(fill) < K and ctx.data.same[doc] not in seen and slow.fits(query, doc, MARGIN):
                fill.append(doc)
            seen.add(ctx.data.same[doc])
        assert topped[query] == sorted(chosen + fill)
        tagged = out.take((out.query == query) & (out.ranks["random"] > 0) & (out.dropped == 0))
        assert sorted(tagged.doc.tolist()) == sorted(fill)
        assert not np.isnan(tagged["student"]).any()
    judged = out.take((out.ranks["random"] > 0) & (out.dropped != 0))
    assert set(judged.dropped.tolist()) <= {2}
    assert (before.find(judged) < 0).all()


@pytest.mark.parametrize("short", ["drop", "deepen", "relax", "random"])
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_change_nothing(short, block, context):
    stage = BASE >> Ensure(short)
    a, b = run(stage, context()), run(stage, context(), block)
    assert a.key.tolist() == b.key.tolist()
    assert a.dropped.tolist() == b.dropped.tolist()
    assert a.ranks.keys() == b.ranks.keys()
    assert all(np.array_equal(a.ranks[name], b.ranks[name]) for name in a.ranks)
    assert np.array_equal(a["student"], b["student"], equal_nan=True)


@pytest.mark.parametrize("short", ["deepen", "relax", "random"])
def test_guards_never_give_way_and_positives_stay(short, context, models):
    ctx = context()
    text = "Dense('student', k=20) >> NoAnswer() >> PositiveAware(margin=0.1) >> Distinct() >> Uniform(k=6)"
    before, out = run(foils.parse(text), ctx), run(foils.parse(f"{text} >> Ensure({short!r})"), ctx)
    judged = before.take(before.dropped == 2)
    assert len(judged)
    assert (out.dropped[out.find(judged)] == 2).all()
    known = ctx.data.positives("train")
    assert (out.label[out.find(known)] == POSITIVE).all()
    same = ctx.data.same
    positives = {(q, same[d]) for q, d in zip(known.query.tolist(), known.doc.tolist(), strict=True)}
    kept = out.take(out.alive & (out.label == CANDIDATE))
    assert not positives & {(q, same[d]) for q, d in zip(kept.query.tolist(), kept.doc.tolist(), strict=True)}
    assert np.bincount(kept.query).max() <= 6
    counts = np.bincount(before.query[before.alive & (before.label == CANDIDATE)], minlength=len(ctx.data.queries))
    after = np.bincount(kept.query, minlength=len(ctx.data.queries))
    assert (after >= counts).all()
    assert (after > counts).any()
    assert len(np.unique(out.key)) == len(out)


def test_policies_follow_each_other(context):
    both = BASE >> Ensure("deepen", limit=2) >> Ensure("relax") >> Ensure("random", limit=60)
    counts = [len(docs) for docs in negatives(run(both, context())).values()]
    assert min(counts) == K == max(counts)
    deepened = negatives(run(BASE >> Ensure("deepen", limit=2), context()))
    for query, docs in negatives(run(both, context())).items():
        if len(deepened[query]) == K:
            assert docs == deepened[query]


def test_in_a_branch_of_a_pool_it_looks_at_its_own_chain(context):
    out = run((BASE >> Ensure("random", limit=60)) + (BM25(k=8) >> Top(k=1)), context())
    kept = out.take(out.alive & (out.label == CANDIDATE))
    assert np.bincount(kept.query)[kept.queries].min() >= K
    assert not np.isnan(kept["student"]).any()
    pool = (Dense("student", k=20) >> PositiveAware() >> Top(k=2)) + Random(k=1)
    pooled = run(pool >> Ensure("random", k=5, limit=60), context())
    counts = [len(docs) for docs in negatives(pooled).values()]
    assert min(counts) >= 5
    judged = pooled.take(pooled.dropped == 2)
    assert (judged.ranks["random"] > 0).any()


def test_windows_of_ranks_say_nothing_of_random_documents(context):
    for window in (Ranks(lo=3, hi=6), Positions(lo=2, hi=4), Quantile(lo=0.2, hi=0.6)):
        stage = Dense("student", k=6) >> window >> Top(k=5) >> Ensure("random")
        assert {len(docs) for docs in negatives(run(stage, context())).values()} == {5}
    stage = Dense("student", k=6) >> Ranks(lo=3, hi=6) >> Top(k=5) >> Ensure("random")
    assert {len(docs) for docs in negatives(run(stage, context())).values()} == {5}


def test_a_number_and_something_to_reach_it_with_are_needed(context):
    ctx = context()
    for stage, said in [
        (BM25(k=5) >> Ensure("drop"), "no stage before it says how many"),
        (BM25(k=5) >> Ensure("relax", k=3), "no filter before it has a margin"),
        (BM25(k=5) >> PositiveAware(margin=0.0) >> Ensure("relax", k=3), "no filter before it has a margin"),
        (BM25(k=5) >> (Top(k=3) >> Ensure("deepen")) + Random(k=1), "no source before it could search deeper"),
    ]:
        with pytest.raises(PipelineError, match=said):
            run(stage, ctx)
    with pytest.raises(PipelineError, match="there are no candidates yet"):
        Ensure(k=3)(ctx.data.positives("train").bare(), ctx)
    with pytest.raises(PipelineError, match="no source before it"):
        run(BM25(k=5) >> (Ensure("deepen", k=7) + Top(k=3)), ctx)
    with pytest.raises(SpecError, match="limit must be at least 2"):
        Ensure("deepen", limit=1)
    with pytest.raises(SpecError, match="short must be one of 'drop', 'deepen', 'relax', 'random'"):
        foils.parse("Ensure('more')")


def test_saved_candidates_need_a_scorer_for_random_documents(data, models, tmp_path):
    cand = foils.mine(data, "Dense('student', k=6)", encoders=models, out=tmp_path / "cand")
    load = f"Load({str(cand.path)!r}, which='all')"
    chain = "PositiveAware(margin=0.45) >> Top(k=4) >> Ensure('random')"
    with pytest.raises(PipelineError, match="could not check random documents"):
        foils.mine(data, f"{load} >> {chain}", out=tmp_path / "a")
    text = f"{load} >> BiEncoder('student') >> {chain}"
    assert foils.mine(data, text, encoders=models, out=tmp_path / "b").manifest["counts"]["kept"]


def test_what_is_wanted():
    assert wanted(BASE >> Ensure("deepen")) == K
    assert wanted(BASE >> Ensure("random", k=7)) == 7
    assert wanted(BASE + Random(k=2) >> Ensure("drop")) == K + 2
    assert wanted(Dense("student", k=3) >> Uniform(k=2) >> Ensure("drop", k=1)) == 1


def test_the_manifest_counts_who_was_filled_and_who_is_still_short(data, models, tmp_path):
    text = f"{BASE!r} >> Ensure('deepen', limit=2) >> Ensure('random', limit=2)"
    store = Miner(block=7).mine(data, foils.parse(text), split="train", seed=0, encoders=models, out=tmp_path / "neg")
    pairs, steps = store.pairs(data), store.manifest["steps"]
    kept = pairs.take(pairs.alive & (pairs.label == CANDIDATE))
    counts = np.bincount(kept.query, minlength=len(data.queries))
    for number, tag in ((4, "deepened"), (5, "random")):
        touched = np.unique(kept.query[kept.ranks[tag] > 0])
        assert steps[number - 1]["filled"] == int((counts[touched] >= K).sum())
        assert steps[number - 1]["short"] == int((counts[data.query_rows("train")] < K).sum())
        assert touched.size
    sources = {text for table in store for text in table["source"].to_pylist()}
    assert {"student", "deepened+student", "random", "qrels"} <= {s.replace("qrels+student", "qrels") for s in sources}


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (f"{BASE!r} >> Ensure('random', limit=60)", "filled 0 short"),
        (f"{BASE!r} >> Ensure('drop')", "queries keep none. PositiveAware"),
        (f"{BASE!r}", "short lists are used as they are. PositiveAware"),
        (f"{BASE!r}", "add >> Ensure('deepen')"),
        (
            "(Dense('student', k=9) >> Top(k=2)) + Random(k=99)",
            "fewer than 101; short lists are used as they are. Their",
        ),
        ("Dense('student', k=20) >> Capped(k=4)", "short lists are used as they are. Capped(k=4) took"),
    ],
)
def test_the_terminal_says_who_is_short(pipeline, said, data, models, tmp_path):
    store = foils.mine(data, pipeline, encoders=models, out=tmp_path / "neg")
    out = console()
    with out.capture() as captured:
        out.print(terminal(store.manifest, "here"))
    assert said in " ".join(captured.get().split())
