"""`Author`: who writes texts. A declared value, as stages are; one method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm import LLM, Estimate
from foils.adapters.protocols import Encoder, Reranker
from foils.core import noise
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.pairs import Pairs, union
from foils.core.spec import Declared, Kind
from foils.stages.context import Context
from foils.writing.draft import Draft, Role, Start

if TYPE_CHECKING:
    from foils.writing.check import Check

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
NOBODY = -1  # in place of a query's row where a text is written from a document alone


@dataclass(frozen=True, eq=False)
class Wanted:
    """The texts to start from, a block of them; one row each.

    Attributes:
        query: int32 (n,), row of the query, -1 for none; ascending.
        doc: int32 (n,), row of its positive, or of the document that a query is to be written from; always one of the
            base, never a written one.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: Any) -> Wanted:
        """The given rows: a slice, a mask or row numbers."""
        return Wanted(self.query[rows], self.doc[rows])


@dataclass(frozen=True, eq=False)
class Desk:
    """What an author may use.

    Attributes:
        data: the collection. Texts of the corpus to borrow from are those of ``data.base``.
        split: whose queries are written for.
        seed: of every draw.
        cache: folder for what is made once.
        llm: the language model that writes, or None.
        judge: the language model that checks, within the same budget; None for the one that writes.
        encoders: bi-encoders and cross-encoders by the names that authors and checks use.
        progress: called with (what, done, total), or None.
        tally: what authors count besides drafts, such as replies that gave none; goes into the record.
    """

    data: Collection
    split: str
    seed: int
    cache: Path
    llm: LLM | None = None
    judge: LLM | None = None
    encoders: Mapping[str, Encoder | Reranker] = field(default_factory=dict)
    progress: Progress | None = None
    tally: Counter[str] = field(default_factory=Counter)
    _made: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Make something on first use and share it between blocks; keep it small, or memory-mapped."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def keys(self, wanted: Wanted) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Keys of the external ids of query and document, uint64 (n,) each, which draws are keyed by; 0 for no query.

        With them ``foils.core.noise.uniform(desk.seed, "stream", *desk.keys(wanted))`` depends on neither block nor
        order.
        """
        some = wanted.query >= 0
        query = np.where(some, self.data.queries.keys[np.where(some, wanted.query, 0)], np.uint64(0))
        return query, self.data.corpus.keys[wanted.doc]

    def uniform(self, stream: str, wanted: Wanted) -> NDArray[np.float64]:
        """A draw in (0, 1) for each row, float64 (n,); another stream, other draws."""
        return noise.uniform(self.seed, stream, *self.keys(wanted))

    def positives(self, query: int) -> NDArray[np.int32]:
        """All known positives of a query, of whatever split, copies included; int32, ascending."""
        everywhere = self.once("positives", lambda: _everywhere(self.data))
        return everywhere.doc[slice(*np.searchsorted(everywhere.query, [query, query + 1]))]

    @cached_property
    def context(self) -> Context:
        """The surroundings that stages know: models, vectors and indexes of the base."""
        base = self.data.base
        rows = np.arange(0, dtype=np.int32)
        return Context(base, self.split, self.seed, rows, rows, self.encoders, self.cache, self.progress)

    def model(self, who: Declared) -> LLM:
        """The language model that writes.

        Args:
            who: asks, for the message.

        Raises:
            SpecError: none was given.
        """
        if self.llm is None:
            remedy = "Pass --model NAME and --llm-url URL (Python: Options(model=…)); see docs/llm.md."
            raise SpecError(f"{who!r} asks a language model, and none was named. {remedy}")
        return self.llm

    def tell(self, what: str, done: int, total: int) -> None:
        """Report progress, if somebody listens."""
        if self.progress is not None:
            self.progress(what, done, total)


def _everywhere(data: Collection) -> Pairs:
    parts = [data.positives(split).bare() for split in data.splits]
    return union(parts) if parts else Pairs.empty()


class Author(Declared):
    """Writes texts. A frozen value with a text form; subclass it, ``@declare`` it, give it ``write``.

    What it writes for a row must depend on that row, the collection, the seed and its own fields only: not on the other
    rows of the block, nor on their order. Draws are keyed by ids: see `Desk.uniform`.
    """

    role: ClassVar[Kind] = "author"
    family: ClassVar[Role]  # what its drafts are for
    per_query: ClassVar[int | None] = 1  # positives of a query to write from, unless somebody says otherwise; None: all

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """Drafts for a block of rows, in any order; none for a row that cannot be written from."""
        raise NotImplementedError

    @property
    def writes(self) -> Role:
        """What its drafts are for: its ``family``."""
        return self.family

    @property
    def starts(self) -> Start:
        """What it writes from: queries from documents, all else from pairs of a query and its positive."""
        return "document" if self.writes == "query" else "pair"

    def encoders(self) -> tuple[str, ...]:
        """Names of the models it uses: the field ``encoder``, if it has one."""
        own = getattr(self, "encoder", None)
        return () if own is None else (own,)

    def prompts(self) -> tuple[str, ...]:
        """Labels (name, version, digest) of the prompts that it uses, for the record; none without a model."""
        return ()

    def checks(self) -> tuple[Check, ...]:
        """Checks of its own, which its drafts must pass besides the usual ones."""
        return ()

    def inputs(self) -> dict[str, str]:
        """Fingerprints of files that it reads besides the collection and the models."""
        return {}

    def estimate(self, wanted: Wanted, desk: Desk) -> Estimate | None:
        """What writing for a block would ask of the language model and cost; asks nobody. None without a model."""
        return None
