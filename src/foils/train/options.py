"""`TrainOptions`: how long, how fast and how precisely to train. What a method decides is in the recipe instead."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from foils.core.errors import SpecError
from foils.core.text import did_you_mean

Precision = Literal["auto", "float32", "bf16", "fp16"]
ModelKind = Literal["static", "transformer"]

_DEFAULTS: Mapping[ModelKind, Mapping[str, Any]] = {
    "static": {"epochs": 6, "batch_size": 64, "learning_rate": 1e-2, "negatives_per_row": 4, "dev_docs": 5_000},
    "transformer": {"epochs": 1, "batch_size": 32, "learning_rate": 2e-5, "negatives_per_row": 1, "dev_docs": 2_000},
}
_CPU_LENGTH = 128  # tokens: 64 rows with 4 negatives each, uncapped, take 19 GB with a 6-layer model


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run. None means a default that depends on the kind of model.

    Attributes:
        epochs: passes over the rows, also parts of one; 6 for a static (token embedding) model, 1 for a transformer.
        max_steps: optimiser steps, instead of ``epochs``.
        batch_size: training rows per step and process; 64 static, 32 transformer.
        learning_rate: peak of AdamW, reached after the warm-up, then falling linearly to 0; 1e-2 static, 2e-5
            transformer (DPR's and sentence-transformers' usual value).
        warmup: share of all steps, in [0, 1).
        negatives_per_row: mined negatives that a row uses in an epoch, at most; they take turns from epoch to epoch.
            4 static, 1 transformer (DPR); 0 for none. Short lists are used as they are.
        max_length: tokens that the transformer sees of a text while training, at most; 128 on a CPU, elsewhere what the
            model says. The saved model keeps its own. Static models read whole texts.
        precision: of the forward and backward pass; ``auto`` is bf16 on a GPU that has it, else float32. The weights
            and the loss are float32 always.
        gradient_accumulation: batches per optimiser step. Each batch is contrasted by itself.
        mini_batch: texts of a side encoded at a time, by gradient caching (`foils.train.cached`): a large batch in the
            memory of a small one, with the same gradient, in about 1.3 times the time or more. None for the whole batch
            at once. Not for static models, nor with contrasts or losses that encode texts of their own.
        evaluate_every: steps between two looks at the dev queries; by default once an epoch, and every 2,000 steps
            where an epoch is longer. A new best is saved at once.
        save_every: steps between two checkpoints; by default as often as it evaluates, and every 500 steps at least.
        patience: stop after this many looks at dev without improvement; None for never.
        dev_share: share of the training queries held out by a hash of their ids, where the collection has no split
            ``dev``; in [0, 1). 0 for no dev at all: the last weights are taken.
        dev_queries: dev queries looked at, at most.
        dev_docs: documents searched for them, at most: all positives and a random rest; 5,000 static, 2,000
            transformer. The absolute figures depend on it; they serve to compare checkpoints.
        report_to: logging integrations of the Hugging Face Trainer, such as ``tensorboard`` or ``wandb``.
    """

    epochs: int | float | None = None
    max_steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    warmup: float = 0.1
    negatives_per_row: int | None = None
    max_length: int | None = None
    precision: Precision = "auto"
    gradient_accumulation: int = 1
    mini_batch: int | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    patience: int | None = None
    dev_share: float = 0.05
    dev_queries: int = 500
    dev_docs: int | None = None
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name), hints[field.name]))
        for name in ("max_steps", "batch_size", "mini_batch", "max_length", "gradient_accumulation"):
            _require(self, name, 1, None)
        for name in ("evaluate_every", "save_every", "patience", "dev_queries", "dev_docs"):
            _require(self, name, 1, None)
        _require(self, "negatives_per_row", 0, None)
        _require(self, "warmup", 0, 1)
        _require(self, "dev_share", 0, 1)
        for name in ("learning_rate", "epochs"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SpecError(f"{name}={value!r} must be above 0.")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Options from a recipe or a command line.

        Raises:
            SpecError: an unknown name (with a suggestion), a wrong type or a value out of bounds.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                guess = did_you_mean(name, known)
                raise SpecError(f"unknown training option {name!r}.{guess or ' There is: ' + ', '.join(known) + '.'}")
        return cls(**given)

    def resolved(self, kind: ModelKind, *, on_cpu: bool, precision: Precision) -> TrainOptions:
        """The same with the precision decided and the defaults for this kind of model and device filled in."""
        filled: dict[str, Any] = {name: value for name, value in _DEFAULTS[kind].items() if getattr(self, name) is None}
        if kind == "transformer" and self.max_length is None and on_cpu:
            filled["max_length"] = _CPU_LENGTH
        return replace(self, **filled, precision=precision)

    def scaled(self, share: float, rate: float) -> TrainOptions:
        """Of options with nothing left open: a share of the length at a multiple of the learning rate."""
        if share == rate == 1:
            return self
        length: dict[str, Any] = {"epochs": None if self.epochs is None else self.epochs * share}
        assert self.learning_rate is not None
        if self.max_steps is not None:
            length["max_steps"] = max(1, round(self.max_steps * share))
        return replace(self, **length, learning_rate=self.learning_rate * rate)

    def record(self) -> dict[str, Any]:
        """All options that can change the weights, as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "report_to"}


def _typed(name: str, value: Any, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is Literal:
            if value in typing.get_args(option):
                return value
        elif typing.get_origin(option) is tuple:
            value = [value] if isinstance(value, str) else value  # --set report_to=wandb
            if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif option is float and type(value) in (int, float):
            return float(value)
        elif option in (int, str, type(None)) and type(value) is option:
            return value
    raise SpecError(f"{name}={value!r} must be {' or '.join(map(_say, options))}.")


def _say(option: Any) -> str:
    if typing.get_origin(option) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(option)))
    if typing.get_origin(option) is tuple:
        return "a text or a list of texts"
    return {int: "a whole number", float: "a number", str: "a text", type(None): "None"}[option]


def _require(options: TrainOptions, name: str, least: int, below: int | None) -> None:
    value = getattr(options, name)
    if value is not None and (value < least or (below is not None and value >= below)):
        raise SpecError(f"{name}={value!r} must be at least {least}" + (f" and below {below}." if below else "."))
