"""Generations: what a run has mined, one after the other, as folders of negatives.

Generation 0 is mined before training and lies in ``RUN/negatives``; generation N, mined while training, in
``RUN/generations/N``. A folder appears there by one rename when everything is in it, figures included, so whoever
finds it finds it whole.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.collection import Collection
from foils.core.pairs import POSITIVE, Pairs, joined
from foils.staging import alone
from foils.store import MANIFEST, Negatives
from foils.train.checkpoints import folder_of as checkpoint_of
from foils.train.checkpoints import history, is_complete, newest, step_of, write_json
from foils.train.curve import best_step, curve_of
from foils.train.run import GENERATIONS, NEGATIVES, RECORD, read_record

PIN = "checkpoint.json"  # of weights that are at work: the step of their checkpoint
_DOCUMENTS = ".documents-"
MEMORY = "generation.json"  # of a checkpoint: the generation in use when it was written
FIGURES = "generation"  # of a manifest: what is known of a generation besides its negatives


def folder_of(run: Path, number: int) -> Path:
    """Where a generation lies."""
    return run / GENERATIONS / str(number) if number else run / NEGATIVES


def weights_of(run: Path, number: int) -> Path:
    """Where the weights lie that a second process makes a generation with."""
    return run / GENERATIONS / f".weights-{number}"


def documents_of(run: Path, number: int) -> Path:
    """Where the vectors of all documents lie that the next generation takes up, if it encodes only some anew."""
    return run / GENERATIONS / f"{_DOCUMENTS}{number}.npy"


def tidy(run: Path) -> None:
    """Remove what was begun and will not be finished."""
    for path in (run / GENERATIONS).glob(".*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_DOCUMENTS):
            path.unlink(missing_ok=True)


def publishing(run: Path) -> AbstractContextManager[None]:
    """Let nobody make a generation appear while this is held, such as while a rollback puts newer ones aside."""
    return alone(run / GENERATIONS / "publish", lambda: None)


def complete(run: Path) -> list[int]:
    """Numbers of the generations that were mined while training and are complete, ascending."""
    found = (run / GENERATIONS).glob("*")
    return sorted(int(path.name) for path in found if path.name.isdecimal() and (path / MANIFEST).exists())


def figures_of(run: Path, number: int) -> dict[str, Any]:
    """What is known of a generation besides its negatives: step, time, agreement with the one before it."""
    figures: dict[str, Any] = Negatives.open(folder_of(run, number)).manifest[FIGURES]
    return figures


def used_at(checkpoint: Path | None) -> int:
    """The generation that was in use when a checkpoint was written; 0 at the beginning."""
    path = None if checkpoint is None else checkpoint / MEMORY
    if path is None or not path.exists():
        return 0
    return int(json.loads(path.read_text(encoding="utf-8"))["generation"])


def hub(pairs: Pairs) -> float:
    """The largest share of the queries with negatives that have one and the same document among them."""
    negative = pairs.label != POSITIVE
    queries = len(np.unique(pairs.query[negative]))
    return float(np.bincount(pairs.doc[negative]).max() / queries) if queries else 0.0


def previous(number: int, chunks: int) -> int:
    """The last generation before this one that mined for the same queries."""
    return max(0, number - chunks)


def chunk_of(data: Collection, queries: NDArray[np.int32], chunks: int) -> NDArray[np.int64]:
    """Which share of the queries each one is in, 0 to ``chunks - 1``, by its id; shares differ in size by one at most.

    Args:
        data: the collection.
        queries: rows of those that are mined for.
        chunks: how many shares.

    Returns:
        int64 (all queries,), -1 for those that are not mined for.
    """
    draws = noise.bits(0, "chunk", data.queries.keys[queries], np.zeros(1, np.uint64))
    found = np.full(len(data.queries.keys), -1)
    found[queries[np.argsort(draws, kind="stable")]] = np.arange(len(queries)) % chunks
    return found


def mined_for(data: Collection, queries: NDArray[np.int32], number: int, chunks: int) -> NDArray[np.int32]:
    """Those of the queries that a generation (from 1) mines for, int32, ascending."""
    return np.flatnonzero(chunk_of(data, queries, chunks) == (number - 1) % chunks).astype(np.int32)


def in_use(
    run: Path, number: int, chunks: int, data: Collection, queries: NDArray[np.int32], first: Pairs | None
) -> Pairs:
    """Positives and negatives when a generation is the newest: of each query those that were mined last.

    Args:
        run: the run folder.
        number: of the newest generation.
        chunks: generations until every query was mined for once.
        data: the collection.
        queries: rows of those that are mined for.
        first: generation 0.
    """
    numbers = range(max(1, number - chunks + 1), number + 1)
    parts = [Negatives.open(folder_of(run, n)).kept(data) for n in numbers]
    if first is not None and len(numbers) < chunks:
        mined = np.unique([(n - 1) % chunks for n in numbers])
        parts.append(first.take(~np.isin(chunk_of(data, queries, chunks)[first.query], mined)))
    # Of the columns those that all have; generation 0 may come from another pipeline.
    names = set.intersection(*(set(part.scores) for part in parts))
    sources = {name for part in parts for name in part.ranks}
    bare = [
        Pairs.build(
            part.query,
            part.doc,
            part.label,
            scores={name: part.scores[name] for name in sorted(names)},
            ranks={name: part.ranks.get(name, np.zeros(len(part), np.int32)) for name in sorted(sources)},
        )
        for part in parts
    ]
    pairs = joined(bare)
    return pairs.take(np.argsort(pairs.query, kind="stable"))


def needed(run: Path) -> set[int]:
    """Steps whose checkpoints must stay: those that one can go back to, each with the best one until then."""
    found = [figures_of(run, number) for number in complete(run)]
    kept = {int(figures["step"]) for figures in found[-found[-1]["keep"] :]} if found else set()
    for pin in (run / GENERATIONS).glob(f".weights-*/{PIN}"):  # of a generation in the making
        kept.add(int(json.loads(pin.read_text(encoding="utf-8"))["step"]))
    for step in list(kept):
        folder = checkpoint_of(run, step)
        if is_complete(folder):
            kept.add(best_step(curve_of(history(folder))) or step)
    return kept


def note(run: Path, entry: dict[str, Any]) -> None:
    """Write into ``run.json`` that a generation came into use; what it said of the same number is replaced."""
    record = read_record(run) or {}
    others = [known for known in record.get(GENERATIONS, []) if known["number"] != entry["number"]]
    record[GENERATIONS] = sorted([*others, entry], key=lambda known: int(known["number"]))
    write_json(run / RECORD, record)


def listing(run: Path) -> list[dict[str, Any]]:
    """All generations of a run, used or not yet: figures, since which step used, and whether one can go back to it.

    Raises:
        StoreError: there is no run.
    """
    record = read_record(run) or {}
    known = {int(entry["number"]): entry for entry in record.get(GENERATIONS, [])}
    start = {0: {"number": 0, "step": 0}} if (run / NEGATIVES).exists() or record.get(GENERATIONS) else {}
    known = {**start, **{n: figures_of(run, n) for n in complete(run)}, **known}
    last = newest(run)
    reached = None if last is None else step_of(last)
    found = []
    for number in sorted(known):
        step = int(known[number]["step"])
        back = step == 0 or is_complete(checkpoint_of(run, step))
        found.append({**known[number], "checkpoint": back, "here": folder_of(run, number).exists(), "newest": reached})
    return found
