"""Approximate search against exact: build seconds, queries per second, recall at 100, bytes.

    python benchmarks/ann.py                       100,000 clustered unit vectors of 384 dimensions
    python benchmarks/ann.py DATA MODEL [SPLIT]    a collection's own vectors, such as medquad static

Efforts are those that foils chooses: raised until 200 queries find .95 of the exact 100 nearest. The recall shown is
that of all queries. Set OMP_NUM_THREADS to the cores to use.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foils import load
from foils.adapters.ann import INDEXES, SAMPLE, Wanted, build, recall, tuned
from foils.adapters.ann_text import parse
from foils.adapters.exact import ExactIndex
from foils.adapters.models import load_encoder
from foils.adapters.protocols import Index
from foils.adapters.vectors import vectors
from foils.core.cache import cache_root

K, DEPTH, QUERIES = 100, 101, 2000
TEXTS = ["exact", *INDEXES]


def synthetic(n: int = 100_000, dim: int = 384, clusters: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around random centres; noise as large as what separates neighbours in real collections."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((clusters, dim)).astype(np.float32)

    def drawn(count: int) -> np.ndarray:
        found = centres[rng.integers(0, clusters, count)] + rng.standard_normal((count, dim), np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return drawn(n), drawn(QUERIES)


def collection(folder: str, model: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    data, loaded, cache = load(folder), load_encoder(model), cache_root() / "vectors"
    rows = data.query_rows(split)[:QUERIES]
    return (
        vectors(loaded, data.corpus, "document", cache=cache),
        np.asarray(vectors(loaded, data.queries, "query", cache=cache, rows=rows)),
    )


def measured(text: str, docs: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> Iterator[Any]:
    """The columns of a row."""
    settings = parse(text).derive(len(docs), docs.shape[1], DEPTH)
    if text == "exact":
        start = time.perf_counter()
        index: Index = ExactIndex(docs)
        size = docs.nbytes
        built = time.perf_counter() - start
    else:
        start = time.perf_counter()
        made = build(settings, docs)
        built = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            made.save(Path(folder))
            size = sum(file.stat().st_size for file in Path(folder).iterdir())
        index = made
        tuned(made, queries[:SAMPLE], Wanted(parse(text), K, DEPTH, None, Path()))
    index.search(queries[:64], K)
    start = time.perf_counter()
    index.search(queries, K)
    rate = len(queries) / (time.perf_counter() - start)
    yield getattr(index, "settings", text)
    yield f"{built:.1f}"
    yield f"{rate:,.0f}"
    yield f"{recall(index, queries, truth):.3f}"
    yield f"{size / 1e6:,.1f}"


def main() -> None:
    docs, queries = collection(*sys.argv[1:3], *(sys.argv[3:] or ["train"])) if sys.argv[1:] else synthetic()
    print(f"{len(docs):,} documents x {docs.shape[1]}, {len(queries):,} queries, k {K}\n")
    print("| index | build s | queries/s | recall@100 | MB |\n|---|---|---|---|---|")
    truth = ExactIndex(docs).search(queries, K)[1]
    for text in TEXTS:
        print("|", " | ".join(map(str, measured(text, docs, queries, truth))), "|", flush=True)


if __name__ == "__main__":
    main()
