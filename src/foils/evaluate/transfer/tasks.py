"""Tasks other than the retrieval that a model was trained for: what they measure, and how sure that is."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.adapters.protocols import UNCACHED, Encoder, Kind
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import need
from foils.core.text import keys_of
from foils.evaluate.geometry import unit
from foils.evaluate.retrieval import Settings, evaluate
from foils.evaluate.transfer.answer import Answer
from foils.evaluate.transfer.resampled import average_precision, resamples, spearman

ROUNDS = 2_000
SHOTS, PROBES, ITERATIONS = 8, 10, 100  # MTEB's classification
EXPERIMENTS, MOST, BATCH = 10, 16_384, 512  # MTEB's fast clustering


@dataclass(frozen=True)
class How:
    """How tasks are measured.

    Attributes:
        rounds: resamples, and sign patterns of tests.
        seed: of every draw.
        cache: folder for vectors; None to keep none, as for a model in training.
    """

    rounds: int = ROUNDS
    seed: int = 0
    cache: Path | None = None


class Listed:
    """Texts in a list, as the store of vectors reads them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self.fingerprint = hashlib.sha256("\0".join(self._texts).encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self, rows: ArrayLike | None = None) -> list[str]:
        """The texts of rows; all by default."""
        return self._texts if rows is None else [self._texts[row] for row in np.asarray(rows).tolist()]


def encoded(encoder: Encoder, texts: Sequence[str], how: How) -> NDArray[np.float32]:
    """Vectors of texts, each distinct one encoded once, with the prompt of queries."""
    distinct = sorted(set(texts))
    place = {text: i for i, text in enumerate(distinct)}
    if how.cache is None:
        found = np.asarray(encoder.encode(distinct, "query"), np.float32)
    else:
        found = np.asarray(vectors(encoder, Listed(distinct), "query", cache=how.cache))
    return found[[place[text] for text in texts]]


@dataclass(frozen=True, eq=False)
class Task:
    """Something to measure a model on.

    Attributes:
        name: of the data.
    """

    kind: ClassVar[str] = ""
    measure: ClassVar[str] = ""
    name: str

    @property
    def key(self) -> str:
        """Name and kind: what tells it from other tasks."""
        return f"{self.name} {self.kind}"

    def __len__(self) -> int:
        """Things that are measured."""
        raise NotImplementedError

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """What a model achieves."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Similarity(Task):
    """Spearman's rank correlation of the cosine of two sentences with people's scores, as MTEB's STS.

    Attributes:
        one: the first sentences.
        other: the second ones.
        score: float64 (n,), higher for more alike.
    """

    kind: ClassVar[str] = "similarity"
    measure: ClassVar[str] = "Spearman"
    one: Sequence[str] = field(repr=False)
    other: Sequence[str] = field(repr=False)
    score: NDArray[np.float64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.score)

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """Of all pairs, and under resamples of the pairs."""
        cosine = _cosines(encoder, self.one, self.other, how)
        whole = spearman(cosine, self.score, np.ones((1, len(cosine))))
        draws = [spearman(cosine, self.score, block) for block in resamples(len(cosine), how.rounds, how.seed)]
        return Answer(float(whole[0]), resamples=np.concatenate(draws))


@dataclass(frozen=True, eq=False)
class PairClassification(Task):
    """Average precision of the cosine of two sentences, positives being duplicates, paraphrases or entailments.

    MTEB takes the best of several similarities; this is the model's own cosine.

    Attributes:
        one: the first sentences.
        other: the second ones.
        right: bool (n,).
    """

    kind: ClassVar[str] = "pairs"
    measure: ClassVar[str] = "AP"
    one: Sequence[str] = field(repr=False)
    other: Sequence[str] = field(repr=False)
    right: NDArray[np.bool_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.right)

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """Of all pairs, and under resamples of the pairs."""
        cosine = _cosines(encoder, self.one, self.other, how)
        whole = average_precision(cosine, self.right, np.ones((1, len(cosine))))
        blocks = resamples(len(cosine), how.rounds, how.seed)
        draws = [average_precision(cosine, self.right, block) for block in blocks]
        return Answer(float(whole[0]), resamples=np.concatenate(draws))


@dataclass(frozen=True, eq=False)
class Classification(Task):
    """Accuracy of a linear probe, as MTEB's: logistic regression (100 iterations) on 8 texts a label, 10 times.

    The texts that a probe learns from are drawn by a hash, the same for all models. Without texts to learn from, they
    are drawn from those to be told, all but one of a label at most, and left out where they were learnt from: the only
    text of a label is never told right. The interval is over the texts told; the accuracy of a text is its mean over
    the probes.

    Attributes:
        texts: to be told.
        labels: theirs.
        known: texts to learn from; none for ``texts``.
        known_labels: theirs.
    """

    kind: ClassVar[str] = "classification"
    measure: ClassVar[str] = "accuracy"
    texts: Sequence[str] = field(repr=False)
    labels: Sequence[str] = field(repr=False)
    known: Sequence[str] = field(default=(), repr=False)
    known_labels: Sequence[str] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """The mean over texts."""
        probe = need("sklearn.linear_model", "eval").LogisticRegression
        own = not self.known
        shown, said = (self.texts, self.labels) if own else (self.known, self.known_labels)
        told, names = encoded(encoder, self.texts, how), np.asarray(self.labels, dtype=object)
        draws = [_few(shown, said, how.seed, number, own=own) for number in range(PROBES)]
        used = np.unique(np.concatenate(draws))
        learnt = dict(zip(used.tolist(), encoded(encoder, [shown[row] for row in used.tolist()], how), strict=True))
        right, times = np.zeros(len(names)), np.zeros(len(names))
        for rows in draws:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # 100 iterations need not converge: that is the protocol
                model = probe(max_iter=ITERATIONS, random_state=how.seed)
                model.fit(np.stack([learnt[row] for row in rows.tolist()]), [said[row] for row in rows.tolist()])
            asked = np.ones(len(names), bool)
            if own:
                asked[rows] = False
            right[asked] += np.asarray(model.predict(told[asked]), dtype=object) == names[asked]
            times += asked
        items = right[times > 0] / times[times > 0]
        return Answer(float(items.mean()), items=items)


@dataclass(frozen=True, eq=False)
class Clustering(Task):
    """V-measure of mini-batch k-means with as many clusters as labels, as MTEB's fast clustering: the mean of 10
    experiments, each on a resample of the texts (at most 16,384 of them).

    Attributes:
        texts: to be put together.
        labels: theirs.
    """

    kind: ClassVar[str] = "clustering"
    measure: ClassVar[str] = "V-measure"
    texts: Sequence[str] = field(repr=False)
    labels: Sequence[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """The mean over experiments, whose resamples are the same for all models."""
        means = need("sklearn.cluster", "eval").MiniBatchKMeans
        v_measure = need("sklearn.metrics", "eval").v_measure_score
        rows = _first(self.texts, how.seed, "clustering", MOST)
        found = encoded(encoder, [self.texts[row] for row in rows.tolist()], how)
        _, labels = np.unique(np.asarray(self.labels, dtype=object)[rows], return_inverse=True)
        generator = np.random.Generator(np.random.PCG64(how.seed))
        values = []
        for number in range(EXPERIMENTS):
            drawn = generator.integers(0, len(rows), len(rows))
            clusters = len(np.unique(labels[drawn]))
            model = means(clusters, batch_size=BATCH, n_init=1, random_state=how.seed + number)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values.append(float(v_measure(labels[drawn], model.fit_predict(found[drawn]))))
        return Answer(float(np.mean(values)), repeats=np.array(values))


@dataclass(frozen=True, eq=False)
class Retrieval(Task):
    """nDCG@10 of exact search on a collection, as `foils.evaluate.evaluate`.

    Attributes:
        data: the collection.
        split: whose queries.
    """

    kind: ClassVar[str] = "retrieval"
    measure: ClassVar[str] = "nDCG@10"
    data: Collection = field(repr=False)
    split: str = "test"

    def __len__(self) -> int:
        return len(self.data.query_rows(self.split))

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """The mean over queries."""
        # One resample: intervals are made of the values per query, together with the comparison.
        root = cache_root() if how.cache is None else how.cache.parent
        settings = Settings(rounds=1, seed=how.seed, cache=root)
        model = _Passing(encoder) if how.cache is None else encoder
        scores = evaluate(self.data, model, split=self.split, measures=[self.measure], settings=settings)
        return Answer(scores.mean(self.measure), items=scores.per_query[self.measure])


class _Passing:
    """An encoder whose weights will be others soon: nothing that it made is kept."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dim, self.encode = encoder.name, encoder.dim, encoder.encode

    def fingerprint(self, kind: Kind) -> str:
        """Of nothing that can be found again."""
        return f"{UNCACHED}{kind}"


def _cosines(encoder: Encoder, one: Sequence[str], other: Sequence[str], how: How) -> NDArray[np.float64]:
    both = encoded(encoder, [*one, *other], how)
    cosines: NDArray[np.float64] = (unit(both[: len(one)]) * unit(both[len(one) :])).sum(axis=1)
    return cosines


def _first(texts: Sequence[str], seed: int, stream: str, most: int) -> NDArray[np.int64]:
    """At most so many texts, by a hash; ascending."""
    if len(texts) <= most:
        return np.arange(len(texts))
    draws = noise.bits(seed, stream, keys_of(texts), np.zeros(1, np.uint64))
    return np.sort(np.argsort(draws, kind="stable")[:most])


def _few(
    texts: Sequence[str], labels: Sequence[str], seed: int, number: int, *, own: bool = False
) -> NDArray[np.int64]:
    """Eight texts of each label, by a hash that is another for each probe; of ``own`` texts one is left to ask."""
    draws = noise.bits(seed, f"probe {number}", keys_of(texts), np.zeros(1, np.uint64))
    _, label = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    order = np.lexsort((np.arange(len(draws)), draws, label))
    sizes = np.bincount(label)
    within = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[within < np.repeat(np.minimum(SHOTS, sizes - own), sizes)])
