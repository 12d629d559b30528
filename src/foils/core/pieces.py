"""Documents cut into sentences or runs of words, each a document of its own that knows what it is a part of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foils.core.answers import compile_answers, tokens_of
from foils.core.beir import WRITE_ROWS, new_folder, text_rows, write_qrels, write_texts
from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError

Cut = Callable[[str], list[str]]
# After . ! or ? (and closing quotes or brackets), before what can begin a sentence; line breaks always end one.
_SENTENCE = re.compile(
    r"""(?<=[.!?])\s+(?=["'“‘(\[]?[^\W_a-z])|(?<=[.!?]["'”’)\]])\s+(?=["'“‘(\[]?[^\W_a-z])|\s*\n\s*"""
)


def cut_of(text: str) -> Cut:
    """The way of cutting that a text names.

    ``sentences`` cuts after ``.``, ``!`` or ``?`` where white space and a capital letter or digit follow, and at line
    breaks; it knows no abbreviations, so "Dr. Smith" is cut. ``words:200`` makes runs of 200 words; the last is what
    is left. A text without words is one piece.

    Raises:
        SpecError: neither of the two, or fewer than one word.

    >>> cut_of("sentences")("It rained. Nobody (in May!) came, e.g. here.")
    ['It rained.', 'Nobody (in May!) came, e.g. here.']
    >>> cut_of("words:2")("one two three")
    ['one two', 'three']
    """
    if text == "sentences":
        return lambda body: [piece for piece in map(str.strip, _SENTENCE.split(body)) if piece] or [body]
    kind, _, number = text.partition(":")
    if kind != "words" or not number.isdecimal() or int(number) < 1:
        raise SpecError(f"cannot cut documents into {text!r}; use sentences, or words:200 for runs of 200 words.")
    size = int(number)

    def runs(body: str) -> list[str]:
        words = body.split()
        return [" ".join(words[at : at + size]) for at in range(0, len(words), size)] or [body]

    return runs


def write_pieces(data: Collection, out: str | Path, cut: Cut) -> Path:
    """Write a collection in the BEIR layout with each document cut into pieces.

    A piece has the title and the metadata of its document, the id ``DOCUMENT#POSITION``, and in its metadata the id of
    the document as ``parent`` and its ``position``, from 0: what `Siblings` and caps per parent read.

    A judgement holds for all pieces of its document; but where a relevant document has pieces with an answer of the
    query (``metadata.answers``, compared as `NoAnswer` does), the other pieces are not judged: they are its context.

    Args:
        data: the collection.
        out: a new folder.
        cut: see `cut_of`.

    Returns:
        The folder.

    Raises:
        DataError: the folder is not empty, or the documents have parents already.
    """
    _refuse_parents(data)
    folder = new_folder(out)
    write_texts(folder / "corpus.jsonl", (piece for row in text_rows(data.corpus) for piece in _pieces(row, cut)))
    write_texts(folder / "queries.jsonl", text_rows(data.queries))
    for split in data.splits:
        write_qrels(folder, split, _judged(data, split, cut))
    return folder


def _refuse_parents(data: Collection) -> None:
    for at in range(0, len(data.corpus), WRITE_ROWS):
        rows = np.arange(at, min(at + WRITE_ROWS, len(data.corpus)))
        for row, metadata in zip(rows, data.corpus.metadata(rows), strict=True):
            if "parent" in metadata:
                document = f"document {data.corpus.id_list([row])[0]!r} of {data.name!r}"
                remedy = "Cut the collection that it was made from, or use its pieces as they are."
                raise DataError(f"{document} has a parent already: {metadata['parent']!r}.", remedy=remedy)


def _pieces(row: dict[str, Any], cut: Cut) -> Iterator[dict[str, Any]]:
    for position, text in enumerate(cut(row["text"])):
        metadata = {**row["metadata"], "parent": row["_id"], "position": position}
        yield {**row, "_id": f"{row['_id']}#{position}", "text": text, "metadata": metadata}


def _judged(data: Collection, split: str, cut: Cut) -> Iterator[tuple[str, str, float]]:
    qrels = data.qrels(split)
    for at in range(0, len(qrels), WRITE_ROWS):
        part = qrels.take(np.arange(at, min(at + WRITE_ROWS, len(qrels))))
        rows = zip(
            data.queries.id_list(part.query),
            data.queries.metadata(part.query),
            data.corpus.id_list(part.doc),
            data.corpus.bodies(part.doc),
            part["grade"].tolist(),
            strict=True,
        )
        for query, metadata, doc, body, grade in rows:
            pieces = cut(body)
            answering = _answering(pieces, metadata.get("answers") or []) if grade > 0 else []
            for position in answering or range(len(pieces)):
                yield query, f"{doc}#{position}", grade


def _answering(pieces: list[str], answers: list[str]) -> list[int]:
    has_answer = compile_answers(answers, "string")
    return [position for position, piece in enumerate(pieces) if has_answer(tokens_of(piece))]
