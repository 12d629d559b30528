"""`Perturb`: negatives made of positives by small edits; `Identity`: the same edits without a change of meaning."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from foils.adapters.exact import pair_scores
from foils.core.spec import declare, require
from foils.core.text import did_you_mean, shown
from foils.writing.author import NOBODY, Author, Desk, Wanted
from foils.writing.draft import Draft, Role
from foils.writing.edits import EDITS, Bigrams, Draw, Edited, Source, carried_out, edited, options
from foils.writing.sources import bi_encoder, bigrams, draws, sources

Choice = tuple[Edited, dict[str, float]]
POOL = 16  # edits of a text that a model scores, at most


@declare
class Perturb(Author):
    """The positive with a small edit that changes what it says; no language model is asked.

    Kinds: ``number`` (same digits, format and unit; by more than a tenth, years by up to 30), ``date`` (a date of the
    calendar in the same form), ``entity`` (a name of the same type from the corpus; no alias, not in the query, nor in
    any of its positives), ``negation`` (at the main auxiliary), ``antonym``, ``comparison`` (more and less, before and
    after, increase and decrease), ``unit`` (within a dimension, the value stays), ``modality`` (may and must, usually
    and rarely), ``deletion`` (the sentences that answer, taken out) and ``facet`` (sentences about another aspect of
    the topic, from another text, in their place). Only sentences that hold a known answer (``metadata.answers``) are
    edited, or else share content words with the query. Unless ``reach='region'``, edits of a few words must touch a
    known answer or a word of the query, a negation must stand in the clause of a known answer or, where none is known,
    in the sentence nearest to the query and a quarter of the text, and a deletion needs a known answer: others leave
    most texts as relevant as they were. Where nothing can be edited, nothing is written. English only: rules and word
    lists are our own.

    A text gets ``k`` edits, of different kinds as long as there are, in an order drawn by the ids; with ``by`` those
    with the highest score for the query under a bi-encoder, of up to 16: the text form of adversarial negatives. Each
    draft says how plausible the edit is: the mean gain of log likelihood of its place under word pairs of the corpus.

    Not every edited positive is irrelevant; see docs/writing.md for how many are not. Method: design; the kinds are
    those that embeddings are known to read badly. Defaults are ours: one edit, no ``facet``, which needs an encoder.
    """

    family: ClassVar[Role] = "negative"

    kinds: tuple[str, ...] = tuple(kind for kind in EDITS if kind != "facet")  # which edits, in no order
    k: int = 1  # drafts a text, at most
    reach: Literal["answer", "region"] = "answer"  # whether an edit must touch an answer or a word of the query
    by: str | None = None  # bi-encoder that chooses the edits with the highest score; None draws them
    encoder: str | None = None  # bi-encoder whose clusters are topics and aspects, for the kind facet

    def check(self) -> None:
        """Kinds must exist; facet needs an encoder."""
        for kind in self.kinds:
            require(kind in EDITS, self, "kinds", f"of {', '.join(EDITS)}.{did_you_mean(kind, list(EDITS))}")
        require(bool(self.kinds), self, "kinds", "at least one")
        require(self.k >= 1, self, "k", "at least 1")
        require("facet" not in self.kinds or self.encoder is not None, self, "encoder", "named for the kind facet")

    def encoders(self) -> tuple[str, ...]:
        """Those of ``by`` and, for the kind facet, of ``encoder``."""
        named = (self.by, self.encoder if "facet" in self.kinds else None)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """Up to k edits of each text."""
        donors = self.encoder if "facet" in self.kinds else None
        texts = list(sources(wanted, desk, names="entity" in self.kinds, donors=donors))
        drawn = draws("perturb", wanted, desk)
        if self.by is None:
            found = [self._drawn(source, draw) for source, draw in zip(texts, drawn, strict=True)]
            chosen: list[list[Choice]] = [[(made, {}) for made in edits] for edits in found]
        else:
            chosen = self._scored(texts, drawn, desk)
        pairs = bigrams(desk)
        rows = zip(wanted.query.tolist(), wanted.doc.tolist(), texts, chosen, strict=True)
        for query, doc, source, edits in rows:
            for made, how in edits:
                yield drafted(query, doc, source, made, pairs, how)

    def _drawn(self, source: Source, draw: Draw) -> list[Edited]:
        # One of each kind in the drawn order, then the second of each, and so on.
        found: list[Edited] = []
        kinds = draw.ordered(self.kinds, "kind")
        for nth in range(self.k):
            more = (edited(kind, source, draw, nth, self.reach) for kind in kinds)
            for made in more:
                if made is not None:
                    found.append(made)
                if len(found) == self.k:
                    return found
        return found

    def _scored(self, texts: list[Source], drawn: list[Draw], desk: Desk) -> list[list[Choice]]:
        assert self.by is not None
        encoder = bi_encoder(self.by, desk, self)
        pool = [self._pool(source, draw) for source, draw in zip(texts, drawn, strict=True)]
        flat = [shown(made.title, made.text) for edits in pool for made in edits]
        if not flat:
            return [[] for _ in texts]
        query = encoder.encode([source.query for source in texts], "query")
        owner = np.repeat(np.arange(len(texts)), [len(edits) for edits in pool])
        found = pair_scores(query, encoder.encode(flat, "document"), owner, np.arange(len(flat)))
        # Rounded, since what else is in a batch may change the last bits of a vector.
        scores = iter(np.round(found.astype(np.float64), 4).tolist())
        return [self._best([(made, {"score": next(scores)}) for made in edits]) for edits in pool]

    def _best(self, choices: list[Choice]) -> list[Choice]:
        return sorted(choices, key=lambda choice: -choice[1]["score"])[: self.k]

    def _pool(self, source: Source, draw: Draw) -> list[Edited]:
        every = [(kind, option) for kind in self.kinds for option in options(kind, source, draw, self.reach)]
        kept = draw.ordered(range(len(every)), "pool")[:POOL]
        return [carried_out(every[at][0], source, every[at][1]) for at in sorted(kept)]


@declare
class Identity(Author):
    """Edits that change no meaning, on a share of the texts: without them, "edited" itself would tell a negative.

    Numbers and dates in another form (1,000 and 1000, 5% and 5 percent, two and 2, 12 March 1984 and March 12, 1984),
    units written out (km and kilometres), contractions (is not and isn't) and synonyms of a short list. The drafts are
    positives of the query, as the text is. English only. The share is ours: as many edited positives as negatives when
    half of the positives can be perturbed.
    """

    family: ClassVar[Role] = "positive"

    share: float = 0.5  # of the texts, drawn by their ids
    edits: int = 1  # at a text, at most

    def check(self) -> None:
        """A share, and at least one edit."""
        require(0 < self.share <= 1, self, "share", "above 0, at most 1")
        require(self.edits >= 1, self, "edits", "at least 1")

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """A draft for the texts of the share where there is something to edit."""
        part = wanted.take(desk.uniform("identity", wanted) < self.share)
        pairs = bigrams(desk)
        texts = zip(
            part.query.tolist(), part.doc.tolist(), sources(part, desk), draws("identity", part, desk), strict=True
        )
        for query, doc, source, draw in texts:
            every = options("identity", source, draw)
            order = draw.ordered(range(len(every)), "identity")[: self.edits]
            option = tuple(edit for at in sorted(order) for edit in every[at])
            if option and all(a.end <= b.start for a, b in pairwise(option)):
                yield drafted(query, doc, source, carried_out("identity", source, option), pairs)


def drafted(
    query: int, doc: int, source: Source, made: Edited, pairs: Bigrams, how: dict[str, float] | None = None
) -> Draft:
    """The draft of an edited text, with how plausible it is."""
    plausible = round(pairs.plausibility(source.text, made.edits), 4)
    asked = None if query == NOBODY else query
    return Draft(asked, doc, made.title, made.text, made.kind, made.edits, {"plausibility": plausible, **(how or {})})
