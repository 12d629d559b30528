"""`write`: have texts written for a collection, check them, and keep them as a shard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm import LLM, Access, AnyModel, Estimate, opened, spent
from foils.adapters.models import load_encoder, load_reranker
from foils.core.cache import cache_root
from foils.core.collection import FORMAT, SHARD, Collection, read_header
from foils.core.errors import ModelError, SpecError, StoreError
from foils.core.shards import KIND, remember
from foils.core.spec import full, parse, scheduled
from foils.staging import alone, differences
from foils.version import __version__
from foils.writing.assembly import Assembly
from foils.writing.author import Author, Desk, Progress, Wanted
from foils.writing.check import Check
from foils.writing.checks import Usual
from foils.writing.draft import Draft
from foils.writing.drafts import Drafts, part_table
from foils.writing.tallying import tallied
from foils.writing.wanted import Leaks, Wanting

_LOG = logging.getLogger(__name__)
PART = 1024  # rows to write from in a part: what a kill loses at most, replies of models aside
AT_ONCE = 1024  # drafts that a check measures at a time
NONE = "none"


@dataclass(frozen=True)
class Options:
    """How to write.

    Attributes:
        limit: queries to write for, or documents where queries are written, chosen by a hash of their ids; all if None.
        positives: of each query, to write from, chosen likewise; as many as the author says if None, mostly 1.
        checks: what drafts must pass, a value or its text; `Usual` by default, 'none' for none. An author's own checks
            come besides, unless one of the same name is given.
        encoders: models by the names that author and checks use: loaded ones, or whatever names one.
        models: the language model that writes, and perhaps one that judges: names at the endpoint, or functions.
        access: how language models are reached, and what they may cost.
        leaks: 'skip': nothing is written from queries and positives of held-out splits; 'keep': they count as others.
        block: rows given to the author at a time; the result does not depend on it.
        dry_run: ask nobody; say what would be asked.
        overwrite: whether another run's result in the same folder may be replaced.
        cache: folder for vectors, scores and replies; ``$FOILS_CACHE`` or ``~/.cache/foils`` by default.
        progress: called with (what, done, total).

    Raises:
        SpecError: a number out of its bounds.
    """

    limit: int | None = None
    positives: int | None = None
    checks: str | Check | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[AnyModel] = ()
    access: Access = field(default_factory=Access)
    leaks: Leaks = "skip"
    block: int = PART
    dry_run: bool = False
    overwrite: bool = False
    cache: Path | None = None
    progress: Progress | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("positives", self.positives), ("block", self.block)):
            if value is not None and value < 1:
                raise SpecError(f"{name}={value}: it must be at least 1.")
        if len(self.models) > 2:
            raise SpecError(f"{len(self.models)} models: one writes, a second one may judge: --model WRITER,JUDGE.")
        if self.leaks not in ("skip", "keep"):
            raise SpecError(f"leaks={self.leaks!r}: it is 'skip' or 'keep'.")


@dataclass(frozen=True, eq=False)
class Writing:
    """What came of writing.

    Attributes:
        path: the shard; None after a dry run.
        record: what ``shard.json`` says: author, checks, counts, examples, what models took.
    """

    path: Path | None
    record: Mapping[str, Any]

    def collection(self) -> Collection:
        """The collection together with what was written."""
        if self.path is None:
            raise StoreError("nothing was written: it was a dry run.")
        return Collection.open(self.path)


def write(
    data: Collection,
    author: Author | str,
    *,
    out: str | Path,
    split: str = "train",
    seed: int = 0,
    options: Options | None = None,
) -> Writing:
    """Have texts written for a collection, check them, and keep them as a shard: a folder that `foils.load` opens.

    Every draft is kept with the values of the checks and, if it was rejected, the reason, in ``drafts.parquet``. What
    was accepted becomes documents (or queries of the split ``written``) behind those of the collection, which is not
    copied. Written documents are never searched for and never evaluated on: the source `Written` brings them in.

    A killed run goes on with the same call; a finished one is opened. The same inputs and seed give the same texts and
    files, but for what ``shard.json`` says of the costs.

    Args:
        data: the collection; a shard, to write on top of it.
        author: who writes, a value or its text such as ``"FromFile('drafts.jsonl')"``.
        out: folder for the shard.
        split: whose queries are written for.
        seed: of every draw.
        options: the rest; see `Options`.

    Raises:
        SpecError: an author, check or number that cannot be.
        DataError: nothing to write from.
        ModelError, LLMError, BudgetError: models that cannot be had; what was written so far is kept.
        StoreError: the folder holds something else.
    """
    options = options or Options()
    who = parse(author, "author") if isinstance(author, str) else author
    return _Run(data, who, Path(out), split, seed, options).go()


class _Run:
    def __init__(self, data: Collection, author: Author, out: Path, split: str, seed: int, options: Options) -> None:
        data.qrels(split)  # refuses a split that is not there
        self.data, self.author, self.out, self.options = data, author, out, options
        given = tuple(_checks(options.checks))
        self.checks = given + tuple(own for own in author.checks() if own.name not in {check.name for check in given})
        for value in (author, *self.checks):
            if scheduled(value):
                raise SpecError(f"{value!r}: what is written does not change while a model is trained; give numbers.")
        names = [check.name for check in self.checks]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"check {name!r} is there twice; once is enough.")
        access = replace(options.access, offline=True) if options.dry_run else options.access
        cache = cache_root(options.cache)
        self.llms: list[LLM] = opened(options.models, access, cache / "llm")
        self.desk = Desk(
            data,
            split,
            seed,
            cache,
            llm=self.llms[0] if self.llms else None,
            judge=self.llms[1] if len(self.llms) > 1 else None,
            encoders=_models([*author.encoders(), *(n for c in self.checks for n in c.encoders())], options.encoders),
            progress=options.progress,
        )
        self.wanting = Wanting(data, split, options.leaks, seed)
        self.positives = author.per_query if options.positives is None else options.positives
        self.wanted = self.wanting.rows(author.starts, options.limit, self.positives)

    def go(self) -> Writing:
        """Write, check, assemble."""
        if self.options.dry_run:
            return Writing(None, {**self.job(), **self._planned()})
        job = self.job()
        with alone(self.out, lambda: self.desk.tell("waiting for another process", 0, 1)):
            finished = _finished(self.out, job, overwrite=self.options.overwrite)
            if finished is not None:
                remember(Collection.open(self.out))
                return Writing(self.out, finished)
            staging = Drafts(self.out, job, overwrite=self.options.overwrite)
            self._announce()
            self._fill(staging)
            whole = Collection.open(self.data.path)
            made = Assembly(staging, whole, self.desk, self.checks)
            made.run()
            header = {**job, **made.write(repr(self.author)), "format": FORMAT, "kind": KIND, "name": self.data.name}
            header["base"] = {"name": whole.name, "fingerprint": whole.fingerprint, "path": str(whole.path.absolute())}
            header["report"] = {**header["report"], **tallied(made.tables()), "skipped": self.wanting.skipped}
            header |= {"tally": dict(sorted(self.desk.tally.items())), "spent": spent(self.llms) if self.llms else None}
            staging.finish(header)
        remember(Collection.open(self.out))
        return Writing(self.out, header)

    def job(self) -> dict[str, Any]:
        """Everything that determines the result, as JSON."""
        named = {name: _identity(model) for name, model in sorted(self.desk.encoders.items())}
        return {
            "foils": __version__,
            "author": repr(self.author),
            "author_full": full(self.author),
            "checks": [full(check) for check in self.checks],
            "split": self.desk.split,
            "seed": self.desk.seed,
            "limit": self.options.limit,
            "positives": self.positives,
            "leaks": self.options.leaks,
            "collection": {"name": self.data.name, "fingerprint": self.data.fingerprint},
            "prompts": list(self.author.prompts()),
            "models": [llm.model.name for llm in self.llms],
            "encoders": named,
            "inputs": self.author.inputs(),
        }

    def _fill(self, staging: Drafts) -> None:
        total = len(self.wanted)
        for number, start in enumerate(range(0, total, PART)):
            self.desk.tell("writing", start, total)
            if staging.done(number):
                continue
            part = self.wanted.take(slice(start, start + PART))
            staging.write(number, self._part(part))
        self.desk.tell("writing", total, total)

    def _part(self, wanted: Wanted) -> Any:
        drafts: list[Draft] = []
        self.desk.tally.clear()  # each part remembers its own
        for block in _blocks(wanted, self.options.block):
            drafts += self.author.write(block, self.desk)
        # In the order of what they were written from; of one row, in the author's.
        drafts = [self._settled(draft) for draft in drafts]
        drafts.sort(key=lambda draft: (-1 if draft.query is None else draft.query, draft.doc))
        reasons: list[str | None] = [_unusable(draft) for draft in drafts]
        values: dict[str, NDArray[np.float64]] = {}
        for check in self.checks:
            found = values[check.name] = np.full(len(drafts), np.nan)
            alive = [place for place, reason in enumerate(reasons) if reason is None]
            if check.whole:
                continue
            for start in range(0, len(alive), AT_ONCE):
                some = alive[start : start + AT_ONCE]
                found[some] = check.measure([drafts[place] for place in some], self.desk)
            bad = ~np.isnan(found)
            bad[bad] = ~check.passes(found[bad])
            for place in np.flatnonzero(bad).tolist():
                reasons[place] = f"{check.name}: {check.why(float(found[place]))}"
        tally = dict(self.desk.tally)
        self.desk.tally.clear()
        return part_table(drafts, reasons, values, self.data, tally)

    def _settled(self, draft: Draft) -> Draft:
        return replace(draft, role=self.author.writes) if draft.role is None else draft

    def _estimate(self) -> Estimate | None:
        found = [self.author.estimate(block, self.desk) for block in _blocks(self.wanted, self.options.block)]
        return sum_of(one for one in found if one is not None)

    def _announce(self) -> None:
        estimate = self._estimate() if self.llms else None
        if estimate is not None and estimate.requests > estimate.kept and not self.llms[0].offline:
            _LOG.info("asking %s: %s", self.llms[0].model.name, estimate)

    def _planned(self) -> dict[str, Any]:
        estimate = self._estimate()
        told: dict[str, Any] = {"rows": len(self.wanted), "skipped": self.wanting.skipped}
        if estimate is not None:
            asks = {"calls": estimate.requests - estimate.kept, "kept": estimate.kept, "tokens": list(estimate.tokens)}
            told |= {"estimate": str(estimate), **asks, "cost": estimate.cost}
        return told


def sum_of(estimates: Iterable[Estimate]) -> Estimate | None:
    """The sum of estimates; None of none."""
    total: Estimate | None = None
    for one in estimates:
        total = one if total is None else total + one
    return total


def _blocks(wanted: Wanted, size: int) -> Iterable[Wanted]:
    return (wanted.take(slice(start, start + size)) for start in range(0, len(wanted), size))


def _unusable(draft: Draft) -> str | None:
    if draft.fault or not draft.text.strip():
        return f"schema: {draft.fault or 'empty'}"
    return None


def _checks(given: str | Check | None) -> Iterable[Check]:
    if given is None:
        return Usual().each()
    if isinstance(given, str):
        return () if given.strip() == NONE else cast(Check, parse(given, "check")).each()
    return given.each()


def _models(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The models that are used, loaded."""
    missing = [name for name in dict.fromkeys(names) if name not in given]
    if missing:
        have = ", ".join(map(repr, given)) or "none"
        raise SpecError(
            f"the model {missing[0]!r} is used, but the models given are: {have}. "
            f"Pass --encoder {missing[0]}=MODEL (Python: Options(encoders={{{missing[0]!r}: …}}))."
        )
    return {name: _loaded(given[name]) for name in dict.fromkeys(names)}


def _loaded(model: Any) -> Any:
    """A cross-encoder or a bi-encoder, whichever it is."""
    loaders: tuple[Callable[[Any], Any], ...] = (load_reranker, load_encoder)
    try:
        return loaders[0](model)
    except ModelError as error:
        first = error
    try:
        return loaders[1](model)
    except ModelError as error:
        raise (first if "bi-encoder" not in str(first) else error) from None


def _identity(model: Any) -> dict[str, str]:
    if hasattr(model, "encode"):
        return {"name": model.name, "document": model.fingerprint("document"), "query": model.fingerprint("query")}
    return {"name": model.name, "pair": model.fingerprint, "scale": model.scale}


def _finished(out: Path, job: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / SHARD).is_file():
        raise StoreError(f"{out} exists and is no shard of written texts. Choose another folder.")
    header = read_header(out, SHARD)
    differ = differences(job, header)
    if not differ:
        return header
    if overwrite:
        return None
    raise StoreError(
        f"{out} is a shard of another run: {'; '.join(differ)}. Choose another folder or pass --overwrite."
    )
