"""Oracles: slow loops over dicts, sentence-transformers' own readers, and reading back what was written."""

import hashlib
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core.errors import DataError, PipelineError, SpecError, StoreError
from foils.core.formats import load
from foils.core.pairs import Pairs
from foils.export import Shape, export, layouts
from foils.export.units import ragged, units_of
from foils.mine import mine

# query -> positives, negatives with their scores; 3 has a single negative, 4 none, 5 no positive
JUDGED = {
    0: ([0], [(5, 0.5), (6, 0.9), (7, 0.7)]),
    1: ([1, 2], [(8, 0.1), (0, 0.4), (5, 0.3)]),
    2: ([3], [(9, 0.25), (1, 0.25), (6, 0.75)]),
    3: ([4], [(2, 0.6)]),
    4: ([5], []),
    5: ([], [(6, 0.2)]),
}
POSITIVE_SCORE = 0.95
FORMATS = (
    "triplet",
    "n-tuple",
    "labeled-pair",
    "labeled-list",
    "ids",
    "jsonl",
    "pylate",
    "flag-embedding",
    "tevatron",
    "tevatron-ids",
    "nemo",
)
TABLES = ("ids", "pylate", "tevatron-ids", "nemo")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    corpus = [{"id": f"d{i}", "title": f"Title {i}" if i % 2 else "", "text": f"text of {i}, ünï"} for i in range(10)]
    rows = [
        {"query_id": f"q{q}", "query": f"question {q}?", "positive_id": [f"d{d}" for d in positives or [0]]}
        for q, (positives, _) in JUDGED.items()
    ]
    return load(rows, corpus=corpus, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def pairs():
    rows = [(q, d, 1, POSITIVE_SCORE) for q, (positives, _) in JUDGED.items() for d in positives]
    rows += [(q, d, 0, score) for q, (_, negatives) in JUDGED.items() for d, score in negatives]
    rows += [(0, 9, -1, 0.99)]  # set aside: never exported
    query, doc, label, score = zip(*rows, strict=True)
    return Pairs.build(query, doc, label, scores={"dense": score})


def doc_text(d):
    return (f"Title {d} " if d % 2 else "") + f"text of {d}, ünï"


def query_text(q):
    return f"question {q}?"


def hardest(q):
    return [d for d, _ in sorted(JUDGED[q][1], key=lambda pair: (-pair[1], pair[0]))]


def score_of(q, d):
    return {**dict.fromkeys(JUDGED[q][0], POSITIVE_SCORE), **dict(JUDGED[q][1])}[d]


def near(values):
    return pytest.approx(values, abs=1e-6)


def test_rows_and_texts_are_what_the_tests_think(data):
    assert data.corpus.texts() == [doc_text(d) for d in range(10)]
    assert data.queries.texts() == [query_text(q) for q in JUDGED]


def test_triplets_equal_a_slow_loop(data, pairs):
    expected = [
        {
            "query": query_text(q),
            "positive": doc_text(p),
            "negative": doc_text(n),
            "scores": near([POSITIVE_SCORE, score_of(q, n)]),
        }
        for q, (positives, _) in JUDGED.items()
        for p in positives
        for n in hardest(q)
    ]
    exported = export(pairs, data, "triplet", scores="dense")
    assert exported.tables["train"].to_pylist() == expected
    assert (exported.rows, exported.queries) == (len(expected), 4)
    assert exported.dropped == {"queries without a positive": 1, "queries without negatives": 1}


def test_triplets_without_scores_have_three_columns(data, pairs):
    assert export(pairs, data).tables["train"].column_names == ["query", "positive", "negative"]


def test_tuples_drop_and_report_what_is_short(data, pairs, caplog):
    with caplog.at_level(logging.WARNING):
        exported = export(pairs, data, "n-tuple", scores="score")
    expected = [
        {
            "query": query_text(q),
            "positive": doc_text(p),
            **{f"negative_{i}": doc_text(n) for i, n in enumerate(hardest(q), start=1)},
            "scores": near([POSITIVE_SCORE, *(score_of(q, n) for n in hardest(q))]),
        }
        for q in (0, 1, 2)
        for p in JUDGED[q][0]
    ]
    assert exported.tables["train"].to_pylist() == expected
    assert exported.dropped["rows of 5 with fewer than 3 negatives"] == 1
    assert "fewer than 3 negatives" in caplog.text


def test_a_narrower_tuple_keeps_more_rows(data, pairs):
    exported = export(pairs, data, "n-tuple", shape=Shape(k=1))
    assert exported.tables["train"].column_names == ["query", "positive", "negative_1"]
    assert exported.tables["train"].column("negative_1").to_pylist() == [
        doc_text(hardest(q)[0]) for q in (0, 1, 1, 2, 3)
    ]
    assert not any("fewer" in reason for reason in exported.dropped)


def test_report_names_the_width_that_keeps_most(data):
    many = Pairs.build(
        [0] * 5 + [1] * 2 + [2] * 2 + [3] * 2, [0, 5, 6, 7, 8, 1, 8, 3, 9, 4, 9], [1, 0, 0, 0, 0] + [1, 0] * 3
    )
    with pytest.raises(DataError, match="lower k"):
        export(many, data, "n-tuple", shape=Shape(k=5))
    dropped = export(many, data, "n-tuple", shape=Shape(k=3)).dropped
    assert dropped == {"rows of 4 with fewer than 3 negatives (k=1 would keep 4 rows)": 3}


def test_short_tuples_can_be_filled_with_nulls(data, pairs):
    last = export(pairs, data, "n-tuple", scores="dense", shape=Shape(short="null")).tables["train"].to_pylist()[-1]
    assert last["negative_1"] == doc_text(2)
    assert (last["negative_2"], last["negative_3"]) == (None, None)
    assert last["scores"] == [near(POSITIVE_SCORE), near(0.6), None, None]


@pytest.mark.parametrize("scores", [None, "dense"])
def test_labelled_pairs_hold_each_pair_once(data, pairs, scores):
    got = export(pairs, data, "labeled-pair", scores=scores).tables["train"].to_pylist()
    expected = [
        {
            "query": query_text(q),
            "document": doc_text(d),
            **({"score": near(score_of(q, d))} if scores else {"label": int(d in positives)}),
        }
        for q, (positives, _) in JUDGED.items()
        if positives
        for d in [*positives, *hardest(q)]
    ]
    assert got == expected


@pytest.mark.parametrize("per", ["positive", "query"])
@pytest.mark.parametrize("scores", [None, "dense"])
def test_labelled_lists_equal_a_slow_loop(data, pairs, per, scores):
    got = export(pairs, data, "labeled-list", scores=scores, shape=Shape(per=per)).tables["train"].to_pylist()
    expected = []
    for q, (positives, negatives) in JUDGED.items():
        for chosen in [[p] for p in positives] if per == "positive" else [positives]:
            if chosen and negatives:
                docs = [*chosen, *hardest(q)]
                marks = near([score_of(q, d) for d in docs]) if scores else [int(d in positives) for d in docs]
                expected.append(
                    {
                        "query": query_text(q),
                        "documents": [doc_text(d) for d in docs],
                        "scores" if scores else "labels": marks,
                    }
                )
    assert got == expected


def test_jsonl_is_flag_embedding_layout(data, pairs, tmp_path):
    out = tmp_path / "train.jsonl"
    exported = export(pairs, data, "jsonl", out, scores="dense")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {
            "query": query_text(q),
            "pos": [doc_text(d) for d in JUDGED[q][0]],
            "neg": [doc_text(d) for d in hardest(q)],
            "pos_scores": [POSITIVE_SCORE] * len(JUDGED[q][0]),
            "neg_scores": [score_of(q, d) for d in hardest(q)],  # exactly: written as the shortest decimal
        }
        for q in (0, 1, 2, 3)
    ]
    assert exported.rows == 4


def test_jsonl_can_be_loaded_again(data, pairs, tmp_path):
    out = tmp_path / "train.jsonl"
    export(pairs, data, "jsonl", out)
    again = load(out, cache=tmp_path / "cache")
    found = {
        (again.queries.texts([q])[0], again.corpus.texts([d])[0], label)
        for part, label in ((again.positives("train"), 1), (again.given("train"), 0))
        for q, d in zip(part.query, part.doc, strict=True)
    }
    assert found == {
        (query_text(q), doc_text(d), label)
        for q in (0, 1, 2, 3)
        for label, docs in ((1, JUDGED[q][0]), (0, hardest(q)))
        for d in docs
    }


def test_ids_go_there_and_back(data, pairs, tmp_path):
    exported = export(pairs, data, "ids", tmp_path / "ids", scores="dense", shape=Shape(per="query"))
    train = pq.read_table(tmp_path / "ids" / "train.parquet").to_pylist()
    back = {
        (int(data.queries.rows_of([row["query_id"]])[0]), int(data.corpus.rows_of([name])[0]), round(score, 6))
        for row in train
        for name, score in zip(row["document_ids"], row["scores"], strict=True)
    }
    assert back == {
        (q, d, round(score_of(q, d), 6)) for q in (0, 1, 2, 3) for d in [*JUDGED[q][0], *(n for n, _ in JUDGED[q][1])]
    }
    used = sorted({d for _, d, _ in back})
    assert pq.read_table(tmp_path / "ids" / "documents.parquet").to_pylist() == [
        {"document_id": f"d{d}", "text": doc_text(d)} for d in used
    ]
    assert exported.dataset("queries")[0] == {"query_id": "q0", "text": query_text(0)}


def test_ids_resolve_with_sentence_transformers(data, pairs):
    from sentence_transformers.util import resolve_ids

    exported = export(pairs, data, "ids", scores="dense")
    lookups = {"query_id": exported.dataset("queries"), "document_ids": exported.dataset("documents")}
    train = exported.dataset("train")
    train.set_transform(resolve_ids(lookups, output_format="lists"))
    lists = export(pairs, data, "labeled-list", scores="dense").tables["train"].to_pylist()
    assert [train[i] for i in range(len(train))] == lists


def test_ids_have_the_columns_that_pylate_reads(data, pairs):
    tables = export(pairs, data, "ids", scores="dense").tables
    assert {name: table.column_names for name, table in tables.items()} == {
        "train": ["query_id", "document_ids", "scores"],
        "queries": ["query_id", "text"],
        "documents": ["document_id", "text"],
    }


def test_ids_load_as_hub_configurations(data, pairs, tmp_path):
    import datasets

    export(pairs, data, "ids", tmp_path / "ids")
    loaded = datasets.load_dataset(str(tmp_path / "ids"), "documents", split="train", cache_dir=str(tmp_path / "hf"))
    assert loaded.column_names == ["document_id", "text"]


@pytest.mark.parametrize(
    ("format", "suffix"), [(f, s) for f in FORMATS for s in (".parquet", ".jsonl", "") if f not in TABLES or not s]
)
def test_every_container_holds_the_same_rows(data, pairs, tmp_path, format, suffix, monkeypatch):
    expected = export(pairs, data, format, scores="dense").dataset()
    monkeypatch.setattr(layouts, "PART", 40)  # many parts
    out = tmp_path / f"rows{suffix}"
    got = export(pairs, data, format, out, scores="dense")
    read = {
        ".parquet": lambda: pq.read_table(out).to_pylist(),
        ".jsonl": lambda: [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()],
        "": lambda: list(got.dataset()),
    }[suffix]()
    assert len(read) == got.rows == len(expected)
    for row, wanted in zip(read, expected, strict=True):
        assert list(row) == list(wanted)
        assert rounded(row) == rounded(wanted)


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(held) for name, held in value.items()}
    if isinstance(value, list):
        return [rounded(held) for held in value]
    return round(value, 5) if isinstance(value, float) else value


@pytest.mark.parametrize("out", ["a.parquet", "a.jsonl", "folder"])
def test_same_input_same_bytes(data, pairs, tmp_path, out):
    def digest(where):
        export(pairs, data, "labeled-list", tmp_path / where / out, scores="dense")
        files = sorted(path for path in (tmp_path / where).rglob("*") if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    shuffled = pairs.take(np.lexsort((-pairs.doc, pairs.query)))
    first = digest("first")
    assert first == digest("second")
    export(shuffled, data, "labeled-list", tmp_path / "third" / out, scores="dense")
    third = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "third").rglob("*.*")}
    assert third.items() <= first.items()


def test_a_file_is_replaced_only_when_the_new_one_is_complete(data, pairs, tmp_path, monkeypatch):
    out = tmp_path / "rows.jsonl"
    out.write_text("before")
    real = type(data.corpus).texts
    monkeypatch.setattr(layouts, "PART", 40)
    calls = []

    def failing(self, rows=None):
        calls.append(1)
        if len(calls) > 6:
            raise OSError("disk full")
        return real(self, rows)

    monkeypatch.setattr(type(data.corpus), "texts", failing)
    with pytest.raises(OSError, match="disk full"):
        export(pairs, data, "triplet", out)
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_with_something_in_it_is_refused(data, pairs, tmp_path):
    (tmp_path / "mine.txt").write_text("do not touch")
    with pytest.raises(StoreError, match="exists already"):
        export(pairs, data, "triplet", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "do not touch"


def test_dropped_candidates_are_not_exported(data, pairs):
    marked = Pairs(
        pairs.query, pairs.doc, pairs.label, pairs.scores, pairs.ranks, (pairs.doc == 6).astype(np.int16), "dense"
    )
    assert doc_text(6) not in export(marked, data, "triplet").tables["train"].column("negative").to_pylist()


def test_a_store_is_asked_for_its_kept_pairs(data, pairs):
    class Store:
        def kept(self, of):
            assert of is data
            return pairs.kept()

    assert export(Store(), data).tables["train"].equals(export(pairs, data).tables["train"])


def test_what_was_mined_can_be_exported(data, tmp_path):
    mined = mine(data, "Random(k=3)", out=tmp_path / "negatives")
    kept = mined.kept(data)
    rows = export(mined, data, "labeled-pair").tables["train"].to_pylist()
    assert sorted((row["query"], row["document"], row["label"]) for row in rows) == sorted(
        (query_text(q), doc_text(d), label) for q, d, label in zip(kept.query, kept.doc, kept.label, strict=True)
    )
    assert sum(row["label"] == 0 for row in rows) == 3 * len(JUDGED)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"format": "n-tuples"}, SpecError, "Did you mean 'n-tuple'"),
        ({"out": "rows.csv"}, SpecError, ".csv"),
        ({"format": "ids", "out": "rows.parquet"}, SpecError, "three tables"),
        ({"scores": "bm25"}, PipelineError, "bm25"),
        ({"shape": Shape(k=0)}, SpecError, "k=0"),
        ({"shape": Shape(short="pad")}, SpecError, "short='pad'"),
        ({"shape": Shape(per="document")}, SpecError, "per='document'"),
        ({"shape": Shape(per="query")}, SpecError, "does not fit 'triplet'"),
    ],
)
def test_wrong_arguments_get_typed_errors(data, pairs, arguments, error, message, tmp_path):
    if "out" in arguments:
        arguments = {**arguments, "out": tmp_path / arguments["out"]}
    with pytest.raises(error, match=message):
        export(pairs, data, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_missing_score_is_an_error_only_where_it_is_written(data, pairs):
    holes = pairs.with_scores("teacher", np.where(pairs.doc == 6, np.nan, 0.5))
    with pytest.raises(DataError, match=r"2 of 15 .* no score 'teacher'"):
        export(holes, data, "triplet", scores="teacher")
    assert export(holes, data, "triplet").rows == export(pairs, data, "triplet").rows
    assert export(holes, data, "triplet", scores="teacher", shape=Shape(k=1)).rows == 5  # row 6 ranks last


def test_nothing_to_export_is_an_error(data):
    with pytest.raises(DataError, match="queries without negatives: 1"):
        export(Pairs.build([0], [0], [1]), data)
    with pytest.raises(DataError, match="no pairs"):
        export(Pairs.empty(), data)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 1)), max_size=40, unique_by=lambda r: r[:2]
    ),
    st.sampled_from(["positive", "query"]),
    st.sampled_from([None, 1, 2]),
)
def test_units_equal_a_slow_loop(rows, per, k):
    query, doc, label = zip(*rows, strict=True) if rows else ((), (), ())
    score = [(7 * d % 5) / 4 for d in doc]
    units = units_of(Pairs.build(query, doc, label, scores={"s": score}), "s", per, k)
    place, offsets, labels = units.members()
    got = [
        (int(q), units.doc[place[a:b]].tolist(), labels[a:b].tolist())
        for q, a, b in zip(units.query, offsets[:-1], offsets[1:], strict=True)
    ]
    expected = []
    for q in sorted(set(query)):
        positives = sorted(d for r, d, one in rows if r == q and one)
        negatives = sorted((d for r, d, one in rows if r == q and not one), key=lambda d: (-((7 * d % 5) / 4), d))[:k]
        for chosen in [[p] for p in positives] if per == "positive" else [positives] if positives else []:
            expected += [(q, [*chosen, *negatives], [1] * len(chosen) + [0] * len(negatives))]
    assert got == expected
    wanted = {(q, d) for q, docs, _ in expected for d in docs}
    owner = np.sort(np.array(query, int))
    assert {(int(q), int(d)) for q, d in zip(owner[units.used()], units.doc[units.used()], strict=True)} == wanted


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 40))
def test_parts_cover_all_units_within_the_budget(costs, budget):
    n = len(costs)
    spans = np.zeros((n, 2), np.int64)
    units = units_of(Pairs.build(range(n), range(n), [1] * n), None, "positive", None)
    assert units.positive.shape == spans.shape
    parts = list(units.parts(np.array(costs, np.int64), budget))
    assert [q for part in parts for q in part.query] == list(range(n))
    assert all(len(part) == 1 or sum(costs[q] for q in part.query) <= budget for part in parts)


def test_ragged_ranges():
    numbers, offsets = ragged(np.array([3, 9, 0]), np.array([5, 9, 3]))
    assert (numbers.tolist(), offsets.tolist()) == ([3, 4, 0, 1, 2], [0, 2, 2, 5])


def test_text_is_joined_in_bounded_parts(data, pairs, monkeypatch):
    seen = []
    real = type(data.corpus).texts

    def counting(self, rows=None):
        seen.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(layouts, "PART", 200)
    monkeypatch.setattr(type(data.corpus), "texts", counting)
    table = export(pairs, data, "triplet").tables["train"]
    assert max(seen) * len(doc_text(0)) <= 200 < 2 * table.num_rows * len(doc_text(0))
    assert table.column("query").type == pa.string()


@pytest.fixture(scope="module")
def static():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "question", "text", "of", "Title", "?", ",", *map(str, range(10))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")


class TestSentenceTransformers:
    """What was exported goes through the collators and losses of sentence-transformers as it is."""

    @pytest.mark.parametrize(("format", "columns"), [("triplet", 3), ("n-tuple", 5)])
    def test_bi_encoder_loss(self, data, pairs, static, format, columns):
        from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        rows = list(export(pairs, data, format).dataset())
        collator = SentenceTransformerDataCollator(preprocess_fn=static.preprocess)
        batch = collator(rows)
        assert "label" not in batch
        names = list(rows[0])
        features = [
            {key.removeprefix(f"{name}_"): batch[key] for key in batch if key.startswith(f"{name}_")} for name in names
        ]
        assert len(features) == columns
        loss = MultipleNegativesRankingLoss(static)(features, None)
        assert np.isfinite(loss.item())

    def test_margin_mse_takes_the_scores(self, data, pairs, static):
        from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

        batch = SentenceTransformerDataCollator(preprocess_fn=static.preprocess)(
            list(export(pairs, data, "n-tuple", scores="dense").dataset())
        )
        assert tuple(batch["label"].shape) == (4, 4)

    def test_cross_encoder_lists(self, data, pairs):
        from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator

        rows = list(export(pairs, data, "labeled-list").dataset())
        batch = CrossEncoderDataCollator(preprocess_fn=None)(rows)
        queries, documents = (batch[name] for name in batch if name != "label")  # what listwise losses unpack
        assert [len(docs) for docs in documents] == [len(labels) for labels in batch["label"]]
        assert all(labels.tolist() == [1] + [0] * (len(labels) - 1) for labels in batch["label"])
        assert queries[0] == query_text(0)

    def test_cross_encoder_pairs(self, data, pairs):
        from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator

        batch = CrossEncoderDataCollator(preprocess_fn=None)(list(export(pairs, data, "labeled-pair").dataset()))
        assert batch["label"].shape == (len(batch["query"]),)

    def test_same_columns_as_mine_hard_negatives(self, data, pairs, static):
        from datasets import Dataset
        from sentence_transformers.util import mine_hard_negatives

        given = Dataset.from_dict(
            {"query": [query_text(q) for q in range(4)], "positive": [doc_text(q) for q in range(4)]}
        )
        corpus = [doc_text(d) for d in range(10)]
        for format in ("triplet", "n-tuple"):
            for scores in (None, "dense"):
                options = {"output_format": format, "output_scores": bool(scores), "verbose": False}
                theirs = mine_hard_negatives(given, static, corpus=corpus, num_negatives=3, **options)
                assert export(pairs, data, format, scores=scores).dataset().column_names == theirs.column_names
