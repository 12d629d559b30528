"""The source of candidates that are there already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from foils.core import segments
from foils.core.errors import DataError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, union
from foils.core.spec import declare, parse, require
from foils.stages.context import Context
from foils.stages.stage import Columns, Stage
from foils.stages.writers import Writer
from foils.store import MANIFEST, Negatives, Saved, fingerprint_of


def saved_scores(column: str) -> tuple[str, str]:
    """The key of `Context.once` under which `Load` leaves all that it opened with a score column (`Saved`)."""
    return "saved scores", column


@declare
class Load(Stage):
    """Candidates that are already there: saved negatives, a TREC run, another tool's file, or given with the data.

    With ``which='all'`` the candidates that were dropped when the folder was mined take part again, with all their
    scores, so another strategy or threshold needs no search and no encoding. Score columns keep their names; the scores
    of a TREC run or of another tool's file are the column ``run``.
    """

    family = "source"

    path: str  # folder of foils negatives, TREC run, file of another tool, or 'given'
    k: int | None = None  # at most so many per query, best first; all by default
    which: Literal["kept", "all"] = "kept"  # of a folder: what survived then, or everything

    def check(self) -> None:
        """Bound of k."""
        require(self.k is None or self.k >= 1, self, "k", "at least 1")

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k, if it has one."""
        return self if self.k is None else replace(self, k=self.k * factor)

    def _saved(self, ctx: Context) -> Saved:
        return ctx.once(("load", self), lambda: self._open(ctx))

    def _open(self, ctx: Context) -> Saved:
        saved = Saved(Path(self.path), ctx.data, self.which)
        for name in saved.names:
            opened: list[Saved] = ctx.once(saved_scores(name), list)
            opened.append(saved)
        return saved

    def _share(self, ctx: Context) -> Pairs:
        if self.path != "given":
            return self._saved(ctx).of(int(ctx.block[0]), int(ctx.block[-1]))
        given = self._given(ctx)
        return given.take(np.arange(*np.searchsorted(given.query, [ctx.block[0], ctx.block[-1] + 1])))

    def _given(self, ctx: Context) -> Pairs:
        given = ctx.data.given(ctx.split)
        if not len(given):
            raise DataError(
                f"{self!r}: split {ctx.split!r} of {ctx.data.name!r} came without negatives.",
                remedy="Use a source such as BM25(k=100), or name a folder or run file.",
            )
        return given

    def inputs(self, ctx: Context) -> dict[str, str]:
        """Fingerprint of the folder or file."""
        return {} if self.path == "given" else {self.path: fingerprint_of(Path(self.path))}

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Merge the block's share of the saved candidates, and the scores saved for its positives."""
        share = self._share(ctx)
        # A row that was a positive then and is none in this split is nobody's candidate.
        share = share.take(np.isin(share.query, ctx.block) & ((share.label == CANDIDATE) | (pairs.find(share) >= 0)))
        if self.k is not None:
            by = share[share.latest] if share.latest else -np.arange(len(share), dtype=np.float64)
            best = np.where(share.label == CANDIDATE, np.nan_to_num(by, nan=-np.inf), -np.inf)
            share = share.take(segments.topk_mask(best, share.starts, self.k, share.doc) | (share.label == POSITIVE))
        share = replace(share, label=np.zeros(len(share), np.int8))
        return union([pairs, share])

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Brings the columns of the file."""
        saved, latest = self._columns(ctx)
        names = tuple(dict.fromkeys((*columns.names, *saved)))
        made = self._origins(ctx)
        origins = columns.shared({name: made.get(name, f"{name} in {self.path}") for name in saved}, self)
        if columns.latest is not None and columns.latest != latest:
            return Columns(names, None, (columns.latest, latest or "load"), True, origins)
        return Columns(names, latest, () if latest is not None else saved, True, origins)

    def _columns(self, ctx: Context) -> tuple[tuple[str, ...], str | None]:
        if self.path == "given":
            given = self._given(ctx)
            return tuple(given.scores), given.latest
        saved = self._saved(ctx)
        return saved.names, saved.latest

    def _origins(self, ctx: Context) -> dict[str, str]:
        """What made the columns of a folder that was mined from this very collection."""
        if not (Path(self.path) / MANIFEST).is_file():
            return {}
        manifest = Negatives.open(self.path).manifest
        if manifest["collection"]["fingerprint"] != ctx.data.fingerprint:
            return {}
        try:
            steps = list(parse(manifest["pipeline_full"]).steps())
        except SpecError:
            return {}  # a stage of a plugin that is not installed here; the numbers are still good by themselves
        writers = [stage for stage in steps if isinstance(stage, Writer) and stage.column is not None]
        return {str(stage.column): stage.origin(manifest["encoders"].get) for stage in writers}
