"""Every recipe that mines against a slow loop written from its paper: one query, one candidate at a time.

Sources and samplers have loops of their own beside this; here the composition is held to the method.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import foils
from foils.core import noise
from foils.core.answers import compile_answers, tokens_of
from foils.core.spec import registry
from foils.recipe import load_recipe, shipped
from foils.stages.clusters import clusters_of
from little import OverlapReranker

# Nothing is mined; see tests/train: test_losses.py, test_guides.py, test_search.py.
# tests/test_phased_recipes.py follows them
PHASED = {"ar2", "ccr-sieve", "cl-drd", "multi-stage", "pair", "rocketqa", "rocketqa-v2"}
PHASED |= {"phase2", "phase3", "phase4", "phase5", "phase5-written"}
WRITTEN = {"counterfactual", "gpl", "perturbed", "syneg"}  # from a shard to the model in test_written_recipes.py
DRAWN = {"tas-b", "adaptive-mix"}  # draws are tested in test_balance.py and test_mix.py, the rest where it is
TRAINED_ONLY = {"in-batch", "phase1", "repbert", "gist", "adore", "ltre"}
TRAINED_ONLY |= {"contaccum", "memory-bank", "mochi", "moco", "negative-cache", "xbm"}


class Query:
    """What a paper's pseudo-code may ask about one query."""

    def __init__(self, ctx, row):
        self.ctx, self.row, self.data = ctx, row, ctx.data
        positives = ctx.data.positives(ctx.split)
        self.known = positives.doc[positives.query == row].tolist()
        self.text = ctx.data.queries.texts([row])[0]
        self.all = range(len(ctx.data.corpus))
        self.docs = ctx.vectors("student", "document")
        self.vector = ctx.query_vectors("student", np.array([row], np.int32))[0]

    def dense(self, d):
        return dot(self.vector, self.docs[d])

    def bm25(self, texts):
        index, every = self.ctx.bm25(0.9, 0.4, "english"), np.arange(len(self.data.corpus))
        lists = [index.score([text], np.zeros(len(every), np.int64), every) for text in texts]
        return {d: float(max(scores[d] for scores in lists)) for d in every.tolist()}

    def top(self, scores, k):
        """Neither known positives nor copies of an earlier text take a place."""
        return [d for _, d in sorted((-s, d) for d, s in scores.items() if self.free(d))][:k]

    def free(self, d):
        return d not in self.known and self.data.same[d] == d

    def nearest(self, k):
        return self.top({d: self.dense(d) for d in self.all}, k)

    def lexical(self, k, texts=None):
        return self.top({d: s for d, s in self.bm25(texts or [self.text]).items() if s > 0}, k)

    def answered(self, d):
        answers = self.data.queries.metadata([self.row])[0].get("answers") or []
        return bool(answers) and compile_answers(answers, "string")(tokens_of(self.data.corpus.texts([d])[0]))

    def lowest(self):
        return min(self.dense(p) for p in self.known)

    def below_margin(self, found, m=0.05):
        return [d for d in found if self.dense(d) < self.lowest() - abs(self.lowest()) * m]

    def draw(self, sampler, log_weights, k):
        """Gumbel top-k: exactly drawing without replacement in proportion to the weights."""
        q, d = self.ctx.keys(np.full(len(log_weights), self.row, np.int32), np.array(list(log_weights), np.int32))
        luck = noise.gumbel(self.ctx.seed, sampler, q, d)
        value = {doc: w + g for (doc, w), g in zip(log_weights.items(), luck.tolist(), strict=True) if w > -math.inf}
        return [doc for _, doc in sorted((-v, doc) for doc, v in value.items())][:k]

    def uniform(self, found, k):
        return self.draw("Uniform", dict.fromkeys(found, 0.0), k)

    def others(self, count):
        """Positives of the nearest other questions that share no positive with this one."""
        rows = self.ctx.rows.tolist()
        vectors = self.ctx.vectors("student", "query")
        near = sorted((-dot(self.vector, vectors[j]), j) for j, row in enumerate(rows) if row != self.row)[:count]
        found = {}
        for negative, j in near:
            theirs = Query(self.ctx, rows[j]).known
            if not set(theirs) & set(self.known):
                found.update({d: max(found.get(d, -math.inf), -negative) for d in theirs})
        return found

    def like_a_positive(self, d, chosen=max):
        """Similarity to the nearest positive, or to the one whose own score is lowest."""
        if chosen is max:
            return max(dot(self.docs[p], self.docs[d]) for p in self.known)
        own = min((self.dense(p), p) for p in self.known)[1]
        return dot(self.docs[own], self.docs[d])


def dot(a, b):
    return float(np.float32(np.sum(a.astype(np.float64) * b.astype(np.float64))))


def random(q, k=1):
    every = np.arange(len(q.data.corpus), dtype=np.uint64)
    order = np.argsort(noise.uniform(q.ctx.seed, "Random", q.data.queries.keys[[q.row]], every))
    by_key = np.argsort(q.data.corpus.keys)
    return [d for d in by_key[order].tolist() if q.free(d)][:k]


def bm25(q):
    return [d for d in q.lexical(100) if not q.answered(d)][:1]


def nv_retriever(q):
    return q.below_margin(q.nearest(100))[:4]


def simans(q):
    return q.draw("SimANS", {d: -0.5 * (q.dense(d) - q.lowest()) ** 2 for d in q.nearest(400)}, 15)


def star(q):
    return q.uniform(q.nearest(200), 16)


def rance(q):
    judged = q.ctx.to(q.data.query_rows("test"))
    dist = np.zeros(200)
    for row in judged.rows.tolist():
        other = Query(q.ctx, row)
        other.vector = judged.query_vectors("student", np.array([row], np.int32))[0]
        relevant = q.data.qrels("test")
        graded = set(relevant.doc[(relevant.query == row) & (relevant["grade"] > 0)].tolist())
        graded = {d for d in q.all if q.data.same[d] in {q.data.same[g] for g in graded}}
        ranking = [d for _, d in sorted((-other.dense(d), d) for d in other.all)][:200]
        dist += [d in graded for d in ranking]
    g = [(1 - count / len(judged.rows)) / math.log(r + 2) for r, count in enumerate(dist)]
    smooth = [sum(g[i : i + 9]) / 9 for i in range(192)]
    fit = np.polyval(np.polyfit(range(192), smooth, 4), range(192)) - min(smooth)
    w = [fit[0]] * 4 + list(fit) + [fit[-1]] * 4
    ranking = [d for _, d in sorted((-q.dense(d), d) for d in q.all)]
    place = {d: r for r, d in enumerate(ranking) if r < 200 and q.free(d)}
    return q.draw("RankPrior", {d: math.log(w[r]) if w[r] > 0 else -math.inf for d, r in place.items()}, 20)


def trisampler(q):
    positive = min((q.dense(p), p) for p in q.known)
    angle = lambda a: math.acos(min(1.0, max(-1.0, a)))  # noqa: E731
    first, both = {}, {}
    for d in q.nearest(200):
        s, side = q.dense(d), q.like_a_positive(d, min)
        first[d] = -0.25 * (s - positive[0]) ** 2
        edge = (q.docs[positive[1]] - q.vector).astype(float), (q.docs[d] - q.vector).astype(float)
        length = np.linalg.norm(edge[0]) * np.linalg.norm(edge[1])
        theta = angle(float(edge[0] @ edge[1] / length)) if length else 0.0
        if math.degrees(theta) <= 60 and side > s:
            both[d] = first[d] + math.log(side - s)
    return q.draw("TriSampler", both or first, 8)


def resa2(q):
    highest = max(q.dense(p) for p in q.known)
    pool = q.draw("SimANS", {d: -0.25 * (q.dense(d) - highest) ** 2 for d in q.nearest(1000)}, 500)
    return q.uniform(q.top({d: q.like_a_positive(d) for d in pool}, 75), 7)


def cluster(q, of="document"):
    found = clusters_of(q.ctx, "student", of, None)
    if of == "document":
        own = {found.label[p] for p in q.known}
        members = [d for d in q.all if found.label[d] in own and q.free(d)]
    else:
        rows = q.ctx.rows.tolist()
        own = found.label[rows.index(q.row)]
        near = [row for row, label in zip(rows, found.label, strict=True) if label == own]
        members = sorted({d for row in near for d in Query(q.ctx, row).known if q.free(d)})
    a, b = q.ctx.keys(np.full(len(members), q.row, np.int32), np.array(members, np.int32))
    luck = noise.uniform(q.ctx.seed, "Cluster", a, b).astype(np.float32).tolist()
    drawn = [d for _, d in sorted(zip([-v for v in luck], members, strict=True))][:50]
    return q.uniform(q.below_margin(drawn), 4)


def lu_passage(q):
    found = q.lexical(50, q.data.corpus.texts(q.known))
    return [d for d in found if not q.answered(d)][:2]


def lu_question(q):
    found = q.below_margin(q.top(q.others(100), 20))
    return q.top({d: q.dense(d) for d in found}, 2)


def lu_context(q):
    titles, values = q.data.corpus.titles(), {}
    for p in q.known:
        family = [d for d in q.all if titles[d] == titles[p]]
        for d in family:
            values[d] = max(values.get(d, -math.inf), -abs(family.index(d) - family.index(p)))
    return q.uniform([d for d in q.top(values, 10) if not q.answered(d)], 2)


def tiers(q):
    kept = set(q.below_margin(q.nearest(200)))
    ranking = [d for _, d in sorted((-q.dense(d), d) for d in q.all)]
    place = {d: r for r, d in enumerate(ranking, start=1)}
    hard = [d for d in ranking if d in kept and place[d] <= 30][:2]
    semi = q.uniform([d for d in ranking if d in kept and place[d] >= 31], 2)
    judged = {d for d in q.nearest(200) if d not in kept}
    return {*hard, *semi, *(d for d in random(q, 2) if d not in judged)}


def ccr(q):
    found = q.nearest(30)
    scores = {d: q.dense(d) for d in (*found, *q.known)}
    mean = sum(scores.values()) / len(scores)
    survivors = [d for d in found if scores[d] < mean]
    if not survivors:
        a, b = q.ctx.keys(np.full(len(found), q.row, np.int32), np.array(found, np.int32))
        survivors = [found[int(noise.uniform(q.ctx.seed, "Sieve", a, b).argmax())]]
    return q.uniform(survivors, 4)


# Distillation: what is drawn; that the loss sees the teacher's scores, tests/train/test_teach_use.py says. Which
# positives npc doubts: see test_mixture.py.
SLOW = {
    "margin-mse": lambda q: q.uniform(q.lexical(100), 20),
    "kd": lambda q: q.uniform(q.nearest(200), 15),
    "ance": lambda q: q.uniform(q.nearest(200), 20),
    "ccr": ccr,
    "npc": lambda q: q.uniform(q.nearest(100), 4),
    "random": random,
    "bm25": bm25,
    "nv-retriever": nv_retriever,
    "simans": simans,
    "star": star,
    "rance": rance,
    "trisampler": trisampler,
    "resa2": resa2,
    "cluster": cluster,
    "cluster-queries": lambda q: cluster(q, "query"),
    "lu-passage": lu_passage,
    "lu-question": lu_question,
    "lu-context": lu_context,
    "tiers": tiers,
}


class Logits(OverlapReranker):
    scale = "logit"


def mined(name, data, models, out, seed=3):
    pipeline = load_recipe(name).mine
    if name == "rance":
        pipeline = foils.parse(repr(pipeline).replace("k=20)", "k=20, judged='test')"))
    crossing = {encoder for stage in pipeline.steps() if stage.crosses for encoder in stage.encoders()}
    encoders = {name: Logits() if name in crossing else models["student"] for name in pipeline.encoders()}
    return foils.mine(data, pipeline, seed=seed, encoders=encoders, out=out)


@pytest.mark.parametrize("name", SLOW)
def test_a_recipe_is_its_loop(name, data, models, context, tmp_path):
    ctx = context(3)
    kept = mined(name, data, models, tmp_path / "out").kept(data)
    chosen = 0
    for row in ctx.rows.tolist():
        got = set(kept.doc[(kept.query == row) & (kept.label == 0)].tolist())
        expected = SLOW[name](Query(ctx, row))
        assert got == set(expected), row
        chosen += len(got)
    assert chosen


def test_the_mix_draws_from_the_union_of_its_kinds(data, models, context, tmp_path):
    """lu-mix: shares of kinds are tested with Mix; here, where its candidates come from."""
    kept = mined("lu-mix", data, models, tmp_path / "out").kept(data)
    ctx = context(3)
    for row in ctx.rows.tolist():
        q = Query(ctx, row)
        kinds = [q.lexical(50), q.nearest(50), q.lexical(50, data.corpus.texts(q.known)), q.top(q.others(100), 20)]
        union = q.below_margin([d for d in sorted({d for kind in kinds for d in kind}) if not q.answered(d)])
        got = kept.doc[(kept.query == row) & (kept.label == 0)].tolist()
        assert set(got) <= set(union)
        assert len(got) == len(set(got)) == min(4, len(union))


def test_every_recipe_has_its_test():
    assert set(shipped()) == {*SLOW, *TRAINED_ONLY, *PHASED, *DRAWN, *WRITTEN, "lu-mix"}
    for name in shipped():
        recipe = load_recipe(name)
        assert (len(recipe.phases) > 1) == (name in PHASED)
        assert recipe.cite
        assert recipe.family in {"random", "static", "dynamic", "synthetic"}
        assert set(recipe.needs) == set(recipe.models())
        for phase in recipe.phases:
            assert phase.mine is not None or name in {*PHASED, *TRAINED_ONLY}
            steps = () if phase.mine is None else phase.mine.steps()
            assert all(type(step).__name__ in registry("stage") for step in steps)
