"""What a stage may know besides the pairs: the collection, the encoders, the seed and the block of queries at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex, pair_scores
from foils.adapters.lexical import BM25Index
from foils.adapters.protocols import Encoder, Index, Kind, Reranker
from foils.adapters.reranking import Queue
from foils.adapters.vectors import vectors as stored_vectors
from foils.core.collection import Collection
from foils.core.errors import PipelineError

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Context:
    """The surroundings of one mining run; shared by all blocks.

    Attributes:
        data: the collection.
        split: the qrels in use.
        seed: of every draw.
        rows: all queries to be mined, int32, ascending.
        block: the queries at hand, int32, ascending; a slice of ``rows``.
        encoders: bi-encoders and cross-encoders by the names that stages use.
        cache: folder for vectors and indexes.
        progress: called with (what, done, total), or None.
        scorers: score column -> the stage that can score more rows of it; filled while the pipeline runs.
    """

    data: Collection
    split: str
    seed: int
    rows: NDArray[np.int32]
    block: NDArray[np.int32]
    encoders: Mapping[str, Encoder | Reranker]
    cache: Path
    progress: Progress | None = None
    scorers: dict[str, Any] = field(default_factory=dict)
    _made: dict[Any, Any] = field(default_factory=dict)

    def at(self, block: NDArray[np.int32]) -> Context:
        """The same surroundings for another block of queries; indexes and vectors are shared."""
        return replace(self, block=block, scorers={})

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Make something on first use and share it between blocks."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def _named(self, name: str, method: str, kind: str) -> Any:
        found = self.encoders.get(name)
        if found is None:
            have = ", ".join(repr(key) for key in sorted(self.encoders)) or "none"
            raise PipelineError(
                f"the pipeline names the {kind} {name!r}, but the models given are: {have}. "
                f"Pass --encoder {name}=MODEL (Python: encoders={{{name!r}: …}})."
            )
        if not hasattr(found, method):
            raise PipelineError(f"{name!r} is no {kind}: it has no '{method}'. Pass --encoder {name}=MODEL.")
        return found

    def encoder(self, name: str) -> Encoder:
        """The bi-encoder of that name, or `PipelineError` with the remedy."""
        model: Encoder = self._named(name, "encode", "bi-encoder")
        return model

    def reranker(self, name: str) -> Reranker:
        """The cross-encoder of that name, or `PipelineError` with the remedy."""
        model: Reranker = self._named(name, "score", "cross-encoder")
        return model

    def identity(self, name: str) -> dict[str, str]:
        """The model of that name and fingerprints of its weights, as manifests store them."""
        return self.once(("identity", name), lambda: self._identity(name))

    def _identity(self, name: str) -> dict[str, str]:
        if hasattr(self._named(name, "fingerprint", "model"), "encode"):
            model = self.encoder(name)
            kinds: tuple[Kind, Kind] = ("query", "document")
            return {"name": model.name, **{kind: model.fingerprint(kind) for kind in kinds}}
        reranker = self.reranker(name)
        return {"name": reranker.name, "pair": reranker.fingerprint, "scale": reranker.scale}

    def _report(self, what: str) -> Callable[[int, int], None] | None:
        if self.progress is None:
            return None
        tell = self.progress
        return lambda done, total: tell(what, done, total)

    def to(self, rows: NDArray[np.int32]) -> Context:
        """The same surroundings for other queries (int32, ascending), such as those of a judged split."""
        if np.array_equal(rows, self.rows):
            return self
        return self.once(("to", rows.tobytes()), lambda: replace(self, rows=rows, block=rows, scorers={}))

    def store(self, name: str) -> Path:
        """Where vectors and indexes of that encoder are kept: the cache, unless it has a folder ``store`` of its own.

        A model in the middle of its training has one: nobody will ask for its vectors again.
        """
        return Path(getattr(self.encoder(name), "store", self.cache))

    def vectors(self, name: str, kind: Kind) -> NDArray[np.float32]:
        """Vectors under an encoder: of all documents, or of the queries ``rows`` in their order; float32 (n, dim)."""
        texts = self.data.queries if kind == "query" else self.data.corpus
        rows = self.rows if kind == "query" else None
        report = self._report(f"encoding {'queries' if kind == 'query' else 'documents'} with {name}")
        folder, also = self.store(name) / "vectors", (self.cache / "vectors",)
        return self.once(
            ("vectors", name, kind, b"" if rows is None else rows.tobytes()),
            lambda: stored_vectors(
                self.encoder(name), texts, kind, cache=folder, rows=rows, progress=report, also=also
            ),
        )

    def query_vectors(self, name: str, query: NDArray[np.int32]) -> NDArray[np.float32]:
        """Vectors of some of the queries, float32 (len(query), dim)."""
        return self.vectors(name, "query")[np.searchsorted(self.rows, query)]

    def searched(self, name: str) -> NDArray[np.float32]:
        """Vectors of the documents that may be found: those of the base, without what was written; float32 (n, dim)."""
        return self.vectors(name, "document")[: len(self.data.base.corpus)]

    def index(self, name: str) -> Index:
        """An exact index over the documents' vectors of that encoder; what was written is not found."""
        return self.once(("index", name), lambda: ExactIndex(self.searched(name), expected=len(self.rows)))

    def similarity(self, name: str, query: NDArray[np.int32], doc: NDArray[np.int32]) -> NDArray[np.float32]:
        """Score of each (query, doc) under a bi-encoder, float32 (n,)."""
        documents = self.vectors(name, "document")
        queries = self.vectors(name, "query")
        return pair_scores(queries, documents, np.searchsorted(self.rows, query), doc)

    def reranked(
        self, name: str, query: NDArray[np.int32], doc: NDArray[np.int32], *, logits: bool = False
    ) -> NDArray[np.float32]:
        """Score of each (query, doc) under a cross-encoder, float32 (n,), found in the cache or scored now.

        Args:
            name: of the cross-encoder.
            query: int32 (n,).
            doc: int32 (n,).
            logits: log-odds instead of the probabilities that it gives.

        Raises:
            PipelineError: log-odds of a model that has only probabilities.
        """
        queue = self.once(("queue", name, logits), lambda: Queue(self._on_scale(name, logits), self.cache / "scores"))
        queries, q = np.unique(query, return_inverse=True)
        docs, d = np.unique(doc, return_inverse=True)
        texts = self.data.queries.texts(queries), self.data.corpus.texts(docs)
        return queue.score(*texts, (q, d), self._report(f"scoring pairs with {name}"))

    def _on_scale(self, name: str, logits: bool) -> Reranker:
        model = self.reranker(name)
        if not logits or model.scale == "logit":
            return model
        if not hasattr(model, "logits"):
            raise PipelineError(f"{name!r} has probabilities only, and no method 'logits'. Use scale='own'.")
        scorer: Reranker = model.logits()
        return scorer

    def bm25(self, k1: float, b: float, language: str | None) -> BM25Index:
        """The BM25 index of the corpus under these parameters; what was written is not in it."""
        return self.once(
            ("bm25", k1, b, language),
            lambda: BM25Index.build(self.data.base.corpus, k1=k1, b=b, language=language, cache=self.cache / "bm25"),
        )

    def lexical(
        self, index: BM25Index, query_texts: Sequence[str], query_index: NDArray[np.integer], doc: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """BM25 of any pairs, float32 (n,); of written documents by the statistics of the base.

        Args:
            index: of the base.
            query_texts: queries.
            query_index: (n,), which of them each pair is about.
            doc: int32 (n,).
        """
        written = doc >= len(index)
        scores = np.zeros(len(doc), np.float32)
        scores[~written] = index.score(query_texts, query_index[~written], doc[~written])
        if written.any():
            texts = self.data.corpus.texts(doc[written])
            scores[written] = index.score_texts(query_texts, query_index[written], texts)
        return scores

    def keys(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Keys of the external ids, which random draws depend on."""
        return self.data.queries.keys[query], self.data.corpus.keys[doc]
