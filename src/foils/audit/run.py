"""`audit`: how many of the mined negatives are relevant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from foils.audit.controls import checked, controls, known_positives, scored
from foils.audit.drawn import Drawn, Judged, auxiliary, shares
from foils.audit.estimators import refuse_uninformative
from foils.audit.judges.models import ScoreJudge
from foils.audit.judges.opening import Bench, open_judge
from foils.audit.judges.people import Labels
from foils.audit.judges.protocol import Judge, Priced, Verdicts
from foils.audit.judges.several import ConsensusJudge
from foils.audit.options import BUDGET, Options
from foils.audit.population import Population, opened
from foils.audit.quality import Quality, quality
from foils.audit.report import Audit, Said
from foils.audit.strata import Strata, stratify
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.store import Negatives

if TYPE_CHECKING:
    from foils.audit.judges.llm import LLMOptions

AnyJudge = str | Path | Judge
_MODELS = ("cross-encoder", "llm")  # judges that must pass controls
_DEAR = ("llm", "people")  # judges that, as cheap ones, judge the sample and not everything
_FEW = 5.0  # false negatives in a sample below which a cheap judge is not called uninformative


def audit(
    negatives: str | Path | Negatives,
    data: Collection | None = None,
    judge: AnyJudge | Sequence[AnyJudge] | None = None,
    *,
    cheap: AnyJudge | None = None,
    options: Options | None = None,
    out: str | Path | None = None,
) -> Audit:
    """Estimate the false-negative rate of mined negatives: the share of them that is relevant.

    A sample is drawn within strata (source, band of ranks, band of scores) as a pure function of the seed and the ids,
    and judged. The rate and its interval are of the negatives as they are: see `foils.audit.estimators.direct`. With a
    cheap judge of everything it is sharper: see `foils.audit.estimators.assisted`. Where qrels judge and no budget is
    given, everything is judged and the rate is counted. A rate belongs to a window of ranks: quote neither alone.

    Items that the judge does not know are holes. They are left out, as if holes were as often relevant as the rest of
    their stratum; ``bounds`` says what the rate would be if none, or all of them, were.

    Args:
        negatives: a folder of foils negatives, a TREC run, or a file of another tool.
        data: the collection; of a folder it is found in the cache.
        judge: whose word counts: a name (see `foils.audit.judges.opening.open_judge`), a judge, or several for their
            consensus. None: only the sheet to label is made.
        cheap: another judge, whose errors ``judge`` corrects. It judges everything, a language model the sample only.
        options: budget, seed and the rest; see `Options`.
        out: folder for audit.json, sample.parquet and labels.csv; labels that are there already stay.

    Returns:
        The audit; ``rate``, ``passes`` and ``to_dict`` are what programs read.

    Raises:
        SpecError: a judge or number that cannot be.
        UninformativeJudge: a judge that does not tell what is relevant.
        DataError, ModelError, StoreError: negatives, labels or models that cannot be used.
    """
    options = options or Options()
    found, data = opened(negatives, data, split=options.split, layout=options.format, by=options.by)
    bench = Bench(data, cache_root(options.cache), options.progress, found.pairs, options.complete, _asking(options))
    good = _judge(judge, bench, found, options)
    other = None if cheap is None else _judge(cheap, bench, found, options)
    if other is not None and good is None:
        raise SpecError("a cheap judge without a judge that corrects it. Pass --judge or --labels (Python: judge=).")
    budget = options.budget or BUDGET
    strata = stratify(found, budget, options.dropped)
    drawn = Drawn.of(found, strata, data, (budget, options.dropped), options.seed)
    counted = good is not None and good.kind == "qrels" and options.budget is None
    task = _Task(found, data, strata, drawn, Drawn.all(found) if counted else drawn, options)
    done = task.planned(good, other) if options.dry_run or good is None else task.judged(good, other)
    if out is not None and not options.dry_run:
        done.write(Path(out))
    return done


def _asking(options: Options) -> LLMOptions | None:
    """How to ask language models; nobody is asked in a dry run, so that no address is needed."""
    if not options.dry_run:
        return options.llm
    from foils.audit.judges.llm import LLMOptions

    return replace(options.llm or LLMOptions(), offline=True)


def _judge(
    given: AnyJudge | Sequence[AnyJudge] | None, bench: Bench, found: Population, options: Options
) -> Judge | None:
    if given is None:
        return None
    if isinstance(given, str | Path):
        return open_judge(str(given), bench)
    if not isinstance(given, Sequence):
        return given
    judges = [_judge(one, bench, found, options) for one in given]
    if len(judges) == 1:
        return judges[0]
    anchors = known_positives(found, bench.data, options.controls, options.seed)
    return ConsensusJudge([one for one in judges if one is not None], anchors=anchors)


@dataclass(frozen=True, eq=False)
class _Task:
    """An audit with everything settled but the verdicts.

    Attributes:
        found: the population.
        data: the collection.
        strata: its strata.
        sheet: the sample that is written down.
        drawn: what is judged: that sample, or everything.
        options: as given.
    """

    found: Population
    data: Collection
    strata: Strata
    sheet: Drawn
    drawn: Drawn
    options: Options

    def planned(self, good: Judge | None, other: Judge | None) -> Audit:
        """Nobody is asked: what would be, and what that costs."""
        price = {judge.name: self._price(judge, first=place == 0) for place, judge in enumerate((good, other)) if judge}
        judged = Judged(self.strata, self.sheet, np.full(len(self.sheet.at), np.nan), None, True, self.options.level)
        return Audit(self.found, self.data, judged, self.sheet, self.options, price=price or None)

    def judged(self, good: Judge, other: Judge | None) -> Audit:
        """Ask, and estimate."""
        verdicts = self._ask(good, self.drawn.at)
        share = shares(verdicts, good.kind)
        notes = self._notes(good)
        cheap, everywhere, measured, words = None, True, None, None
        if other is not None:
            everywhere = other.kind not in _DEAR
            words = self._ask(other, np.arange(len(self.found)) if everywhere else self.drawn.at)
            cheap = auxiliary(words)
            measured = self._measured(other, words, share, everywhere)
        judged = Judged(self.strata, self.drawn, share, cheap, everywhere, self.options.level)
        on_sheet = verdicts if self.drawn is self.sheet else _part(verdicts, self.sheet.at)
        second = None if other is None or measured is None else Said(other, measured, None)
        first = Said(good, None, self._controls(good))
        return Audit(
            self.found, self.data, judged, self.sheet, self.options, good=first, cheap=second, verdicts=on_sheet,
            words=words, notes=notes,
        )  # fmt: skip

    def _ask(self, judge: Judge, at: NDArray[np.int64]) -> Verdicts:
        # In order of the rows, so that what is read does not depend on the order of the draw.
        order = np.argsort(at, kind="stable")
        said = judge.judge(self.found.query[at[order]], self.found.doc[at[order]])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return _part(said, back)

    def _controls(self, judge: Judge) -> dict[str, Any] | None:
        if self.options.controls and isinstance(judge, ScoreJudge):
            return scored(judge)
        if judge.kind not in _MODELS or not self.options.controls:
            return None
        return checked(judge, self.found, self.data, self.options.controls, self.options.seed)

    def _measured(self, other: Judge, words: Verdicts, share: NDArray[np.float64], everywhere: bool) -> Quality:
        negative = self.found.negative[self.drawn.at]
        said = _part(words, self.drawn.at if everywhere else np.arange(len(words)))
        truth = np.where(negative, share, np.nan)
        measured = quality(said, truth, self.drawn.weight)
        known = ~np.isnan(truth)
        false, right = (self.drawn.weight * part for part in (np.nan_to_num(truth), np.nan_to_num(1 - truth)))
        if np.nansum(truth) >= _FEW and right.sum() > 0:
            # What is used of it: probabilities where it gives them, even if they are all on one side of one half.
            word = np.where(known, auxiliary(said), 0.0)
            found, alarm = (float(part @ word / part.sum()) for part in (false, right))
            refuse_uninformative(found, 1 - alarm, f"the cheap judge {other.name!r}")
        return measured

    def _notes(self, good: Judge) -> list[str]:
        if not isinstance(good, Labels):
            return []
        missed = len(good) - good.covers(self.found.query[self.drawn.at], self.found.doc[self.drawn.at])
        if not missed:
            return []
        return [
            f"{missed:,} labelled pairs are not in this sample: another seed, budget, or other negatives made them."
        ]

    def _price(self, judge: Judge, *, first: bool) -> dict[str, Any]:
        at = self.drawn.at if first or judge.kind in _DEAR else np.arange(len(self.found))
        query, doc = self.found.query[at], self.found.doc[at]
        if first and judge.kind in _MODELS and self.options.controls:
            more = controls(self.found, self.data, self.options.controls, self.options.seed)
            query, doc = np.concatenate([query, more[0]]), np.concatenate([doc, more[1]])
        told = dict(judge.price(query, doc)) if isinstance(judge, Priced) else {}
        return {"kind": judge.kind, "pairs": len(query), **told}


def _part(said: Verdicts, rows: NDArray[np.int64]) -> Verdicts:
    reasons = cast("Sequence[str]", [said.reasons[row] for row in rows.tolist()] if said.reasons else ())
    return Verdicts(said.verdict[rows], said.probability[rows], reasons)
