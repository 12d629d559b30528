"""Thresholds that are found on labels: the loosest that passes, by a slow search; what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import foils
from foils.audit import Options, audit
from foils.calibrate import Labels, calibrate, labels_of
from foils.calibrate.pipeline import Cut
from foils.calibrate.run import _seen, grouped
from foils.core import risk
from foils.core.errors import DataError, PipelineError, SpecError
from foils.core.pairs import CANDIDATE
from foils.core.spec import parse
from foils.stages.calibrated import difficulty
from foils.terminal.calibrating import calibrated


def final(data, negatives, text, out):
    """What is mined with a pipeline, and which of it is false."""
    stage = f"Load('{negatives.path}', which='all') >> {text}"
    kept = foils.mine(data, stage, split="train_sparse", out=out).kept(data)
    kept = kept.take(kept.label == CANDIDATE)
    return kept, data.positives("train").find(kept) >= 0


@pytest.fixture
def labels(planted, tmp_path):
    """A file of labels of some queries' candidates, as JSON lines."""
    data, negatives = planted
    pairs = negatives.kept(data)
    pairs = pairs.take(pairs.label == CANDIDATE)
    relevant = data.positives("train").find(pairs) >= 0
    ids = data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc)

    def make(queries=None, label=None):
        rows = np.flatnonzero(pairs.query < (10**9 if queries is None else queries))
        file = tmp_path / "sheet" / "labels.csv"
        file.parent.mkdir(exist_ok=True)
        said = [int(relevant[i]) if label is None else label for i in rows]
        lines = [f"{ids[0][i]},{ids[1][i]},{value}" for i, value in zip(rows, said, strict=True)]
        file.write_text("query_id,doc_id,label\n" + "\n".join(lines) + "\n")
        return file

    return make


@pytest.mark.parametrize(
    ("kind", "rest"), [("absolute", ""), ("relative", " >> Top(k=4)"), ("quantile", " >> Uniform(k=6)"), ("score", "")]
)
def test_it_is_the_loosest_threshold_that_passes(planted, tmp_path, kind, rest):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.08, kind='{kind}', by='run'){rest}"
    found = calibrate(negatives, text, "qrels:train", data=data)
    (group,) = found.groups
    assert group.report["passes"]
    kept, false = final(data, negatives, text, tmp_path / "out")
    rate = false.mean()
    assert rate == pytest.approx(group.report["after"]["value"])
    assert group.report["after"]["low"] <= rate <= group.report["after"]["high"]
    assert rate < 0.08 < group.report["before"]["value"]
    # The test, from what was mined with it alone.
    keys = data.queries.keys[data.query_rows("train_sparse")]
    order = np.argsort(foils.core.noise.bits(0, "calibrate", keys, np.zeros(len(keys), np.uint64)), kind="stable")
    per_query = [np.bincount(kept.query, x, minlength=len(keys))[order, None] for x in (np.ones(len(kept)), false)]
    most = {"": 20.0, " >> Top(k=4)": 4.0, " >> Uniform(k=6)": 6.0}[rest]
    assert risk.log_p(*per_query, 0.08, most)[0] <= math.log(0.05)


def test_looser_ones_do_not_pass(planted, tmp_path):
    """By hand: everything the sample can say about each threshold from the chosen one on."""
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.05, kind='score', by='run')"
    threshold = calibrate(negatives, text, "qrels:train", data=data).groups[0].threshold
    pairs = negatives.kept(data)
    pairs = pairs.take(pairs.label == CANDIDATE)
    relevant = data.positives("train").find(pairs) >= 0
    keys = data.queries.keys[data.query_rows("train_sparse")]
    order = np.argsort(foils.core.noise.bits(0, "calibrate", keys, np.zeros(len(keys), np.uint64)), kind="stable")

    def log_p(bound):
        stays = pairs["run"] < bound
        both = [np.bincount(pairs.query, stays * x, minlength=len(keys))[order, None] for x in (1, relevant)]
        return float(risk.log_p(*both, 0.05, 20.0)[0])

    assert log_p(threshold) <= math.log(0.05)
    grid = np.quantile(pairs["run"].astype(float), 1 - np.geomspace(0.002, 0.98, 60)[::-1])
    assert np.abs(grid - threshold).min() < 1e-6
    assert log_p(grid[np.abs(grid - threshold).argmin() + 1]) > math.log(0.05)


def test_same_inputs_same_bytes_and_labels_in_a_file_are_as_good_as_qrels(planted, labels, tmp_path):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.08, by='run') >> Top(k=8)"
    first = calibrate(negatives, text, "qrels:train", data=data)
    written = (tmp_path / "t.json").read_bytes()
    calibrate(str(negatives.path), text, "qrels:train", data=data)
    assert (tmp_path / "t.json").read_bytes() == written
    second = calibrate(negatives, text, labels(), data=data)
    assert second.groups == first.groups
    assert second.odds == first.odds


def test_each_group_passes_by_itself_and_what_is_too_small_is_joined(planted, tmp_path):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.08, by='run', groups=2)"
    easy, hard = calibrate(negatives, text, "qrels:train", data=data).groups
    assert easy.hardest < hard.hardest == math.inf
    assert hard.threshold < easy.threshold
    assert max(group.report["after"]["value"] for group in (easy, hard)) < 0.08
    assert sum(group.report["queries"] for group in (easy, hard)) == 400
    _, false = final(data, negatives, text, tmp_path / "out")
    assert false.sum() == pytest.approx(
        sum(g.report["after"]["value"] * g.report["kept"] * g.report["labels"] for g in (easy, hard))
    )
    many = text.replace("groups=2", "groups=40").replace("0.08", "0.15")
    assert len(calibrate(negatives, many, "qrels:train", data=data).groups) < 20


def test_a_group_for_which_none_passes_keeps_nothing(planted, tmp_path):
    data, negatives = planted
    pairs = negatives.kept(data)
    pairs = pairs.take(pairs.label == CANDIDATE)
    stage = f"Calibrated('{tmp_path / 't.json'}', target=0.1, by='run', groups=2)"
    easy = calibrate(negatives, stage, "qrels:train", data=data).groups[0].hardest
    near_top = difficulty(negatives.kept(data), "run", "min")[negatives.kept(data).label == CANDIDATE] > easy
    ones = np.ones(len(pairs))
    labels = Labels(pairs.query, pairs.doc, 0.5 * near_top, ones, complete=False, name="half of the hard ones")
    found = calibrate(negatives, stage, labels, data=data)
    assert [group.report["passes"] for group in found.groups] == [True, False]
    assert [group.threshold for group in found.groups] == [math.inf, -math.inf]
    kept, _ = final(data, negatives, stage, tmp_path / "out")
    assert set(kept.query) == set(pairs.query[~near_top])


def test_a_sample_that_is_too_small_is_told_how_many_it_takes(planted, labels, tmp_path):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', by='run')"
    with pytest.raises(DataError, match=r"200 labels of 100 queries are too few.*2\.0% with 95%.*about 1,547 queries"):
        calibrate(negatives, text, few(labels(100), 2), data=data)
    with pytest.raises(DataError, match=r"about [\d,]+ queries"):  # most labels are of what Top does not take
        calibrate(negatives, text + " >> Top(k=2)", few(labels(100), 2), data=data)
    assert not (tmp_path / "t.json").exists()
    with pytest.raises(DataError, match="too few"):
        calibrate(negatives, text, labels(156, label=0), data=data)
    found = calibrate(negatives, text, labels(157, label=0), data=data)
    assert found.groups[0].threshold == math.inf


def few(file, each):
    """Only so many labels of each query."""
    seen, lines = {}, []
    for line in file.read_text().splitlines():
        query = line.split(",")[0]
        seen[query] = seen.get(query, 0) + 1
        if seen[query] <= each:
            lines.append(line)
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_target_that_no_threshold_meets_is_refused_with_one_that_passes(planted, labels, tmp_path):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.05, by='run')"
    with pytest.raises(DataError, match=r"100\.0% of what is used without it are false.*Raise target"):
        calibrate(negatives, text, labels(label=1), data=data)


def test_probabilities_are_those_that_were_planted(planted, tmp_path):
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.1, by='run', kind='score')"
    found = calibrate(negatives, text, "qrels:train", data=data)
    scale, shift = found.odds
    assert scale > 0
    p = 1 / (1 + np.exp(-(scale * np.array([0.2, 0.85]) + shift)))
    assert p[0] < 0.03
    assert p[1] == pytest.approx(0.65 * 0.5, abs=0.08)
    assert found.report["ece"] < 0.03


def test_sources_policies_and_pools_of_the_pipeline(planted, tmp_path):
    data, negatives = planted
    stage = f"Calibrated('{tmp_path / 't.json'}', target=0.08, by='run')"
    plain = calibrate(negatives, f"{stage} >> Top(k=4)", "qrels:train", data=data)
    whole = f"BM25(k=50) >> {stage} >> Top(k=4) >> Ensure('deepen')"
    assert calibrate(negatives, whole, "qrels:train", data=data).groups == plain.groups
    pooled = calibrate(negatives, f"{stage} >> (Top(k=4) + Random(k=2))", "qrels:train", data=data)
    assert pooled.groups[0].threshold <= plain.groups[0].threshold  # a query may keep six, and its sample never does
    for wrong in ("Top(k=4)", f"{stage} >> {stage}", f"({stage} >> Top(k=1)) + Random(k=4)"):
        with pytest.raises(PipelineError, match="exactly one"):
            calibrate(negatives, wrong, "qrels:train", data=data)
    with pytest.raises(PipelineError, match="no score column 'teacher'"):
        calibrate(negatives, stage.replace("run", "teacher"), "qrels:train", data=data)
    with pytest.raises(SpecError, match="unknown stage"):
        calibrate(negatives, "Calibrate('t.json')", "qrels:train", data=data)


@pytest.mark.parametrize(
    ("rest", "most"),
    [
        ("", None),
        (" >> Top(k=8)", 8),
        (" >> Top(k=8) >> Uniform(k=3)", 3),
        (" >> Uniform(k=3) >> Top(k=8)", 3),
        (" >> (Top(k=4) + Uniform(k=2))", 6),
        (" >> (Top(k=4) + Random(k=2))", 6),
        (" >> (Top(k=4) + MarginQuantile())", None),
        (" >> Top(k=4) >> (Between(hi=0.5, by='run') + BM25(k=9))", None),
    ],
)
def test_what_a_query_may_keep_is_known_from_the_pipeline(tmp_path, rest, most):
    assert Cut.of(parse(f"Calibrated('t.json', by='run'){rest}"), tmp_path).cap == most


def test_without_a_sampler_the_longest_list_of_the_pool_is_the_bound_labelled_or_not(planted, labels, tmp_path):
    """157 queries of which each keeps 5 of the 20 that a query of this pool may keep show no 2 %."""
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', by='run')"
    with pytest.raises(DataError, match="too few"):
        calibrate(negatives, text, few(labels(300, label=0), 5), data=data)


def test_labels_of_a_sheet(planted, tmp_path):
    data, _ = planted
    file = tmp_path / "sheet.csv"
    file.write_text("query_id,doc_id,label\nq0,d1,yes\nq0,d2,0\nq0,d3,\nq0,d4,?\nq1,d30,1\nq1,d30,0\nq1,d31,0.25\n")
    found = labels_of(file, data)
    assert found.relevance.tolist() == [1.0, 0.0, 0.5, 0.25]  # disagreement and doubt remain
    assert found.weight.tolist() == [1.0] * 4
    assert found.doc.tolist() == [1, 2, 30, 31]
    assert not found.complete
    for text, message in (
        ("q0,d1,", "has no label"),
        ("q0,nobody,1", "'nobody' is not in"),
        ("q0,d1,x", "cannot be read"),
    ):
        file.write_text(f"query_id,doc_id,label\n{text}\n")
        with pytest.raises(DataError, match=message):
            labels_of(file, data)
    with pytest.raises(DataError, match="no split 'dev'"):
        labels_of("qrels:dev", data)
    with pytest.raises(DataError, match="no such file"):
        labels_of(tmp_path / "nowhere.csv", data)


def test_labels_of_an_audit_weigh_what_they_stand_for(planted, tmp_path):
    data, negatives = planted
    done = audit(
        negatives, data, judge="qrels:train", options=Options(budget=300, dropped=0, complete=True), out=tmp_path / "a"
    )
    sample = pq.read_table(tmp_path / "a" / "sample.parquet")
    found = labels_of(tmp_path / "a", data)
    assert len(found.query) == len(sample) >= 300
    assert found.weight.sum() == pytest.approx(8_000)
    rate = found.weight @ found.relevance / found.weight.sum()
    assert rate == pytest.approx(done.rate.value)
    # Somebody labels the first third of the sheet: of each stratum the labelled ones stand for all.
    lines = (tmp_path / "a" / "labels.csv").read_text().splitlines()
    few = [line.replace(",,,", ",1,,", 1) if 0 < i < 100 else line for i, line in enumerate(lines)]
    (tmp_path / "a" / "labels.csv").write_text("\n".join(few) + "\n")
    sheet = labels_of(tmp_path / "a", data)
    assert len(sheet.query) == 99
    assert (sheet.relevance == 1).all()
    strata = {
        (q, d): s for q, d, s in zip(*(sample[c].to_pylist() for c in ("query_id", "doc_id", "stratum")), strict=True)
    }
    ids = zip(data.queries.id_list(sheet.query), data.corpus.id_list(sheet.doc), strict=True)
    place = [strata[pair] for pair in ids]
    for stratum in set(place):
        mine = np.array(place) == stratum
        whole = np.array(sample["stratum"]) == stratum
        assert sheet.weight[mine].sum() == pytest.approx(np.array(sample["weight"])[whole].sum())
    (tmp_path / "a" / "sample.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="no sample of an audit"):
        labels_of(tmp_path / "a", data)
    with pytest.raises(DataError, match="no folder of an audit"):
        labels_of(tmp_path, data)


def test_what_an_audit_found_can_be_calibrated_with(planted, tmp_path):
    data, negatives = planted
    options = Options(budget=1200, dropped=0, complete=True)
    audit(negatives, data, judge="qrels:train", options=options, out=tmp_path / "a")
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.1, by='run', test='asymptotic')"
    found = calibrate(negatives, text, tmp_path / "a", data=data)
    _, false = final(data, negatives, text, tmp_path / "out")
    assert 1000 < found.groups[0].report["labels"] <= 1400
    assert false.mean() < 0.1 < found.groups[0].report["before"]["value"]


def test_labels_of_other_queries_or_documents_are_refused(planted, tmp_path):
    data, negatives = planted
    file = tmp_path / "sheet.csv"
    file.write_text("query_id,doc_id,label\nq0,d900,1\n")
    text = f"Calibrated('{tmp_path / 't.json'}', by='run')"
    with pytest.raises(DataError, match="none of the labels is of a candidate"):
        calibrate(negatives, text, file, data=data)


def test_candidates_that_no_label_reaches_are_refused(planted, labels, tmp_path):
    """Labels of ranks 9 to 20 say nothing of the first eight, which the pipeline keeps, too: 40 % of the list."""
    data, negatives = planted
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.3, by='run', kind='score', test='asymptotic')"
    pairs = negatives.kept(data)
    pairs = pairs.take(pairs.label == CANDIDATE)
    file = labels()
    deep = [tuple(ids) for ids in zip(data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc), strict=True)]
    rank = dict(zip(deep, pairs.ranks["run"].tolist(), strict=True))
    head, *lines = file.read_text().splitlines()
    assert calibrate(negatives, text, file, data=data).groups[0].report["passes"]
    mine = [line for line in lines if rank[tuple(line.split(",")[:2])] > 8]
    file.write_text("\n".join([head, *mine]) + "\n")
    with pytest.raises(DataError, match=r"\d\d\.\d% of what .* no label is of"):
        calibrate(negatives, text, file, data=data)
    # Where the pipeline leaves out the same ranks, the labels are of all that is used.
    assert calibrate(negatives, f"Ranks(9, 20, by='run') >> {text}", file, data=data).groups[0].report["passes"]
    # Every fourth label at random reaches all of it.
    file.write_text("\n".join([head, *lines[::4]]) + "\n")
    assert calibrate(negatives, text, file, data=data).groups[0].report["passes"]


def test_a_sheet_that_leaves_a_stratum_empty_is_refused(planted, tmp_path):
    data, negatives = planted
    audit(negatives, data, judge="qrels:train", options=Options(budget=900, dropped=0, complete=True), out=tmp_path)
    sample = pq.read_table(tmp_path / "sample.parquet").to_pydict()
    gone = max(sample["stratum"])
    rows = zip(sample["query_id"], sample["doc_id"], sample["stratum"], strict=True)
    lines = [f"{q},{d},0" for q, d, stratum in rows if stratum != gone]
    (tmp_path / "labels.csv").write_text("query_id,doc_id,label\n" + "\n".join(lines) + "\n")
    weights = np.array(sample["weight"])
    share = weights[np.array(sample["stratum"]) == gone].sum() / weights.sum()
    assert labels_of(tmp_path, data).missing == pytest.approx(share)
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.3, by='run', test='asymptotic')"
    with pytest.raises(DataError, match=f"{share:.1%} of the audited candidates are of strata without any label"):
        calibrate(negatives, text, tmp_path, data=data)


def test_shares_of_a_consensus_remain_and_the_judge_is_named(planted, tmp_path):
    data, negatives = planted
    audit(negatives, data, judge="qrels:train", options=Options(budget=900, dropped=0, complete=True), out=tmp_path)
    text = f"Calibrated('{tmp_path / 't.json'}', target=0.2, by='run', test='asymptotic')"
    found = calibrate(negatives, text, tmp_path, data=data)
    assert found.report["labels"]["judge"] == {"kind": "qrels", "name": "qrels:train"}
    file, report = tmp_path / "sample.parquet", tmp_path / "audit.json"
    table = pq.read_table(file)
    chance = [0.75 if verdict == 1 else 0.25 for verdict in table["verdict"].to_pylist()]
    place = table.column_names.index("probability")
    pq.write_table(table.set_column(place, "probability", pa.array(chance, pa.float32())), file)
    told = json.loads(report.read_text())
    for kind, shares in (("consensus", {0.25, 0.75}), ("cross-encoder", {0.0, 1.0})):
        report.write_text(json.dumps({**told, "judge": {"name": "m", "kind": kind, "calibrated": False}}))
        said = labels_of(tmp_path, data)
        assert set(said.relevance.tolist()) == shares
        assert said.judge == {"name": "m", "kind": kind, "calibrated": False}
    found = calibrate(negatives, text, tmp_path, data=data)
    console = Console(width=80)
    with console.capture() as shown:
        console.print(calibrated(found, parse(text)))
    assert "False is what m (cross-encoder, not calibrated) calls relevant." in shown.get()
    report.unlink()
    assert labels_of(tmp_path, data).judge["kind"] == "unknown"


def test_where_tests_begin_does_not_depend_on_whose_the_labels_are(planted, tmp_path):
    """Two sheets with as many labels of each query, one of the closest candidates and one of the farthest."""
    data, negatives = planted
    pairs = negatives.kept(data)
    cut = Cut.of(parse(f"Calibrated('{tmp_path / 't.json'}', target=0.1, by='run', groups=3)"), negatives.path)
    close, far = [], []
    for query in np.unique(pairs.query):
        rows = np.flatnonzero((pairs.query == query) & (pairs.label == CANDIDATE))
        order = rows[np.argsort(pairs["run"][rows])]
        far, close = [*far, *order[:4]], [*close, *order[-4:]]
    found = []
    for rows in (np.sort(close), np.sort(far)):
        said = Labels(pairs.query[rows], pairs.doc[rows], np.zeros(len(rows)), np.ones(len(rows)), False, "some")
        seen, _ = _seen(negatives, cut, data, {}, said, 0)
        relevance, weight = said.on(seen.living)
        found.append(grouped(seen, relevance, np.where(seen.candidate, weight, 0.0), 20.0, 0))
    assert [one.hardest for one in found[0]] == [one.hardest for one in found[1]]
    for one, other in zip(*found, strict=True):
        assert (one.outcomes[0] != other.outcomes[0]).any()
        assert np.array_equal(one.hopes, other.hopes)
        assert np.array_equal(one.design, other.design)
