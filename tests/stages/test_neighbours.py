"""Sources around positives, questions, parents, clusters and checkpoints: what their promises and limits are."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import foils
from foils.core.errors import DataError, PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.spec import parse
from foils.mine import Miner
from foils.stages import (
    BM25,
    Cluster,
    ClusterQuery,
    Context,
    Dense,
    PositiveAware,
    PositiveNeighbours,
    QuestionNeighbours,
    Siblings,
    Top,
    Trajectory,
)
from foils.stages.clusters import clusters_of
from foils.store import Negatives

EVERY = [
    PositiveNeighbours("student", k=9),
    PositiveNeighbours("bm25", k=9),
    QuestionNeighbours("student", k=9),
    Siblings(k=9, parent="title"),
    Siblings(k=9, parent="title", order="drawn"),
    Cluster("student", k=9),
    Cluster("student", k=9, of="queries", where="neighbour"),
    ClusterQuery("student", k=9),
    Trajectory(["student", "teacher"], k=9),
]
each = pytest.mark.parametrize("stage", EVERY, ids=repr)


def run(stage, ctx, known=None):
    return stage(ctx.data.positives(ctx.split).bare() if known is None else known, ctx)


def facts(pairs):
    columns = [pairs.query, pairs.doc, pairs.label, *pairs.scores.values(), *pairs.ranks.values()]
    return [column.tobytes() for column in columns]


@each
def test_small_working_sets_change_nothing(stage, context, monkeypatch):
    whole = facts(run(stage, context()))
    for module in ("lists", "neighbours", "siblings", "trajectory"):
        monkeypatch.setattr(f"foils.stages.{module}.CELLS", 1)
    assert facts(run(stage, context())) == whole


@each
def test_raw_ranks_are_those_of_a_deeper_search(stage, context):
    def at(k):
        ctx = context()
        deeper = parse(repr(stage).replace("k=9", f"k={k}"))
        pairs = run(deeper, ctx)
        name = deeper.column or type(deeper).__name__.lower()
        rows = (pairs.label == CANDIDATE) & (pairs.ranks[name] > 0)
        return dict(zip(pairs.key[rows].tolist(), pairs.ranks[name][rows].tolist(), strict=True))

    few, many = at(3), at(9)
    assert few == {key: many[key] for key in few}
    assert all(rank <= max(few.values(), default=0) or key not in few for key, rank in many.items())


@each
def test_queries_without_positives_get_nothing_and_break_nothing(stage, data, models, cache):
    lonely = int(data.queries.rows_of(["lonely"])[0])
    rows = np.union1d(data.query_rows("train"), [lonely]).astype(np.int32)
    ctx = Context(data, "train", 0, rows, rows, models, cache)
    pool = BM25(k=3) + Dense("student", k=3) + stage
    pairs = run(pool, ctx)
    name = stage.column or type(stage).__name__.lower()
    hers = pairs.query == lonely
    assert hers.any()
    if not isinstance(stage, QuestionNeighbours | ClusterQuery):  # these two need no positive of their own
        assert (pairs.ranks[name][hers] == 0).all()
    if isinstance(stage, PositiveNeighbours):
        assert np.isnan(pairs[name][hers]).all()
        assert not np.isnan(pairs[name][~hers]).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PositiveNeighbours('', k=3)", "by must be another name"),
        ("PositiveNeighbours('a+b', k=3)", "without '\\+'"),
        ("QuestionNeighbours('student', k=3, questions=0)", "questions must be at least 1"),
        ("Siblings(k=3, parent='')", "parent must be a metadata key"),
        ("Siblings(k=3, order='far')", "one of 'near', 'drawn'"),
        ("Cluster('student', k=3, clusters=1)", "clusters must be at least 2"),
        ("ClusterQuery('student', k=3, weight=-1)", "weight must be at least 0"),
        ("Trajectory([], k=3)", "one or more different names"),
        ("Trajectory(['a', 'a'], k=3)", "one or more different names"),
        ("Trajectory(['a', 'score'], k=3)", "checkpoints must be another name"),
        ("Trajectory('a', k=3)", "a list of a text in quotes"),
        ("Trajectory(['a'], k=3, times=2)", "times must be 1 to 1"),
        ("Trajectory(['a'], k=3, depth=0)", "depth must be at least 1"),
        ("BM25(k=3, name='score')", "name must be another name"),
        ("BM25(k=3, name='')", "name must be another name"),
    ],
)
def test_bad_values_are_refused(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text)


def test_what_the_data_cannot_give_is_said(context):
    with pytest.raises(DataError, match=r"no document has the metadata key 'parent' in .*'title'"):
        run(Siblings(k=3), context())
    with pytest.raises(DataError, match="1,000 clusters of 241 documents"):
        run(Cluster("student", k=3, clusters=1000), context())
    with pytest.raises(DataError, match="1,000 clusters of 45 queries in split 'train'"):
        run(ClusterQuery("student", k=3, clusters=1000), context())
    with pytest.raises(PipelineError, match="--encoder step9=MODEL"):
        run(Trajectory(["student", "step9"], k=3), context())


def test_another_model_under_the_same_column_is_refused(context):
    with pytest.raises(PipelineError, match=r"'bm25\.positive'.*do not compare"):
        run(PositiveNeighbours("bm25", k=3) + PositiveNeighbours("bm25", k=3, language=None), context())
    with pytest.raises(PipelineError, match=r"'student\.cluster'.*do not compare"):
        run(ClusterQuery("student", k=3) + ClusterQuery("student", k=3, weight=1.0), context())
    with pytest.raises(PipelineError, match=r"'student'.*do not compare"):
        run(BM25(k=3, name="student") + Dense("student", k=3), context())


def test_near_paraphrases_are_left_out(tmp_path, models):
    (tmp_path / "qrels").mkdir()
    corpus = [
        {"_id": f"d{i}", "text": f"answer {i} about {topic}"} for i, topic in enumerate(["salt", "iron", "glass"])
    ]
    asked = ["how is salt made", "how is salt made?", "how is iron made", "how is glass blown"]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(asked)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    qrels = ["q0\td0\t1", "q1\td1\t1", "q2\td2\t1", "q3\td0\t1"]
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(qrels) + "\n")
    data = foils.load(tmp_path)
    rows = data.query_rows("train")

    class Cosines:
        """The similarity of q0 to the others is .99, .8 and .5."""

        name, dim = "cosines", 2

        def fingerprint(self, kind):
            return f"cosines/{kind}"

        def encode(self, texts, kind):
            known = dict(zip(asked, (1.0, 0.99, 0.8, 0.5), strict=True))
            cosine = np.array([known.get(text, 0.0) for text in texts])
            return np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)

    ctx = Context(data, "train", 0, rows, rows, {"c": Cosines()}, tmp_path)

    def hers(below):
        pairs = run(QuestionNeighbours("c", k=5, below=below), ctx)
        mine = (pairs.query == 0) & (pairs.label == CANDIDATE)
        return pairs.doc[mine][np.argsort(pairs.ranks["questionneighbours"][mine])].tolist()

    assert hers(None) == [1, 2]  # q3 shares d0
    assert hers(0.9) == [2]
    assert hers(0.81) == [2]
    assert hers(0.79) == []


def test_a_deeper_search_looks_at_more(context):
    assert repr(QuestionNeighbours("m", k=2, questions=5).deeper(3)) == "QuestionNeighbours('m', k=6, questions=15)"
    assert repr(Trajectory(["m"], k=2, depth=5).deeper(3)) == "Trajectory(checkpoints=['m'], k=6, depth=15)"
    few = QuestionNeighbours("student", k=9, questions=2)
    assert len(run(few.deeper(4), context())) > len(run(few, context()))


def test_clusters_do_not_depend_on_seed_or_block(context):
    a, b = (clusters_of(context(seed), "student", "document", 12) for seed in (0, 1))
    assert a.centroids.tobytes() == b.centroids.tobytes()
    assert a.label.tobytes() == b.label.tobytes()
    assert len(clusters_of(context(), "student", "document")) == round(np.sqrt(241))
    assert (a.neighbour != np.arange(12)).all()
    alone = clusters_of(context(), "student", "document", 1)
    assert alone.neighbour.tolist() == [-1]


def test_draws_depend_on_the_seed(context):
    for stage in (Cluster("student", k=2), Siblings(k=2, parent="title", order="drawn")):
        assert facts(run(stage, context(0))) != facts(run(stage, context(1)))


def test_a_hybrid_pool_keeps_where_each_negative_came_from(data, models, cache, tmp_path):
    pool = BM25(k=8) + Dense("student", k=8) + Dense("teacher", k=8) + PositiveNeighbours("student", k=8)
    singles = {"bm25": BM25(k=8), "student": Dense("student", k=8), "teacher": Dense("teacher", k=8)}
    singles["student.positive"] = PositiveNeighbours("student", k=8)
    store = Miner(cache=cache, block=7).mine(data, pool, split="train", seed=0, encoders=models, out=tmp_path / "n")
    rows = data.query_rows("train")
    ctx = Context(data, "train", 0, rows, rows, models, cache)
    known = data.positives("train").bare()
    alone = {name: run(stage, ctx) for name, stage in singles.items()}
    together = run(pool, ctx)

    assert len(np.unique(together.key)) == len(together)
    for name, pairs in alone.items():
        at = together.find(pairs)
        assert (at >= 0).all()
        assert np.array_equal(together.ranks[name][at], pairs.ranks[name])
        others = np.setdiff1d(np.arange(len(together)), at)
        assert (together.ranks[name][others] == 0).all()
        slow = singles[name].score(together.query, together.doc, ctx)
        assert np.array_equal(together[name], slow)
        assert not np.isnan(together[name]).any()

    table = pq.read_table(list((tmp_path / "n").rglob("*.parquet")))
    assert len(table) == len(together)
    tags = {}
    ids = zip(table["query"].to_pylist(), table["doc"].to_pylist(), table["source"].to_pylist(), strict=True)
    for query, doc, source in ids:
        tags[query, doc] = source.split("+")
    positive = {(q, d) for q, d in zip(known.query.tolist(), known.doc.tolist(), strict=True)}
    shared = 0
    for i in range(len(together)):
        q, d = int(together.query[i]), int(together.doc[i])
        slow = [name for name in sorted(alone) if together.ranks[name][i] > 0]
        slow = ["qrels", *slow] if (q, d) in positive else slow
        assert tags[data.queries.id_list([q])[0], data.corpus.id_list([d])[0]] == slow
        shared += len(slow) > 1 and (q, d) not in positive
    assert shared > 20

    back = Negatives.open(tmp_path / "n").pairs(data)
    at = together.find(back)
    for name in alone:
        assert np.array_equal(back.ranks[name], together.ranks[name][at])
        assert np.array_equal(back.scores[name], together.scores[name][at])
    assert store.manifest["counts"]["candidates"] == int((together.label == CANDIDATE).sum())


def test_a_column_of_positives_serves_filters_and_samplers(context):
    ctx = context()
    pipeline = PositiveNeighbours("student", k=20) >> PositiveAware(margin=0.3, by="student.positive") >> Top(k=4)
    pairs = run(pipeline, ctx)
    kept = pairs.alive & (pairs.label == CANDIDATE)
    assert 0 < kept.sum() <= 4 * len(ctx.rows)
    bound = pairs.positive("student.positive")
    assert (pairs["student.positive"][kept] < 0.7 * bound[kept]).all()
    assert bound == pytest.approx(1, abs=1e-5)  # the positive is its own best neighbour
    assert isinstance(pairs, Pairs)
    assert (pairs.label[pairs.find(ctx.data.positives("train"))] == POSITIVE).all()
