"""`StudyOptions`: how a study is made, and studies as files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from foils.core.errors import SpecError
from foils.core.text import did_you_mean
from foils.evaluate.measures import DEFAULT, parse
from foils.evaluate.significance import ROUNDS
from foils.stages.context import Progress
from foils.train.options import TrainOptions

_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds|m|min|minutes|h|hours)")
_PER_MINUTE = {"s": 1 / 60, "m": 1.0, "h": 60.0}
_FILE = ("data", "model", "arms", "out")


@dataclass(frozen=True)
class StudyOptions:
    """How arms are trained and compared; all arms alike.

    Attributes:
        seeds: trainings of each arm, with seeds 0 to ``seeds - 1``.
        budget: optimiser steps of each training; phases of a recipe share them. A text such as ``5m`` for as many steps
            as the baseline makes in that time on this machine, which is measured once. By default what `TrainOptions`
            says of epochs, in steps of in-batch training.
        baseline: the arm that the others are compared with; ``in-batch`` if there is one, else the first.
        encoders: models by the names that recipes use, ``ARM/NAME`` for one arm alone; names or folders.
        train: other fields of `TrainOptions`, by name.
        split: whose queries to train on.
        test: whose queries to measure on; nothing is ever chosen by them.
        labels: a split with fuller judgements of the training queries; it gives the true false-negative rate.
        judge: who else says which negatives are relevant, by a name as `foils.audit` takes it, or several for their
            consensus; the rates of the arms are then estimated. With ``labels`` nobody is asked.
        cheap: another judge of all negatives, whose errors ``judge`` corrects.
        judged: negatives of each arm to judge.
        llm: of language models that judge: fields of `foils.audit.judges.llm.LLMOptions`, by name; ``prices`` as texts
            such as ``0.15,0.60``. The budget is for all arms together.
        measures: ir-measures names, kept by their canonical ones, ``RR@10`` for ``MRR@10``. The one that decides is
            nDCG@10 where it is among them, else the first.
        pairs: correct and report differences to the baseline, or between ``all`` arms.
        max_queries: train on so many queries of the split at most, chosen by a hash of their ids.
        keep_models: whether the trained models stay in the study's folder; refused where an arm was trained without.
        rounds: resamples and sign patterns.
        progress: called with (what, done, total).
    """

    seeds: int = 3
    budget: int | str | None = None
    baseline: str | None = None
    encoders: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    split: str = "train"
    test: str = "test"
    labels: str | None = None
    judge: str | Sequence[str] | None = None
    cheap: str | None = None
    judged: int = 300
    llm: Mapping[str, Any] = field(default_factory=dict)
    measures: Sequence[str] = DEFAULT
    pairs: Literal["baseline", "all"] = "baseline"
    max_queries: int | None = None
    keep_models: bool = False
    rounds: int = ROUNDS
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("max_queries", 1), ("rounds", 100), ("judged", 10)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise SpecError(f"{name}={value!r} must be a whole number, at least {least}.")
        if self.pairs not in ("baseline", "all"):
            raise SpecError(f"pairs={self.pairs!r}: it is 'baseline' or 'all'.")
        if self.split == self.test:
            raise SpecError(f"test={self.test!r} is what is trained on. Name the split to measure on: --test SPLIT")
        if isinstance(self.measures, str) or not self.measures:
            raise SpecError(f"measures={self.measures!r}: a list of names is expected, such as ['nDCG@10'].")
        object.__setattr__(self, "measures", tuple(map(str, parse(self.measures))))
        for name in ("encoders", "train", "llm"):
            if not isinstance(getattr(self, name), Mapping):
                raise SpecError(f"{name}={getattr(self, name)!r}: names and their values are expected.")
        if self.judge is not None and not _texts(self.judge):
            raise SpecError(f"judge={self.judge!r}: a name is expected, such as 'labels.csv', or a list of names.")
        if self.cheap is not None and (self.judge is None or not _texts(self.cheap)):
            raise SpecError(f"cheap={self.cheap!r}: it needs a judge that corrects it, and is one name. Pass --judge.")
        if "max_steps" in self.train or "epochs" in self.train:
            raise SpecError("how long every arm trains is the budget: --budget STEPS, or --budget 5m.")
        TrainOptions.read(self.train)
        self.amount()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Options from a study's file.

        Raises:
            SpecError: an unknown name (with a suggestion), or a value that cannot be.
        """
        known = [field.name for field in fields(cls) if field.name != "progress"]
        for name in given:
            if name not in known:
                listed = f" There is: {', '.join((*_FILE, *known))}."
                guess = did_you_mean(str(name), [*_FILE, *known]) or listed
                raise SpecError(f"unknown key {name!r} of a study.{guess}")
        return cls(**given)

    @property
    def main(self) -> str:
        """The measure that decides."""
        return "nDCG@10" if "nDCG@10" in self.measures else self.measures[0]

    def amount(self) -> tuple[Literal["steps", "minutes", "epochs"], float]:
        """What the budget is given in, and how much of it; 0 for the usual epochs.

        Raises:
            SpecError: it is neither a number of steps nor a time.
        """
        text = str(self.budget if self.budget is not None else "").strip().lower()
        if self.budget is None:
            return "epochs", 0.0
        if text.isdigit() and int(text) > 0:
            return "steps", float(text)
        found = _MINUTES.fullmatch(text)
        if found is None or float(found[1]) == 0:
            raise SpecError(f"budget={self.budget!r}: steps are expected, such as 300, or a time such as 5m.")
        return "minutes", float(found[1]) * _PER_MINUTE[found[2][0]]


def _texts(given: Any) -> bool:
    listed = [given] if isinstance(given, str) else given
    return isinstance(listed, list | tuple) and bool(listed) and all(isinstance(one, str) and one for one in listed)


def read_study(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A study's file: what it compares (``data``, ``model``, ``arms``, perhaps ``out``), and values of `StudyOptions`.

    Names of files in it are taken from where the command is given, as on the command line.

    Raises:
        SpecError: it cannot be read; an unknown key, or no ``data``, ``model`` or ``arms``.
    """
    import yaml

    from foils.recipe import read_yaml

    path = Path(path)
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: no study can be read here ({error}). Name a YAML file.") from None
    if not isinstance(content, dict):
        raise SpecError(f"{path}: a mapping with data, model and arms is expected.")
    what = {key: content.pop(key) for key in _FILE if key in content}
    if "arms" in what and not isinstance(what["arms"], list):
        raise SpecError(f"{path}: arms: {what['arms']!r} is no list; write - in-batch on a line, and so on.")
    for key in ("data", "model", "out"):
        if key in what and not isinstance(what[key], str):
            raise SpecError(f"{path}: {key}: {what[key]!r} is no text.")
    StudyOptions.read(content)
    return what, content
