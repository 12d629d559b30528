from __future__ import annotations

import numpy as np
import pytest

from foils.adapters.calibration import Calibration
from foils.audit.dawid_skene import consensus
from foils.audit.drawn import shares
from foils.audit.estimators import UninformativeJudge
from foils.audit.judges.models import CrossEncoderJudge, ScoreJudge, relative
from foils.audit.judges.opening import Bench, open_judge
from foils.audit.judges.people import Labels
from foils.audit.judges.protocol import Judge, Verdicts
from foils.audit.judges.qrels import Qrels
from foils.audit.judges.several import ConsensusJudge, refuse_chance
from foils.core.errors import DataError, ModelError, PipelineError, SpecError
from foils.core.pairs import Pairs
from little import OverlapReranker


def rows(data, pairs):
    q = data.queries.rows_of([a for a, _ in pairs])
    return q, data.corpus.rows_of([b for _, b in pairs])


class Saying:
    kind = "llm"

    def __init__(self, name, verdicts):
        self.name = self.fingerprint = name
        self.verdicts = verdicts

    def judge(self, query, doc):
        return Verdicts.of([self.verdicts.get((int(q), int(d)), 0) for q, d in zip(query, doc, strict=True)])

    def facts(self):
        return {}


def test_verdicts_are_checked():
    with pytest.raises(ValueError, match="lengths"):
        Verdicts(np.zeros(2, np.int8), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="1, 0 or -1"):
        Verdicts.of([2])


def test_qrels_say_what_they_list_and_the_rest_is_a_hole(data, tmp_path):
    file = tmp_path / "more.tsv"
    file.write_text("query-id\tcorpus-id\tscore\nq1\td3\t1\nq1\td4\t0\nq2\td9\t2\nnobody\td1\t1\n")
    judge = Qrels(data, str(file))
    pairs = [("q1", "d3"), ("q1", "copy-of-d3"), ("q1", "d4"), ("q1", "d5"), ("q2", "d9"), ("q5", "d3")]
    assert judge.judge(*rows(data, pairs)).verdict.tolist() == [1, 1, 0, -1, 1, -1]
    complete = Qrels(data, str(file), complete=True)
    # Of q5 the file knows nothing: complete qrels of other queries are no judgement of it.
    assert complete.judge(*rows(data, pairs)).verdict.tolist() == [1, 1, 0, 0, 1, -1]
    assert judge.facts()["irrelevant"] == 1
    assert judge.fingerprint != complete.fingerprint


def test_qrels_without_an_irrelevant_document_are_no_judge(data):
    with pytest.raises(DataError, match="--complete"):
        Qrels(data, "train")
    assert Qrels(data, "train", complete=True).facts()["complete"]
    with pytest.raises(DataError, match="no split 'tain'"):
        Qrels(data, "tain", complete=True)


def test_a_cross_encoder_says_whether_it_is_calibrated(data, tmp_path):
    judge = CrossEncoderJudge(OverlapReranker(), data, tmp_path)
    query, doc = rows(data, [("q1", "d3"), ("q2", "d200")])
    said = judge.judge(query, doc)
    texts = data.queries.texts(query), data.corpus.texts(doc)
    assert said.probability == pytest.approx(OverlapReranker().score(*texts))
    assert said.verdict.tolist() == (said.probability >= 0.5).astype(int).tolist()
    assert judge.facts() == {"calibrated": False, "at": 0.5}
    assert not judge.calibrated
    with pytest.raises(SpecError, match="at=2"):
        CrossEncoderJudge(OverlapReranker(), data, tmp_path, at=2)


def test_logits_become_probabilities(data, tmp_path):
    class Logits:
        name, scale, fingerprint = "logits", "logit", "logits/1"
        calibration = Calibration(1.0, 0.0, "few")

        def score(self, queries, docs):
            return np.linspace(-3, 3, len(queries)).astype(np.float32)

    query, doc = rows(data, [("q1", "d3"), ("q2", "d200"), ("q3", "d4")])
    judge = CrossEncoderJudge(Logits(), data, tmp_path)
    assert sorted(judge.judge(query, doc).verdict.tolist()) == [0, 1, 1]
    assert judge.facts()["population"] == "few"


def test_scores_relative_to_the_positive():
    pairs = Pairs.build(
        [0] * 6 + [1] * 2, [0, 1, 2, 3, 4, 5, 0, 1], [1, 1, 0, 0, 0, 0, 0, 0],
        scores={"dense": [0.8, 0.9, 0.85, 0.7, 0.5, np.nan, 0.4, 0.3]},
    )  # fmt: skip
    z = relative(pairs, "dense")
    iqr = np.subtract(*np.quantile(np.float32([0.85, 0.7, 0.5]), [0.75, 0.25]))
    assert z[:5] == pytest.approx((np.float32([0.8, 0.9, 0.85, 0.7, 0.5]) - np.float32(0.8)) / iqr, abs=1e-5)
    assert np.isnan(z[5:]).all()  # no score; no positive
    judge = ScoreJudge(pairs)
    query, doc = pairs.query, pairs.doc
    assert judge.judge(query, doc).verdict.tolist() == [0, 1, 1, 0, 0, -1, -1, -1]
    assert ScoreJudge(pairs, margin=1.0).judge(query, doc).verdict.tolist() == [1, 1, 1, 1, 0, -1, -1, -1]
    moved = pairs.with_scores("dense", 7 * pairs.scores["dense"] - 3)
    assert relative(moved, "dense") == pytest.approx(z, abs=1e-4, nan_ok=True)
    assert judge.judge(np.int32([5]), np.int32([5])).verdict.tolist() == [-1]
    with pytest.raises(PipelineError, match="bm25"):
        ScoreJudge(pairs, "bm25")


def test_scores_without_meaning_are_at_chance():
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(400), 12)
    label = np.tile([1, 1, 1] + [0] * 9, 400)
    values = rng.normal(size=len(query))
    found = ScoreJudge(Pairs.build(query, np.tile(np.arange(12), 400), label, scores={"a": values})).against_chance()
    assert found["queries"] == 400
    assert found["chance"] == 0.75  # of three positives and one more, it is the lowest one time in four
    assert found["above"] == pytest.approx(0.75, abs=0.03)
    better = ScoreJudge(Pairs.build(query, np.tile(np.arange(12), 400), label, scores={"a": values + 2 * label}))
    assert better.against_chance()["above"] < 0.3


def test_labels_of_several_people(data, tmp_path):
    sheet = tmp_path / "labels.csv"
    sheet.write_text(
        "query_id,doc_id,label,annotator,note\n"
        "q1,d3,1,ann,sure\nq1,d3,0,bob,\nq1,d4,no,ann,\nq1,d4,0,bob,\nq2,d5,,ann,\nq2,d6,?,ann,\nq3,d7,yes,ann,\n"
    )
    judge = Labels(sheet, data)
    query, doc = rows(data, [("q1", "d3"), ("q1", "d4"), ("q2", "d5"), ("q2", "d6"), ("q3", "d7"), ("q9", "d9")])
    said = judge.judge(query, doc)
    assert said.verdict.tolist() == [1, 0, -1, -1, 1, -1]
    assert said.probability[[0, 1, 4]].tolist() == [0.5, 0.0, 1.0]
    assert said.reasons[0] == "sure"
    facts = judge.facts()
    assert (facts["pairs"], facts["labels"], facts["annotators"]) == (3, 5, 2)
    assert facts["agreement"]["share"] == 0.5
    assert judge.covers(query, doc) == 3


def test_grades_are_shares_of_the_highest(data, tmp_path):
    sheet = tmp_path / "labels.csv"
    sheet.write_text("doc_id;query_id;label\nd3;q1;3\nd4;q1;1\nd5;q1;0\n", encoding="utf-8-sig")
    said = Labels(sheet, data).judge(*rows(data, [("q1", "d3"), ("q1", "d4"), ("q1", "d5")]))
    assert said.probability == pytest.approx([1, 1 / 3, 0])
    assert said.verdict.tolist() == [1, 0, 0]


def test_each_grades_on_a_scale_of_their_own(data, tmp_path):
    def sheet(name, *labels):
        text = "".join(f"q1,d{place},{label}\n" for place, label in enumerate(labels, 3))
        (tmp_path / name).write_text(f"query_id,doc_id,label\n{text}")
        return tmp_path / name

    query, doc = rows(data, [("q1", "d3"), ("q1", "d4"), ("q1", "d5")])
    ones, grades = sheet("a.csv", "yes", 1, 1), sheet("b.csv", 3, 1, 0)
    both = Labels([ones, grades], data)
    assert both.judge(query, doc).probability == pytest.approx([1, (1 + 1 / 3) / 2, 0.5])
    assert Labels(ones, data).judge(query, doc).probability == pytest.approx([1, 1, 1])
    assert both.facts()["scales"] == [1, 3]
    # In one file those who grade share its highest grade; those who do not say yes and no.
    one = tmp_path / "one.csv"
    one.write_text(
        "query_id,doc_id,label,annotator\nq1,d3,yes,ann\nq1,d4,3,bob\nq1,d4,2,cat\nq1,d3,0,cat\nq1,d5,1,ann\n"
    )
    assert Labels(one, data).judge(query, doc).probability == pytest.approx([0.5, (1 + 2 / 3) / 2, 1])
    with pytest.raises(DataError, match=r"mixed.csv:2: label 'yes' stands among grades up to 3"):
        Labels(sheet("mixed.csv", "yes", 3, 1), data)


def test_a_sheet_that_is_not_utf8(data, tmp_path):
    sheet = tmp_path / "labels.csv"
    sheet.write_bytes("query_id,doc_id,label,note\nq1,d3,1,\nq1,d4,1,sûr\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels.csv:3: is not UTF-8 \(byte 0xfb\)"):
        Labels(sheet, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query_id,doc_id\nq1,d3\n", "has no column label"),
        ("query_id,doc_id,label\nq1,d3,maybe\n", r"labels.csv:2: label 'maybe' cannot be read"),
        ("query_id,doc_id,label\nq1,d3,-1\n", "label '-1'"),
        ("query_id,doc_id,label\nq1,d3,1\nq1,nothing,1\n", r"labels.csv:3: document 'nothing'"),
        ("query_id,doc_id,label\nwho,d3,1\n", "query 'who'"),
    ],
)
def test_a_sheet_that_cannot_be_read(data, tmp_path, text, message):
    sheet = tmp_path / "labels.csv"
    sheet.write_text(text)
    with pytest.raises(DataError, match=message):
        Labels(sheet, data)


def test_a_consensus_of_judges(data):
    pairs = [(f"q{i}", f"d{j}") for i in range(20) for j in range(20)]
    query, doc = rows(data, pairs)
    rng = np.random.default_rng(0)
    truth = rng.random(len(query)) < 0.3
    keys = [(int(q), int(d)) for q, d in zip(query, doc, strict=True)]

    def one(name, se, sp):
        said = np.where(truth, rng.random(len(query)) < se, rng.random(len(query)) > sp)
        return Saying(name, dict(zip(keys, said.astype(int).tolist(), strict=True)))

    judges = [one("a", 0.9, 0.9), one("b", 0.8, 0.9), one("c", 0.7, 0.95)]
    together = ConsensusJudge([*judges, judges[0]])
    said = together.judge(query, doc)
    assert ((said.verdict == 1) == truth).mean() > 0.92
    told = together.facts()["judges"]
    assert told[3]["same_as"] == "a"
    assert told[0]["sensitivity"] == pytest.approx(0.9, abs=0.1)
    assert ConsensusJudge(judges, rule="all").judge(query, doc).verdict.sum() < said.verdict.sum()
    with pytest.raises(SpecError, match="at least 2"):
        ConsensusJudge(judges[:1])
    with pytest.raises(SpecError, match="rule='most'"):
        ConsensusJudge(judges, rule="most")


def test_votes_decide_and_a_judge_votes_once(data):
    query, doc = rows(data, [("q1", "d3"), ("q1", "d4"), ("q1", "d5")])
    keys = [(int(q), int(d)) for q, d in zip(query, doc, strict=True)]
    said = {"x": (1, 1, 0), "y": (0, 1, 0), "z": (0, 0, 0)}
    x, y, z = (Saying(name, dict(zip(keys, votes, strict=True))) for name, votes in said.items())
    expected = {"any": [1, 1, 0], "majority": [0, 1, 0], "all": [0, 0, 0]}
    for rule, verdict in expected.items():
        judge = ConsensusJudge([x, y, z, x, x], rule=rule)
        found = judge.judge(query, doc)
        assert found.verdict.tolist() == verdict
        assert shares(found, judge.kind).tolist() == verdict
        assert [one.get("same_as") for one in judge.facts()["judges"]] == [None, None, None, "x", "x"]
    asked = []
    x.judge = lambda *pairs: asked.append(1) or Saying.judge(x, *pairs)
    ConsensusJudge([x, y, x], rule="any").judge(query, doc)
    assert asked == [1]


def test_judges_by_name(data, tmp_path):
    bench = Bench(data, tmp_path, complete=True)
    assert open_judge("qrels", bench).kind == "qrels"
    judge: Judge = open_judge("qrels:test", bench)
    assert judge.name == "qrels:test"
    sheet = tmp_path / "l.csv"
    sheet.write_text("query_id,doc_id,label\nq1,d3,1\n")
    assert open_judge(str(sheet), bench).kind == open_judge(f"labels:{sheet}", bench).kind == "people"
    with pytest.raises(SpecError, match="Did you mean 'qrels'"):
        open_judge("qrel:train", bench)
    with pytest.raises(ModelError, match="is taken for a cross-encoder"):
        open_judge("./no-such-model", bench)
    with pytest.raises(SpecError, match="needs negatives"):
        open_judge("score", bench)


def table(n, prevalence, judges, seed):
    """Votes of judges with such a sensitivity and specificity, and theirs on 50 known positives."""
    rng = np.random.default_rng(seed)

    def votes(true):
        columns = [np.where(true, rng.random(len(true)) < se, rng.random(len(true)) > sp) for se, sp in judges]
        return np.stack(columns, axis=1).astype(np.int8)

    return votes(rng.random(n) < prevalence), votes(np.ones(50, bool))


def refused(votes, anchors):
    try:
        refuse_chance(consensus(votes, anchors), votes, anchors, "some")
    except UninformativeJudge:
        return True
    return False


COINS = {"even": [(0.5, 0.5)] * 3, "rare": [(0.1, 0.9)] * 3, "five": [(0.3, 0.7)] * 5, "two": [(0.4, 0.6)] * 2}
GOOD = [(0.8, 0.93), (0.75, 0.95), (0.6, 0.85)]


@pytest.mark.parametrize("coins", COINS)
@pytest.mark.parametrize("known", [True, False])
def test_coins_are_no_consensus(coins, known):
    # The fit alone does not see it: it finds classes in coins in most samples.
    found = [table(300, 0.1, COINS[coins], seed) for seed in range(40)]
    assert np.mean([refused(votes, anchors if known else None) for votes, anchors in found]) >= 0.85


def test_judges_that_are_worth_something_are_one():
    for prevalence, known, least in ((0.3, False, 1.0), (0.1, False, 0.9), (0.1, True, 1.0), (0.01, True, 0.9)):
        found = [table(300, prevalence, GOOD, seed) for seed in range(40)]
        assert np.mean([not refused(votes, anchors if known else None) for votes, anchors in found]) >= least
    votes, _ = table(300, 0.2, GOOD[:1], 0)
    assert not refused(np.repeat(votes, 3, axis=1), None)  # one judge, three times: it is followed
    votes[::3] = -1
    assert not refused(np.column_stack([votes, table(300, 0.2, GOOD[:1], 0)[0]]), None)


def test_a_consensus_of_coins_is_refused_by_name(data):
    query, doc = rows(data, [(f"q{i}", f"d{j}") for i in range(20) for j in range(15)])
    rng = np.random.default_rng(4)
    keys = [(int(q), int(d)) for q, d in zip(query, doc, strict=True)]
    coins = [Saying(name, dict(zip(keys, rng.integers(0, 2, len(keys)).tolist(), strict=True))) for name in "abc"]
    with pytest.raises(UninformativeJudge, match=r"3 judges of 'a \+ b \+ c' agree .* no more than chance .*--labels"):
        ConsensusJudge(coins).judge(query, doc)
    assert ConsensusJudge(coins, rule="all").judge(query, doc).judged.all()  # who counts votes is told what he gets
