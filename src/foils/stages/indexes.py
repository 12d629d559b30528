"""Which index a stage searches, by the text that asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from foils.adapters import ann
from foils.adapters.ann import Prepared, Wanted
from foils.adapters.ann_settings import Exact, Settings
from foils.adapters.ann_text import parse
from foils.stages.context import Context


def prepared(ctx: Context, encoder: str, text: str, k: int) -> Prepared:
    """The index over the documents' vectors of an encoder, built or found in the cache, with what manifests say of it.

    Everything it depends on is the same for all blocks of queries, and for a run that continues another.

    Args:
        ctx: the surroundings.
        encoder: name of the bi-encoder.
        text: which index; see `foils.adapters.ann_text.parse`.
        k: documents wanted per query, known positives aside.
    """
    return ctx.once(("prepared", encoder, text, k), lambda: _prepared(ctx, encoder, text, k))


def record(ctx: Context, encoder: str, text: str, k: int) -> dict[str, Any] | None:
    """What manifests say of that index; None for exact search, which is not built for the asking."""
    if isinstance(_derived(ctx, encoder, text, k), Exact):
        return None
    return prepared(ctx, encoder, text, k).record


def checked(ctx: Context, encoder: str, text: str, k: int) -> None:
    """Refuse an index that cannot be built, before hours of encoding.

    Raises:
        SpecError: parameters that do not fit the collection.
        MissingExtra: its library is not installed.
    """
    derived = _derived(ctx, encoder, text, k)
    if not isinstance(derived, Exact):
        ann.library_version(derived)


def _depth(ctx: Context, k: int) -> int:
    """Documents to find per query, so that k remain besides the known positives."""
    known = np.bincount(ctx.data.positives(ctx.split).query).max(initial=0)
    return min(len(ctx.data.base.corpus), k + int(known))


def _derived(ctx: Context, encoder: str, text: str, k: int) -> Settings:
    return parse(text).derive(len(ctx.data.base.corpus), ctx.encoder(encoder).dim, _depth(ctx, k))


def _prepared(ctx: Context, encoder: str, text: str, k: int) -> Prepared:
    derived = _derived(ctx, encoder, text, k)
    if isinstance(derived, Exact):
        return Prepared(ctx.index(encoder), None)
    vectors = ann.fingerprint(ctx.encoder(encoder).fingerprint("document"), ctx.data.base.corpus.fingerprint)
    wanted = Wanted(parse(text), k, _depth(ctx, k), vectors, ctx.store(encoder) / "indexes")
    rows = ctx.data.query_rows(ctx.split)
    asked = rows[ann.sampled(ctx.data.queries.keys[rows])].astype(np.int32)
    queries = ctx.to(asked).vectors(encoder, "query")
    if ctx.progress is not None:
        ctx.progress(f"indexing documents with {encoder}", 0, 1)
    return ann.prepare(ctx.searched(encoder), queries, wanted)
