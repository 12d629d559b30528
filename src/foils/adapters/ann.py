"""Approximate search: build or find an index, measure what it misses, and say so.

Which documents an approximate index misses is not random: outliers and hard ones go first, and mined negatives are
biased accordingly. So the recall against exact search is measured on a sample of queries at every build; efforts that
the settings leave open are raised until it reaches their bound, and if it does not, there is a warning. When to use
which: exact search up to some 200,000 documents, above that cells (``ivf-flat``) or ScaNN; a graph only if it lives
long.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_faiss import HnswIndex, IvfFlatIndex, IvfPqIndex
from foils.adapters.ann_index import Approximate, Vectors
from foils.adapters.ann_scann import ScannIndex
from foils.adapters.ann_settings import Exact, Settings
from foils.adapters.exact import ExactIndex
from foils.adapters.hashing import BitsIndex, LshIndex
from foils.adapters.protocols import UNCACHED, Index
from foils.core.atomic import replacing
from foils.core.cache import publish
from foils.core.errors import need
from foils.core.reservoir import sample

SAMPLE = 200  # queries that the recall is measured on
_GAIN = 0.001  # recall that a doubled effort must bring
_FORMAT = 1
_NORMS = 4096  # documents whose lengths are looked at
_UNEVEN = 0.05  # spread of lengths, relative to their mean, from which inner products are no cosines

log = logging.getLogger(__name__)

INDEXES: dict[str, type[Approximate]] = {
    "hnsw": HnswIndex,
    "ivf-flat": IvfFlatIndex,
    "ivf-pq": IvfPqIndex,
    "scann": ScannIndex,
    "bits": BitsIndex,
    "lsh": LshIndex,
}
_PACKAGES = {"faiss": ("faiss-cpu", "faiss-gpu", "faiss"), "scann": ("scann",)}


@dataclass(frozen=True)
class Wanted:
    """What an index is for.

    Attributes:
        settings: as given; open ones are chosen here.
        k: documents wanted per query; the recall is measured at this depth.
        depth: the same with room for known positives.
        vectors: fingerprint of the document vectors (encoder and texts), or None if it cannot be told; then nothing is
            cached.
        cache: folder for indexes.
    """

    settings: Settings
    k: int
    depth: int
    vectors: str | None
    cache: Path


@dataclass(frozen=True)
class Prepared:
    """An index and what manifests say about it; ``record`` is None for exact search."""

    index: Index
    record: dict[str, Any] | None


def prepare(docs: Vectors, queries: NDArray[np.float32], wanted: Wanted) -> Prepared:
    """Build an index or find it in the cache, and measure it.

    Args:
        docs: vectors of all documents, (n, dim), may be memory-mapped.
        queries: vectors of the sample of queries that the recall is measured on, (q, dim).
        wanted: which index.

    Raises:
        MissingExtra: its library is not installed.
        SpecError: settings that do not fit the collection.
        StoreError: files in the cache that somebody changed.
    """
    settings = wanted.settings.derive(len(docs), docs.shape[1], wanted.depth)
    if isinstance(settings, Exact):
        return Prepared(ExactIndex(docs), None)
    made_of = _made_of(settings, docs, wanted)
    index = _opened(settings, docs, made_of, wanted)
    report = wanted.cache / f"{_digest(made_of)}.{_measured_by(queries, settings, wanted)}.json"
    if wanted.vectors is not None and report.exists():
        found = json.loads(report.read_text(encoding="utf-8"))
        index.searching_with(replace(settings, **found["parameters"]))
        return Prepared(index, _told(found, settings.recall))
    _warn_of_lengths(docs, settings)
    reached = tuned(index, queries, wanted)
    record = {
        "kind": settings.kind,
        "parameters": asdict(index.settings),
        "library": made_of["library"],
        "recall_at_k": reached,
        "k": wanted.k,
        "sample": len(queries),
    }
    if wanted.vectors is not None:
        with replacing(report) as partial_report:
            partial_report.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Prepared(index, _told(record, settings.recall))


def build(settings: Settings, docs: Vectors) -> Approximate:
    """An index with these derived settings, in memory."""
    return INDEXES[settings.kind](settings, docs)


def recall(index: Index, queries: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Share of the exact best documents that an index finds, over all queries; of equal scores either one counts.

    Args:
        index: the index; its scores are canonical.
        queries: (q, dim).
        truth: scores that exact search finds, (q, k), best first, padded with ``-inf``.
    """
    wanted = np.isfinite(truth).sum(axis=1)
    if not wanted.any():
        return 1.0
    last = np.take_along_axis(truth, np.maximum(wanted - 1, 0)[:, None], axis=1)
    scores = index.search(queries, truth.shape[1])[1]
    good = (np.isfinite(scores) & (scores >= last)).sum(axis=1)
    return float(np.minimum(good, wanted).sum() / wanted.sum())


def sampled(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Places of the queries that the recall is measured on: `SAMPLE` of them by their keys, whatever the seed."""
    return sample(keys, SAMPLE, seed=0, stream="recall")


def tuned(index: Approximate, queries: NDArray[np.float32], wanted: Wanted) -> float:
    """Double the open effort that helps most until the recall suffices or nothing helps; returns the recall reached."""
    n = len(index.docs)
    truth = ExactIndex(index.docs).search(queries, min(wanted.k, max(1, n)))[1]
    kept, reached = index.settings, recall(index, queries, truth)
    while reached < kept.recall:
        tried = []
        for settings in kept.harder(wanted.settings, n, wanted.depth):
            index.searching_with(settings)
            tried.append((recall(index, queries, truth), settings))
        best = max(tried, key=lambda pair: pair[0], default=(0.0, kept))
        if best[0] < reached + _GAIN:
            break
        reached, kept = best
    index.searching_with(kept)
    return reached


def _told(record: dict[str, Any], bound: float) -> dict[str, Any]:
    if record["recall_at_k"] < bound:
        log.warning(
            "the index %s finds %.3f of the %d nearest documents (measured on %d queries; wanted %.2f). What it misses "
            "is not random. Give it more effort, or use index='exact'.",
            record["kind"], record["recall_at_k"], record["k"], record["sample"], bound,
        )  # fmt: skip
    return record


def _warn_of_lengths(docs: Vectors, settings: Settings) -> None:
    """Graphs, cells and bits are made for cosines; vectors of unlike lengths make them miss the longest."""
    rows = sample(np.arange(len(docs), dtype=np.uint64), _NORMS, seed=0, stream="lengths")
    lengths = np.linalg.norm(np.asarray(docs[rows], np.float32), axis=1)
    if len(lengths) and lengths.std() > _UNEVEN * lengths.mean():
        log.warning(
            "document vectors have lengths from %.3g to %.3g: index %s finds inner products poorly unless vectors are "
            "normalised. Look at the recall, or use index='exact'.",
            lengths.min(), lengths.max(), settings.kind,
        )  # fmt: skip


def _made_of(settings: Settings, docs: Vectors, wanted: Wanted) -> dict[str, Any]:
    """Everything that a built index depends on."""
    return {
        "format": _FORMAT,
        "vectors": wanted.vectors,
        "shape": list(docs.shape),
        "kind": settings.kind,
        "parameters": settings.build(),
        "library": library_version(settings),
    }


def library_version(settings: Settings) -> str:
    """Name and version of the library behind a kind.

    Raises:
        MissingExtra: it is not installed.
    """
    module = str(settings.library)
    need(module, module)
    for package in _PACKAGES[module]:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return module


def _opened(settings: Settings, docs: Vectors, made_of: dict[str, Any], wanted: Wanted) -> Approximate:
    if wanted.vectors is None:
        return build(settings, docs)
    folder = wanted.cache / _digest(made_of)
    if not folder.exists():
        publish(folder, partial(_write, build(settings, docs), made_of))
    # Mapped, so that the memory of the building is given back.
    return INDEXES[settings.kind](settings, docs, folder)


def _write(index: Approximate, made_of: dict[str, Any], folder: Path) -> None:
    (folder / "meta.json").write_text(json.dumps(made_of, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    index.save(folder)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _measured_by(queries: NDArray[np.float32], settings: Settings, wanted: Wanted) -> str:
    """Key of a measurement on a built index."""
    asked = [asdict(settings), asdict(wanted.settings), wanted.k, wanted.depth, list(queries.shape)]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(queries).data)
    return digest.hexdigest()[:16]


def fingerprint(encoder: str, texts: str) -> str | None:
    """Of document vectors: the encoder's fingerprint and that of the texts; None if the encoder cannot tell its own."""
    return None if encoder.startswith(UNCACHED) else _digest([encoder, texts])
