"""Vectors for one generation: of all documents anew, or of some of them and the rest carried over."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters import exact
from foils.adapters.precomputed import Precomputed
from foils.adapters.protocols import Kind
from foils.adapters.sentence import SentenceEncoder
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.collection import Collection
from foils.stages.context import Progress
from foils.train.refresh.drift import DEPTH, Drift, Missed, Vectors, held_out, missed
from foils.train.refresh.values import Refresh

_PROBE = 0.02  # of the documents, encoded to see what is missed, where no others are
_LEAST = 30
_PER_DIM = 8  # sampled documents for each dimension of the map, at most
_WEIGHING, _ASKED = 4096, 1000  # queries whose lists say which documents matter, and which entries are missed

Rows = NDArray[np.int32]


class Snapshot(Precomputed):
    """A student in the middle of its training, as an encoder whose vectors lie in a folder of their own.

    Args:
        encoder: the student.
        data: the collection.
        folder: for vectors that are made now; gone when the generation is published.
        documents: vectors of all documents, if they are there already.
        mode: how those came about, for the fingerprint.
        progress: called with (what, done, total).
        also: folder of vectors that may be by the same weights, if those have not changed.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        data: Collection,
        folder: Path,
        documents: Vectors | None,
        mode: str,
        progress: Progress | None = None,
        also: Path | None = None,
    ) -> None:
        self.progress, self.also = progress, also
        self.encoder, self.data, self.store, self.mode = encoder, data, folder, mode
        self.name, self.dim = encoder.name, encoder.dim
        self._documents = documents
        self._told: dict[Kind, str] = {}

    def take(self, kind: Kind, count: int, rows: Rows | None) -> Vectors:
        """Vectors of some rows of a side; all by default."""
        if kind == "document" and self._documents is not None:
            return self._documents if rows is None else self._documents[rows]
        return encoded(self.encoder, self.data, kind, rows, self.store, self.progress, self.also)

    def fingerprint(self, kind: Kind) -> str:
        """That of the weights, and how document vectors came about."""
        if kind not in self._told:
            self._told[kind] = self.encoder.fingerprint(kind) + (f":{self.mode}" if kind == "document" else "")
        return self._told[kind]


@dataclass(frozen=True, eq=False)
class Carrying:
    """Document vectors that go from one generation to the next.

    Attributes:
        data: the collection.
        refresh: what is encoded.
        queries: rows of the queries that are mined for.
        before: file of the last generation's document vectors; need not be there.
        after: file for those of this one.
        folder: for vectors that are made now.
        seed: of the sample, another one each generation.
        progress: called with (what, done, total).
        also: folder of vectors that may be by the same weights, if those have not changed.
    """

    data: Collection
    refresh: Refresh
    queries: Rows
    before: Path
    after: Path
    folder: Path
    seed: int
    progress: Progress | None = None
    also: Path | None = None

    def vectors(self, encoder: SentenceEncoder) -> tuple[Snapshot, dict[str, float]]:
        """The student with its document vectors, and what was encoded and is estimated to be missed."""
        if self.refresh.encode == "all":
            return self._snapshot(encoder, None, "all"), {"encoded": 1.0}
        if not self.before.exists():
            return self._whole(encoder, {"encoded": 1.0})
        old: Vectors = np.load(self.before, mmap_mode="r")
        step = _Partly(self, encoder, old)
        lost, share = step.run()
        if lost.share > self.refresh.missed:
            return self._whole(encoder, {"encoded": 1.0, **lost.to_dict()})
        made: Vectors = np.load(self.after, mmap_mode="r")
        report = {"encoded": round(share, 4), **lost.to_dict()}
        return self._snapshot(encoder, made, f"{self.refresh.encode} {self.seed}"), report

    def encoded(self, encoder: SentenceEncoder, kind: Kind, rows: Rows | None = None) -> Vectors:
        """Vectors by the new weights; what a killed process made is found again."""
        return encoded(encoder, self.data, kind, rows, self.folder, self.progress, self.also)

    def _snapshot(self, encoder: SentenceEncoder, documents: Vectors | None, mode: str) -> Snapshot:
        return Snapshot(encoder, self.data, self.folder, documents, mode, self.progress, self.also)

    def write(self, fill: Callable[[Any], None], shape: tuple[int, ...]) -> None:
        """Write the file of this generation by one rename."""
        partial = self.after.with_name(self.after.name + ".partial")
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        fill(array)
        array.flush()
        del array
        os.replace(partial, self.after)  # noqa: PTH105

    def _whole(self, encoder: SentenceEncoder, report: dict[str, float]) -> tuple[Snapshot, dict[str, float]]:
        found = self.encoded(encoder, "document")
        self.write(lambda array: np.copyto(array, found), found.shape)
        made: Vectors = np.load(self.after, mmap_mode="r")
        return self._snapshot(encoder, made, "all"), report


@dataclass(frozen=True, eq=False)
class _Partly:
    """One refresh that encodes some documents only."""

    carrying: Carrying
    encoder: SentenceEncoder
    old: Vectors

    def run(self) -> tuple[Missed, float]:
        """Write the vectors of all documents; returns what is missed, and the share that was encoded."""
        count, dim = self.old.shape
        pool = self.carrying.refresh.encode == "pool"
        budget = int(np.ceil(count * (self.carrying.refresh.share if pool else _PROBE)))
        budget = min(count, max(_LEAST, budget))
        size = min(budget // 2, max(1000, _PER_DIM * dim)) if pool else budget
        probe = _sampled(self.carrying.data.corpus.keys, size, self.carrying.seed)
        new = self._new(probe)
        rows = self.carrying.queries
        asked = rows[_sampled(self.carrying.data.queries.keys[rows], _WEIGHING, self.carrying.seed)]
        queries = self.carrying.encoded(self.encoder, "query", rows)[np.searchsorted(rows, asked)]
        if pool:
            chosen = self._chosen(probe, new, queries, budget - size)
            fresh = self._new(chosen)
            guessed = held_out(self.old[probe], new, self.old[chosen], fresh, unit=self._unit)
            self._write(np.concatenate((probe, chosen)), np.concatenate((new, fresh)))
            rest = count - budget
        else:
            guessed, rest = self.old[probe], count
            self.carrying.write(lambda array: np.copyto(array, self.old), self.old.shape)
        few = queries[:: max(1, len(queries) // _ASKED)]
        depth = min(DEPTH, count)
        floor = exact.search(few, self._searched(), depth)[1][:, -1]
        return missed(few, floor, new, guessed, rest=rest, depth=depth), budget / count

    @property
    def _unit(self) -> bool:
        return bool(self.encoder.model.similarity_fn_name == "cosine")

    def _new(self, rows: Rows) -> Vectors:
        return np.asarray(self.carrying.encoded(self.encoder, "document", rows))

    def _chosen(self, probe: Rows, new: Vectors, queries: Vectors, count: int) -> Rows:
        """The documents that matter most to the lists: those with the largest sum of 1/rank, the sample aside."""
        self._write(probe, new)
        depth = min(DEPTH, len(self.old))
        found, _ = exact.search(queries, self._searched(), depth)
        worth = np.bincount(found.ravel(), np.tile(1 / np.arange(1, depth + 1), len(found)), minlength=len(self.old))
        worth[probe] = -1
        return np.sort(np.lexsort((np.arange(len(worth)), -worth))[:count]).astype(np.int32)

    def _searched(self) -> Vectors:
        """The new vectors of the documents that mining may find."""
        made: Vectors = np.load(self.carrying.after, mmap_mode="r")
        return made[: len(self.carrying.data.base.corpus)]

    def _write(self, rows: Rows, new: Vectors) -> None:
        """All documents where they are guessed to be, and those that were encoded where they are."""
        drift = Drift.fit(self.old[rows], new, unit=self._unit)

        def fill(array: Any) -> None:
            drift.write(self.old, array)
            array[rows] = new

        self.carrying.write(fill, self.old.shape)


def encoded(
    encoder: SentenceEncoder,
    data: Collection,
    kind: Kind,
    rows: Rows | None,
    folder: Path,
    progress: Progress | None,
    also: Path | None,
) -> Vectors:
    """Vectors of some rows of a side, or of all, kept in ``folder``; copied from ``also`` where they are there."""
    texts, what = (data.queries, "queries") if kind == "query" else (data.corpus, "documents")

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(f"encoding {what} with {encoder.name}", done, total)

    others = () if also is None else (also,)
    return vectors(encoder, texts, kind, cache=folder / "vectors", rows=rows, progress=tell, also=others)


def _sampled(keys: NDArray[np.uint64], count: int, seed: int) -> Rows:
    """Some rows at random by their ids, ascending, int32."""
    draws = noise.bits(seed, "probe", keys, np.zeros(1, np.uint64))
    return np.sort(np.argsort(draws, kind="stable")[:count]).astype(np.int32)
