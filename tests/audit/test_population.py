from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.audit.population import Population, opened
from foils.audit.strata import DIFFICULTY, stratify
from foils.core.errors import DataError, SpecError
from foils.core.pairs import POSITIVE, Pairs
from foils.core.ranks import RANKS, band_name, band_of


@pytest.fixture(scope="module")
def store(data, models, tmp_path_factory):
    text = "(BM25(k=30) >> PositiveAware(margin=0.05)) + Dense('student', k=25) >> BiEncoder('student') >> Top(k=6)"
    out = tmp_path_factory.mktemp("mined") / "neg"
    return foils.mine(data, text, encoders=models, out=out)


def test_items_are_the_candidates(store, data):
    found, same = opened(store.path, data)
    assert same is data
    pairs = store.pairs(data)
    assert len(found) == (pairs.label == 0).sum()
    assert found.negative.sum() == (store.kept(data).label == 0).sum()
    assert set(found.sources) == {"bm25", "student", "bm25+student"}
    row = {(q, d): i for i, (q, d) in enumerate(zip(pairs.query, pairs.doc, strict=True))}
    for item in range(0, len(found), 97):
        at = row[found.query[item], found.doc[item]]
        ranks = [int(pairs.ranks[name][at]) for name in ("bm25", "student") if pairs.ranks[name][at]]
        assert found.rank[item] == min(ranks)
        assert found.score[item] == pytest.approx(pairs["student"][at], nan_ok=True)
        mine = (pairs.query == found.query[item]) & (pairs.label == POSITIVE)
        seen = [int(r) for name in ("bm25", "student") for r in pairs.ranks[name][mine] if r]
        assert found.difficulty[item] == (min(seen) if seen else 0)


def test_what_came_to_a_step_and_what_it_let_pass(store, data):
    found, _ = opened(store, data)
    margin, top = found.steps[1], found.steps[4]
    assert (margin.text.split("(")[0], top.text) == ("PositiveAware", "Top(k=6)")
    # The margin stands in BM25's branch: what only the dense source found never came to it.
    bm25 = np.char.find(np.array(found.sources)[found.source], "bm25") >= 0
    assert not (found.before(margin) & ~bm25).any()
    assert (found.before(margin) & ~found.after(margin) == (found.fate == margin.number)).all()
    assert found.after(top).sum() == found.negative.sum()
    assert found.before(top).sum() == (found.fate == 5).sum() + found.negative.sum()


def test_files_of_other_tools(data, tmp_path):
    file = tmp_path / "neg.jsonl"
    text = data.queries.texts([1])[0], data.corpus.texts([5, 9, 30])
    import json

    file.write_text(json.dumps({"query": text[0], "pos": [text[1][0]], "neg": text[1][1:]}) + "\n")
    found, _ = opened(file, data)
    assert found.doc.tolist() == [9, 30]
    assert (found.rank == 0).all()
    assert found.steps == ()
    run = tmp_path / "a.run"
    positive = data.corpus.id_list(data.positives("train").doc[:1])[0]
    query = data.queries.id_list(data.positives("train").query[:1])[0]
    run.write_text(f"{query} Q0 {positive} 1 9.0 x\n{query} Q0 d77 2 8.0 x\n{query} Q0 d78 3 7.0 x\n")
    found, _ = opened(run, data)
    assert (found.rank.tolist(), found.difficulty.tolist()) == ([2, 3], [1, 1])
    run.write_text(f"{query} Q0 d77 2 8.0 x\n{query} Q0 d78 3 7.0 x\n")
    found, _ = opened(run, data)
    assert (found.rank.tolist(), found.difficulty.tolist()) == ([1, 2], [0, 0])
    assert positive in data.corpus.id_list(found.pairs.doc[found.pairs.label == POSITIVE])
    with pytest.raises(DataError, match="--data"):
        opened(run, None)
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "none.jsonl", data)
    run.write_text(f"{query} Q0 {positive} 1 9.0 x\n")
    with pytest.raises(DataError, match="nothing to audit"):
        opened(run, data)


def population(n=4000, sources=3, seed=0):
    rng = np.random.default_rng(seed)
    pairs = Pairs.build(np.sort(rng.integers(0, n // 20, n)), np.arange(n), scores={"dense": rng.random(n)})
    fate = np.where(rng.random(n) < 0.3, 2, 0)
    return Population(
        "x", pairs, np.arange(n), fate, rng.integers(0, sources, n), tuple("abcdefgh"[:sources]),
        rng.integers(0, 300, n), pairs.scores["dense"].astype(float), "dense", rng.integers(0, 9, n),
        (), (), "train", "",
    )  # fmt: skip


def test_strata_are_source_by_rank_by_score():
    found = population()
    strata = stratify(found, 400, 60)
    assert strata.sizes.sum() == len(found)
    assert (strata.sizes > 0).all()
    kept = [s for s in strata.listed if s.fate == 0]
    assert {s.source for s in kept} == {"a", "b", "c"}
    assert {band_name(s.ranks) for s in kept} == {"1-5", "6-20", "21-50", "51-200", "201+", "no rank"}
    for number, one in enumerate(strata.listed):
        mine = strata.of == number
        assert (found.fate[mine] == one.fate).all()
        if one.fate:
            continue
        assert (np.array(found.sources)[found.source[mine]] == one.source).all()
        first, last = one.ranks
        rank = found.rank[mine]
        assert ((rank >= first) & (rank <= (last or (0 if first == 0 else 999)))).all()
        assert (found.score[mine].min(), found.score[mine].max()) == pytest.approx(one.scores)
    # Bands of scores divide a source and window evenly.
    cell = [strata.sizes[i] for i, s in enumerate(strata.listed) if (s.fate, s.source, s.ranks) == (0, "a", (51, 200))]
    assert len(cell) > 1
    assert max(cell) - min(cell) <= 1


def test_a_small_budget_has_fewer_strata():
    found = population()
    assert len({(s.source, s.ranks) for s in stratify(found, 60, 0).listed if not s.fate}) == 6
    assert len({s.ranks for s in stratify(found, 20, 0).listed if not s.fate}) == 1
    with pytest.raises(SpecError, match="budget=5"):
        stratify(found, 5, 0)


def test_no_scores_and_no_ranks():
    found = population()
    bare = Population(**{**vars(found), "score": np.full(len(found), np.nan), "rank": np.zeros(len(found), int)})
    strata = stratify(bare, 300, 60)
    assert {s.scores for s in strata.listed} == {None}
    assert {band_name(s.ranks) for s in strata.listed if not s.fate} == {"no rank"}


def test_bands():
    assert band_of(np.array([0, 1, 2, 6, 21]), DIFFICULTY).tolist() == [4, 0, 1, 2, 3]
    assert band_of(np.array([5, 6, 20, 21, 50, 51, 200, 201]), RANKS).tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
