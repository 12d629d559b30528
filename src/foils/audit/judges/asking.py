"""What a language model is asked about documents of a query, and how its grades are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm import Answer, Prompt, Request
from foils.adapters.llm.prompts import block, plain, prompt
from foils.audit.judges.protocol import Rows
from foils.core import noise
from foils.core.collection import Collection
from foils.core.pairs import POSITIVE, Pairs

LIST, PAIR = "judge-list", "judge-pair"
TOGETHER = 25  # documents in one question, as in RLHN
KNOWN = 3  # known positives that are shown
LENGTH = 2000  # characters of a text
GRADES = (-1, 0, 1, 2, 3)


@dataclass(frozen=True)
class Group:
    """Documents of one query that are asked about together.

    Attributes:
        query: its row.
        docs: rows of the documents.
        places: where they stand among the pairs.
    """

    query: int
    docs: tuple[int, ...]
    places: tuple[int, ...]


class Asker:
    """Makes questions of pairs, and grades of answers.

    Args:
        data: the collection.
        pairs: whose positives are the known ones.
        asked: the prompt; of lists or of single documents.

    Raises:
        SpecError: the prompt is of another task.
    """

    def __init__(self, data: Collection, pairs: Pairs, asked: Prompt) -> None:
        self.data = data
        known = pairs.label == POSITIVE
        self._known_of, self._known_docs = pairs.query[known], pairs.doc[known]
        self.prompt = asked if asked.task in (LIST, PAIR) else prompt(asked.name, LIST)
        self._together = TOGETHER if asked.task == LIST else 1

    def groups(self, query: Rows, doc: Rows) -> list[Group]:
        """Pairs by query, in an order of the ids that knows neither rank nor score, and does not depend on theirs."""
        draw = noise.bits(0, "judge/order", self.data.queries.keys[query], self.data.corpus.keys[doc])
        order = np.lexsort((draw, self.data.queries.keys[query]))
        bounds = np.flatnonzero(np.diff(query[order])) + 1
        made = []
        for places in np.split(order, bounds) if len(order) else []:
            for start in range(0, len(places), self._together):
                part = places[start : start + self._together]
                made.append(Group(int(query[part[0]]), tuple(doc[part].tolist()), tuple(part.tolist())))
        return made

    def requests(self, groups: Sequence[Group]) -> list[Request]:
        """A question for each group."""
        return [self._request(group) for group in groups]

    def read(self, group: Group, answer: Answer) -> list[tuple[int | None, str]]:
        """Of each document its grade and the reason; None and what is wrong where there is no decision."""
        if answer.value is None:
            return [(None, answer.problem or "empty")] * len(group.docs)
        if self.prompt.task == PAIR:
            return [(answer.value["grade"], _line(answer.value["reason"]))]
        found: dict[int, list[tuple[int, str]]] = {}
        for one in answer.value["documents"]:
            found.setdefault(one["id"], []).append((one["grade"], _line(one["reason"])))
        return [_single(found.get(number, [])) for number in range(1, len(group.docs) + 1)]

    def _request(self, group: Group) -> Request:
        query = plain(self.data.queries.texts([group.query])[0])[: 2 * LENGTH]
        texts = self.data.corpus.texts(np.array(group.docs))
        values = {"query": query, "known": self._known(group, texts)}
        values["documents" if self.prompt.task == LIST else "document"] = block("document", texts, LENGTH)
        return self.prompt.request(values, len(texts))

    def _known(self, group: Group, texts: Sequence[str]) -> str:
        """Known positives that are not asked about, nor copies of what is."""
        docs = self._positives(group.query)
        docs = docs[~np.isin(docs, group.docs)]
        query = np.repeat(self.data.queries.keys[[group.query]], len(docs))
        draw = noise.bits(0, "judge/known", query, self.data.corpus.keys[docs])
        asked = {_folded(text) for text in texts}
        shown: list[str] = []
        for text in self.data.corpus.texts(docs[np.argsort(draw, kind="stable")]) if len(docs) else []:
            if _folded(text) not in asked and len(shown) < KNOWN:
                shown.append(text)
        return block("known", shown, LENGTH) if shown else "(none is known)"

    def _positives(self, query: int) -> NDArray[np.int32]:
        low, high = np.searchsorted(self._known_of, [query, query + 1])
        found: NDArray[np.int32] = self._known_docs[low:high]
        return found


def _single(found: Sequence[tuple[int, str]]) -> tuple[int | None, str]:
    """The grade of a document that is answered about once, or always alike."""
    if not found:
        return None, "left out"
    if len({grade for grade, _ in found}) > 1:
        return None, "graded twice, and differently"
    return found[0]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
