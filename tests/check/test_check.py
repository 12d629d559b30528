"""Each finding in a file that has it, with the place; slow loops as oracles; nothing in a clean one."""

import itertools
import json

import numpy as np
import pytest

import foils
from foils.check import CODES, Limits, check, positives
from foils.core.errors import DataError, SpecError
from foils.core.text import normalised
from foils.export import export
from little import write_jsonl

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
LONG = " ".join(f"{a} {b}" for a, b in itertools.product(WORDS, WORDS))


def text(i):
    return f"passage {i} about {WORDS[i % 12]} and {WORDS[i // 12 % 12]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "small"
    corpus = [{"_id": f"d{i}", "text": text(i)} for i in range(60)]
    corpus += [{"_id": "copy", "text": "  " + text(0).upper()}, {"_id": "long", "text": LONG}]
    corpus += [{"_id": "nearly", "text": LONG + " thirteen"}, {"_id": "half", "text": LONG[: len(LONG) * 6 // 10]}]
    queries = [{"_id": f"q{i}", "text": f"which passage is {i}?"} for i in range(12)]
    (out / "qrels").mkdir(parents=True)
    write_jsonl(out / "corpus.jsonl", corpus)
    write_jsonl(out / "queries.jsonl", queries)
    train = [(f"q{i}", f"d{i}") for i in range(8)] + [("q0", "d20"), ("q7", "long")]
    test = [(f"q{i}", f"d{i}") for i in range(8, 12)] + [("q11", "d21")]
    for split, rows in (("train", train), ("test", test)):
        lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in rows)]
        (out / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return out


@pytest.fixture(scope="module")
def data(folder):
    return foils.load(folder)


def row(i, negatives, **more):
    return {"query": f"which passage is {i}?", "pos": [text(i)], "neg": negatives, **more}


CLEAN = [row(i, [text(30 + i), text(40 + i)]) for i in range(8)]


@pytest.fixture
def look(data, tmp_path):
    def make(rows, *, known=True, name="rows.jsonl", **options):
        write_jsonl(tmp_path / name, rows)
        return check(tmp_path / name, data if known else None, **options)

    return make


def found(report):
    return {f.code: f.count for f in report.findings if f.count}


def test_a_clean_file_passes(look):
    report = look(CLEAN)
    assert found(report) == {}
    assert report.passed
    assert report.sizes == {"rows": 8, "queries": 8, "positives": 8, "negatives": 16, "documents": 24}
    assert set(report.skipped) == {"bad-score", "overused-document"}
    alone = look(CLEAN, known=False)
    assert alone.passed
    assert {"unknown-query", "unknown-document", "leaked-query"} <= set(alone.skipped)


FAULTS = [
    ("positive-among-negatives", row(1, [text(1)]), {}),
    ("positive-among-negatives", row(1, ["PASSAGE  1 about two\nand one"]), {}),
    ("sibling-positive", row(0, [text(20)]), {}),
    ("near-duplicate-of-positive", {"query": "which passage is 7?", "pos": [LONG], "neg": [LONG + " thirteen"]}, {}),
    ("query-as-negative", row(1, ["Which  passage is 1?"]), {}),
    ("duplicate-negative", row(1, [text(50), text(50).upper()]), {}),
    ("empty-text", row(1, [" \n"]), {}),
    ("bad-score", row(1, [text(50)], pos_scores=[1], neg_scores=[float("-inf")]), {}),
    ("bad-score", row(1, [text(50)], pos_scores=[1], neg_scores=[None]), {}),
    ("no-positive", row(8, [text(50), text(51)], pos=[]), {}),
    ("unknown-query", row(99, [text(50), text(51)], pos=[text(1)]), {}),
    ("unknown-document", row(1, ["nobody knows this", text(50)]), {}),
    ("leaked-query", row(9, [text(50), text(51)]), {}),
    ("short-row", row(1, [text(50)]), {"limits": Limits(expect=2)}),
]


@pytest.mark.parametrize(("code", "bad", "options"), FAULTS, ids=[f"{i}-{f[0]}" for i, f in enumerate(FAULTS)])
def test_each_fault_is_found_where_it_is(look, tmp_path, code, bad, options):
    if code == "bad-score":
        bad = [{**r, "pos_scores": [1], "neg_scores": [0.5] * 2} for r in CLEAN[2:4]] + [bad]
    else:
        bad = [*CLEAN[2:4], bad]
    report = look(bad, **options)
    assert not report.passed
    assert report[code].count == 1
    assert report[code].kind == "fault"
    where = {example.where for example in report[code].examples}
    assert where == {f"{tmp_path / 'rows.jsonl'}:3"}
    assert look(
        bad,
        allow=[f"{code}=1", "empty-text", "unknown-document", "no-positive", "unknown-query", "leaked-query"],
        **options,
    ).passed
    if code in ("positive-among-negatives", "near-duplicate-of-positive", "query-as-negative", "duplicate-negative"):
        assert look(bad, known=False)[code].count == 1


def test_another_row_of_the_query_knows_more_positives(look):
    rows = [row(1, [text(50)]), {"query": "WHICH passage is 1?", "pos": [text(2)], "neg": [text(1), text(50)]}]
    assert found(look(rows, known=False)) == {"sibling-positive": 1, "short-row": 1}
    assert look(rows, known=False)["sibling-positive"].examples[0].where.endswith(":2")


def test_copies_in_the_corpus_are_positives(look):
    rows = [{"query_id": "q0", "pos_ids": ["d0"], "neg_ids": ["copy", "d30"]}]
    assert look(rows)["positive-among-negatives"].count == 1


def test_half_a_text_is_no_near_duplicate(look):
    rows = [{"query_id": "q7", "pos_ids": ["long"], "neg_ids": ["half", "nearly"]}]
    finding = look(rows)["near-duplicate-of-positive"]
    assert (finding.count, finding.examples[0].document.split()[0]) == (1, "nearly")
    assert finding.examples[0].note.startswith("nearly repeats long")
    assert look(rows, limits=Limits(near=0.2))["near-duplicate-of-positive"].count == 2


def test_held_out_positives_are_notes_until_they_are_bounded(look):
    rows = [
        row(1, [text(21), text(50)]),
        {"query": "which passage is 2?", "pos": [text(9)], "neg": [text(51), text(52)]},
    ]
    report = look(rows)
    assert found(report) == {"leaked-positive": 1, "held-out-positive": 1}
    assert report.passed
    assert not look(rows, allow=["held-out-positive=0"]).passed
    assert look(rows, allow={"held-out-positive": 1}).passed


def test_triplets_are_lists_that_are_spread(look):
    triplets = [
        {"query": f"which passage is {i}?", "positive": text(i), "negative": text(n)}
        for i in (1, 2)
        for n in (50, 51, 52)
    ]
    assert found(look(triplets)) == {}
    assert found(look(triplets[:-1])) == {"short-row": 1}
    assert found(look([*triplets, triplets[0]])) == {"duplicate-negative": 1, "short-row": 1}
    pairs = [{"query": "which passage is 1?", "document": text(d), "label": int(d == 1)} for d in (1, 50, 1)]
    pairs.append({"query": "which passage is 1?", "document": text(1), "label": 0})
    assert found(look(pairs))["positive-among-negatives"] == 1


def test_lists_of_scores_call_what_is_judged_positive(look):
    rows = [{"query_id": "q0", "document_ids": ["d30", "d0", "d31"], "scores": [0.9, 0.8, 0.7]}]
    report = look(rows)
    assert found(report) == {}
    assert report.sizes["positives"] == 2  # the first, as sentence-transformers writes it, and the judged one


def test_a_run_has_no_labels(data, tmp_path):
    (tmp_path / "a.trec").write_text("q0 Q0 d0 1 0.5 x\nq0 Q0 d30 2 0.25 x\nq1 Q0 d31 1 0.5 x\nq1 Q0 d31 2 0.4 x\n")
    assert found(check(tmp_path / "a.trec", data)) == {"duplicate-negative": 1, "short-row": 1}
    alone = check(tmp_path / "a.trec")
    assert "no-positive" in alone.skipped
    assert {"positive-among-negatives", "sibling-positive", "near-duplicate-of-positive"} <= set(alone.skipped)


def test_near_duplicates_equal_a_slow_loop_in_any_blocks(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)

    def variant(i):
        return " ".join(
            w if rng.random() < 0.97 else "other" for w in f"{LONG} number {i}".split()[: 60 + 10 * (i % 3)]
        )

    rows = [{"query": f"q {i % 9}", "pos": [variant(i)], "neg": [variant(i + j) for j in range(4)]} for i in range(20)]
    write_jsonl(tmp_path / "r.jsonl", rows)

    def shingles(text):
        words = text.split()
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    known = {}
    for r in rows:
        known.setdefault(r["query"], set()).update(r["pos"])
    slow = 0
    for r in rows:
        for text in r["neg"]:
            a, others = shingles(text), [shingles(p) for p in known[r["query"]] if p != text]
            slow += text not in known[r["query"]] and any(len(a & b) >= 0.8 * len(a | b) for b in others)
    assert 5 < slow < 75
    for size in (1 << 20, 7, 1):
        monkeypatch.setattr(positives, "_PAIRS", size)
        assert check(tmp_path / "r.jsonl")["near-duplicate-of-positive"].count == slow


def test_overused_documents_equal_a_slow_count(tmp_path):
    rng = np.random.default_rng(3)
    rows = []
    for i in range(300):
        chosen = rng.choice(2000, 4, replace=False).tolist() + ([7777] if i % 9 == 0 else [])
        rows.append({"query": f"q {i}", "pos": [f"p {i}"], "neg": [f"n {n}" for n in chosen]})
    write_jsonl(tmp_path / "r.jsonl", rows)
    finding = check(tmp_path / "r.jsonl", limits=Limits(max_share=0.1))["overused-document"]
    assert (finding.count, finding.total) == (1, len({n for r in rows for n in r["neg"]}))
    assert finding.examples[0].note == "a negative of 34 of 300 queries"
    assert check(tmp_path / "r.jsonl", limits=Limits(max_share=0.2))["overused-document"].count == 0
    few = [{**r, "neg": [*r["neg"][:1], "hub"]} for r in rows]
    write_jsonl(tmp_path / "few.jsonl", few)
    assert check(tmp_path / "few.jsonl")["overused-document"].count == 1


def test_findings_equal_a_slow_loop(tmp_path):
    rng = np.random.default_rng(0)
    pool = [f"text {i}" for i in range(12)] + ["TEXT  1", "text\n2", "ask 3", " "]
    rows = [
        {
            "query": f"{'Ask' if rng.random() < 0.3 else 'ask'} {rng.integers(6)}",
            "pos": rng.choice(pool[:14], rng.integers(1, 3), replace=False).tolist(),
            "neg": rng.choice(pool, rng.integers(0, 6)).tolist(),
        }
        for _ in range(80)
    ]
    write_jsonl(tmp_path / "r.jsonl", rows)
    report = check(tmp_path / "r.jsonl")
    known = {}
    for r in rows:
        known.setdefault(normalised(r["query"]), set()).update(map(normalised, r["pos"]))
    slow = dict.fromkeys(("positive-among-negatives", "sibling-positive", "duplicate-negative", "query-as-negative"), 0)
    slow["empty-text"] = sum(not t.strip() for r in rows for t in [*r["pos"], *r["neg"]])
    for r in rows:
        own, seen, asked = set(map(normalised, r["pos"])), set(), normalised(r["query"])
        for t in map(normalised, r["neg"]):
            slow["positive-among-negatives"] += t in own
            slow["sibling-positive"] += t in known[asked] - own
            slow["duplicate-negative"] += t in seen
            slow["query-as-negative"] += t == asked
            seen.add(t)
    assert {code: report[code].count for code in slow} == slow
    sizes = [len(r["neg"]) for r in rows]
    assert report["short-row"].count == sum(s < max(range(1, 6), key=lambda n: (sizes.count(n), n)) for s in sizes)


def test_a_store_and_all_its_exports_agree(data, tmp_path):
    mined = foils.mine(data, "Random(k=4)", out=tmp_path / "neg")
    store = check(tmp_path / "neg", data)
    assert (store.format, store.passed, store.sizes["negatives"]) == ("foils", True, 32)
    assert check(tmp_path / "neg").to_dict() == {**store.to_dict()}
    for format in ("n-tuple", "labeled-pair", "labeled-list", "triplet", "flag-embedding", "tevatron"):
        export(mined, data, format, tmp_path / f"{format}.jsonl")
        assert set(found(check(tmp_path / f"{format}.jsonl", data))) == set(found(store)), format
    for format in ("ids", "tevatron-ids", "nemo"):
        export(mined, data, format, tmp_path / format)
        report = check(tmp_path / format, data)
        assert set(found(report)) == set(found(store))
        assert report.sizes["documents"] == store.sizes["documents"]


def test_the_report_is_plain_and_stable(look):
    report = look([row(1, [text(1)])])
    plain = json.loads(json.dumps(report.to_dict()))
    assert set(plain) == {"file", "format", "passed", "rows", "queries", "positives", "negatives", "documents"} | {
        "findings", "skipped",
    }  # fmt: skip
    first = plain["findings"][0]
    assert set(first) == {"code", "kind", "what", "count", "of", "total", "share", "allowed", "passed", "examples"}
    assert set(first["examples"][0]) == {"where", "query", "document", "note"}
    assert {f["code"] for f in plain["findings"]} | set(plain["skipped"]) == set(CODES)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"allow": ["duplicate-negatives"]}, SpecError, "Did you mean 'duplicate-negative'"),
        ({"allow": ["duplicate-negative=x"]}, SpecError, "write CODE or CODE=N"),
        ({"format": "tevatron"}, DataError, "not in the layout 'tevatron'"),
        ({"split": "dev"}, DataError, "no split 'dev'"),
    ],
)
def test_bad_usage(look, options, error, message):
    with pytest.raises(error, match=message):
        look(CLEAN, **options)


@pytest.mark.parametrize("limits", [{"expect": 0}, {"max_share": 0}, {"near": 1.5}, {"examples": -1}])
def test_limits_have_bounds(limits):
    with pytest.raises(SpecError, match=next(iter(limits))):
        Limits(**limits)


@pytest.mark.parametrize("known", [True, False])
def test_rows_that_list_nothing(look, known):
    report = look([{"query": "which passage is 1?", "pos": [], "neg": []}, {"query": "", "pos": None}], known=known)
    assert report.sizes["negatives"] == 0
    assert report["no-positive"].count == (1 if known else 2)


def test_ids_without_texts_say_what_cannot_be_checked(look):
    rows = [{"query_id": "q1", "positive_document_ids": ["d1"], "negative_document_ids": ["d1", "d30", "d30"]}]
    alone = look(rows, known=False)
    assert found(alone) == {"positive-among-negatives": 1, "duplicate-negative": 1}
    assert "near-duplicate-of-positive" in alone.skipped
    assert found(look(rows)) == found(alone)
