"""Texts of the same topic about another aspect, by clusters of a collection's vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        subjects: those with the same title; none where there is no title.
    """

    vectors: NDArray[np.float32]
    topic: NDArray[np.int32]
    aspect: NDArray[np.int32]
    topics: Groups
    subjects: Groups

    @classmethod
    def of(cls, vectors: NDArray[np.float32], keys: Keys, titles: Sequence[str] | None = None) -> Facets:
        """The facets of vectors, float32 (n, d), whose external ids have these keys; a function of all three alone."""
        count = max(1, math.ceil(len(vectors) / PER_TOPIC))
        centroids = spherical_kmeans(vectors, keys, count)
        topic, _ = nearest(vectors, centroids)
        rest = unit(unit(vectors) - centroids[topic])
        aspect, _ = nearest(rest, spherical_kmeans(rest, keys, min(ASPECTS, len(rest))))
        known = np.array([title.casefold() for title in titles] if titles else [""] * len(vectors), object)
        names, code = np.unique(known, return_inverse=True)
        subjects = np.where(known == "", -1, code).astype(np.int32)
        return cls(vectors, topic, aspect, Groups(topic, count), Groups(subjects, len(names)))

    def donors(self, doc: int, banned: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """The k documents of a document's topic and another aspect that are nearest to it, int32 (at most k,).

        Those with its title come first, of whatever topic.

        Args:
            doc: row of the document.
            banned: rows that must not be among them, such as the query's positives.
            k: how many at most.
        """
        same, near = (self._nearest(doc, _members(groups, doc), banned) for groups in (self.subjects, self.topics))
        both = np.concatenate([same, near[~np.isin(near, same)]])
        return both[:k].astype(np.int32)

    def _nearest(self, doc: int, members: NDArray[np.int32], banned: NDArray[np.int32]) -> NDArray[np.int32]:
        other = members[(self.aspect[members] != self.aspect[doc]) & ~np.isin(members, banned)]
        scores = (unit(self.vectors[other]).astype(np.float64) * unit(self.vectors[doc : doc + 1])).sum(axis=1)
        ordered: NDArray[np.int32] = other[np.lexsort((other, -scores))]
        return ordered


def _members(groups: Groups, doc: int) -> NDArray[np.int32]:
    code = groups.code[doc]
    if code < 0:
        return np.empty(0, np.int32)
    first, last = groups.starts[code : code + 2]
    return groups.order[first:last]
