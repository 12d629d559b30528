"""The whole mining job after encoding, against sentence-transformers: search, mask, filter, choose, assemble.

    python benchmarks/whole_job.py OUT 20000x20000 20000x100000 100000x100000

Vectors are stored beforehand (clustered, unit length, 384 dimensions), so no arm encodes. Each arm runs in a process of
its own, after a small job that loads libraries and compiles. Seconds are wall time of the call; memory is the highest
resident size during the call above what was resident before it (vectors, data set and list of texts loaded). All arms:
relative margin 0.05, 5 negatives, depth 100.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

DIM, MARGIN, K, DEPTH, CHARACTERS = 384, 0.05, 5, 100, 120
ARMS = {
    "foils.compat": {},
    "foils.mine": {},
    "st, FAISS": {},
    "st, FAISS at its best": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "st, default": {},
}


def made(folder: Path, queries: int, docs: int) -> Path:
    """Vectors and texts; document i is the positive of query i."""
    folder = folder / f"{queries}x{docs}"
    if (folder / "done").exists():
        return folder
    (folder / "vectors").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(8, docs // 200), DIM), np.float32)
    corpus = np.empty((docs, DIM), np.float32)
    for at in range(0, docs, 20_000):
        size = min(20_000, docs - at)
        corpus[at : at + size] = centres[rng.integers(0, len(centres), size)]
        corpus[at : at + size] += rng.standard_normal((size, DIM), np.float32)
    asked = corpus[:queries] + 0.8 * rng.standard_normal((queries, DIM), np.float32)
    for name, vectors in (("corpus", corpus), ("queries", asked)):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(folder / "vectors" / f"{name}.npy", vectors)
    beir(folder / "data", queries, docs)
    (folder / "done").touch()
    return folder


def text(kind: str, row: int) -> str:
    return f"{kind} {row} ".ljust(CHARACTERS, "abcdefgh"[row % 8])


def beir(folder: Path, queries: int, docs: int) -> None:
    """The same as a collection, for the native arm."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, kind, count in (("corpus", "document", docs), ("queries", "query", queries)):
        with (folder / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({"_id": str(i), "text": text(kind, i)}) + "\n" for i in range(count))
    with (folder / "qrels" / "train.tsv").open("w") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{i}\t{i}\t1\n" for i in range(queries))


class Stored:
    """A model whose vectors are there already."""

    def __init__(self, folder: Path) -> None:
        import torch
        from sentence_transformers.util import cos_sim, pairwise_cos_sim

        self.similarity, self.similarity_pairwise, self.device = cos_sim, pairwise_cos_sim, torch.device("cpu")
        self.queries, self.corpus = (np.load(folder / "vectors" / f"{name}.npy") for name in ("queries", "corpus"))
        self.model_card_data = SimpleNamespace(base_model="stored")

    def get_embedding_dimension(self) -> int:
        return DIM

    def encode_query(self, texts, **_):
        assert len(texts) == len(self.queries)
        return self.queries

    def encode_document(self, texts, **_):
        assert len(texts) == len(self.corpus)
        return self.corpus


def drop_in(folder: Path, arm: str):
    """Ours or theirs through the same call; gives the job and its result's negatives."""
    from datasets import Dataset

    if arm == "foils.compat":
        from foils.compat import mine_hard_negatives
    else:
        from sentence_transformers.util import mine_hard_negatives
    model = Stored(folder)
    q, n = len(model.queries), len(model.corpus)
    columns = {"query": [text("query", i) for i in range(q)], "answer": [text("document", i) for i in range(q)]}
    dataset = Dataset.from_dict(columns)
    corpus = None if q == n else [text("document", i) for i in range(n)]
    asked = {"relative_margin": MARGIN, "num_negatives": K, "range_max": DEPTH, "use_faiss": "FAISS" in arm}

    def job():
        return mine_hard_negatives(dataset, model, corpus=corpus, **asked)

    def rows(found):
        return [np.array([int(t.split()[1]) for t in found[name]], np.int32) for name in ("query", "negative")]

    return job, rows


def native(folder: Path):
    import shutil

    import foils
    from foils.adapters.precomputed import Precomputed

    data = foils.load(folder / "data")
    out = folder / "negatives"
    shutil.rmtree(out, ignore_errors=True)
    pipeline = f"Dense('v', k={DEPTH + 1}) >> PositiveAware(margin={MARGIN}, ties='keep') >> Top(k={K})"

    def job():
        return foils.mine(data, pipeline, encoders={"v": Precomputed.open(folder / "vectors")}, out=out)

    def rows(found):
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        table = pq.read_table(sorted(out.rglob("*.parquet")), columns=["query", "doc", "label", "dropped"])
        table = table.filter(pc.and_(pc.equal(table["label"], 0), pc.is_null(table["dropped"])))
        return [
            np.array([int(t) for t in table[name].cast("string").to_pylist()], np.int32) for name in ("query", "doc")
        ]

    return job, rows


def measured(folder: Path, arm: str) -> dict:
    """Time and memory of one arm, in this process."""
    prepare = native if arm == "foils.mine" else lambda place: drop_in(place, arm)
    prepare(made(folder.parent, 10_000, 10_000))[0]()
    job, rows = prepare(folder)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before, cpu, start = resident("VmRSS"), time.process_time(), time.perf_counter()
    found = job()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    extra = resident("VmHWM") - before
    query, doc = rows(found)
    order = np.lexsort((doc, query))
    np.save(folder / f"{arm}.npy", np.stack([query[order], doc[order]]))
    figures = {"seconds": round(seconds, 2), "cpu": round(cpu, 2), "extra_gb": round(extra / 2**30, 3)}
    return {"arm": arm, **figures, "rows": len(query)}


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def agreement(folder: Path, arm: str, other: str) -> float:
    """Share of (query, negative) of one arm that the other has."""
    left, right = (np.load(folder / f"{name}.npy").astype(np.int64) for name in (arm, other))
    return float(np.isin(left[0] << 32 | left[1], right[0] << 32 | right[1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sizes", nargs="*", help="queries x documents, such as 20000x100000")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only these")
    parser.add_argument("--here", action="store_true", help="measure one arm in this process")
    options = parser.parse_args()
    if options.here:
        sys.stdout = sys.stderr
        result = measured(options.out / options.sizes[0], options.arm[0])
        print(json.dumps(result), file=sys.__stdout__)
        return
    for size in options.sizes:
        folder = made(options.out, *map(int, size.split("x")))
        print(f"\n{size}\n| arm | s | CPU s | GB above | rows | same as foils.compat |\n|---|---|---|---|---|---|")
        for arm in options.arm or ARMS:
            command = [sys.executable, __file__, str(options.out), size, "--here", "--arm", arm]
            run = subprocess.run(command, env=os.environ | ARMS[arm], capture_output=True, text=True, check=False)
            if run.returncode:
                print(f"| {arm} | failed ({run.returncode}): {run.stderr.strip().splitlines()[-1:]} |", flush=True)
                continue
            result = json.loads(run.stdout.splitlines()[-1])
            same = agreement(folder, arm, "foils.compat") if (folder / "foils.compat.npy").exists() else float("nan")
            print("| {arm} | {seconds} | {cpu} | {extra_gb} | {rows:,} | {0:.3%} |".format(same, **result), flush=True)


if __name__ == "__main__":
    main()
