"""Mine once, select many: seconds to mine with nothing cached, and to choose again from what was kept.

    python benchmarks/reselect.py DATA MODEL [DOCUMENTS]

With DOCUMENTS, only the first so many are taken, and the training queries whose positives are among them: encoding a
whole collection takes long without an accelerator. Both times include opening the collection and the models, and
writing. Set OMP_NUM_THREADS to the cores to use.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from foils import Collection, Miner, Negatives, load, parse
from foils.core.beir import write_beir
from foils.pipelines import open_models, reselecting

DEPTH = 100
FIRST = f"Dense('student', k={DEPTH}) >> PositiveAware(margin=0.05) >> Top(k=5)"
AGAIN = [
    "PositiveAware(margin=0.1) >> SimANS(k=8, a=30)",
    "Ranks(lo=10, hi=60) >> Uniform(k=4)",
    "Capped(k=5, share=0.01)",
]


def sample(data: Collection, documents: int, folder: Path) -> Collection:
    """The first documents and the training queries about them, as a collection of their own."""
    known = data.qrels("train")
    queries = np.unique(known.query[known.doc < documents])
    write_beir(data.subset({"train": ("train", queries)}), folder)
    corpus = folder / "corpus.jsonl"
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    corpus.write_text("".join(lines[:documents]), encoding="utf-8")
    return load(folder, on_unknown="drop")


def seconds(data: Collection, text: str, model: str | None, candidates: Path | None, folder: Path) -> float:
    """Time of one run, from text to files."""
    start = time.perf_counter()
    pipeline = parse(text) if candidates is None else reselecting(parse(text), candidates)
    models = open_models(pipeline, {} if model is None else {"student": model})
    job = {"split": "train", "seed": 0, "encoders": models}
    Miner(cache=folder / "cache").mine(Collection.open(data.path), pipeline, **job, out=folder / "negatives")
    return time.perf_counter() - start


def main(source: str, model: str, documents: str | None = None) -> None:
    """Mine, select again, print."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data = load(source) if documents is None else sample(load(source), int(documents), place / "sample")
        cold = seconds(data, FIRST, model, None, place / "cold")
        kept = Negatives.open(place / "cold" / "negatives")
        print(f"{data!r}: {kept.manifest['counts']['candidates']:,} candidates")
        print(f"{'mine, nothing cached':50} {cold:8.2f} s")
        for number, text in enumerate(AGAIN):
            times = [seconds(data, text, None, kept.path, place / f"again-{number}-{n}") for n in range(3)]
            middle = statistics.median(times)
            print(f"{text:50} {middle:8.2f} s {cold / middle:8.0f} x")


if __name__ == "__main__":
    main(*sys.argv[1:])
