"""What the edits of a collection start from: its texts with their queries, answers and positives; names, word pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from foils.adapters.precomputed import Precomputed
from foils.adapters.protocols import Encoder, Reranker
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.errors import SpecError
from foils.writing.author import NOBODY, Desk, Wanted
from foils.writing.edits import Bigrams, Draw, Gazetteer, Source
from foils.writing.facets import Facets

SAMPLE = 20_000  # documents that names and word pairs are taken from, at most
DONORS = 3  # texts of another aspect that are offered


def sources(wanted: Wanted, desk: Desk, *, names: bool = False, donors: str | None = None) -> Iterator[Source]:
    """The text of each row, with all that an edit must respect.

    Args:
        wanted: the rows.
        desk: the surroundings.
        names: whether names of the corpus are needed.
        donors: the bi-encoder whose clusters give texts of another aspect, or None.
    """
    gazetteer = desk.once("gazetteer", lambda: _gazetteer(desk)) if names else None
    facets = None if donors is None else desk.once(("facets", donors), lambda: _facets(desk, donors))
    corpus, queries = desk.data.corpus, desk.data.queries
    asked = np.maximum(wanted.query, 0)
    rows = zip(
        wanted.query.tolist(),
        wanted.doc.tolist(),
        corpus.titles(wanted.doc),
        corpus.bodies(wanted.doc),
        queries.texts(asked),
        queries.metadata(asked),
        strict=True,
    )
    for query, doc, title, text, question, metadata in rows:
        if query == NOBODY:
            yield Source(text, title, gazetteer=gazetteer)
            continue
        positives = desk.positives(query)
        near = () if facets is None else corpus.bodies(facets.donors(doc, np.append(positives, doc), DONORS))
        answers = metadata.get("answers") or ()
        yield Source(text, title, question, answers, corpus.texts(positives), gazetteer, near)


def draws(stream: str, wanted: Wanted, desk: Desk) -> list[Draw]:
    """The draw of each row, by the ids of its query and document."""
    return [Draw(int(key)) for key in noise.bits(desk.seed, stream, *desk.keys(wanted))]


def bigrams(desk: Desk) -> Bigrams:
    """Word pairs of the corpus, for how plausible an edit is."""
    return desk.once("bigrams", lambda: Bigrams(desk.data.base.corpus.texts(_sample(desk))))


def bi_encoder(name: str, desk: Desk, who: object) -> Encoder:
    """The bi-encoder of that name.

    Raises:
        SpecError: there is none, or it is a cross-encoder.
    """
    found: Encoder | Reranker | None = desk.encoders.get(name)
    if found is None or not hasattr(found, "encode"):
        what = "names no model that was given" if found is None else "is a cross-encoder; a bi-encoder is needed"
        raise SpecError(f"{who!r}: {name!r} {what}. Pass --encoder {name}=MODEL (Python: encoders={{{name!r}: …}}).")
    return cast(Encoder, found)


def _sample(desk: Desk) -> NDArray[np.int32]:
    keys = desk.data.base.corpus.keys
    order = np.argsort(noise.bits(0, "names", keys, np.zeros(1, np.uint64)), kind="stable")
    return np.sort(order[:SAMPLE]).astype(np.int32)


def _gazetteer(desk: Desk) -> Gazetteer:
    rows = _sample(desk)
    return Gazetteer.of(desk.data.base.corpus.titles(rows), desk.data.base.corpus.bodies(rows))


def _facets(desk: Desk, name: str) -> Facets:
    encoder = bi_encoder(name, desk, "facet")
    data = desk.data.base
    found = (
        encoder.take("document", len(data.corpus), None)
        if isinstance(encoder, Precomputed)
        else vectors(encoder, data.corpus, "document", cache=desk.cache)
    )
    return Facets.of(found, data.corpus.keys, data.corpus.titles())
