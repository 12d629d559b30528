"""Which documents nearly repeat a positive of their query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core.minhash import NearTexts
from foils.core.packing import pack, unpack
from foils.core.ragged import expand
from foils.core.texts import Texts

_SHINGLE, _NEAR = 5, 0.8

Rows = NDArray[np.int32]


def near_positive(corpus: Texts, query: Rows, doc: Rows, positives: tuple[Rows, Rows]) -> NDArray[np.bool_]:
    """Whether shingles of five words of a document and of a positive have a Jaccard similarity of .8 or more.

    Args:
        corpus: the texts.
        query: query row of each item, int32 (n,).
        doc: its document, likewise.
        positives: query and document rows, ordered by query.

    Returns:
        bool (n,); a positive repeats itself.
    """
    of, known = positives
    lo, hi = (np.searchsorted(of, query, side).astype(np.int64) for side in ("left", "right"))
    which, place = expand(lo, hi - lo)
    hit = np.zeros(len(query), bool)
    if len(which):
        wanted, back = np.unique(pack(doc[which], known[place]), return_inverse=True)
        similar = NearTexts(corpus.texts, len(corpus), _SHINGLE).similar(*unpack(wanted), _NEAR)
        np.logical_or.at(hit, which, similar[back.reshape(-1)])
    return hit
