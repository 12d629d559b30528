"""`Job`: a training run with everything settled, before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Encoder
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.evaluate.transfer import Task
from foils.train.batch import STUDENT
from foils.train.batches import Batches, Ground, Plan, Shuffled
from foils.train.contrasts import Contrast, InBatch
from foils.train.contrasts.bringer import Site
from foils.train.dev import Dev, divide, make_dev, promoted
from foils.train.guard.values import MILD, Fallback, Guard
from foils.train.guides import Guide, guides
from foils.train.losses import InfoNCE, Loss
from foils.train.options import Precision, TrainOptions
from foils.train.refresh import Mining, Never, Refresh
from foils.train.refresh.adaptive import watched
from foils.train.rows import Rows, fingerprint, make_rows
from foils.train.student import Student
from foils.train.towers import towers
from foils.train.work import Work


def no_score(what: object, name: str, have: Iterable[str]) -> PipelineError:
    """The error of a loss, contrast or pipeline that reads a column which a training batch lacks."""
    listed = ", ".join(map(repr, dict.fromkeys((STUDENT, *have))))
    return PipelineError(
        f"{what!r}: a training batch has no score {name!r}; it has: {listed}. Pass --encoder {name}=MODEL, or mine "
        "negatives with that column."
    )


@dataclass(frozen=True, eq=False)
class TrainSpec:
    """What a recipe decides about training.

    Attributes:
        contrast: whom a query is compared with.
        loss: what is minimised.
        batches: which rows form a batch.
        negatives: mined pairs (label 0 negatives, label 1 positives), such as ``Negatives.kept(data)``; None for none.
        split: whose queries are trained on.
        notes: for the record only, such as the recipe's text and the folder of the negatives. A continued run need not
            agree with them; what decides the weights is recorded and compared by content.
        guides: models whose scores the contrast's filters read, by the names that they read; see `foils.train.guides`.
        refresh: when negatives are mined again.
        mining: how; needed if ever they are.
        share: of the epochs or steps that the options say.
        rate: factor of the learning rate that they say.
        guard: bounds beyond which the run stops, or falls back.
        fallback: what it goes on with then, from its last good checkpoint; None to stop with an error.
        tasks: other tasks that the weights are measured on at each look at dev (`foils.evaluate.transfer`); they
            decide nothing.
        influence: whether to count what every negative does, into ``influence`` of the run folder; it decides nothing.
    """

    contrast: Contrast = field(default_factory=InBatch)
    loss: Loss = field(default_factory=InfoNCE)
    batches: Batches = field(default_factory=Shuffled)
    negatives: Pairs | None = None
    split: str = "train"
    notes: dict[str, Any] = field(default_factory=dict)
    guides: Mapping[str, Encoder] = field(default_factory=dict)
    refresh: Refresh = field(default_factory=Never)
    mining: Mining | None = None
    share: float = 1.0
    rate: float = 1.0
    guard: Guard = MILD
    fallback: Fallback | None = None
    tasks: Sequence[Task] = ()
    influence: bool = False

    def columns(self) -> tuple[str, ...]:
        """The saved columns of the negatives that loss, contrast and adaptive shares read: what no guide says.

        Raises:
            PipelineError: one is neither saved, nor said by a guide, nor brought by a contrast; or a contrast brings
                one that the loss does not read.
        """
        saved = {} if self.negatives is None else self.negatives.scores
        bringers = self.contrast.bringers()
        brought = dict.fromkeys(name for bringer in bringers for name in bringer.brings())
        for bringer in bringers:
            bringer.suits(self.loss)
        pipeline = None if self.mining is None else self.mining.pipeline
        looked_at = () if pipeline is None else watched(pipeline)
        reading = ((self.loss, self.loss.reads()), (self.contrast, self.contrast.reads()), (pipeline, looked_at))
        for what, names in reading:
            for name in names:
                if name not in (*saved, *self.guides, *brought):
                    raise no_score(what, name, (*saved, *self.guides, *brought))
        read = dict.fromkeys((*self.loss.reads(), *self.contrast.reads(), *looked_at))
        return tuple(name for name in read if name not in self.guides and (name in saved or name not in brought))


@dataclass(frozen=True)
class Place:
    """Where the run happens.

    Attributes:
        out: the run folder.
        on_cpu: there is no GPU, or it must not be used.
        precision: of the forward and backward pass, with nothing left open.
        processes: how many there are.
        rank: which one this is; 0 does all the writing.
    """

    out: Path
    on_cpu: bool
    precision: Precision
    processes: int
    rank: int


@dataclass(frozen=True, eq=False)
class Job(Work):
    """Everything that is settled before the first step of a student; see `foils.train.work.Work` for the rest.

    Attributes:
        data: the collection.
        spec: what the recipe decides.
        student: the model, at its start weights.
        guides: the vectors of the guides.
        docs: vectors of all documents where those stand; see `foils.train.towers`.
        asked: what was asked for, where the fallback has taken over; else None.
        back: the step that the fallback took over at.
        good: the generation of negatives that was in use there.
    """

    data: Collection
    spec: TrainSpec
    student: Student
    dev: Dev | None
    guides: Mapping[str, Guide] = field(default_factory=dict)
    docs: NDArray[np.float32] | None = None
    asked: TrainSpec | None = None
    back: int = 0
    good: int = 0

    long: ClassVar[int] = 2000

    def settings(self) -> dict[str, Any]:
        """What decides the resulting weights; a run is only continued with the same."""
        spec = self.spec
        return {
            "recipe": {"contrast": spec.contrast.full(), "loss": spec.loss.full(), "batches": spec.batches.full()},
            "data": self.data.fingerprint,
            "split": spec.split,
            "negatives": fingerprint(spec.negatives, spec.columns()),
            **({"guides": _identities(spec.guides)} if spec.guides else {}),
            **({"refresh": {"when": spec.refresh.full(), **spec.mining.settings()}} if spec.mining else {}),
            "model": self.student.fingerprint,
            "seed": self.plan.seed,
            "processes": self.plan.processes,
            "options": self.options.record(),
        }

    def site(self, place: Place) -> Site:
        """Where contrasts with documents from outside the batch work."""
        return Site(
            data=self.data,
            student=self.student,
            max_length=self.options.max_length,
            seed=self.plan.seed,
            processes=place.processes,
            rank=place.rank,
            queries=self.plan.rows.queries,
            docs=self.docs,
            cache=cache_root() / "vectors",
            # Looked up when it is asked for: mining again may find further positives.
            known=lambda queries: self.plan.rows.positives(queries),
        )


def prepare(
    data: Collection, spec: TrainSpec, student: Student, options: TrainOptions, *, seed: int, place: Place
) -> Job:
    """Divide the queries, lay out the rows and plan the batches.

    Raises:
        DataError: there is nothing to train on.
        ModelError: ``max_length`` or ``mini_batch`` for a model that has no use for it.
        PipelineError: ``mini_batch`` with a contrast or loss that it does not go with.
    """
    if spec.mining is not None and spec.refresh.chunks > 1:
        most = len(spec.mining.queries(data, spec.split))
        if spec.refresh.chunks > most:
            raise SpecError(
                f"{spec.refresh!r}: chunks={spec.refresh.chunks} of {most:,} queries would leave a generation none to "
                f"mine for. Use {most} or fewer."
            )
    settled = options.resolved(student.kind, on_cpu=place.on_cpu, precision=place.precision)
    settled = settled.scaled(spec.share, spec.rate)
    student.encoder(settled.max_length)
    if spec.mining is None and not isinstance(spec.refresh, Never):
        raise SpecError(f"refresh={spec.refresh!r}: nothing says how to mine. Give TrainSpec(mining=Mining(…)), too.")
    if settled.mini_batch is not None:
        from foils.train.cached import check_cacheable

        check_cacheable(student, spec.contrast, spec.loss)
    stay, held, dev_split = divide(data, spec.split, settled, seed)
    stay = np.union1d(stay, promoted(data, spec.negatives))
    rows = make_rows(data, spec.split, queries=stay, negatives=spec.negatives, seed=seed, columns=spec.columns())
    plan = Plan(spec.batches, _ground(data, spec, student, settled, rows, seed=seed, place=place))
    read = (*spec.contrast.reads(), *spec.loss.reads())
    silent = (*spec.contrast.frozen(), *spec.batches.encoders())
    scoring = {name: each for name, each in spec.guides.items() if name in read or name not in silent}
    seen = guides(scoring, data, rows.queries, cache_root() / "vectors")
    both = towers(student, spec.contrast, spec.guides, data, cache_root() / "vectors")
    dev = make_dev(data, dev_split, held, settled)
    if spec.tasks and dev is None:
        raise SpecError("tasks are measured at each look at dev, and there is no dev: set dev_share above 0.")
    return Job(
        plan=plan,
        dev=dev,
        options=settled,
        out=place.out,
        notes={**spec.notes, "guard": repr(spec.guard)},
        data=data,
        spec=spec,
        student=both.student,
        guides=seen,
        docs=both.docs,
    )


def _ground(
    data: Collection, spec: TrainSpec, student: Student, options: TrainOptions, rows: Rows, *, seed: int, place: Place
) -> Ground:
    return Ground(
        rows=rows,
        size=options.batch_size or 1,
        seed=seed,
        processes=place.processes,
        limit=options.negatives_per_row,
        data=data,
        models={STUDENT: student.encoder(None), **spec.guides},
        cache=cache_root() / "vectors",
    )


def _identities(models: Mapping[str, Encoder]) -> dict[str, list[str]]:
    return {name: [model.fingerprint("query"), model.fingerprint("document")] for name, model in models.items()}
