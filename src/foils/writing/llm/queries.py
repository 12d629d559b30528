"""Queries that a language model writes from documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm.prompts import cut
from foils.core import noise
from foils.core.collection import family as purpose
from foils.core.errors import DataError
from foils.core.spec import declare, require
from foils.writing.author import Desk, Wanted
from foils.writing.check import Check
from foils.writing.draft import Role
from foils.writing.llm.asking import LLMAuthor, Question, Said, shown
from foils.writing.llm.checks import Generic, RoundTrip, Verbatim, Words

MOST_SHOTS = 8  # Promptagator's
_SHOT = 1000  # characters of a document in an example

Style = Literal["gpl", "inpars", "gbq", "promptagator"]


@declare
class Queries(LLMAuthor):
    """Training queries for documents, k for each, in one of the published styles.

    ``gpl``: the model is shown the document only (Wang et al. 2022, arXiv:2112.07577, section 3.1; there a doc2query
    model). ``inpars``: three fixed examples first (Bonifacio et al. 2022, arXiv:2202.05144, "vanilla"). ``gbq``: three
    fixed examples of good and bad questions (the same, "guided by bad questions"). ``promptagator``: up to ``shots``
    documents with queries of the collection itself (Dai et al. 2022, arXiv:2209.11755, section 3.1), drawn from
    ``split``, which must be one for training; never the document at hand.

    Its checks reject, each with its reason, queries of fewer than three words (InPars), generic ones, spans copied from
    the document, and repeats after case and white space are folded, of the collection's own queries too. With
    ``round_trip=k`` (Promptagator, section 3.2: 1) exactly those stay whose own document, or a copy of it, an exact
    search ranks among the first k: by BM25, or by the bi-encoder that ``encoder`` names. The model there is trained on
    the unfiltered queries; since replies are kept, writing again with it costs nothing.

    The reply names what each query is about before the query. GPL's labels are margins of a cross-encoder,
    CE(q, p+) - CE(q, p-) with their sign: mine for the split ``written`` with ``>> CrossEncoder('teacher')`` and train
    with MarginMSE. Defaults: three queries a document, GPL's for large corpora; the prompts' words are ours.
    """

    k: int = 3  # queries for each document, 1 to 20
    style: Style = "gpl"  # what the model is shown
    shots: int = 8  # of promptagator, 1 to 8
    split: str = "train"  # of promptagator: where its examples are from
    round_trip: int | None = None  # rank within which a query must find its document; None: not asked for
    encoder: str | None = None  # name of the bi-encoder that ranks; None: BM25
    temperature: float = 0.7  # of the model's draws, 0 to 2
    prompt: str | None = None  # a file in place of the shipped prompt

    family: ClassVar[Role] = "query"

    def check(self) -> None:
        """Bounds of k, the temperature, shots and the rank; examples are not those of held-out queries."""
        super().check()
        require(1 <= self.shots <= MOST_SHOTS, self, "shots", f"between 1 and {MOST_SHOTS}")
        require(self.round_trip is None or self.round_trip >= 1, self, "round_trip", "at least 1, or None")
        require(purpose(self.split) == "train", self, "split", "one for training: others are held out")

    @property
    def kind(self) -> str:
        """The style."""
        return self.style

    @property
    def task(self) -> str:  # type: ignore[override]
        """Of the prompt: whether it takes examples."""
        return "queries-from-examples" if self.style == "promptagator" else "queries"

    @property
    def shipped(self) -> str:  # type: ignore[override]
        """The prompt of the style."""
        return f"queries-{self.style}"

    def encoders(self) -> tuple[str, ...]:
        """The bi-encoder that ranks, if one does."""
        return () if self.round_trip is None or self.encoder is None else (self.encoder,)

    def checks(self) -> tuple[Check, ...]:
        """Of queries; the round trip if it is asked for."""
        found = (*super().checks(), Words(), Generic(), Verbatim())
        return found if self.round_trip is None else (*found, RoundTrip(self.round_trip, self.encoder))

    def questions(self, wanted: Wanted, desk: Desk) -> list[Question]:
        """One for each document."""
        seeds = self.seeds(wanted, desk)
        texts = desk.data.corpus.texts(wanted.doc)
        prompt, made = self.asking(), []
        for row, (doc, text) in enumerate(zip(wanted.doc.tolist(), texts, strict=True)):
            gaps = {"document": shown(text), "number": str(self.k)}
            if self.style == "promptagator":
                gaps["examples"] = self._examples(doc, desk)
            made.append(Question(row, self.request(prompt, gaps, self.k, int(seeds[row])), texts=self.k))
        return made

    def read(self, value: Any) -> Sequence[Said]:
        """The queries, each with what it is about."""
        return [Said(" ".join(one["query"].split()), made={"about": one["about"]}) for one in value["queries"]]

    def _examples(self, doc: int, desk: Desk) -> str:
        """The first of the drawn examples that are of other documents."""
        docs, texts = desk.once(("examples", self), lambda: _drawn(self, desk))
        others = np.flatnonzero(desk.data.same[docs] != desk.data.same[doc])[: self.shots]
        return "\n".join(texts[place].replace("$i", str(i), 1) for i, place in enumerate(others.tolist(), 1))


def _drawn(author: Queries, desk: Desk) -> tuple[NDArray[np.int32], list[str]]:
    """Documents and examples of distinct queries in the order of their draws; more than needed, for those left out."""
    pairs = desk.data.positives(author.split)
    if not len(pairs):
        raise DataError(f"no positives in {author.split!r}: promptagator shows examples.", remedy="Use another style.")
    draw = noise.uniform(
        desk.seed, "Queries/examples", desk.data.queries.keys[pairs.query], desk.data.corpus.keys[pairs.doc]
    )
    order = np.argsort(draw, kind="stable")
    _, first = np.unique(pairs.query[order], return_index=True)
    chosen = order[np.sort(first)]
    # Copies of one document could be among the first; each distinct text is shown once.
    _, distinct = np.unique(desk.data.same[pairs.doc[chosen]], return_index=True)
    chosen = chosen[np.sort(distinct)][: author.shots + 1]
    queries, docs = desk.data.queries.texts(pairs.query[chosen]), desk.data.corpus.texts(pairs.doc[chosen])
    made = [
        f'<example id="$i">\n<document>\n{cut(text, _SHOT)}\n</document>\n<query>\n{shown(query)}\n</query>\n</example>'
        for query, text in zip(queries, docs, strict=True)
    ]
    return pairs.doc[chosen], made
