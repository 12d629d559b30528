"""Run a pipeline over blocks of queries and keep everything it saw."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Encoder, Reranker
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError, PipelineError, SpecError, StoreError
from foils.core.spec import full, parse, resolve, scheduled
from foils.filling import Filling
from foils.stages.context import Context, Progress
from foils.stages.sources import Dense
from foils.stages.stage import Columns, Stage
from foils.staging import Staging, alone, differences
from foils.store import MANIFEST, Negatives
from foils.summary import summary
from foils.version import __version__

Models = Mapping[str, Encoder | Reranker]


@dataclass(frozen=True)
class Miner:
    """Where and how to mine; what comes out does not depend on it, except for ``without_positives``, ``leaks``,
    ``queries`` and ``at``.

    Attributes:
        cache: folder for vectors and indexes; ``$FOILS_CACHE`` or ``~/.cache/foils`` by default.
        block: queries worked on at a time, 1 to 1,024; memory grows with it.
        without_positives: ``skip`` queries that have no positive in any split, ``keep`` them (they get candidates, and
            margins do not apply to them), or mine for these ``only``.
        leaks: ``skip`` queries whose normalised text also is a query of a held-out split (`Collection.held_out`), or
            ``keep`` them. Nothing else of other splits is read.
        queries: int32, rows of queries to mine for; of these, those that would be mined for anyway. All by default.
        at: progress of training, 0 to 1, that scheduled numbers of a pipeline are taken at; see `foils.core.schedule`.
        overwrite: whether another run's result in the same folder may be replaced.
        progress: called with (what, done, total).
    """

    cache: Path | None = None
    block: int = 1024
    without_positives: Literal["skip", "keep", "only"] = "skip"
    leaks: Literal["skip", "keep"] = "skip"
    queries: NDArray[np.int32] | None = field(default=None, compare=False)
    at: float = 0.0
    overwrite: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.block < 1:
            raise SpecError(f"Miner(block={self.block}): block must be at least 1.")

    def mine(
        self, data: Collection, pipeline: Stage, *, split: str, seed: int, encoders: Models, out: Path
    ) -> Negatives:
        """See `mine`."""
        given, pipeline = pipeline, resolve(pipeline, self.at)
        leaked = _leaked(data, split) if self.leaks == "skip" else np.zeros(0, np.int32)
        rows = self._rows(data, split, leaked)
        ctx = Context(data, split, seed, rows, rows[:0], encoders, cache_root(self.cache), self.progress)
        columns = _checked(pipeline, ctx)
        job = _job(ctx, pipeline, without_positives=self.without_positives, leaks=self.leaks)
        if self.queries is not None:
            job["queries"] = hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()
        if scheduled(given):
            job["schedule"] = {"pipeline": full(given), "at": self.at}
        with alone(out, lambda: self._tell("waiting for another process", 0, 1)):
            finished = _finished(out, job, overwrite=self.overwrite)
            if finished is not None:
                return finished
            staging = Staging(out, job, overwrite=self.overwrite)
            Filling(staging, pipeline, ctx, (part_size(len(rows)), self.block)).run()
            counted = summary(staging, pipeline, columns, len(rows))
            counted["counts"]["skipped_leaks"] = len(leaked)
            counted["indexes"] = _indexes(pipeline, ctx)
            return staging.publish({"parts": -(-len(rows) // part_size(len(rows))), **counted})

    def check(self, data: Collection, pipeline: Stage, *, split: str, encoders: Models) -> Columns:
        """Refuse a pipeline that cannot work, without mining; returns the columns that mining with it would save.

        Raises:
            PipelineError: as `mine`.
        """
        rows = self.rows(data, split)
        ctx = Context(data, split, 0, rows, rows[:0], encoders, cache_root(self.cache), self.progress)
        return _checked(resolve(pipeline, self.at), ctx)

    def rows(self, data: Collection, split: str) -> NDArray[np.int32]:
        """The queries that it mines for, int32, ascending.

        Raises:
            DataError: there are none.
        """
        return self._rows(data, split, _leaked(data, split) if self.leaks == "skip" else np.zeros(0, np.int32))

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, min(done, total), total)

    def _rows(self, data: Collection, split: str, leaked: NDArray[np.int32]) -> NDArray[np.int32]:
        rows = np.setdiff1d(data.query_rows(split), leaked)
        if self.without_positives == "keep":
            rows = np.union1d(rows, data.unjudged)
        elif self.without_positives == "only":
            rows = data.unjudged
            if not len(rows):
                raise DataError(f"every query of {data.name!r} has a positive.", remedy="Mine for a split instead.")
        rows = (rows if self.queries is None else np.intersect1d(rows, self.queries)).astype(np.int32)
        if not len(rows) and len(leaked):
            raise DataError(
                f"all {len(leaked):,} queries of split {split!r} of {data.name!r} are queries of a held-out split "
                f"({', '.join(data.held_out(split))}), too.",
                remedy="Train on other queries, or pass --leaks keep (Python: Miner(leaks='keep')).",
            )
        if not len(rows):
            raise DataError(
                f"split {split!r} of {data.name!r} has no query with a positive.", remedy="Check its qrels."
            )
        return rows


def mine(
    data: Collection,
    pipeline: Stage | str,
    *,
    split: str = "train",
    seed: int = 0,
    encoders: Models | None = None,
    out: str | Path,
) -> Negatives:
    """Find and choose negatives for the queries of a split.

    Args:
        data: the collection.
        pipeline: a stage, or its text such as ``"BM25(k=100) >> Top(k=4)"``.
        split: whose qrels are the known positives; nothing else is known to be relevant.
        seed: of every draw; the result is a pure function of inputs and seed.
        encoders: models by the names that the pipeline uses.
        out: folder for the result. An interrupted run is continued; a finished one is opened.

    Returns:
        The negatives with all candidates, scores and reasons.

    Raises:
        SpecError, PipelineError: the pipeline cannot be read or cannot work.
        DataError: there is no such split, or it has no positives.
        StoreError: the folder holds something else.
    """
    stage = parse(pipeline) if isinstance(pipeline, str) else pipeline
    return Miner().mine(data, stage, split=split, seed=seed, encoders=encoders or {}, out=Path(out))


def _checked(pipeline: Stage, ctx: Context) -> Columns:
    columns = pipeline.check_columns(Columns(), ctx)
    if not columns.candidates:
        raise PipelineError(f"{pipeline!r} has no source, so it finds nothing. Begin with BM25(k=100) or another.")
    return columns


def part_size(queries: int) -> int:
    """Queries per part: 1,024, for more than a million 8,192. A killed run repeats one part and 8,192 searches."""
    return 1024 if queries <= 1_000_000 else 8192


def _leaked(data: Collection, split: str) -> NDArray[np.int32]:
    """Queries of the split that are asked in a held-out split, too; equal texts are one query."""
    asked = [data.leaks(split, other) for other in data.held_out(split)]
    return np.unique(np.concatenate([np.zeros(0, np.int32), *asked]))


def _job(ctx: Context, pipeline: Stage, **policies: str) -> dict[str, Any]:
    """Everything that determines the result, as JSON."""
    return {
        "foils": __version__,
        "pipeline": repr(pipeline),
        "pipeline_full": full(pipeline),
        "split": ctx.split,
        "seed": ctx.seed,
        **policies,
        "collection": {"name": ctx.data.name, "fingerprint": ctx.data.fingerprint},
        "encoders": {name: ctx.identity(name) for name in pipeline.encoders()},
        "inputs": pipeline.inputs(ctx),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("numpy", "pyarrow", "bm25s", "torch", "sentence-transformers"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _indexes(pipeline: Stage, ctx: Context) -> dict[str, Any]:
    """Of each source with an approximate index, what was built and its measured recall."""
    found = {repr(stage): stage.found_by(ctx) for stage in pipeline.steps() if isinstance(stage, Dense)}
    return {text: record for text, record in found.items() if record is not None}


def _finished(out: Path, job: Mapping[str, Any], *, overwrite: bool) -> Negatives | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).exists():
        raise StoreError(f"{out} exists and holds no negatives. Choose another folder.")
    store = Negatives.open(out)
    differ = differences(job, store.manifest)
    if not differ:
        return store
    if overwrite:
        return None
    raise StoreError(
        f"{out} holds negatives of another run: {'; '.join(differ)}. Choose another folder or pass --overwrite."
    )
