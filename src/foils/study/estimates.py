"""The false-negative rate of an arm's negatives where no fuller labels know it: a judge's estimate, by `foils.audit`.

Of each arm the negatives of its first seed are audited, with the same budget and the same seed of the draw. What came
out is kept in the arm's folder, for as long as negatives, judges and budget are the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foils.core.atomic import replacing
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError, FoilsError, SpecError
from foils.core.pairs import SET_ASIDE
from foils.stages.context import Progress
from foils.store import MANIFEST, Negatives, fingerprint_of

if TYPE_CHECKING:
    from foils.audit.judges.llm import LLMOptions
    from foils.audit.judges.protocol import Judge
    from foils.study.options import StudyOptions

log = logging.getLogger(__name__)

NEGATIVES, RATE = "negatives", "rate.json"
_SEED = 0  # of the draw, for all arms
_OF_THE_ARM = "score"  # a judge that reads the columns of the negatives at hand


def keep(mined: Negatives, out: Path) -> None:
    """Write the positives and negatives of a folder, without the candidates that its pipeline dropped."""
    (out / "parts").mkdir(parents=True)
    for part, table in zip(mined.parts(), mined, strict=True):
        alive = pc.and_(pc.is_null(table["dropped"]), pc.greater(table["label"], pa.scalar(SET_ASIDE, pa.int8())))
        pq.write_table(table.filter(alive), out / "parts" / part.name, compression="zstd", compression_level=1)
    (out / MANIFEST).write_bytes((mined.path / MANIFEST).read_bytes())


@dataclass(frozen=True)
class Panel:
    """Who judges the negatives of all arms.

    Attributes:
        judges: whose word counts, as `foils.audit.judges.opening.open_judge` takes them; of several the consensus.
        cheap: whose errors they correct, or None.
        budget: negatives of each arm to judge.
        llm: how to ask language models.
        marks: fingerprints of all of them, so that another file or model of the same name is another judge.
    """

    judges: tuple[str, ...]
    cheap: str | None
    budget: int
    llm: LLMOptions
    marks: tuple[str, ...]

    @classmethod
    def of(cls, options: StudyOptions, data: Collection) -> Panel | None:
        """Open everybody once, so that a judge that cannot be is refused before anything is run.

        Raises:
            SpecError, DataError, ModelError: such a judge.
        """
        judges = (options.judge,) if isinstance(options.judge, str) else tuple(options.judge or ())
        if not judges:
            return None
        llm = _llm(options.llm)
        texts = [*judges, *([options.cheap] if options.cheap else [])]
        marks = (one if isinstance(one, str) else one.fingerprint for one in _opened(texts, data, options.split, llm))
        return cls(judges, options.cheap, options.judged, llm, tuple(marks))

    def identity(self, negatives: Path) -> dict[str, Any]:
        """What an estimate is of."""
        mine = {"judges": list(self.judges), "cheap": self.cheap, "budget": self.budget, "marks": list(self.marks)}
        return {**mine, "seed": _SEED, "negatives": fingerprint_of(negatives)}


class Rates:
    """Estimates of the arms of a study.

    Args:
        data: the collection.
        split: whose queries were trained on.
        panel: who judges; None: only what is kept is read.
        progress: called with (what, done, total).
    """

    def __init__(self, data: Collection, split: str, panel: Panel | None, progress: Progress | None) -> None:
        self._data, self._split, self._panel, self._progress = data, split, panel, progress
        self._ready: list[str | Judge] | None = None

    def of_all(self, folder: Path, seeds: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """The rates of arms; of one that cannot be estimated ``why``. Such a one is tried again with the next command.

        Args:
            folder: where the folders of the arms are.
            seeds: of each arm, the training whose negatives are judged.
        """
        found: dict[str, dict[str, Any]] = {}
        for name, seed in seeds.items():
            try:
                rate = self.of(folder / name, seed)
            except FoilsError as error:
                log.warning("arm %r: its false-negative rate: %s", name, error)
                rate = {"why": str(error)}
            found |= {} if rate is None else {name: rate}
        return found

    def of(self, arm: Path, seed: int) -> dict[str, Any] | None:
        """The rate of an arm by its folder: kept, or estimated now and kept; None where nobody judges.

        Args:
            arm: the folder of the arm.
            seed: of the training whose negatives are judged.

        Raises:
            FoilsError: it cannot be estimated.
        """
        place = arm / str(seed) / NEGATIVES
        kept = _read(arm / RATE)
        if self._panel is None:
            ours = place.exists() and kept is not None and kept["identity"]["negatives"] == fingerprint_of(place)
            return dict(kept["rate"]) if kept is not None and ours else None
        if not place.exists():
            raise DataError(
                "its negatives were not kept.", file=place, remedy=f"Remove {arm}; the same command trains it again."
            )
        identity = self._panel.identity(place)
        if kept is not None and kept["identity"] == identity:
            return dict(kept["rate"])
        rate = self._estimate(place, seed)
        with replacing(arm / RATE) as partial:
            text = json.dumps({"identity": identity, "rate": rate}, indent=1, sort_keys=True, ensure_ascii=False)
            partial.write_text(text + "\n", encoding="utf-8")
        return rate

    def _estimate(self, place: Path, seed: int) -> dict[str, Any]:
        from foils.audit import Options, audit

        panel = self._panel
        assert panel is not None, "somebody judges"
        if self._ready is None:
            texts = [*panel.judges, *([panel.cheap] if panel.cheap else [])]
            self._ready = _opened(texts, self._data, self._split, panel.llm, self._progress)
        good, cheap = self._ready[: len(panel.judges)], self._ready[len(panel.judges) :]
        options = Options(
            budget=panel.budget, dropped=0, seed=_SEED, examples=0, progress=self._progress, llm=panel.llm
        )
        negatives = Negatives.open(place)
        found = audit(negatives, self._data, good, cheap=cheap[0] if cheap else None, options=options).to_dict()
        rate = found["rate"]
        if rate is None:
            who = " + ".join(panel.judges)
            raise DataError(f"{who} knows none of these negatives.", file=place, remedy="Have them labelled, too.")
        return {
            "kind": "estimated",
            **{key: rate[key] for key in ("value", "low", "high", "method")},
            "negatives": found["population"],
            **{key: found[key] for key in ("judged", "holes")},
            "judge": found["judge"]["name"],
            "cheap": None if found["cheap"] is None else found["cheap"]["name"],
            "seed": seed,
        }


def _opened(
    texts: Sequence[str], data: Collection, split: str, llm: LLMOptions, progress: Progress | None = None
) -> list[str | Judge]:
    """Judges by their names; one that reads the scores of an arm stays a name."""
    from foils.audit.judges.opening import Bench, open_judge

    # A language model is shown known positives, which are those of the split for every arm.
    bench = Bench(data, cache_root(), progress, data.positives(split), llm=llm)
    found: list[str | Judge] = []
    for text in texts:
        kind = text.partition(":")[0]
        if kind == _OF_THE_ARM:
            found.append(text)
            continue
        try:
            found.append(open_judge(text, bench))
        except DataError as error:
            if kind != "qrels":
                raise
            remedy = "Judgements of a split that are complete are no sample to take: give that split as --labels."
            raise SpecError(f"judge {text!r}: {error} {remedy}") from None
    return found


def _llm(given: Mapping[str, Any]) -> LLMOptions:
    from foils.adapters.llm import Price
    from foils.audit.judges.llm import LLMOptions

    values = dict(given)
    prices = values.pop("prices", ())
    if isinstance(prices, str) or not all(isinstance(one, str) for one in prices):
        raise SpecError(f"llm: prices: {prices!r}: a list of texts is expected, such as ['0.15,0.60'].")
    try:
        return LLMOptions(prices=tuple(Price.parse(one) for one in prices), **values)
    except TypeError as error:
        known = "url, prices, budget, prompt, at, offline, concurrency"
        raise SpecError(f"llm: {given!r} cannot be read ({error}). There is: {known}.") from None


def _read(path: Path) -> dict[str, Any] | None:
    """What is kept; what cannot be read is estimated again."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if {"identity", "rate"} <= set(found) else None
    except (FileNotFoundError, ValueError):
        return None
