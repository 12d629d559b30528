"""`Views`: other wordings and parts of a positive, as further positives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from foils.core.spec import declare, require
from foils.core.text import did_you_mean
from foils.writing.author import NOBODY, Author, Desk, Wanted
from foils.writing.draft import Draft, Role
from foils.writing.edits import VIEWS, edited
from foils.writing.sources import draws, sources


@declare
class Views(Author):
    """The positive again, changed at random so that it still answers: for consistency losses and more positives.

    ``synonym`` changes about 30 % of the words that have one in a list of our own, ``drop`` takes out about 10 % of all
    words, ``crop`` keeps a run of half to nine tenths of them (independent cropping, Izacard et al. 2021,
    arXiv:2112.09118, section 3.2), ``span`` keeps one sentence that answers (after the inverse cloze task, Lee, Chang
    and Toutanova 2019, arXiv:1906.00300, section 4). Known answers (``metadata.answers``) stay; where none is known, a
    crop may lose what answers. A text gets ``k`` views of different kinds, in an order drawn by the ids. Shares are
    ours. A span is shorter than the check `Length` lets pass: ask for it with another bound, or without that check.
    Dropout views need no text: a model with dropout reads the same one twice.
    """

    family: ClassVar[Role] = "positive"

    kinds: tuple[str, ...] = ("synonym", "drop", "crop")  # which changes, in no order
    k: int = 1  # views a text, at most

    def check(self) -> None:
        """Kinds must exist."""
        for kind in self.kinds:
            require(kind in VIEWS, self, "kinds", f"of {', '.join(VIEWS)}.{did_you_mean(kind, list(VIEWS))}")
        require(bool(self.kinds), self, "kinds", "at least one")
        require(1 <= self.k <= len(self.kinds), self, "k", f"1 to {len(self.kinds)}, the number of kinds")

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """Up to k views of each text."""
        texts = sources(wanted, desk)
        for query, doc, source, draw in zip(
            wanted.query.tolist(), wanted.doc.tolist(), texts, draws("views", wanted, desk), strict=True
        ):
            every = (edited(kind, source, draw) for kind in draw.ordered(self.kinds, "kind"))
            for made in [view for view in every if view is not None][: self.k]:
                yield Draft(None if query == NOBODY else query, doc, made.title, made.text, made.kind, made.edits)
