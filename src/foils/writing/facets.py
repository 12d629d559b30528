"""Texts of the same topic about another aspect, by clusters of a collection's vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.adapters.kmeans import nearest, spherical_kmeans, unit
from foils.core.groups import Groups
from foils.core.text import Keys

PER_TOPIC = 32  # documents a topic has on average
ASPECTS = 12  # clusters of what is left of a document's vector when its topic is taken away


@dataclass(frozen=True, eq=False)
class Facets:
    """Two groupings of documents: what they are about, and what of it they say.

    Topics are spherical k-means of the vectors. Aspects are spherical k-means of what is left of each vector when its
    topic's centroid is taken away, over all topics at once: symptoms of one illness and of another fall together. The
    numbers of both are ours.

    Attributes:
        vectors: float32 (n, d), of unit length or not; only their direction counts.
        topic: int32 (n,).
        aspect: int32 (n,).
        topics: the documents of each topic.
    """

    vectors: NDArray[np.float32]
    topic: NDArray[np.int32]
    aspect: NDArray[np.int32]
    topics: Groups

    @classmethod
    def of(cls, vectors: NDArray[np.float32], keys: Keys) -> Facets:
        """The facets of vectors, float32 (n, d), whose external ids have these keys; a function of both alone."""
        count = max(1, math.ceil(len(vectors) / PER_TOPIC))
        centroids = spherical_kmeans(vectors, keys, count)
        topic, _ = nearest(vectors, centroids)
        rest = unit(unit(vectors) - centroids[topic])
        aspect, _ = nearest(rest, spherical_kmeans(rest, keys, min(ASPECTS, len(rest))))
        return cls(vectors, topic, aspect, Groups(topic, count))

    def donors(self, doc: int, banned: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """The k documents of a document's topic and another aspect that are nearest to it, int32 (at most k,).

        Args:
            doc: row of the document.
            banned: rows that must not be among them, such as the query's positives.
            k: how many at most.
        """
        first, last = self.topics.starts[self.topic[doc] : self.topic[doc] + 2]
        members = self.topics.order[first:last]
        other = members[(self.aspect[members] != self.aspect[doc]) & ~np.isin(members, banned)]
        scores = (unit(self.vectors[other]).astype(np.float64) * unit(self.vectors[doc : doc + 1])).sum(axis=1)
        chosen: NDArray[np.int32] = other[np.lexsort((other, -scores))[:k]]
        return chosen
