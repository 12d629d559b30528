"""What ``run.json`` says of a breach, and what is said about it. No PyTorch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.core.errors import BreachError, StoreError
from foils.train import generations

if TYPE_CHECKING:
    from foils.train.job import TrainSpec

BREACHES = "breaches"
_SAID = {
    "finite": ("loss or gradient is not finite", "A lower --learning-rate may help; so may a higher temperature."),
    "dev": ("dev nDCG@10 fell to {value}, bound {bound}", "A lower --learning-rate may help, or easier negatives."),
    "loss": ("loss rose to {value}, bound {bound}", "A lower --learning-rate may help, or easier negatives."),
    "uniformity": (
        "vectors have collapsed: uniformity {value}, bound {bound}",
        "A lower --learning-rate may help, or fewer false negatives.",
    ),
    "rank": (
        "vectors are collapsing: effective rank {value}, bound {bound}",
        "A lower --learning-rate may help, or fewer false negatives.",
    ),
    "document": (
        "one document has {value} of the push, bound {bound}",
        "Look at it: foils generations RUN, foils diff A B; a filter in mine: can take it out.",
    ),
    "hub": (
        "one document is a negative of {value} of the queries, bound {bound}",
        "Look at the pipeline of mine:; sampling, as by Uniform(k=…), spreads the negatives.",
    ),
    "above": (
        "the share of own negatives above the positive rose to {value}, bound {bound}",
        "They may be false negatives: PositiveAware() or a cross-encoder in mine: takes those out.",
    ),
}


def described(entry: dict[str, Any]) -> str:
    """A breach as a sentence, from ``run.json``."""
    said, _ = _SAID[entry["what"]]
    return said.format(value=_short(entry["value"]), bound=_short(entry["bound"]))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def went(entry: dict[str, Any]) -> str:
    """What was done about a breach."""
    if entry["fallback"] is None:
        return "stopped"
    said = ", ".join(f"{key} {value}" for key, value in entry["fallback"].items())
    return f"back to step {entry['back']:,} and generation {entry['generation']} of negatives; goes on with {said}"


def fell(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """The breach after which a fallback took over, or None."""
    found = [entry for entry in (record or {}).get(BREACHES, []) if entry["fallback"] is not None]
    return found[-1] if found else None


def check_same(out: Path, entry: dict[str, Any], spec: TrainSpec) -> None:
    """Refuse to continue with another fallback than the one that took over.

    Raises:
        StoreError: with both.
    """
    asked = None if spec.fallback is None else spec.fallback.text()
    if asked != entry["fallback"]:
        raise StoreError(
            f"{out}: since step {entry['back']:,} this run goes on with the fallback {entry['fallback']}, not with "
            f"{asked}. Give the same one, or choose another folder."
        )


def refusal(out: Path, entry: dict[str, Any], fallen: bool) -> BreachError:
    """What a run without a way back ends with."""
    if fallen:
        remedy = "The fallback did not help, either."
    else:
        remedy = "To go on from there with a simpler objective, give the same command with --fallback in-batch."
    numbers = [row["number"] for row in generations.listing(out) if row["checkpoint"]]
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        remedy += f" To go back by hand: foils rollback {out} --to N, where N is one of {listed}."
    return BreachError(
        f"{out}: stopped at step {entry['step']:,}: {described(entry)}. The last good checkpoint is that of step "
        f"{entry['back']:,}. {remedy} {_SAID[entry['what']][1]}"
    )
