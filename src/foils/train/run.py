"""`Run`: a training run on disk, with everything that went in, and how it went."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from foils.core.errors import StoreError
from foils.train.checkpoints import write_json
from foils.train.curve import Curve
from foils.train.dev import METRIC

FORMAT = 1
RECORD = "run.json"
MODEL = "model"
NEGATIVES = "negatives"
GENERATIONS = "generations"
NEVER = "never_refreshed"  # of a record: why negatives were not mined again although they were to be


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        out: its folder: ``model/`` (a plain sentence-transformers model), ``run.json``.
        record: what ``run.json`` says: settings, versions, counts, dev curve, steps, seconds.
        found_finished: whether it was finished before it was asked for, so that nothing was trained now.
    """

    out: Path
    record: Mapping[str, Any]
    found_finished: bool = False

    @classmethod
    def open(cls, out: str | Path) -> Self:
        """A finished run from its folder.

        Raises:
            StoreError: no run is there, or it is not finished.
        """
        record = read_record(Path(out))
        if record is None:
            raise StoreError(f"{out}: there is no training run here (no {RECORD}).")
        if record["status"] != "finished":
            raise StoreError(f"{out}: this run is not finished. Give the same training command again to continue it.")
        return cls(Path(out), record, found_finished=True)

    @property
    def model(self) -> Path:
        """Folder of the trained model; ``SentenceTransformer(str(run.model))`` loads it."""
        return self.out / MODEL

    @property
    def steps(self) -> int:
        """Optimiser steps trained."""
        return int(self.record["steps"])

    @property
    def best_step(self) -> int:
        """The step whose weights were taken: the best one on dev, or the last one without dev."""
        return int(self.record["best_step"])

    @property
    def curve(self) -> Curve:
        """Dev measures by step; step 0 is the start model."""
        points: Curve = self.record["curve"]
        return points

    @property
    def metrics(self) -> dict[str, float]:
        """Dev measures of the weights that were taken; empty without dev."""
        found = [point for point in self.curve if point["step"] == self.best_step]
        return {name: value for name, value in found[0].items() if name != "step"} if found else {}

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({str(self.out)!r}: {self.steps:,} steps"
        if self.metrics:
            start = [point[METRIC] for point in self.curve if point["step"] == 0]
            before = f", {start[0]:.3f} at the start" if start else ""
            text += f"; dev {METRIC} {self.metrics[METRIC]:.3f} at step {self.best_step:,}{before}"
        return text + ("; was finished already)" if self.found_finished else ")")


def read_record(out: Path) -> dict[str, Any] | None:
    """The record of a run folder, or None if there is none.

    Raises:
        StoreError: the folder holds something else, or a record of another version.
    """
    path = out / RECORD
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(map(_strange, out.iterdir()))):
            raise StoreError(f"{out}: exists and is not a training run. Choose another folder.")
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path}: not JSON ({error}). Choose another folder, or remove this one.") from None
    if record.get("format") != FORMAT:
        raise StoreError(f"{path}: format {record.get('format')!r}; this version of foils reads format {FORMAT}.")
    return record


def _strange(path: Path) -> bool:
    # Negatives that were mined for this run lie in its folder before it begins.
    return path.name != NEGATIVES and not path.name.startswith(".")


def agree(out: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run of other settings.

    Raises:
        StoreError: with every setting that differs, as it is in the folder and as it was asked for.
    """
    there, asked = dict(_flat(record["settings"])), dict(_flat(settings))
    names = [name for name in {**there, **asked} if there.get(name) != asked.get(name)]
    if names:
        listed = "; ".join(f"{name} is {there.get(name)!r} there and {asked.get(name)!r} now" for name in names)
        raise StoreError(
            f"{out}: holds a run with other settings: {listed}. Choose another folder, or remove this one."
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def start_record(out: Path, begun: Mapping[str, Any]) -> None:
    """Write the record of a run that begins: settings, counts and notes; versions are added."""
    write_json(out / RECORD, {"format": FORMAT, "status": "running", **begun, "versions": versions()})


def finish_record(out: Path, outcome: Mapping[str, Any]) -> Run:
    """Complete the record."""
    record = {**(read_record(out) or {}), "status": "finished", **outcome}
    write_json(out / RECORD, record)
    return Run(out, record)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training depends on."""
    found = {"python": platform.python_version()}
    for package in ("foils", "torch", "transformers", "sentence-transformers", "accelerate", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
