"""Queries made of the documents themselves, for training before there are judged ones: titles, or sentences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from foils.core import noise
from foils.core.beir import WRITE_ROWS, new_folder, text_rows, write_qrels, write_texts
from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError
from foils.core.pieces import cut_of
from foils.core.text import keys_of, normalised

Weak = Literal["titles", "sentences"]
KEPT = 0.1  # share of documents that keep the sentence they are asked with; Lee et al. 2019


class _Drawn(NamedTuple):
    """A document and the query made of it."""

    document: dict[str, Any]
    query: str | None


def write_weak(data: Collection, out: str | Path, kind: Weak, seed: int = 0) -> Path:
    """Write a collection in the BEIR layout whose queries are parts of its documents.

    ``titles``: each document's title asks for its text, which loses the title. ``sentences``: one sentence of each
    document, drawn by (seed, id), asks for the rest; in a tenth of them it stays where it is, so that words may match,
    too. That is the inverse cloze task (Lee, Chang and Toutanova 2019, arXiv:1906.00300, section 4). Documents with no
    title, or of fewer than two sentences, are in the corpus, but nobody asks for them. A title or sentence that is a
    query of the collection (normalised) is not asked either: it might be one that is held out.

    Args:
        data: the collection; only its documents and the texts of its queries are read.
        out: a new folder; its split is ``train``.
        kind: what becomes a query.
        seed: of the draws.

    Returns:
        The folder.

    Raises:
        SpecError: another kind.
        DataError: the folder is not empty, or no document makes a query.
    """
    if kind not in get_args(Weak):
        raise SpecError(f"queries cannot be made of {kind!r}; use {' or '.join(map(repr, get_args(Weak)))}.")
    folder = new_folder(out)
    asking = ((f"weak-{row['_id']}", query, row["_id"]) for row, query in _drawn(data, kind, seed) if query is not None)
    first = next(asking, None)
    if first is None:
        needed = "a title and a text" if kind == "titles" else "two sentences"
        raise DataError(f"no document of {data.name!r} has {needed}.", remedy="Use another kind of weak queries.")
    # One pass for each file: a collection need not fit into memory.
    write_texts(folder / "corpus.jsonl", (row for row, _ in _drawn(data, kind, seed)))
    asked = itertools.chain([first], asking)
    write_texts(folder / "queries.jsonl", ({"_id": name, "text": text} for name, text, _ in asked))
    pairs = ((f"weak-{row['_id']}", row["_id"], 1.0) for row, query in _drawn(data, kind, seed) if query is not None)
    write_qrels(folder, "train", pairs)
    return folder


def _drawn(data: Collection, kind: Weak, seed: int) -> Iterator[_Drawn]:
    known = np.sort(keys_of(map(normalised, data.queries.texts())))
    rows = text_rows(data.corpus)
    for at in range(0, len(data.corpus), WRITE_ROWS):
        block = [row for row, _ in zip(rows, range(min(WRITE_ROWS, len(data.corpus) - at)), strict=False)]
        made = _titles(block) if kind == "titles" else _sentences(block, seed)
        keys = keys_of([normalised(drawn.query or "") for drawn in made])
        for drawn, leaked in zip(made, np.isin(keys, known), strict=True):
            yield _Drawn(drawn.document, None) if leaked else drawn


def _titles(block: list[dict[str, Any]]) -> list[_Drawn]:
    asks = [row.get("title", "").strip() if row["text"].strip() else "" for row in block]
    return [
        _Drawn({**row, "title": ""}, title) if title else _Drawn(row, None)
        for row, title in zip(block, asks, strict=True)
    ]


def _sentences(block: list[dict[str, Any]], seed: int) -> list[_Drawn]:
    ids = np.array([noise.key_of(row["_id"]) for row in block], np.uint64)
    none = np.zeros(1, np.uint64)
    places = noise.uniform(seed, "weak/sentence", ids, none).tolist()
    stays = (noise.uniform(seed, "weak/stays", ids, none) < KEPT).tolist()
    cut, made = cut_of("sentences"), []
    for row, place, stay in zip(block, places, stays, strict=True):
        pieces = cut(row["text"])
        if len(pieces) < 2:
            made.append(_Drawn(row, None))
            continue
        chosen = int(place * len(pieces))
        rest = " ".join(piece for number, piece in enumerate(pieces) if number != chosen)
        made.append(_Drawn(row if stay else {**row, "text": rest}, pieces[chosen]))
    return made
