"""What a call asks for: column names, window of ranks, bounds on scores, output format; checked and made explicit.

Messages are those of sentence-transformers, so that code which reads them goes on working.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from foils.core.text import did_you_mean

log = logging.getLogger("foils.compat")

Format = Literal["triplet", "n-tuple", "labeled-pair", "labeled-list"]
Sampling = Literal["top", "random"]
FORMATS: tuple[Format, ...] = ("triplet", "n-tuple", "labeled-pair", "labeled-list")
_GPU_DEPTH = 2048  # documents per query that FAISS finds on a GPU at most


@dataclass(frozen=True)
class Names:
    """Columns of the data set that hold the two sides."""

    anchor: str
    positive: str


@dataclass(frozen=True)
class Bounds:
    """Which scores a negative may have; None is no bound."""

    absolute_margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None
    min_score: float | None = None

    @property
    def upper(self) -> bool:
        """Whether candidates may be dropped from the top of the list."""
        return any(bound is not None for bound in (self.absolute_margin, self.relative_margin, self.max_score))


@dataclass(frozen=True)
class Window:
    """Ranks among the survivors: those after ``lo``, up to ``hi`` (None: derived), of which ``k`` are taken."""

    lo: int
    hi: int | None
    k: int

    @property
    def last(self) -> int:
        """The last rank of a window that is complete."""
        assert self.hi is not None
        return self.hi


@dataclass(frozen=True)
class Plan:
    """How negatives are chosen from what the search found."""

    window: Window
    bounds: Bounds
    sampling: Sampling
    with_positives: bool
    seed: int


@dataclass(frozen=True)
class Output:
    """Layout of the result."""

    format: Format
    scores: bool


def columns(found: Sequence[str], anchor: str | None, positive: str | None) -> Names:
    """The named columns; the first and the second where none is named.

    Raises:
        ValueError: a name that the data set does not have, one column for both sides, or fewer than two columns.
    """
    for argument, name in (("anchor_column_name", anchor), ("positive_column_name", positive)):
        if name and name not in found:
            there = ", ".join(map(repr, found))
            raise ValueError(f"{argument}={name!r}: the dataset has {there}.{did_you_mean(name, found)}")
    if not positive and len(found) < 2:
        raise ValueError("Dataset must contain at least two columns to select the positive column automatically.")
    names = Names(anchor or found[0], positive or found[1])
    if names.anchor == names.positive:
        raise ValueError(
            f"column {names.anchor!r} cannot be both anchor and positive. Name anchor and positive column."
        )
    return names


def output_of(asked: str, as_triplets: bool | None, scores: bool, with_positives: bool, narrowed: bool) -> Output:
    """The output format, deprecated spellings included.

    Args:
        asked: ``output_format``.
        as_triplets: deprecated; goes before ``asked``.
        scores: ``output_scores``.
        with_positives: whether positives stay among the candidates, which only n-tuples can show.
        narrowed: whether any window, bound or sampling is asked for.

    Raises:
        ValueError: no such format.
    """
    if as_triplets is not None:
        asked = "triplet" if as_triplets else "n-tuple"
        log.warning(
            "The `as_triplets` parameter is deprecated. Use the `output_format` parameter instead. "
            "Setting `output_format` to `%s`.",
            asked,
        )
    if with_positives:
        asked = _tuples(asked, narrowed)
    if asked == "n-tuple-scores":
        log.warning(
            '`output_format="n-tuple-scores"` is deprecated. Use `output_format="n-tuple"` with '
            "`output_scores=True` instead for equivalent output formats."
        )
        asked, scores = "n-tuple", True
    if asked not in FORMATS:
        raise ValueError(
            f"Invalid output_format: {asked}. Must be one of 'triplet', 'n-tuple', 'labeled-pair', or 'labeled-list'."
        )
    return Output(asked, scores)


def _tuples(asked: str, narrowed: bool) -> str:
    if narrowed:
        log.warning(
            "When using `include_positives=True`, updating `range_min`, `range_max`, `max_score`, `min_score`, "
            "`absolute_margin`, `relative_margin`, or `sampling_strategy` from the default values may still "
            "discard the positive values."
        )
    if asked != "n-tuple":
        log.warning(
            'When using `include_positives=True`, `output_format` will be set to `"n-tuple"` '
            "to ensure that the ranking order is preserved."
        )
    return "n-tuple"


def margin_of(margin: float | None, absolute_margin: float | None) -> float | None:
    """The absolute margin, also under its deprecated name."""
    if margin is None:
        return absolute_margin
    log.warning(
        "The `margin` parameter is deprecated. Use the `absolute_margin` and/or `relative_margin` parameter instead. "
        "Setting `absolute_margin` to `%s`.",
        margin,
    )
    return margin


def sampling_of(asked: str) -> Sampling:
    """``top`` or ``random``."""
    if asked not in ("top", "random"):
        raise ValueError(f"Invalid sampling_strategy: {asked}. Must be one of 'top' or 'random'.")
    return cast(Sampling, asked)


def complete(window: Window, most: int, deep: bool, capped: bool) -> tuple[Window, list[str]]:
    """The window with its last rank, and what there is to tell about it.

    Args:
        window: as asked for.
        most: positives of the query that has most.
        deep: whether candidates will be dropped, so that more of them are needed.
        capped: whether FAISS on a GPU would limit the depth.

    Raises:
        ValueError: a window that cannot hold the negatives.
    """
    if window.k < 1:
        raise ValueError(f"num_negatives must be at least 1, got num_negatives={window.k}.")
    told, note = [], ""
    if window.hi is None:
        window = replace(window, hi=window.lo + window.k * (10 if deep else 1) + most)
        if capped and window.last + most > _GPU_DEPTH:
            window = replace(window, hi=_GPU_DEPTH - most)
            note = (
                f" Note that range_max was capped to {window.hi} because FAISS on GPU can only retrieve up to"
                f" {_GPU_DEPTH} documents per query, some of which are reserved for the positives. Passing"
                " use_faiss=False lifts that cap, although it can cost a lot more memory."
            )
            told.append(
                f"Using FAISS on GPU, we can only retrieve up to {_GPU_DEPTH} documents per query, some of which "
                f"are reserved for the positives. Setting range_max to {window.hi}."
            )
        told.append(f"Setting range_max to {window.hi} based on the provided parameters.")
    _check(window, note)
    return window, told


def _check(window: Window, note: str) -> None:
    lo, hi, k = window.lo, window.last, window.k
    if lo < 0:
        raise ValueError(f"range_min must be non-negative, got range_min={lo}.")
    if lo >= hi:
        raise ValueError(f"range_min must be smaller than range_max, got range_min={lo} and range_max={hi}.{note}")
    if k > hi - lo:
        raise ValueError(
            f"Cannot mine {k} negatives per query: only {hi - lo} candidates remain after "
            f"skipping the first range_min={lo} of range_max={hi}. Consider decreasing num_negatives "
            f"or range_min, or increasing range_max.{note}"
        )


def faiss_gpus() -> int:
    """GPUs that FAISS would use.

    Our search does not use FAISS; but it is what the caller asked for, and it limits the depth there.

    Raises:
        ImportError: FAISS is not installed.
    """
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError(
            "Please install `faiss` to use this function with `use_faiss=True`: "
            "`pip install faiss-cpu` (or `faiss-gpu`). With use_faiss=False the result is the same."
        ) from error
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())
