"""Exact inner-product search against FAISS and torch: speed, memory beside it, and whether the answers agree.

    python benchmarks/exact_search.py --docs 100000 --queries 10000 --k 100 200
    python benchmarks/exact_search.py --vectors documents.npy --query-vectors queries.npy

Every method runs in a process of its own, so that its peak memory is its own; the time is the median of the runs after
one that warms up. ``cpu s`` is how long the cores were busy, threads that wait for one another included. FAISS is run
as installed and with its BLAS told to use AVX-512. ``alike`` is the share of rows that equal ours; the rest are ties
within float32 rounding, which the others break as it comes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def clustered(count, dim, seed, clusters=1000, noise=0.8):
    """Unit vectors around common centres, as embeddings of a collection with topics are."""
    centres = np.random.default_rng(0).standard_normal((clusters, dim)).astype(np.float32)
    rng = np.random.default_rng(seed)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, 65536):
        part = vectors[start : start + 65536]
        part[:] = rng.standard_normal(part.shape, np.float32) * np.float32(noise)
        part += centres[rng.integers(0, clusters, len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def with_foils(docs, k):
    from foils.adapters.exact import ExactIndex

    index = ExactIndex(docs)
    return lambda queries: index.search(queries, k)[0]


def with_faiss(docs, k):
    import faiss

    index = faiss.IndexFlatIP(docs.shape[1])
    index.add(docs)
    return lambda queries: index.search(queries, k)[1]


def with_torch(docs, k):
    import torch

    right = torch.from_numpy(docs)

    def search(queries):
        parts = torch.from_numpy(queries).split(256)
        return torch.cat([torch.topk(part @ right.T, k).indices for part in parts]).numpy()

    return search


BEST = {"OPENBLAS_CORETYPE": "SkylakeX"}
METHODS = {
    "foils": (with_foils, {}),
    "FAISS, as installed": (with_faiss, {}),
    "FAISS, SkylakeX": (with_faiss, BEST),
    "torch topk": (with_torch, {}),
}


KERNELS = ("torch", "foils.adapters.scan_kernels", "foils.adapters.score_kernels")
LIBRARIES = {"foils": KERNELS, "FAISS": ("faiss",), "torch topk": ("torch",)}


def peak():
    """The largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(method, folder, k, repeats):
    """Runs in the process of the method: prints seconds and bytes, writes the rows."""
    for module in LIBRARIES[method.split(",")[0]]:
        importlib.import_module(module)  # what libraries take is not counted
    docs, queries = np.load(folder / "docs.npy"), np.load(folder / "queries.npy")
    before, start = peak(), time.perf_counter()
    search = METHODS[method][0](docs, k)
    build = time.perf_counter() - start
    times, busy = [], []
    for _ in range(repeats + 1):
        start, used = time.perf_counter(), time.process_time()
        rows = search(queries)
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - used)
    np.save(folder / "rows.npy", rows.astype(np.int32))
    result = {"build": build, "first": times[0], "times": times[1:], "busy": busy[1:], "memory": peak() - before}
    print(json.dumps(result))


def measured(method, folder, k, repeats):
    """What `one` found, from a new process."""
    command = [sys.executable, __file__, "--one", method, "--folder", str(folder), "--k", str(k)]
    environment = {**os.environ, **METHODS[method][1]}
    done = subprocess.run([*command, "--repeats", str(repeats)], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{method} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]), np.load(folder / "rows.npy")


def table(folder, k, repeats, methods):
    """Prints one table; queries/s and ratios to FAISS as installed."""
    docs, queries = (np.load(folder / f"{side}.npy", mmap_mode="r") for side in ("docs", "queries"))
    print(f"\n{len(docs):,} documents, {len(queries):,} queries, {docs.shape[1]} dimensions, k = {k}")
    names = ("queries/s", "ours is", "build s", "first s", "cpu s", "MB above", "alike")
    print("method".ljust(20) + "".join(name.rjust(10) for name in names))
    ours = reference = None
    for method in methods:
        found, rows = measured(method, folder, k, repeats)
        speed = len(queries) / statistics.median(found["times"])
        reference, ours = (rows, speed) if reference is None else (reference, ours)
        line = f"{method:20}{speed:>10,.0f}{ours / speed:>9.2f}x{found['build']:>10.2f}{found['first']:>10.2f}"
        line += f"{statistics.median(found['busy']):>10.2f}{found['memory'] / 1e6:>10,.0f}"
        print(f"{line}{(rows == reference).mean():>10.5f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--vectors", type=Path, help="a .npy of document vectors instead of synthetic ones")
    parser.add_argument("--query-vectors", type=Path, help="a .npy of query vectors; otherwise the first documents")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one, args.folder, args.k[0], args.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docs = np.load(args.vectors) if args.vectors else clustered(args.docs, args.dim, 1)
        queries = np.load(args.query_vectors) if args.query_vectors else None
        if queries is None:
            queries = docs[: args.queries] if args.vectors else clustered(args.queries, args.dim, 2)
        for side, vectors in (("docs", docs), ("queries", queries)):
            np.save(folder / f"{side}.npy", np.ascontiguousarray(vectors, np.float32))
        del docs
        for k in args.k:
            table(folder, k, args.repeats, args.methods)
    return None


if __name__ == "__main__":
    main()
