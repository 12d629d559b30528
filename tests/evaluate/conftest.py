"""A small collection: graded judgements, several positives, queries that are documents, one without positives."""

import json

import numpy as np
import pytest

from foils.core.formats import load

DOCS, QUERIES = 40, 14
# The last query is judged, but nothing is relevant to it. Queries q0 and q1 carry the ids of documents.
NAMES = ["d3", "d8", *(f"q{i}" for i in range(2, QUERIES))]


def grades():
    """(query, document) -> grade."""
    generator = np.random.default_rng(11)
    judged = {}
    for query in range(QUERIES):
        for doc in generator.choice(DOCS, size=int(generator.integers(2, 9)), replace=False):
            judged[query, int(doc)] = int(generator.integers(0, 4))
        judged[query, query * 2] = 2
    return {key: 0 if key[0] == QUERIES - 1 else grade for key, grade in judged.items()}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beir") / "small"
    (folder / "qrels").mkdir(parents=True)
    topics = ["wing", "heat", "shock", "flow", "jet"]
    corpus = [{"_id": f"d{i}", "title": "", "text": f"{topics[i % 5]} {topics[i % 3]} number {i}"} for i in range(DOCS)]
    queries = [{"_id": name, "text": f"{topics[i % 5]} about {i}"} for i, name in enumerate(NAMES)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    lines = [f"{NAMES[q]}\td{d}\t{grade}" for (q, d), grade in grades().items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return load(folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def nested_qrels(data):
    """The judgements as pytrec_eval takes them, without the query that has no positive."""
    result = {}
    for (query, doc), grade in grades().items():
        if query != QUERIES - 1:
            result.setdefault(NAMES[query], {})[f"d{doc}"] = grade
    return result
