"""What an audit found: as JSON, and as files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.drawn import Drawn, Judged, auxiliary
from foils.audit.estimators import Labelled, Rate, UninformativeJudge, direct, rogan_gladen
from foils.audit.judges.protocol import RELEVANT, Judge, Verdicts
from foils.audit.options import Options
from foils.audit.per_query import per_query
from foils.audit.population import KEPT, Population
from foils.audit.proxies import proxies
from foils.audit.quality import Quality
from foils.audit.sheets import write_sample, write_sheet
from foils.audit.strata import DIFFICULTY, described
from foils.audit.texts import examples, told
from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.ranks import RANKS, Band, band_name, band_of

KIND, VERSION = "foils audit", 1
_MANY_HOLES = 0.2


@dataclass(frozen=True, eq=False)
class Said:
    """A judge as the report names it: what it is worth against the other one, and what it made of its controls."""

    judge: Judge
    quality: Quality | None
    controls: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Name, kind, measures, and whatever it says of itself."""
        measured = Quality(0, None, None, None, None, None) if self.quality is None else self.quality
        more = {} if self.controls is None else {"controls": dict(self.controls)}
        head = {"name": self.judge.name, "kind": self.judge.kind, "fingerprint": self.judge.fingerprint}
        return {**head, **measured.to_dict(), **dict(self.judge.facts()), **more}


@dataclass(frozen=True, eq=False)
class Audit:
    """The result of an audit.

    Attributes:
        found: what was audited.
        data: the collection.
        judged: what was judged, with the verdicts.
        sheet: the sample that is written down.
        options: as given.
        good: the judge, or None if nobody was asked.
        cheap: the cheap judge, or None.
        verdicts: of the judge on the sheet.
        words: of the cheap judge on all items, or the sample.
        price: what judging takes, if nobody was asked.
        notes: what else to know.
    """

    found: Population
    data: Collection
    judged: Judged
    sheet: Drawn
    options: Options
    good: Said | None = None
    cheap: Said | None = None
    verdicts: Verdicts | None = None
    words: Verdicts | None = None
    price: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def rate(self) -> Rate | None:
        """The false-negative rate of the negatives with its interval; None where nothing was judged."""
        negative = self.found.negative
        known = negative[self.judged.drawn.at] & self.judged.known
        return self.judged.rate(negative)[0] if known.any() else None

    @property
    def method(self) -> str:
        """``stratified``, ``prediction-powered``, or ``census`` where all was judged."""
        if self.judged.drawn is not self.sheet:
            return "census"
        return "stratified" if self.cheap is None else "prediction-powered"

    def passes(self, bound: float) -> bool:
        """Whether it is not shown that the rate is above ``bound``: the interval reaches down to it.

        A small sample passes easily. To be shown that a rate is below a bound, compare ``rate.high``.

        Raises:
            DataError: nothing was judged, so there is no rate; that passes no bound.
        """
        if self.rate is None:
            who = "nobody has judged" if self.good is None else f"{self.good.judge.name!r} knows nothing of the sample"
            remedy = "Label some of it, or take another judge."
            raise DataError(f"no rate to hold against {bound:g}: {who}.", file=self.found.path, remedy=remedy)
        return self.rate.low <= bound

    @cached_property
    def _holes(self) -> tuple[float | None, list[float] | None]:
        """Share of the negatives without a verdict, and the rate if none or all of them were relevant."""
        at, known = self.judged.drawn.at, self.judged.known
        mine = self.found.negative[at]
        if self.rate is None:
            return None, None
        stratum, weight = self.judged.strata.of[at], self.judged.drawn.weight

        def with_holes(value: float) -> float:
            share = np.where(known, np.nan_to_num(self.judged.share), value)
            return direct(Labelled(share[mine], stratum[mine], weight[mine])).value

        holes = direct(Labelled((~known).astype(np.float64)[mine], stratum[mine], weight[mine])).value
        return holes, [with_holes(0.0), with_holes(1.0)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the names do not change from version to version."""
        holes, bounds = self._holes
        rate, negative = self.rate, self.found.negative
        told = None
        if rate is not None:
            tuning = self.judged.rate(negative)[1]
            told = {
                "value": rate.value, "low": rate.low, "high": rate.high, "level": self.options.level,
                "method": self.method, "bounds": bounds, **({} if tuning is None else {"tuning": tuning}),
            }  # fmt: skip
        body: dict[str, Any] = {
            "negatives": self.found.path,
            "negatives_fingerprint": self.found.fingerprint,
            "pipeline": self.found.origin,
            "data": self.data.fingerprint,
            "collection": self.data.name,
            "split": self.found.split,
            "seed": self.options.seed,
            "budget": self.options.budget if self.options.budget is not None else len(self._on_sheet()),
            "judge": None if self.good is None else self.good.to_dict(),
            "cheap": None if self.cheap is None else self.cheap.to_dict(),
            "rate": told,
            "estimates": self._estimates(),
            "population": int(negative.sum()),
            "window": self._window(),
            "judged": int((negative[self.judged.drawn.at] & self.judged.known).sum()),
            "holes": holes,
            "strata": self._strata(),
            "by": {
                "source": self._by(self.found.source, self.found.sources),
                "rank": self._by(band_of(self.found.rank, RANKS), _names(RANKS, "no rank")),
                "difficulty": self._by(band_of(self.found.difficulty, DIFFICULTY), _names(DIFFICULTY, "not found")),
                "filter": self._filters(),
            },
            "per_query": per_query(self.found, self.judged),
            "proxies": self.proxies,
            "examples": examples(self.found, self.data, self.sheet.at, self.verdicts, self.options.examples),
            "price": None if self.price is None else dict(self.price),
            "notes": [*self.notes, *self._warnings(holes)],
        }
        return {"kind": KIND, "version": VERSION, **{name: _plain(body[name]) for name in sorted(body)}}

    @cached_property
    def proxies(self) -> dict[str, float]:
        """What needs no judge; trends only."""
        mine = self.found.negative[self.sheet.at]
        return proxies(self.found, self.data, self.sheet.at[mine], self.sheet.weight[mine])

    def _window(self) -> list[int] | None:
        """The first and the last rank of the negatives; None where none has a rank."""
        ranks = self.found.rank[self.found.negative & (self.found.rank > 0)]
        return [int(ranks.min()), int(ranks.max())] if len(ranks) else None

    def _warnings(self, holes: float | None) -> list[str]:
        if self.rate is None and self.verdicts is not None:
            return ["The judge knows nothing of this sample, so there is no rate."]
        if holes is None or holes <= _MANY_HOLES:
            return []
        return [
            f"{holes:.0%} of the negatives are holes, which the judge does not know: the rate is that of the others, "
            "and may be far from the rate of all."
        ]

    def _on_sheet(self) -> NDArray[np.int64]:
        return self.sheet.at[self.found.negative[self.sheet.at]]

    def _estimates(self) -> dict[str, float | None]:
        """What the other estimators say, for comparison."""
        if self.cheap is None or self.cheap.quality is None or self.judged.cheap is None or self.words is None:
            return {}
        plain = Judged(self.judged.strata, self.judged.drawn, self.judged.share, None, True, self.options.level)
        negative, measured = self.found.negative, self.cheap.quality
        said = self.words.verdict == RELEVANT
        if self.judged.everywhere:
            alone = float(said[negative].mean())
        else:
            alone = direct(self._as_labels(said.astype(np.float64))).value
        corrected = None
        if measured.recall is not None and measured.specificity is not None:
            try:
                corrected = rogan_gladen(alone, measured.recall, measured.specificity)
            except UninformativeJudge:
                corrected = None
        return {
            "stratified": plain.rate(negative)[0].value,
            "prediction-powered": self.judged.rate(negative)[0].value,
            "rogan-gladen": corrected,
            "cheap judge alone": alone,
        }

    def _as_labels(self, share: NDArray[np.float64]) -> Labelled:
        drawn = self.judged.drawn
        mine = self.found.negative[drawn.at]
        return Labelled(share[mine], self.judged.strata.of[drawn.at][mine], drawn.weight[mine])

    def _strata(self) -> list[dict[str, Any]]:
        of, share = self.judged.strata.of, self.judged.share
        listed = []
        for number, stratum in enumerate(self.judged.strata.listed):
            if stratum.fate != KEPT:
                continue
            mine = (of[self.judged.drawn.at] == number) & self.judged.known
            rows = np.flatnonzero(mine)
            found = Labelled(share[rows], np.zeros(len(rows), np.int64), self.judged.weights(self.judged.known)[rows])
            one = direct(found, self.options.level)
            false = float(share[rows].sum())
            listed.append(
                {
                    **described(stratum),
                    "items": int(self.judged.strata.sizes[number]),
                    "drawn": int((of[self.sheet.at] == number).sum()),
                    "judged": len(rows),
                    "false": int(false) if false.is_integer() else false,
                    "rate": one.value if len(rows) else None,
                    "low": one.low if len(rows) else None,
                    "high": one.high if len(rows) else None,
                }
            )
        return listed

    def _by(self, group: NDArray[np.int64], names: tuple[str, ...]) -> list[dict[str, Any]]:
        negative = self.found.negative
        parts = ((name, negative & (group == number)) for number, name in enumerate(names))
        return [self.judged.summary(part, name) for name, part in parts if part.any()]

    def _filters(self) -> list[dict[str, Any]]:
        """Each step that took something out: the rate of what came, of what it let pass, and of what it took."""
        listed = []
        for step in self.found.steps:
            took = self.found.fate == step.number
            if not took.any():
                continue
            parts = {"before": self.found.before(step), "after": self.found.after(step), "dropped": took}
            rates = {
                name: self.judged.summary(part) if self.judged.covers(part) else None for name, part in parts.items()
            }
            listed.append({"name": step.text, "step": step.number, "family": step.family, **rates})
        return listed

    def write_page(self, path: Path) -> None:
        """Write the sheet as an HTML page to label in: the same items in the same order as in labels.csv.

        Raises:
            DataError: it cannot be written.
        """
        from foils.audit.page import Item, write_page

        texts = zip(*told(self.found, self.data, self.sheet.at), strict=True)
        items = [
            Item(query_id=query_id, doc_id=doc_id, query=query, document=document, positive=positive)
            for query_id, doc_id, query, document, positive in texts
        ]
        write_page(path, items, f"Labels for {self.data.name}")

    def write(self, out: Path) -> None:
        """Write audit.json, sample.parquet and labels.csv; labels that are in a sheet there stay.

        Raises:
            StoreError: the folder holds something else.
        """
        cheap = None
        if self.words is not None:
            cheap = auxiliary(self.words)[self.sheet.at if self.judged.everywhere else slice(None)]
        write_sheet(out / "labels.csv", self.found, self.data, self.sheet.at)
        write_sample(out / "sample.parquet", self.found, self.data, self.judged, self.sheet, (self.verdicts, cheap))
        with replacing(out / "audit.json") as partial:
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            partial.write_text(text + "\n", encoding="utf-8")


def _names(bands: tuple[Band, ...], none: str) -> tuple[str, ...]:
    return (*(band_name(band) for band in bands), none)


def _plain(value: Any) -> Any:
    """As JSON can write it: plain numbers, null for NaN, keys in order."""
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
