"""Bring a study to its end: what is lacking is run, arm after arm and seed after seed, and the record is written."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foils.core.collection import Collection
from foils.core.errors import FoilsError, StoreError
from foils.staging import alone
from foils.study import running
from foils.study.arms import START, Arm, arms_of
from foils.study.beginnings import Beginning, beginning_for, beginnings_of
from foils.study.estimates import Panel, Rates
from foils.study.finished import RECORD, Study
from foils.study.options import StudyOptions
from foils.study.plan import PLAN, baseline_of, ground_of, planned
from foils.study.pools import Pool, pool_for, pools_of
from foils.study.record import Result, read, record_of
from foils.study.tables import as_csv, as_tex
from foils.study.tasks import CANDIDATES, Ground, Task, write_json

log = logging.getLogger(__name__)

_CACHE, _BEGINNINGS = "cache", "beginnings"


def finish(data: Collection, recipes: Sequence[Any], model: str | Path, out: Path, options: StudyOptions) -> Study:
    """Run what is lacking of a study; see `foils.compare`."""
    arms = arms_of(recipes, options.encoders, str(model))
    settings, ground = ground_of(data, model, options)
    panel = Panel.of(options, ground.data)
    with alone(out, lambda: _tell(options, "waiting for another process")):
        return _Making(out, settings, ground, options, panel).study(arms)


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
        self.alone: set[str] = set()

    def study(self, arms: list[Arm]) -> Study:
        """Run what is lacking and tell what was found."""
        plan = planned(self.out, self.settings, arms)
        baseline = baseline_of(plan["order"], self.options.baseline or plan.get("baseline"))
        self._models_can_stay(arms)
        write_json(self.out / PLAN, plan)
        pools = self._pools(arms)
        start = self._start(arms, baseline)
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

    def _models_can_stay(self, arms: Sequence[Arm]) -> None:
        if not self.options.keep_models:
            return
        places = [self.out / "arms" / arm.name / str(seed) for arm in arms for seed in range(self.options.seeds)]
        gone = [str(place) for place in places if running.read_result(place) and not (place / "model").is_dir()]
        if gone:
            raise StoreError(
                f"{self.out}: trained without keep_models: {', '.join(gone)}. Remove these folders, and they are made "
                "again, or name only arms that are new (--keep-models)."
            )

    def _arms(self, arms: Sequence[Arm], pools: Sequence[Pool], steps: int) -> None:
        lacking = [arm for arm in arms if self._lacking(arm)]
        beginnings = beginnings_of(lacking, self.ground.train, steps)
        work = [(arm, seed) for arm in arms for seed in range(self.options.seeds)]
        for done, (arm, seed) in enumerate(work):
            _tell(self.options, "trainings", done, len(work))
            task = self._task(arm.name, seed, {**arm.identity(), "steps": steps})
            if arm.name in self.failed or running.finished(task) is not None:
                continue
            pool = pool_for(arm, pools)
            folder = None if pool is None else (self.out / "pools" / pool.name / CANDIDATES).resolve()
            began = self._began(beginning_for(arm, beginnings), seed, steps)
            task = replace(task, arm=arm, seed=seed, steps=steps, candidates=folder, beginning=began)
            try:
                self._run(task, f"{arm.name}, seed {seed}")
            except FoilsError as error:
                log.warning("arm %r, seed %d: %s", arm.name, seed, error)
                self.failed[arm.name] = str(error)
        shutil.rmtree(self.out / _BEGINNINGS, ignore_errors=True)
        _tell(self.options, "trainings", len(work), len(work))

    def _began(self, shared: Beginning | None, seed: int, steps: int) -> Path | None:
        """The folder of a first phase that arms share; what fails there fails again, and is told, in its arms."""
        if shared is None or shared.name in self.alone:
            return None
        place = (self.out / _BEGINNINGS / shared.name / str(seed)).resolve()
        identity = {**shared.identity, "seed": seed, "data": self.settings["data"]}
        task = Task(self.ground, place, arm=shared.arm, seed=seed, steps=steps, first=True, identity=identity)
        if running.finished(task) is None:
            try:
                self._run(task, f"the first phase of {', '.join(shared.arms)}, seed {seed}")
            except FoilsError as error:
                log.warning("%s: its training is not shared: %s", shared.name, error)
                self.alone.add(shared.name)
                return None
        return place

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
