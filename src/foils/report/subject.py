"""What a page is about: which folders and files belong to what was named, and what they say. Tolerant of half of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from foils.core.collection import Collection
from foils.core.errors import DataError, FoilsError, StoreError
from foils.store import MANIFEST, Negatives
from foils.train import checkpoints, generations, journal
from foils.train.curve import Curve, best_step, curve_of, spans_of, tasks_of
from foils.train.run import GENERATIONS, NEGATIVES, RECORD, read_record

AUDIT, STUDY, EVALUATE = "audit.json", "study.json", "evaluate.json"
INFLUENCE, PHENOMENA = "influence.json", "phenomena.json"
_FIGURES = "foils/"
_OF = "negatives_fingerprint"  # in an audit


@dataclass(frozen=True, eq=False)
class Training:
    """One training: a run, or a phase of one.

    Attributes:
        name: of the phase; "" where there is one only.
        path: its folder.
        record: ``run.json``.
        history: entries of the log as the Trainer writes them, dev looks and figures of steps among them.
        steps: optimiser steps planned, if known.
    """

    name: str
    path: Path
    record: Mapping[str, Any]
    history: list[dict[str, Any]]
    steps: int | None

    @property
    def finished(self) -> bool:
        """Whether the record says so."""
        return self.record.get("status") == "finished"

    @cached_property
    def curve(self) -> Curve:
        """Dev measures by step."""
        return list(self.record["curve"]) if "curve" in self.record else curve_of(self.history)

    @cached_property
    def spans(self) -> dict[int, tuple[float, float]]:
        """Ends of the interval of the first dev measure by step; runs of older versions have none."""
        found = list(self.record["spans"]) if "spans" in self.record else spans_of(self.history)
        return {int(point["step"]): (point["low"], point["high"]) for point in found}

    @cached_property
    def tasks(self) -> Curve:
        """Measures of other tasks by step, if it was trained with ``--task``."""
        return list(self.record["tasks"]) if "tasks" in self.record else tasks_of(self.history)

    @property
    def best(self) -> int | None:
        """The step whose weights were, or would be, taken."""
        return int(self.record["best_step"]) if "best_step" in self.record else best_step(self.curve)

    @property
    def reached(self) -> int:
        """The last step that anything is known of."""
        if "steps" in self.record:
            return int(self.record["steps"])
        return max((int(entry.get("step", 0)) for entry in self.history), default=0)

    @cached_property
    def looks(self) -> list[dict[str, Any]]:
        """Loss and figures of steps: ``step``, ``loss``, and what `foils.train.health.health` says."""
        if "health" in self.record:
            losses = {entry["step"]: entry["loss"] for entry in self.record.get("losses", ())}
            return [{**entry, "loss": losses.get(entry["step"])} for entry in self.record["health"]]
        if "losses" in self.record:
            return list(self.record["losses"])
        return [
            {
                **{k.removeprefix(_FIGURES): v for k, v in entry.items() if k.startswith(_FIGURES)},
                "step": entry["step"],
                "loss": entry["loss"],
            }
            for entry in self.history
            if "loss" in entry and "step" in entry
        ]

    @cached_property
    def generations(self) -> list[dict[str, Any]]:
        """Figures of the generations, the used ones with ``used_from`` and ``staleness``."""
        try:
            listed = generations.listing(self.path)
        except (FoilsError, OSError, ValueError, KeyError):
            listed = [dict(entry) for entry in self.record.get(GENERATIONS, ())]  # one is being put in its place
        return [entry for entry in listed if entry["number"]]


@dataclass(frozen=True, eq=False)
class Subject:
    """Everything that one page is about.

    Attributes:
        kind: run, negatives, study or audit.
        where: the folder as it was given.
        path: the folder.
        trainings: of a run.
        negatives: the folder whose negatives are looked at in detail, or None.
        audit, study, evaluate: what those files say, or None.
        influence: by phase, what ``influence.json`` and ``phenomena.json`` say.
        data: the collection, if it was found.
        no_data: why it was not.
    """

    kind: str
    where: str
    path: Path
    trainings: list[Training] = field(default_factory=list)
    negatives: Negatives | None = None
    audit: Mapping[str, Any] | None = None
    study: Mapping[str, Any] | None = None
    influence: list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]] = field(default_factory=list)
    evaluate: Mapping[str, Any] | None = None
    data: Collection | None = None
    no_data: str = ""

    @property
    def record(self) -> Mapping[str, Any]:
        """``run.json`` of the whole run."""
        return _record(self.path) or {}

    @property
    def finished(self) -> bool:
        """Whether nothing is going on any more."""
        return self.kind != "run" or self.record.get("status") == "finished"


def find_subject(source: str | Path, data: Collection | None = None, audit: Path | None = None) -> Subject:
    """What lies at a path.

    Args:
        source: folder of a run, of negatives, of a study or of an audit, or the JSON file of one.
        data: the collection; found in the cache by default.
        audit: folder or file of an audit; by default the one next to it, if it is of these negatives.

    Raises:
        StoreError: there is none of these.
        DataError: the audit that is named cannot be read.
    """
    path = Path(source)
    folder = path.parent if path.is_file() else path
    given = None if audit is None else _audit(audit)
    if audit is not None and given is None:
        raise DataError("is no audit.", file=audit, remedy=f"Name a folder with {AUDIT}: foils audit NEG -o DIR")
    if path.name in (STUDY, AUDIT) or not (folder / RECORD).exists():
        for name, kind in ((STUDY, "study"), (AUDIT, "audit"), (MANIFEST, "negatives")):
            if (folder / name).is_file() and path.name in (name, folder.name):
                return _of(kind, str(source), folder, data, given)
    if (folder / RECORD).is_file() or (folder / NEGATIVES / MANIFEST).is_file():
        return _of_run(str(source), folder, data, given)
    what = "is not there" if not path.exists() else "holds nothing that a page could be about"
    raise StoreError(
        f"{source}: {what}. Name the folder of a run ({RECORD}), of negatives ({MANIFEST}), of a study ({STUDY}) or of "
        f"an audit ({AUDIT})."
    )


def _of(kind: str, where: str, folder: Path, data: Collection | None, given: Mapping[str, Any] | None) -> Subject:
    if kind == "study":
        return Subject(kind, where, folder, study=_json(folder / STUDY))
    if kind == "audit":
        found = _json(folder / AUDIT) or {}
        named = Path(str(found.get("negatives", "")))
        stores = filter(None, (_negatives(named), _negatives(folder / named)))
        negatives = next((store for store in stores if found.get(_OF) == store.fingerprint), None)
        return Subject(kind, where, folder, negatives=negatives, audit=found, **_data(negatives, data))
    store = Negatives.open(folder)
    beside = folder.with_name(f"{folder.name}-audit")
    audit = given or _audit_of(store, folder, folder.parent / "audit", beside)
    return Subject(kind, where, folder, negatives=store, audit=audit, **_data(store, data))


def _of_run(where: str, folder: Path, data: Collection | None, given: Mapping[str, Any] | None) -> Subject:
    record = _record(folder) or {}
    phases = sorted((folder / "phases").glob("[0-9]*-*"), key=lambda path: int(path.name.split("-")[0]))
    phases = [path for path in phases if path.is_dir() and (path / RECORD).is_file()]
    trainings = [_training(path.name.split("-", 1)[1], path) for path in phases]
    if not trainings and record:
        trainings = [_training("", folder)]
    store = next(filter(None, (_negatives(path / NEGATIVES) for path in [folder, *reversed(phases)])), None)
    audit = given or _audit_of(store, folder, folder / "audit", *(() if store is None else (store.path,)))
    return Subject(
        "run",
        where,
        folder,
        trainings,
        store,
        audit,
        influence=_influence([("", folder), *((one.name, one.path) for one in trainings if one.name)]),
        evaluate=_json(folder / EVALUATE),
        **_data(store, data),
    )


def _training(name: str, path: Path) -> Training:
    record = _record(path) or {}
    history, steps = journal.read(path)
    last = None if record.get("status") == "finished" else checkpoints.newest(path)
    if last is not None:
        try:
            saved = checkpoints.history(last)
        except (OSError, ValueError, KeyError):
            saved = []  # it has just been removed; there is a newer one
        if len(saved) > len(history):  # a run of a version without a journal
            history = saved
    return Training(name, path, record, history, steps)


def _influence(
    places: list[tuple[str, Path]],
) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]:
    found = [(name, path / "influence") for name, path in places]
    read = [(name, _json(path / INFLUENCE), _json(path / PHENOMENA)) for name, path in found]
    return [(name, influence, phenomena) for name, influence, phenomena in read if influence is not None]


def _data(store: Negatives | None, data: Collection | None) -> dict[str, Any]:
    if data is not None or store is None:
        return {"data": data}
    try:
        return {"data": store.collection()}
    except FoilsError as error:
        return {"no_data": str(error)}


def _negatives(folder: Path) -> Negatives | None:
    try:
        return Negatives.open(folder) if (folder / MANIFEST).is_file() else None
    except (StoreError, OSError):
        return None


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        return read_record(folder)
    except (OSError, StoreError):
        return None


def _audit(folder: Path) -> Mapping[str, Any] | None:
    return _json(folder if folder.is_file() else folder / AUDIT)


def _audit_of(store: Negatives | None, *places: Path) -> Mapping[str, Any] | None:
    """The first audit that is of these negatives; where they lie elsewhere, the first."""
    found = filter(None, map(_audit, places))
    return next((audit for audit in found if store is None or audit.get(_OF) == store.fingerprint), None)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
