"""Guards: candidates that are probably relevant, judged by all positives' scores, by their parent or by their text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import pair_scores
from foils.core import ragged
from foils.core.errors import DataError, PipelineError
from foils.core.minhash import NearTexts
from foils.core.packing import pack, unpack
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.load import saved_scores
from foils.stages.parents import Parents, parents
from foils.stages.readers import Filter
from foils.stages.stage import Columns
from foils.store import Saved

_AT_ONCE = 1 << 16  # positives scored at a time
_PAIRS = 1 << 20  # (candidate, positive) pairs compared at a time


@declare
class PositiveQuantile(Filter):
    """Drops candidates that score at least as high as a given share of all known positives does.

    Keeps ``s < Q_at``, where Q_at is the at-quantile (interpolated linearly) of the scores of all positives of the
    mined queries under the same column: with 0.25, a candidate is out if it beats a quarter of what is known to be
    relevant. One bound for all queries, in the units of the data: unlike a margin it means the same under every model,
    a cross-encoder's logits included. Percentiles of positives are an idea of released practice, not of a paper; the
    default is ours. Every positive of the split is scored once per run.
    """

    at: float = 0.25  # share of the positives below the bound, 0 to 1; smaller is stricter
    by: str = "score"  # score column
    judges = True
    online = False

    def check(self) -> None:
        """A share."""
        require(0 <= self.at <= 1, self, "at", "between 0 and 1")

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Below the bound; without positives there is none."""
        name = view.column(self.by)
        scores = ctx.once(("scores of positives", name, ctx.rows.tobytes()), lambda: self._scores(name, ctx))
        bound = np.quantile(scores.astype(np.float64), self.at) if len(scores) else np.inf
        below: NDArray[np.bool_] = view[self.by] < bound
        return below

    def _scores(self, name: str, ctx: Context) -> NDArray[np.float32]:
        known = ctx.data.positives(ctx.split)
        known = known.take(np.isin(known.query, ctx.rows)).bare()
        writer = ctx.scorers.get(name)
        if writer is None:
            return self._saved(name, known, ctx)
        parts = [slice(at, at + _AT_ONCE) for at in range(0, len(known), _AT_ONCE)]
        scored = [writer.scored(known.query[part], known.doc[part], ctx) for part in parts]
        return np.concatenate([np.zeros(0, np.float32), *scored])

    def _saved(self, name: str, known: Pairs, ctx: Context) -> NDArray[np.float32]:
        scores = np.full(len(known), np.nan, np.float32)
        opened: list[Saved] = ctx.once(saved_scores(name), list)
        for saved in opened:
            scores = np.where(np.isnan(scores), saved.scores_of(known, name), scores)
        holes = int(np.isnan(scores).sum())
        if holes:
            raise PipelineError(
                f"{self!r}: {holes:,} of {len(known):,} positives of split {ctx.split!r} have no score {name!r}, and "
                f"what made the others cannot score them. Add a scorer, such as BiEncoder('student'), and read its "
                f"column."
            )
        return scores


@declare
class Apart(Filter):
    """Drops candidates that are parts of the same parent document as one of the query's positives.

    The passage before or after the positive often holds the answer as well, and no label says so. ``adjacent=m`` drops
    only those within m places of a positive in that parent (`Parents.position`: the metadata's ``position``, or the
    order in the corpus); elsewhere in the same document are good hard negatives. Documents without a parent stay.
    """

    parent: str = "parent"  # metadata key that names the parent, or 'title' for documents of one title
    adjacent: int | None = None  # only so many places from a positive, at least 1; None for the whole parent
    judges = True
    online = False

    def check(self) -> None:
        """Bound of the distance."""
        require(self.adjacent is None or self.adjacent >= 1, self, "adjacent", "at least 1, or None")

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Some document must have a parent."""
        parents(ctx, self.parent)
        return super().check_columns(columns, ctx)

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Compare the distance with the bound."""
        distance = _distance_to_positive(view, parents(ctx, self.parent))
        far: NDArray[np.bool_] = distance > (np.finfo(np.float64).max if self.adjacent is None else self.adjacent)
        return far


def _distance_to_positive(view: Pairs, found: Parents) -> NDArray[np.float64]:
    """Places between each row and the nearest positive of its query in its parent, infinite without one, (n,)."""
    code = found.code[view.doc].astype(np.int64)
    position = found.position[view.doc]
    key = pack(view.query, code)
    order = np.lexsort((position, key))
    order = order[code[order] >= 0]
    nearest = np.full(len(view), np.inf)
    for way in (order, order[::-1]):
        # The last positive on the way to each row.
        last = np.maximum.accumulate(np.where(view.label[way] == POSITIVE, np.arange(len(way)), -1))
        known = np.flatnonzero(last >= 0)
        here, there = way[known], way[last[known]]
        same = key[here] == key[there]
        here, there = here[same], there[same]
        nearest[here] = np.minimum(nearest[here], np.abs(position[here] - position[there]))
    return nearest


@declare
class NearPositive(Filter):
    """Drops candidates whose text nearly duplicates one of the query's positives: they are as relevant.

    minhash: Jaccard similarity of the sets of word n-grams at least ``similarity``: MinHash (Broder 1997) with 128
    permutations finds the pairs, the exact similarity decides. 5-grams are those of Lee et al. 2022, arXiv:2107.06499,
    section 4.2; 0.8 is the customary bound. Texts of few words need shorter ``words``: of ten words, one changed in the
    middle leaves J = 0.09. With the name of a bi-encoder: cosine of the two documents' vectors at least ``similarity``;
    0.8 is far too low for most, try 0.95. Copies (equal normalised text) of positives are positives from the start and
    need no filter. Where texts are written from a template, a near-duplicate may be about something else (the same
    paragraph on trials under another disease) and a good negative: look at what was dropped with ``foils show``.
    """

    similarity: float = 0.8  # Jaccard similarity or cosine from which a candidate is out; above 0, at most 1
    by: str = "minhash"  # 'minhash', or the name of a bi-encoder
    words: int = 5  # words per shingle of MinHash
    judges = True
    online = False

    def check(self) -> None:
        """Bounds of the similarity and the shingles."""
        require(0 < self.similarity <= 1, self, "similarity", "above 0 and at most 1")
        require(self.words >= 1, self, "words", "at least 1")
        require(self.by not in ("", "score"), self, "by", "'minhash' or the name of a bi-encoder")

    def reads(self) -> tuple[str, ...]:
        """No score column."""
        return ()

    def encoders(self) -> tuple[str, ...]:
        """The bi-encoder, if one is named."""
        return () if self.by == "minhash" else (self.by,)

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Compare every candidate with every positive of its query."""
        keep = np.ones(len(view), bool)
        for candidate, positive in _candidates_and_positives(view):
            near = self._near(view.doc[candidate], view.doc[positive], ctx)
            keep[candidate[near]] = False
        return keep

    def _near(self, a: NDArray[np.int32], b: NDArray[np.int32], ctx: Context) -> NDArray[np.bool_]:
        if self.by != "minhash":
            return _cosine(ctx.vectors(self.by, "document"), a, b) >= self.similarity
        corpus = ctx.data.corpus
        texts = ctx.once(("near texts", self.words), lambda: NearTexts(corpus.texts, len(corpus), self.words))
        return texts.similar(a, b, self.similarity)


def _cosine(vectors: NDArray[np.float32], a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.float64]:
    # Many queries share both documents, and an inner product costs more than finding that out.
    pairs, inverse = np.unique(pack(a, b), return_inverse=True)
    a, b = unpack(pairs)
    docs, at = np.unique(np.concatenate([a, b]), return_inverse=True)
    length = np.sqrt(pair_scores(vectors, vectors, docs, docs).astype(np.float64))
    left, right = length[at].reshape(2, -1)
    cosine: NDArray[np.float64] = pair_scores(vectors, vectors, a, b) / np.maximum(left * right, 1e-30)
    return cosine[inverse]


def _candidates_and_positives(view: Pairs) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of all (candidate, positive) pairs of each query, about a million at a time."""
    candidates, positives = np.flatnonzero(view.label == CANDIDATE), np.flatnonzero(view.label == POSITIVE)
    first = np.searchsorted(view.query[positives], view.query[candidates], side="left")
    size = np.searchsorted(view.query[positives], view.query[candidates], side="right") - first
    for part in ragged.slices(size, _PAIRS):
        which, at = ragged.expand(first[part], size[part])
        yield candidates[part][which], positives[at]


@declare
class HeldOut(Filter):
    """Drops documents that are positives of held-out queries (dev, test) and of no query that is mined for.

    Off unless written, and for a reason: to keep what test queries need from ever being pushed away is to tell training
    which documents the test is about, and it inflates test figures. Use it where the held-out part stands for documents
    that nobody may touch, not to raise a score. What is always on is the other direction: queries that are asked in a
    held-out split, too, are not mined for (``Miner.leaks``).
    """

    splits: tuple[str, ...] | None = None  # whose positives; by default every split but training's and the mined one
    judges = True
    online = False

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """The splits must be there, and not be the one that is mined."""
        if ctx.split in (self.splits or ()):
            raise DataError(f"{self!r}: {ctx.split!r} is the split that is mined.", remedy="Name other splits.")
        self._documents(ctx)
        return super().check_columns(columns, ctx)

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Not one of those documents."""
        return ~np.isin(view.doc, self._documents(ctx))

    def _documents(self, ctx: Context) -> NDArray[np.int32]:
        return ctx.once(("held out", self.splits), lambda: self._read(ctx))

    def _read(self, ctx: Context) -> NDArray[np.int32]:
        splits = ctx.data.held_out(ctx.split) if self.splits is None else self.splits
        theirs = [ctx.data.positives(split).doc for split in splits]
        return np.setdiff1d(np.concatenate([np.zeros(0, np.int32), *theirs]), ctx.data.positives(ctx.split).doc)
