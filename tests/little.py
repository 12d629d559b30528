"""A small collection with everything that goes wrong in large ones, and models that need no download."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np

TOPICS = ["tides", "volcano", "violin", "enzyme", "harbour", "glacier", "pigment", "lattice", "orchard", "comet"]
VERBS = ["moves", "binds", "erodes", "reflects", "supports", "absorbs", "splits", "drives"]
THINGS = ["light", "salt", "wood", "iron", "heat", "sand", "sound", "ice", "rubber", "glass", "copper", "clay"]


class HashEncoder:
    """Mean of fixed random word vectors, unit length: texts that share words are close."""

    def __init__(self, name: str = "hash", dim: int = 16, salt: int = 0) -> None:
        self.name, self.dim, self.salt = name, dim, salt
        self.calls = 0

    def fingerprint(self, kind: str) -> str:
        return f"{self.name}/{self.dim}/{self.salt}/{kind}"

    def _word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(f"{self.salt}{word}".encode(), digest_size=4).digest(), "little")
        return np.random.default_rng(seed).standard_normal(self.dim)

    def encode(self, texts, kind):
        self.calls += 1
        rows = [np.sum([self._word(w) for w in text.lower().split()] or [np.ones(self.dim)], axis=0) for text in texts]
        matrix = np.asarray(rows, np.float64).reshape(len(texts), self.dim)
        return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


class OverlapReranker:
    """Share of the query's words that the document has: a probability-like score."""

    name, scale, fingerprint = "overlap", "probability", "overlap/1"

    def score(self, queries, docs):
        pairs = zip(queries, docs, strict=True)
        return np.array(
            [len(set(q.split()) & set(d.split())) / max(1, len(set(q.split()))) for q, d in pairs], np.float32
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(n: int, dim: int = 24, clusters: int = 20, seed: int = 0) -> np.ndarray:
    """Unit vectors around fixed centres; another seed gives others around the same ones."""
    centres = np.random.default_rng(0).standard_normal((clusters, dim))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, clusters, n)] + 0.7 * rng.standard_normal((n, dim)))


def write_jsonl(path: Path, rows: list[dict]) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def make_beir(folder: Path, *, docs: int = 240, queries: int = 60, seed: int = 7) -> Path:
    """Documents on ten topics; one to three positives a query; copies of positives in other case and spacing."""
    rng = np.random.default_rng(seed)

    def sentence(topic: str, words: int) -> str:
        return " ".join([topic, *(str(rng.choice(VERBS if i % 2 else THINGS)) for i in range(words))])

    corpus = [
        {"_id": f"d{i}", "title": TOPICS[i % 10].title(), "text": f"{sentence(TOPICS[i % 10], 9)} number {i}"}
        for i in range(docs)
    ]
    # d3 again, in other case and spacing: a copy of a positive is no negative.
    shouted = "  ".join(corpus[3]["text"].upper().split())
    corpus.append({"_id": "copy-of-d3", "title": corpus[3]["title"].upper(), "text": shouted})
    asked, train, test = [], [], []
    for i in range(queries):
        positives = [(i * 3 + j * 10) % docs for j in range(1 + i % 3)]
        words = corpus[positives[0]]["text"].split()
        text = " ".join(str(w) for w in rng.permutation(words)[:5])
        asked.append(
            {"_id": f"q{i}", "text": text, "metadata": {"answers": [str(rng.choice(THINGS))] if i % 2 else []}}
        )
        (train if i % 4 else test).extend((f"q{i}", f"d{p}", 1 + i % 2) for p in positives)
    asked[1]["text"] = "what about " + corpus[3]["text"].split()[0] + " and " + corpus[3]["text"].split()[2]
    asked.append({"_id": "lonely", "text": "nobody knows the answer"})
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl.gz", corpus)
    write_jsonl(folder / "queries.jsonl", asked)
    for split, rows in (("train", train), ("test", test)):
        lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t{g}" for q, d, g in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def make_shard(data, folder: Path, *, everywhere: bool = True):
    """The collection with texts that any search would find first: each query's own words, written for it.

    Two negatives of each training query, of the kinds ``bait`` and ``lure``; a positive of every third, of the kind
    ``view``; and with ``everywhere`` a question of every fifth document.
    """
    from foils.writing import Options, write

    folder.mkdir(parents=True)
    rows = data.query_rows("train")
    named = list(zip(data.queries.id_list(rows), data.queries.texts(rows), strict=True))
    drafts = {
        "negative": [
            {"query_id": name, "text": f"{text} {word}", "kind": kind}
            for name, text in named
            for kind, word in (("bait", "indeed"), ("lure", "of course"))
        ],
        "positive": [{"query_id": name, "text": f"{text} rightly", "kind": "view"} for name, text in named[::3]],
        "query": [
            {"doc_id": name, "text": f"who wrote {name}?"}
            for name in data.corpus.id_list(range(0, len(data.corpus), 5))
        ],
    }
    options = Options(checks="none", leaks="keep")
    for role, listed in drafts.items():
        if role == "query" and not everywhere:
            continue
        write_jsonl(folder / f"{role}.jsonl", listed)
        author = f"FromFile({str(folder / f'{role}.jsonl')!r}, of={role!r})"
        data = write(data, author, out=folder / role, options=options).collection()
    return data
