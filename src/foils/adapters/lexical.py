"""BM25 over one side of a collection: bm25s tokenises and weighs, exact selection with reproducible ties is ours.

bm25s stores for every (token, document) what the token adds to the document's score, so that a query's scores are sums
of stored numbers. Its own search leaves ties to chance and returns documents that share no word with the query; its
plain backend is 28 times slower than what follows, and its compiled one, a little faster, takes 5 s to compile in every
process.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Found, Readable
from foils.adapters.topk import lower_bounds, ranked
from foils.core.cache import publish
from foils.core.errors import SpecError, need
from foils.core.text import did_you_mean

_FORMAT = 2
_LENGTHS = "lengths.json"
_CHUNK = 8192  # texts tokenised at a time
_CELLS = 1 << 22  # scores of a block of queries held at once


class BM25Index:
    """BM25, Lucene's variant: ``Σ_t ln(1 + (N - df_t + 0.5)/(df_t + 0.5)) · tf / (tf + k1 (1 - b + b |d|/avgdl))``.

    Robertson and Zaragoza 2009, The Probabilistic Relevance Framework, section 3; the variant as in Kamphuis et al.
    2020, Which BM25 Do You Mean?, table 1. A token that a query repeats counts as often. Use `build`.
    """

    def __init__(self, folder: Path, language: str | None, k1: float, b: float) -> None:
        bm25s = need("bm25s", "bm25")
        scores = bm25s.BM25.load(folder, mmap=True, load_vocab=False, show_progress=False).scores
        # Plain views of the mapped files: slicing a memmap object costs more than adding a short list.
        self._weights, self._docs, self._starts = (np.asarray(scores[part]) for part in ("data", "indices", "indptr"))
        self._count = int(scores["num_docs"])
        self._language, self._tokenizer = language, _tokenizer(language)
        self._tokenizer.load_vocab(folder)
        self._k1, self._b = k1, b
        self._average = float(json.loads((folder / _LENGTHS).read_text(encoding="utf-8"))["average"])

    @classmethod
    def build(
        cls, texts: Readable, *, k1: float = 0.9, b: float = 0.4, language: str | None = "english", cache: Path
    ) -> BM25Index:
        """The index of ``texts``, made once and then memory-mapped from the cache.

        Args:
            texts: what to search.
            k1: term-frequency saturation, > 0. Default: Anserini's, for passages.
            b: length normalisation, 0 to 1. Default: Anserini's, for passages.
            language: Snowball stemmer and, where bm25s has them, stop words; None for neither.
            cache: folder for indexes; keyed by the texts, the parameters and the versions of bm25s and PyStemmer.

        Raises:
            MissingExtra: bm25s or PyStemmer is not installed.
            SpecError: there is no stemmer for the language.
        """
        tokenizer = _tokenizer(language)
        versions = [need("bm25s", "bm25").__version__, need("Stemmer", "bm25").version() if language else ""]
        made_of = {"format": _FORMAT, "k1": k1, "b": b, "language": language, "versions": versions}
        key = hashlib.sha256(json.dumps([made_of, texts.fingerprint, len(texts)]).encode()).hexdigest()[:32]
        return cls(publish(cache / key, partial(_write, texts, tokenizer, k1, b)), language, k1, b)

    def __len__(self) -> int:
        return self._count

    def search(self, query_texts: Sequence[str], k: int) -> Found:
        """The k best documents of each query; documents that share no token with it are no results.

        Args:
            query_texts: queries, tokenised as the documents were.
            k: at least 1; may exceed the number of documents.

        Returns:
            As `foils.adapters.protocols.Index.search`; all scores are above 0.
        """
        if k < 1:
            raise ValueError(f"k={k}; expected at least 1.")
        rows = np.full((len(query_texts), k), -1, np.int32)
        scores = np.full((len(query_texts), k), -np.inf, np.float32)
        for part, dense in self._blocks(query_texts):
            # Everything that reaches the bound takes part, so ties at the end of the list are decided by row.
            floor = np.maximum(lower_bounds(dense, k), np.finfo(np.float32).smallest_subnormal)
            hits = np.flatnonzero(dense >= floor[:, None])
            query, row = (at.astype(np.int32) for at in np.divmod(hits, self._count))
            rows[part], scores[part] = ranked(query, row, dense.ravel()[hits], len(dense), k)
        return rows, scores

    def score(
        self, query_texts: Sequence[str], query_index: NDArray[np.integer], doc_rows: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """The score of any pairs, equal to what `search` gives them bit for bit; 0 where no token is shared.

        Args:
            query_texts: queries.
            query_index: (n,), which of them each pair is about.
            doc_rows: (n,), its document.

        Returns:
            float32 (n,).
        """
        if len(doc_rows) and not (doc_rows.min() >= 0 and doc_rows.max() < self._count):
            raise IndexError(f"rows {doc_rows.min()} to {doc_rows.max()} of {self._count} documents")
        scores = np.zeros(len(doc_rows), np.float32)
        order = np.argsort(query_index, kind="stable")
        ordered = query_index[order]
        for part, dense in self._blocks(query_texts):
            pairs = order[slice(*np.searchsorted(ordered, [part.start, part.stop]))]
            scores[pairs] = dense[query_index[pairs] - part.start, doc_rows[pairs]]
        return scores

    def score_texts(
        self, query_texts: Sequence[str], query_index: NDArray[np.integer], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """The score of pairs with texts that are not among the documents, by the documents' statistics.

        Args:
            query_texts: queries.
            query_index: (n,), which of them each pair is about.
            texts: (n,), its text.

        Returns:
            float32 (n,).
        """
        queries = _tokens(self._tokenizer, list(query_texts), grow=False)
        distinct, at = np.unique(np.array(texts, object), return_inverse=True)
        # The length counts words that no document has, too.
        known = _tokens(self._tokenizer, distinct.tolist(), grow=False)
        lengths = [len(one) for one in _tokens(_tokenizer(self._language), distinct.tolist(), grow=True)]
        counts = [Counter(tokens) for tokens in known]
        scores = np.zeros(len(texts), np.float32)
        for i, (query, place) in enumerate(zip(query_index.tolist(), at.tolist(), strict=True)):
            norm = self._k1 * (1 - self._b + self._b * lengths[place] / max(self._average, 1e-9))
            found = ((self._idf(token), counts[place][token]) for token in queries[query] if token in counts[place])
            scores[i] = sum(idf * tf / (tf + norm) for idf, tf in found)
        return scores

    def _idf(self, token: int) -> float:
        having = int(self._starts[token + 1] - self._starts[token])
        return math.log(1 + (self._count - having + 0.5) / (having + 0.5))

    def _blocks(self, query_texts: Sequence[str]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Scores of all documents, float32 (queries, documents), for one slice of the queries after the other."""
        size = max(1, _CELLS // max(1, self._count))
        dense = np.empty((min(size, len(query_texts)), self._count), np.float32)
        for start in range(0, len(query_texts) if self._count else 0, size):
            texts = list(query_texts[start : start + size])
            block = dense[: len(texts)]
            block.fill(0)
            self._add_up(_tokens(self._tokenizer, texts, grow=False), block)
            yield slice(start, start + len(texts)), block

    def _add_up(self, queries: list[list[int]], scores: NDArray[np.float32]) -> None:
        """Add the stored numbers of each query's tokens, in the order of its tokens, to its row of scores."""
        # A step adds the whole list of a token, thousands of documents, in a few microseconds; gathering the lists of
        # many queries first, to add them in one step, takes four times as long.
        for row, tokens in zip(scores, queries, strict=True):
            for token in tokens:
                part = slice(self._starts[token], self._starts[token + 1])
                np.add.at(row, self._docs[part], self._weights[part])


def _tokenizer(language: str | None) -> Any:
    """Words of two or more letters or digits, lower case; stemmed, stop words left out."""
    tokenization = need("bm25s.tokenization", "bm25")
    if language is None:
        return tokenization.Tokenizer(stopwords=None, stemmer=None)
    stemmers = need("Stemmer", "bm25")
    known = stemmers.algorithms()
    if language not in known:
        message = f"BM25: no stemmer for language {language!r}.{did_you_mean(language, known)}"
        raise SpecError(f"{message} Known: {', '.join(sorted(known))}; or None for neither stemmer nor stop words.")
    words = need("bm25s.stopwords", "bm25")
    stopwords = getattr(words, "STOPWORDS_EN" if language == "english" else f"STOPWORDS_{language.upper()}", None)
    return tokenization.Tokenizer(stopwords=stopwords, stemmer=stemmers.Stemmer(language))


def _tokens(tokenizer: Any, texts: list[str], *, grow: bool) -> list[list[int]]:
    """Token numbers of each text; tokens that the documents do not have are left out unless the vocabulary grows."""
    # The empty token that bm25s gives to texts without words would make all such texts match each other.
    found: list[list[int]] = tokenizer.tokenize(texts, update_vocab=grow, allow_empty=False, show_progress=False)
    return found


def _write(texts: Readable, tokenizer: Any, k1: float, b: float, folder: Path) -> None:
    """Tokenise, index and save."""
    bm25s = need("bm25s", "bm25")
    ids: list[list[int]] = []
    for start in range(0, len(texts), _CHUNK):
        ids += _tokens(tokenizer, texts.texts(np.arange(start, min(start + _CHUNK, len(texts)))), grow=True)
    index = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float32", int_dtype="int32", backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no token at all: no average length, and nothing to weigh
        index.index((ids, tokenizer.get_vocab_dict()), create_empty_token=False, show_progress=False)
    index.save(folder, show_progress=False)
    average = sum(map(len, ids)) / max(1, len(ids))
    (folder / _LENGTHS).write_text(json.dumps({"average": average}) + "\n", encoding="utf-8")
    tokenizer.save_vocab(folder)
