"""``compare(data, recipes, model, out=…) -> Study``: several ways of training side by side, on one collection."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.adapters.models import resolve, settled
from foils.core.collection import Collection
from foils.core.errors import DataError, FoilsError, SpecError, StoreError
from foils.core.text import did_you_mean
from foils.evaluate.measures import parse
from foils.staging import alone
from foils.study import running
from foils.study.arms import START, Arm, arms_of
from foils.study.estimates import Panel, Rates
from foils.study.options import StudyOptions
from foils.study.pools import Pool, pool_for, pools_of
from foils.study.record import KIND, VERSION, Result, read, record_of
from foils.study.tables import as_csv, as_tex, shown
from foils.study.tasks import CANDIDATES, Ground, Task, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

log = logging.getLogger(__name__)

RECORD, PLAN = "study.json", "plan.json"
_CACHE = "cache"


@dataclass(frozen=True)
class Study:
    """A finished comparison. Printed with Rich.

    Attributes:
        out: its folder: ``study.json``, ``table.csv``, ``table.tex``, ``runs/ARM-SEED.trec``, ``arms/ARM/SEED``.
        record: what ``study.json`` says.
    """

    out: Path
    record: Mapping[str, Any]

    @classmethod
    def open(cls, out: str | Path) -> Study:
        """A finished study from its folder.

        Raises:
            StoreError: there is none, or of another version.
        """
        path = Path(out) / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{out}: no study here ({RECORD} is missing). foils compare makes one.") from None
        except ValueError as error:
            raise StoreError(f"{path}: not JSON ({error}). Give the command of the study again.") from None
        if record.get("kind") != KIND or record.get("version") != VERSION:
            raise StoreError(f"{path}: not a study of version {VERSION}. Give the command of the study again.")
        return cls(Path(out), record)

    @property
    def advice(self) -> list[str]:
        """What it says, in sentences."""
        return list(self.record["advice"])

    @property
    def failed(self) -> dict[str, str]:
        """Arms that could not be finished, and why."""
        return dict(self.record["failed"])

    def __getitem__(self, arm: str) -> Mapping[str, Any]:
        """What the record says of an arm.

        Raises:
            KeyError: there is none of that name.
        """
        found: Mapping[str, Any] = {each["name"]: each for each in self.record["arms"]}[arm]
        return found

    def __repr__(self) -> str:
        names = ", ".join(arm["name"] for arm in self.record["arms"])
        return f"Study({str(self.out)!r}: {names})"

    def __rich__(self) -> RenderableType:
        return shown(self.record)


def compare(
    data: Collection,
    recipes: Sequence[Any],
    model: str | Path,
    *,
    out: str | Path,
    options: StudyOptions | None = None,
) -> Study:
    """Train with several recipes from one start model and compare what comes out, with intervals and corrected tests.

    See `foils.compare`.
    """
    options, folder = options or StudyOptions(), Path(out)
    arms = arms_of(recipes, options.encoders, str(model))
    parse(options.measures)
    settings, ground = _settled(data, model, options)
    panel = Panel.of(options, ground.data)
    with alone(folder, lambda: _tell(options, "waiting for another process")):
        return _Making(folder, settings, ground, options, panel).study(arms)


def _settled(data: Collection, model: str | Path, options: StudyOptions) -> tuple[dict[str, Any], Ground]:
    """What all arms share: as plain values that tell two studies apart, and as what a process needs."""
    place = settled(resolve(model))
    for split in filter(None, (options.split, options.test, options.labels)):
        data.qrels(split)
    rows = data.query_rows(options.split)
    if options.max_queries is not None and options.max_queries < len(rows):
        rows = data.holdout(options.split, options.max_queries / len(rows), 7)[1]
        data = data.subset({s: (s, rows if s == options.split else data.query_rows(s)) for s in data.splits})
    for split, queries in ((options.split, rows), (options.test, data.query_rows(options.test))):
        if not len(queries):
            raise DataError(f"no query of split {split!r} in {data.name!r} has a positive.", remedy="Name another.")
    settings = {
        "collection": data.name,
        "data": data.fingerprint,
        "training_queries": len(rows),
        "model": str(model),
        "split": options.split,
        "test": options.test,
        "labels": options.labels,
        "measures": list(options.measures),
        "train": dict(options.train),
        "budget": list(options.amount()),
    }
    measures = tuple(options.measures)
    shared = (options.split, options.test, options.labels, measures, dict(options.train), options.keep_models)
    return settings, Ground(data, place, *shared)


def _tell(options: StudyOptions, what: str, done: int = 0, total: int = 1) -> None:
    if options.progress is not None:
        options.progress(what, done, total)


class _Making:
    """A study in the making: what is there is kept, what is lacking is run, and the record is written anew."""

    def __init__(
        self, out: Path, settings: dict[str, Any], ground: Ground, options: StudyOptions, panel: Panel | None
    ) -> None:
        self.out, self.settings, self.ground, self.options = out, settings, ground, options
        self.panel = panel
        self.failed: dict[str, str] = {}

    def study(self, arms: list[Arm]) -> Study:
        """Run what is lacking and tell what was found."""
        plan = self._plan(arms)
        baseline = _baseline(plan["order"], self.options.baseline or plan.get("baseline"))
        write_json(self.out / PLAN, plan)
        pools = self._pools(arms)
        start = self._start(arms, baseline)
        self._same_model(plan, start.report["model"]["fingerprint"])
        steps = int(start.report["steps"])
        plan |= {"model": start.report["model"], "pools": self._shared(plan, pools), "baseline": baseline}
        plan |= {"main": self.options.main, "pairs": self.options.pairs}
        write_json(self.out / PLAN, plan)
        self._arms(arms, pools, steps)
        results: dict[str, dict[int, Result]] = {START: {0: start}}
        for name in plan["order"]:
            found = self._results(name, plan["arms"][name]["identity"], steps)
            if found:
                results[name] = found
        if baseline not in results:
            why = self.failed.get(baseline, "")
            raise StoreError(f"{self.out}: the baseline {baseline!r} could not be finished. {why}")
        plan["settings"] = {**self.settings, "steps": steps}
        record = record_of(plan, results, self.failed, self.options.rounds, self._estimates(results))
        self._write(record)
        return Study(self.out, record)

    def _plan(self, arms: Sequence[Arm]) -> dict[str, Any]:
        """The plan in the folder with these arms added.

        Raises:
            StoreError: the folder holds something else, a study of other settings, or another arm of the same name.
        """
        path = self.out / PLAN
        plan: dict[str, Any] = {"kind": f"{KIND} plan", "settings": self.settings, "arms": {}, "order": [], "pools": []}
        if path.exists():
            plan = _read_plan(path)
            there, asked = plan["settings"], json.loads(json.dumps(self.settings))
            names = [name for name in asked if there.get(name) != asked[name]]
            if names:
                listed = "; ".join(f"{name} is {there.get(name)!r} there and {asked[name]!r} now" for name in names)
                raise StoreError(f"{self.out}: holds a study of other settings: {listed}. Choose another folder.")
        elif self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise StoreError(f"{self.out}: exists and is not a study. Choose another folder.")
        for arm in arms:
            identity = json.loads(json.dumps(arm.identity()))
            if plan["arms"].get(arm.name, {}).get("identity", identity) != identity:
                raise StoreError(
                    f"{self.out}: arm {arm.name!r} has another recipe or other models there. Name this one otherwise "
                    f"(NAME=RECIPE), choose another folder, or remove {self.out / 'arms' / arm.name} and {path}."
                )
            text = arm.recipe.text()
            plan["arms"][arm.name] = {"identity": identity, "recipe": text, "encoders": dict(arm.encoders)}
            plan["order"] += [] if arm.name in plan["order"] else [arm.name]
        return plan

    def _pools(self, arms: Sequence[Arm]) -> list[Pool]:
        """Search the shared candidates that are lacking; what fails there fails again, and is told, in its arms."""
        found = []
        for pool in pools_of(arms, self.options.seeds):
            place = self.out / "pools" / pool.name
            identity = {"source": repr(pool.source), "encoders": dict(pool.encoders), "data": self.settings["data"]}
            there = running.read_result(place)
            if there is not None and _serves(there["identity"], identity, pool):
                found.append(pool)
                continue
            lacking = [arm for arm in arms if arm.name in pool.arms and self._lacking(arm)]
            if len(lacking) * self.options.seeds < 2:
                continue
            try:
                self._run(Task(self.ground, place, pool=pool, identity=identity), f"searching {pool.source!r}")
                found.append(pool)
            except FoilsError as error:
                log.warning("%r: its candidates are not shared: %s", pool.source, error)
        return found

    def _shared(self, plan: Mapping[str, Any], pools: Sequence[Pool]) -> list[dict[str, Any]]:
        """Pools as the record tells of them, those of earlier arms included."""
        told = {pool["name"]: pool for pool in plan["pools"]}
        for pool in pools:
            report = running.read_result(self.out / "pools" / pool.name) or {}
            before = told.get(pool.name, {}).get("arms", [])
            told[pool.name] = {
                "name": pool.name,
                "source": report["source"],
                "arms": [*before, *(name for name in pool.arms if name not in before)],
                "seconds": report["seconds"]["mine"],
                "candidates": report["candidates"],
                "work": report["work"],
                "memory_mb": report["memory_mb"],
            }
        return list(told.values())

    def _start(self, arms: Sequence[Arm], baseline: str) -> Result:
        identity = {key: self.settings[key] for key in ("data", "test", "measures", "budget", "train", "split")}
        pilot = next((arm for arm in arms if arm.name == baseline), arms[0])
        task = self._task(START, 0, identity)
        if running.finished(task) is None:
            self._run(replace(task, budget=self.options.amount(), pilot=pilot), "measuring the model before training")
        return read(task.place)

    def _same_model(self, plan: Mapping[str, Any], fingerprint: str) -> None:
        if plan.get("model", {}).get("fingerprint", fingerprint) != fingerprint:
            raise StoreError(f"{self.out}: holds a study of another model of that name. Choose another folder.")

    def _arms(self, arms: Sequence[Arm], pools: Sequence[Pool], steps: int) -> None:
        work = [(arm, seed) for arm in arms for seed in range(self.options.seeds)]
        for done, (arm, seed) in enumerate(work):
            _tell(self.options, "trainings", done, len(work))
            task = self._task(arm.name, seed, {**arm.identity(), "steps": steps})
            if arm.name in self.failed or running.finished(task) is not None:
                continue
            pool = pool_for(arm, pools)
            folder = None if pool is None else (self.out / "pools" / pool.name / CANDIDATES).resolve()
            task = replace(task, arm=arm, seed=seed, steps=steps, candidates=folder)
            try:
                self._run(task, f"{arm.name}, seed {seed}")
            except FoilsError as error:
                log.warning("arm %r, seed %d: %s", arm.name, seed, error)
                self.failed[arm.name] = str(error)
        _tell(self.options, "trainings", len(work), len(work))

    def _task(self, name: str, seed: int, identity: Mapping[str, Any]) -> Task:
        place = self.out / "arms" / name / str(seed)
        plain = json.loads(json.dumps(identity))
        return Task(self.ground, place, self.out / "runs" / f"{name}-{seed}.trec", identity=plain)

    def _lacking(self, arm: Arm) -> bool:
        return any(
            running.read_result(self.out / "arms" / arm.name / str(seed)) is None for seed in range(self.options.seeds)
        )

    def _run(self, task: Task, what: str) -> None:
        def tell(inner: str, done: int, total: int) -> None:
            _tell(self.options, f"{what}: {inner}", done, total)

        log.info("%s", what)
        running.in_a_process(task, (self.out / _CACHE).resolve(), tell)

    def _results(self, name: str, identity: Mapping[str, Any], steps: int) -> dict[int, Result]:
        places = (self.out / "arms" / name).glob("*")
        found = {int(place.name): place for place in places if place.name.isdecimal()}
        results = {}
        for seed in sorted(found):
            report = running.read_result(found[seed])
            if report is not None and report["identity"] == {**identity, "steps": steps}:
                results[seed] = read(found[seed])
        return results

    def _estimates(self, results: Mapping[str, Mapping[int, Result]]) -> dict[str, dict[str, Any]]:
        if self.ground.labels is not None:
            return {}
        first = {name: min(runs) for name, runs in results.items()}
        mined = {name: seed for name, seed in first.items() if results[name][seed].report.get("negatives") is not None}
        rates = Rates(self.ground.data, self.ground.split, self.panel, self.options.progress)
        return rates.of_all(self.out / "arms", mined)

    def _write(self, record: Mapping[str, Any]) -> None:
        _finite(record)
        write_json(self.out / RECORD, record)
        (self.out / "table.csv").write_text(as_csv(record), encoding="utf-8", newline="")
        (self.out / "table.tex").write_text(as_tex(record), encoding="utf-8")


def _baseline(names: Sequence[str], asked: str | None) -> str:
    if asked is None:
        return "in-batch" if "in-batch" in names else names[0]
    if asked not in (*names, START):
        guess = did_you_mean(asked, [*names, START])
        raise SpecError(f"--baseline {asked}: it is none of the arms: {', '.join((START, *names))}.{guess}")
    return asked


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = all(name in plan for name in ("settings", "arms", "order", "pools"))
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: damaged, so this is no study that can go on. Remove it, or choose another folder.")
    return plan


def _serves(there: Mapping[str, Any], identity: Mapping[str, Any], pool: Pool) -> bool:
    """Whether candidates that are there are what a pool would find, as deep or deeper."""
    from foils.core.spec import parse as stage_of

    if any(there.get(key) != identity[key] for key in ("encoders", "data")):
        return False
    return bool(stage_of(there["source"]).k >= pool.source.k)


def _finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"a study with {value!r} among its figures cannot be kept. Look at the measures of its arms.")
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _finite(inner)
