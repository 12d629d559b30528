"""What a run is watched for, and what it goes on with: values for ``guard:`` and ``fallback:``. No PyTorch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from foils.core.declared import Declared, Kind, declare, require
from foils.core.errors import SpecError
from foils.core.spec import parse
from foils.core.text import did_you_mean
from foils.train.refresh import Alongside, Mining, Never, Refresh

if TYPE_CHECKING:
    from foils.stages.stage import Stage
    from foils.train.contrasts import Contrast
    from foils.train.job import TrainSpec
    from foils.train.losses import Loss


@declare
class Guard(Declared):
    """Bounds that a run must keep; None for one that is not looked at.

    A loss or gradient that is no finite number stops every run before the weights move, whatever the guard says. The
    others are looked at where figures are logged and where dev is measured. A figure of one step is noisy, so the
    median of the last three counts, and a breach leads back to a checkpoint from before those three.

    A run without ``guard:`` has ``Guard(dev=None, loss=None, document=None, hub=None, above=None)``: only a collapse of
    the vectors stops it. The bounds are our own, chosen so wide that ordinary runs keep them; no paper gives any.

    - ``dev``: fall of dev nDCG@10 below the best look, the start model's included, as a share of it. Less than 0.05 in
      all is never a breach: twice the standard error of some hundred queries.
    - ``loss``: rise of a step's loss above the median of those before (``window``; anew with every generation, which
      changes the loss), in robust standard deviations, 1.4826 times the median absolute deviation and at least a
      twentieth of the median.
    - ``uniformity``: 0 when all documents have one vector; -0.01 is a mean cosine of 0.9975. A model that begins
      beyond the bound is not blamed until it has been within.
    - ``rank``: effective rank of the document vectors, as a share of the first one measured.
    - ``document``: share of the step's push (gradient by the scores) that goes to one document, and of the rows that
      one document pushes most; both have to be above. A few rows that have all the gradient left are no breach.
    - ``hub``: share of the queries that have one and the same document among their negatives, of a generation as it
      comes into use. A collection with few documents, or lists that are long for it, needs a higher bound.
    - ``above``: rise of the share of own negatives that score above the positive, by the student or any other score,
      over its lowest in this generation: a trend of false negatives, or of what is pushed the wrong way.
    """

    dev: float | None = 0.3  # share of the best dev nDCG@10 that it may fall by
    loss: float | None = 8.0  # robust standard deviations that the loss may rise by
    uniformity: float | None = -0.01  # at most; 0 is collapsed
    rank: float | None = 0.1  # at least this share of the first effective rank
    document: float | None = 0.5  # at most this share of the push
    hub: float | None = 0.5  # at most this share of the queries of a generation
    above: float | None = 0.3  # rise of the share of own negatives above the positive
    window: int = 10  # logged losses that the newest are compared with

    role: ClassVar[Kind] = "guard"

    def check(self) -> None:
        """Bounds."""
        for name in ("dev", "rank", "document", "hub", "above"):
            value = getattr(self, name)
            require(value is None or 0 < value < 1, self, name, "above 0 and below 1, or None")
        require(self.loss is None or self.loss > 0, self, "loss", "above 0, or None")
        require(self.uniformity is None or self.uniformity < 0, self, "uniformity", "below 0, or None")
        require(self.window >= 5, self, "window", "at least 5")


MILD = Guard(dev=None, loss=None, document=None, hub=None, above=None)


@dataclass(frozen=True)
class Fallback:
    """What a run goes on with after a breach: simpler, on the negatives that its last good checkpoint used.

    Or on what it mines otherwise, with the weights of that checkpoint.

    Attributes:
        contrast: whom a query is compared with.
        loss: what is minimised.
        refresh: when negatives are mined again, as before the breach unless ``mine`` says otherwise; never by default.
        rate: factor of the run's learning rate.
        mine: mines a generation at once, and those of ``refresh``; None to keep the negatives.
        mining: the same with its models, which recipes fill in; in Python give this one.
    """

    contrast: Contrast
    loss: Loss
    refresh: Refresh
    rate: float = 1.0
    mine: Stage | None = None
    mining: Mining | None = field(default=None, compare=False)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """From what a recipe says.

        Raises:
            SpecError: an unknown key, or a value that cannot be read.
        """
        known = ("mine", "contrast", "loss", "refresh", "rate")
        for key in given:
            if key not in known:
                there = ", ".join(known)
                raise SpecError(f"fallback: unknown key {key!r}.{did_you_mean(str(key), known)} There is: {there}.")
        rate = given.get("rate", 1.0)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
            raise SpecError(f"fallback: rate: {rate!r} must be a number above 0.")
        return cls(
            parse(str(given.get("contrast", "InBatch()")), "contrast", "stage"),
            parse(str(given.get("loss", "InfoNCE()")), "loss"),
            parse(str(given.get("refresh", "Never()")), "refresh"),
            float(rate),
            parse(str(given["mine"])) if given.get("mine") else None,
        )

    @property
    def pipeline(self) -> Stage | None:
        """What it mines with, however it was given."""
        return self.mine if self.mining is None else self.mining.pipeline

    def text(self) -> dict[str, Any]:
        """As a recipe says it; what is as usual is left out."""
        mined = {} if self.pipeline is None else {"mine": repr(self.pipeline)}
        said: dict[str, Any] = {**mined, "contrast": repr(self.contrast), "loss": repr(self.loss)}
        if not isinstance(self.refresh, Never):
            said["refresh"] = repr(self.refresh)
        return said if self.rate == 1 else {**said, "rate": self.rate}


def fallen(spec: TrainSpec) -> TrainSpec:
    """What a run trains after a breach.

    Raises:
        SpecError: the fallback cannot take over from this run.
        PipelineError: it reads a score that the run does not have.
    """
    back = spec.fallback
    assert back is not None
    if not isinstance(back.refresh, Never) and back.refresh.chunks != spec.refresh.chunks:
        raise SpecError(
            f"fallback: {back.refresh!r} counts chunks={back.refresh.chunks} where the run has {spec.refresh.chunks}."
        )
    if back.contrast.frozen() != spec.contrast.frozen():
        raise SpecError(
            f"fallback: {back.contrast!r} trains other sides of the model than {spec.contrast!r} and cannot take over."
        )
    if back.pipeline is not None:
        _check_mining(back, spec)
    made = replace(
        spec,
        mining=back.mining or spec.mining,
        contrast=back.contrast,
        loss=back.loss,
        refresh=back.refresh,
        rate=spec.rate * back.rate,
        guides={name: guide for name, guide in spec.guides.items() if name in _reads(back)},
        fallback=None,
    )
    slow = (*back.loss.slow(), *(decay for bringer in back.contrast.bringers() for decay in bringer.slow()))
    if slow and not remembers(spec, made):
        raise SpecError(f"fallback: {back.text()} follows a moving average of the weights that the run has not kept.")
    made.columns()
    return made


def _check_mining(back: Fallback, spec: TrainSpec) -> None:
    if back.mining is None:
        raise SpecError(f"fallback: {back.mine!r}: nothing says with what models. Give Fallback(mining=Mining(…)).")
    if spec.refresh.chunks > 1 or back.refresh.chunks > 1:
        raise SpecError("fallback: one that mines does so for all queries; it does not go with refresh: …(chunks=…).")
    if isinstance(spec.refresh, Alongside) and spec.refresh.miner == "elsewhere":
        raise SpecError(
            f"fallback: one that mines does not go with {spec.refresh!r}, whose process would go on as before the "
            "breach. Let the trainer start it (miner='started'), or refresh with Every(…)."
        )


def remembers(spec: TrainSpec, other: TrainSpec) -> bool:
    """Whether what the objective of one remembers suits the other."""
    return repr((spec.contrast, spec.loss)) == repr((other.contrast, other.loss))


def _reads(back: Fallback) -> set[str]:
    return {*back.contrast.reads(), *back.loss.reads(), *back.contrast.frozen()}
