from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import foils
from foils.audit import Options, UninformativeJudge, Verdicts, audit
from foils.audit.judges.models import ScoreJudge
from foils.audit.judges.qrels import Qrels
from foils.core.errors import DataError, SpecError
from foils.store import Negatives
from little import OverlapReranker


class Topics:
    """Knows the truth: a document of the query's first positive's topic with an even number is relevant."""

    name = fingerprint = "topics"

    def __init__(self, kind="llm", asked=None):
        self.kind, self.asked = kind, asked if asked is not None else []

    def judge(self, query, doc):
        self.asked.append(len(query))
        return Verdicts.of((doc % 3 == 0).astype(int), np.where(doc % 3 == 0, 0.9, 0.2))

    def facts(self):
        return {"calls": len(self.asked)}


@pytest.fixture(scope="module")
def store(data, models, tmp_path_factory):
    text = "BM25(k=40) + Dense('student', k=40) >> BiEncoder('student') >> PositiveAware(margin=0.0) >> Top(k=12)"
    return foils.mine(data, text, encoders=models, out=tmp_path_factory.mktemp("mined") / "neg")


@pytest.fixture(scope="module")
def truth(store, data):
    kept = store.kept(data)
    return float((kept.doc[kept.label == 0] % 3 == 0).mean())


def plain(**more):
    return Options(**{"budget": 100, "dropped": 20, "controls": 0, **more})


def test_the_rate_of_a_sample(store, data, truth, tmp_path):
    found = audit(store, data, Topics(), options=plain(), out=tmp_path / "a")
    assert found.rate.low <= truth <= found.rate.high
    told = found.to_dict()
    assert list(told)[:2] == ["kind", "version"]
    assert (told["kind"], told["version"]) == ("foils audit", 1)
    assert told["judged"] == 100
    assert told["negatives_fingerprint"] == Negatives.open(store.path).fingerprint
    assert told["rate"]["method"] == "stratified"
    assert sum(row["items"] for row in told["strata"]) == told["population"]
    assert sum(row["judged"] for row in told["strata"]) == 100
    false = sum(row["items"] * row["false"] / row["judged"] for row in told["strata"])
    assert false / told["population"] == pytest.approx(told["rate"]["value"])
    for key in ("source", "rank", "difficulty"):
        assert sum(row["items"] for row in told["by"][key]) == told["population"]
        assert sum(row["judged"] for row in told["by"][key]) == 100
    assert json.loads((tmp_path / "a/audit.json").read_text()) == json.loads(json.dumps(told))
    assert "NaN" not in (tmp_path / "a/audit.json").read_text()
    sample = pq.read_table(tmp_path / "a/sample.parquet").to_pandas()
    kept = sample[sample.step == 0]
    assert np.average(kept.verdict, weights=kept.weight) == pytest.approx(told["rate"]["value"])
    assert kept.weight.sum() == pytest.approx(told["population"])
    assert [one["verdict"] for one in told["examples"]] == [1] * 5


def test_rates_before_and_after_each_filter(store, data):
    found = audit(store, data, Topics(), options=plain(dropped=10_000, budget=10_000))
    rows = {row["name"].split("(")[0]: row for row in found.to_dict()["by"]["filter"]}
    pairs = store.pairs(data)
    relevant, candidate = pairs.doc % 3 == 0, pairs.label == 0
    step = {s.text.split("(")[0]: s.number for s in store.steps}
    for name in ("PositiveAware", "Top"):
        fate = np.abs(pairs.dropped)
        took = candidate & (fate == step[name])
        after = candidate & ((fate == 0) | (fate > step[name]))
        assert rows[name]["dropped"]["rate"] == pytest.approx(relevant[took].mean())
        assert rows[name]["after"]["rate"] == pytest.approx(relevant[after].mean())
        assert rows[name]["before"]["rate"] == pytest.approx(relevant[took | after].mean())
        assert rows[name]["before"]["items"] == (took | after).sum()
    assert rows["Top"]["after"]["rate"] == pytest.approx(found.rate.value)
    none = audit(store, data, Topics(), options=plain(dropped=0)).to_dict()["by"]["filter"]
    assert none[0]["before"] is None
    assert none[-1]["after"] is not None


def test_the_same_in_any_order_and_another_with_another_seed(store, data, tmp_path):
    for name in ("one", "two"):
        audit(store, data, Topics(), options=plain(), out=tmp_path / name)
    for file in ("audit.json", "sample.parquet", "labels.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    other = audit(store, data, Topics(), options=plain(seed=1))
    assert set(other.sheet.at.tolist()) != set(audit(store, data, Topics(), options=plain()).sheet.at.tolist())


def test_intervals_of_many_samples_cover(store, data, truth):
    rates = [audit(store, data, Topics(), options=plain(seed=seed, budget=60, dropped=0)).rate for seed in range(40)]
    assert np.mean([one.low <= truth <= one.high for one in rates]) >= 0.85
    assert np.mean([one.value for one in rates]) == pytest.approx(truth, abs=0.03)


def test_people_fill_in_the_sheet_and_get_the_same(store, data, tmp_path):
    first = audit(store, data, Topics(), options=plain(), out=tmp_path / "a")
    path = tmp_path / "a/labels.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(first.sheet.at)
    assert {row["label"] for row in rows} == {""}
    assert "rank" not in rows[0]
    assert rows[0]["document"]
    docs = data.corpus.rows_of([row["doc_id"] for row in rows])
    for row, doc in zip(rows, docs.tolist(), strict=True):
        row["label"] = str(int(doc % 3 == 0))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    again = audit(store, data, path, options=plain(), out=tmp_path / "a")
    assert again.rate == first.rate
    assert again.to_dict()["judge"]["kind"] == "people"
    # A larger sample keeps what is labelled and asks for the rest.
    audit(store, data, path, options=plain(budget=150), out=tmp_path / "a")
    with path.open(newline="") as stream:
        more = list(csv.DictReader(stream))
    assert [row["label"] for row in more[: len(rows)]] == [row["label"] for row in rows]
    assert len(more) > len(rows)
    # Half a sheet is a sample, too.
    for row in rows[60:]:
        row["label"] = ""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    half = audit(store, data, path, options=plain())
    assert half.to_dict()["judged"] < 60
    assert half.rate.high - half.rate.low > first.rate.high - first.rate.low
    assert 0 < half.to_dict()["holes"] < 1


def test_what_people_wrote_stays_in_the_sheet(store, data, tmp_path):
    audit(store, data, None, options=plain(), out=tmp_path)
    sheet = tmp_path / "labels.csv"
    with sheet.open(newline="") as stream:
        rows = [{**row, "looked up": ""} for row in csv.DictReader(stream)]
    said = {10: {"note": "see the second page"}, 20: {"annotator": "ann"}, 30: {"looked up": "yes"}, 40: {"label": "1"}}
    for place, cells in said.items():
        rows[place] |= cells
    with sheet.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    audit(store, data, None, options=plain(budget=20, seed=1), out=tmp_path)
    with sheet.open(newline="") as stream:
        left = list(csv.DictReader(stream))
    assert left[:4] == [rows[place] for place in said]
    assert len(left) < len(rows)  # the rest is of the new sample
    assert not any(row[name] for row in left[4:] for name in ("label", "annotator", "note", "looked up"))


def test_labels_of_another_sample_are_told(store, data, tmp_path):
    sheet = tmp_path / "labels.csv"
    found = audit(store, data, None, options=plain(), out=tmp_path)
    assert found.rate is None
    assert found.to_dict()["rate"] is None
    rows = sheet.read_text().splitlines()
    query, doc = rows[1].split(",")[:2]
    (tmp_path / "l.csv").write_text(f"query_id,doc_id,label\n{query},{doc},1\nq1,d200,0\n")
    notes = audit(store, data, tmp_path / "l.csv", options=plain()).to_dict()["notes"]
    assert "1 labelled pairs are not in this sample" in notes[0]


def test_without_a_rate_nothing_passes(store, data, tmp_path):
    (tmp_path / "l.csv").write_text("query_id,doc_id,label\n")
    with pytest.raises(DataError, match=r"no rate to hold against 0.9: .* knows nothing"):
        audit(store, data, tmp_path / "l.csv", options=plain()).passes(0.9)
    with pytest.raises(DataError, match="nobody has judged"):
        audit(store, data, None, options=plain()).passes(0.9)


def test_a_sheet_of_another_encoding_stays_as_it_is(store, data, tmp_path):
    left = "query_id,doc_id,label,note\nq1,d3,1,sûr\n".encode("latin-1")
    (tmp_path / "labels.csv").write_bytes(left)
    with pytest.raises(DataError, match=r"labels.csv:2: is not UTF-8"):
        audit(store, data, None, options=plain(), out=tmp_path)
    assert (tmp_path / "labels.csv").read_bytes() == left


def test_a_cheap_judge_of_everything_is_corrected(store, data, truth):
    class Cheap(Topics):
        name = fingerprint = "cheap"

        def judge(self, query, doc):
            self.asked.append(len(query))
            return Verdicts.of((doc % 3 == 0) | (doc % 5 == 0))

    cheap = Cheap("cross-encoder")
    found = audit(store, data, Topics(), cheap=cheap, options=plain())
    told = found.to_dict()
    assert cheap.asked == [len(found.found)]
    assert told["rate"]["method"] == "prediction-powered"
    assert told["rate"]["low"] <= truth <= told["rate"]["high"]
    assert told["cheap"]["recall"] == 1
    assert told["estimates"]["cheap judge alone"] > truth + 0.1
    assert told["estimates"]["rogan-gladen"] == pytest.approx(truth, abs=0.1)
    alone = audit(store, data, Topics(), options=plain())
    assert told["rate"]["high"] - told["rate"]["low"] < alone.rate.high - alone.rate.low
    # A language model as the cheap judge is asked about the sample only.
    dear = Cheap("llm")
    audit(store, data, Topics("people"), cheap=dear, options=plain())
    assert dear.asked == [len(found.sheet.at)]


def test_judges_that_say_nothing_are_refused(store, data):
    class Contrary(Topics):
        name = "contrary"

        def judge(self, query, doc):
            return Verdicts.of(doc % 3 != 0)

    class Blind(Topics):
        name = "blind"

        def judge(self, query, doc):
            return Verdicts.of(np.ones(len(query)))

    class Timid(Topics):
        name = "timid"

        def judge(self, query, doc):
            return Verdicts.of(np.zeros(len(doc)), np.where(doc % 3 == 0, 0.3, 0.1))

    # It calls nothing relevant, but its probabilities say much.
    timid = audit(store, data, Topics(), cheap=Timid("cross-encoder"), options=plain()).rate
    alone = audit(store, data, Topics(), options=plain()).rate
    assert timid.high - timid.low < 0.5 * (alone.high - alone.low)
    with pytest.raises(UninformativeJudge, match="contrary"):
        audit(store, data, Topics(), cheap=Contrary("cross-encoder"), options=plain())
    with pytest.raises(UninformativeJudge, match="known positives and random documents"):
        audit(store, data, Blind(), options=plain(controls=20))
    assert UninformativeJudge("").exit_code == 1


def test_a_score_that_says_nothing_is_refused(store, data):
    told = audit(store, data, "score", options=plain(controls=20)).to_dict()["judge"]["controls"]
    assert told["above"] < told["chance"]
    pairs = store.pairs(data)
    judge = ScoreJudge(pairs.with_scores("turned", -pairs["student"]), "turned")
    with pytest.raises(UninformativeJudge, match=r"score:turned.*scores without meaning"):
        audit(store, data, judge, options=plain(controls=20))
    assert audit(store, data, judge, options=plain(controls=0)).rate.value > 0.5


def test_qrels_count_everything(store, data, tmp_path):
    lines = [f"{q}\td{d}\t{int(d % 3 == 0)}" for q in data.queries.id_list() for d in range(240)]
    (tmp_path / "full.tsv").write_text("\n".join(lines) + "\n")
    found = audit(store, data, f"qrels:{tmp_path / 'full.tsv'}", options=Options(), out=tmp_path / "a")
    kept = store.kept(data)
    docs = data.corpus.id_list(kept.doc[kept.label == 0])
    listed = [int(name[1:]) % 3 == 0 if name[1:].isdigit() else True for name in docs]
    assert found.rate.value == pytest.approx(np.mean(listed))
    assert found.rate.low == found.rate.value == found.rate.high
    assert found.to_dict()["rate"]["method"] == "census"
    assert pq.read_table(tmp_path / "a/sample.parquet").num_rows < len(found.found)
    sampled = audit(store, data, f"qrels:{tmp_path / 'full.tsv'}", options=plain())
    assert sampled.method == "stratified"


def test_holes_bound_the_rate(store, data, tmp_path):
    # Only every other document was looked at.
    lines = [f"{q}\td{d}\t{int(d % 3 == 0)}" for q in data.queries.id_list() for d in range(0, 240, 2)]
    (tmp_path / "half.tsv").write_text("\n".join(lines) + "\n")
    told = audit(store, data, Qrels(data, str(tmp_path / "half.tsv")), options=Options()).to_dict()
    low, high = told["rate"]["bounds"]
    assert told["holes"] == pytest.approx(0.5, abs=0.1)
    assert low < told["rate"]["value"] < high
    assert high - low == pytest.approx(told["holes"])


def test_several_judges_are_a_consensus(store, data, truth):
    class Noisy(Topics):
        def __init__(self, name, seed):
            super().__init__()
            self.name = self.fingerprint = name
            self.seed = seed

        def judge(self, query, doc):
            rng = np.random.default_rng(self.seed)
            said = (doc % 3 == 0) ^ (rng.random(len(doc)) < 0.15)
            return Verdicts.of(said)

    found = audit(store, data, [Noisy("a", 1), Noisy("b", 2), Noisy("c", 3)], options=plain(controls=10))
    told = found.to_dict()["judge"]
    assert told["kind"] == "consensus"
    assert len(told["judges"]) == 3
    assert found.rate.value == pytest.approx(truth, abs=0.12)
    same = audit(store, data, [Topics(), Topics()], options=plain()).rate
    assert same.value == audit(store, data, Topics(), options=plain()).rate.value


def test_nothing_is_asked_in_a_dry_run(store, data, tmp_path):
    class Dear(Topics):
        def price(self, query, doc):
            return {"cost": 0.01 * len(query)}

    judge = Dear()
    told = audit(store, data, judge, options=plain(dry_run=True, controls=10), out=tmp_path / "a").to_dict()
    assert judge.asked == []
    assert not (tmp_path / "a").exists()
    price = told["price"]["topics"]
    assert price["cost"] == pytest.approx(0.01 * price["pairs"])
    assert price["pairs"] > 140


def test_a_cross_encoder_by_object(store, data, tmp_path):
    from foils.audit.judges.models import CrossEncoderJudge

    judge = CrossEncoderJudge(OverlapReranker(), data, tmp_path)
    told = audit(store, data, judge, options=plain(controls=20)).to_dict()
    assert told["judge"]["controls"]["known_positives"] > told["judge"]["controls"]["random_documents"]
    assert told["judge"]["calibrated"] is False


def test_what_cannot_be_asked(store, data, tmp_path):
    with pytest.raises(SpecError, match="budget=3"):
        Options(budget=3)
    with pytest.raises(SpecError, match="corrects it"):
        audit(store, data, None, cheap=Topics(), options=plain())
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no sheet of labels"):
        audit(store, data, Topics(), options=plain(), out=tmp_path)


def test_passing_needs_the_whole_interval_above(store, data):
    found = audit(store, data, Topics(), options=plain())
    assert found.passes(found.rate.low)
    assert not found.passes(found.rate.low - 1e-6)


def slow_per_query(store, data, verdict):
    """Of each query, the verdicts on its negatives."""
    kept = store.kept(data)
    listed: dict[int, list[int]] = {}
    for query, doc, label in zip(kept.query.tolist(), kept.doc.tolist(), kept.label.tolist(), strict=True):
        if label == 0:
            listed.setdefault(query, []).append(verdict(query, doc))
    return list(listed.values())


def test_the_rate_over_queries_is_counted_and_not_guessed(store, data):
    listed = slow_per_query(store, data, lambda query, doc: int(doc % 3 == 0))
    whole = audit(store, data, Topics(), options=plain(budget=10_000)).to_dict()["per_query"]
    true = np.mean([any(said) for said in listed])
    assert (whole["queries"], whole["judged"]) == (len(listed), len(listed))
    assert whole["rate"] == whole["low"] == whole["high"] == pytest.approx(true)
    assert whole["bounds"] == pytest.approx([true, true])
    sample = audit(store, data, Topics(), options=plain()).to_dict()["per_query"]
    assert (sample["rate"], sample["bounds"]) == (None, None)
    assert "a sample" in sample["why"]


def test_the_rate_over_queries_with_holes(store, data):
    def verdict(query, doc):
        return -1 if (query * 7 + doc) % 23 == 0 else int(doc % 11 == 0)

    class Holes(Topics):
        def judge(self, query, doc):
            return Verdicts.of([verdict(q, d) for q, d in zip(query.tolist(), doc.tolist(), strict=True)])

    listed = slow_per_query(store, data, verdict)
    full = [said for said in listed if -1 not in said]
    found = audit(store, data, Holes(), options=plain(budget=10_000)).to_dict()["per_query"]
    assert 0 < len(full) < len(listed)
    assert (found["judged"], found["false"]) == (len(full), sum(1 in said for said in full))
    assert found["rate"] == pytest.approx(found["false"] / len(full))
    assert 0 < found["low"] < found["rate"] < found["high"] < 1
    ends = [np.mean([1 in said for said in listed]), np.mean([1 in said or -1 in said for said in listed])]
    assert found["bounds"] == pytest.approx(ends)
