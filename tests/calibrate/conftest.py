from __future__ import annotations

import numpy as np
import pytest

import foils
from little import write_jsonl

QUERIES, CANDIDATES = 400, 20


@pytest.fixture(scope="session")
def planted(tmp_path_factory, _own_cache):
    """Scores that tell relevant candidates from others: a collection, and negatives that keep all candidates.

    One positive a query is known in 'train_sparse', all of them in 'train'. Of 400 queries those of even numbers are
    harder: more candidates beat the positive, and more of them are relevant.
    """
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(5)
    docs = QUERIES * (CANDIDATES + 1)
    write_jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": f"text {i}"} for i in range(docs)])
    write_jsonl(folder / "queries.jsonl", [{"_id": f"q{i}", "text": f"query {i}"} for i in range(QUERIES)])
    (folder / "qrels").mkdir()
    known, all_, run = [], [], []
    for q in range(QUERIES):
        first, hard = q * (CANDIDATES + 1), q % 2 == 0
        known.append(f"q{q}\td{first}\t1")
        run.append(f"q{q} Q0 d{first} 1 {0.6 if hard else 0.8} r")
        for j in range(1, CANDIDATES + 1):
            score = rng.uniform(0.1, 0.9)
            run.append(f"q{q} Q0 d{first + j} {j} {score:.6f} r")
            if rng.random() < (0.9 if hard else 0.4) * max(0.0, score - 0.35):
                all_.append(f"q{q}\td{first + j}\t1")
    head = "query-id\tcorpus-id\tscore"
    (folder / "qrels" / "train_sparse.tsv").write_text("\n".join([head, *known]) + "\n")
    (folder / "qrels" / "train.tsv").write_text("\n".join([head, *known, *all_]) + "\n")
    (folder / "run.trec").write_text("\n".join(run) + "\n")
    data = foils.load(folder)
    return data, foils.mine(data, f"Load('{folder / 'run.trec'}')", split="train_sparse", out=folder / "neg")
