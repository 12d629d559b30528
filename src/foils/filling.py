"""Run a pipeline part by part; a killed run goes on with the first part that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather

from foils.core.pairs import Pairs, joined
from foils.parts import RANK, SCORE, Step, named, part_table
from foils.stages.capped import WholeSampler
from foils.stages.context import Context
from foils.stages.readers import Filter
from foils.stages.stage import Stage, Then
from foils.stages.writers import Writer
from foils.staging import Staging

Rows = NDArray[np.int32]


def steps_of(pipeline: Stage) -> list[Step]:
    """The stages with their numbers."""
    return [
        Step(number, stage.family, repr(stage), isinstance(stage, Filter) and stage.judges)
        for number, stage in enumerate(pipeline.steps(), start=1)
    ]


@dataclass(frozen=True)
class Filling:
    """Writes the parts of a store that are not there yet.

    A stage that must see all queries at once cuts the pipeline: what comes before it runs for all parts, whose pairs
    wait on disk (about 20 bytes a candidate before compression); it decides over the living candidates of all (12 bytes
    each, and some 60 while it works); what comes after it runs part by part again.

    Attributes:
        staging: where the parts go.
        pipeline: what makes them.
        ctx: the surroundings.
        sizes: queries of a part, and those worked on at a time.
    """

    staging: Staging
    pipeline: Stage
    ctx: Context
    sizes: tuple[int, int]

    def run(self) -> None:
        """Write the parts."""
        chain = self.pipeline if isinstance(self.pipeline, Then) else Then((self.pipeline,))
        starts = range(0, len(self.ctx.rows), self.sizes[0])
        parts = [self.ctx.rows[at : at + self.sizes[0]] for at in starts]
        cuts = [place for place, stage in enumerate(chain.stages) if stage.whole]
        if all(map(self.staging.done, range(len(parts)))):
            cuts = []
        begin, chosen = 0, None
        for cut, place in enumerate(cuts):
            self._run(chain, range(begin, place), parts, chosen, cut)
            chosen = _Chosen(self.staging, cut, chain, place, self.ctx, len(parts))
            begin = place + 1
        self._run(chain, range(begin, len(chain.stages)), parts, chosen, None)

    def _run(self, chain: Then, places: range, parts: list[Rows], chosen: _Chosen | None, cut: int | None) -> None:
        """Run some stages for all parts; put the result aside for a cut, or write it."""
        positives, total, done = self.ctx.data.positives(self.ctx.split).bare(), len(self.ctx.rows), 0
        # Between two queries that are mined for, there may be some that are not.
        positives = positives.take(np.isin(positives.query, self.ctx.rows))
        for number, part in enumerate(parts):
            self._tell(done, total)
            done += len(part)
            if self.staging.done(number) if cut is None else self.staging.aside(cut, number).exists():
                continue
            known = share(positives, part)
            pairs = known if chosen is None else chosen.part(number)
            made = joined(
                [self._block(chain, places, share(pairs, at), share(known, at), at) for at in self._blocks(part)]
            )
            if cut is None:
                self.staging.write(number, part_table(made, known, self.ctx.data, steps_of(self.pipeline)))
            else:
                self.staging.put_aside(cut, number, _table(made))
        self._tell(total, total)

    def _block(self, chain: Then, places: range, pairs: Pairs, came: Pairs, block: Rows) -> Pairs:
        ctx = self.ctx.at(block)
        before = (step for stage in chain.stages[: places.start] for step in stage.steps())
        writers = (step for step in before if isinstance(step, Writer))
        ctx.scorers.update({step.column: step for step in writers if step.column is not None})
        return chain.run_part(places, pairs, came, ctx, 1)

    def _blocks(self, part: Rows) -> Iterator[Rows]:
        for at in range(0, len(part), self.sizes[1]):
            yield part[at : at + self.sizes[1]]

    def _tell(self, done: int, total: int) -> None:
        if self.ctx.progress is not None:
            self.ctx.progress("mining", done, total)


class _Chosen:
    """What a stage that sees all queries decides about the pairs that were put aside."""

    def __init__(self, staging: Staging, cut: int, chain: Then, place: int, ctx: Context, parts: int) -> None:
        stage = chain.stages[place]
        if not isinstance(stage, WholeSampler):
            raise TypeError(f"{stage!r} says whole, so it must be a WholeSampler.")
        self.staging, self.cut, self.stage = staging, cut, stage
        self.step = 1 + sum(1 for before in chain.stages[:place] for _ in before.steps())
        self.rows: list[NDArray[np.int64]] = []
        query, doc, value = [], [], []
        for number in range(parts):
            pairs = self._read(number)
            rows, values = stage.offers(pairs, ctx)
            self.rows.append(rows)
            query.append(pairs.query[rows])
            doc.append(pairs.doc[rows])
            value.append(values)
        taken = stage.choose(np.concatenate(query), np.concatenate(doc), np.concatenate(value), ctx)
        self.taken = np.split(taken, np.cumsum([len(rows) for rows in self.rows])[:-1])

    def part(self, number: int) -> Pairs:
        """The pairs of a part after the decision."""
        return self.stage.marked(self._read(number), self.rows[number], self.taken[number], self.step)

    def _read(self, number: int) -> Pairs:
        return _pairs(self.staging.aside(self.cut, number))


def share(pairs: Pairs, block: Rows) -> Pairs:
    """The rows of a block of queries; a block is a run of the mined ones, and every query of ``pairs`` is mined."""
    lo, hi = np.searchsorted(pairs.query, [block[0], block[-1] + 1])
    return pairs.take(np.arange(lo, hi))


def _table(pairs: Pairs) -> pa.Table:
    columns: dict[str, Any] = {"query": pairs.query, "doc": pairs.doc, "label": pairs.label, "dropped": pairs.dropped}
    columns |= {SCORE + name: values for name, values in pairs.scores.items()}
    columns |= {RANK + name: values for name, values in pairs.ranks.items()}
    latest = {} if pairs.latest is None else {"latest": pairs.latest}
    return pa.table(columns).replace_schema_metadata(latest)


def _pairs(path: Path) -> Pairs:
    table = feather.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    scores = {name: columns[column] for name, column in named(SCORE, columns)}
    ranks = {name: columns[column] for name, column in named(RANK, columns)}
    latest = (table.schema.metadata or {}).get(b"latest")
    name = None if latest is None else latest.decode()
    return Pairs(columns["query"], columns["doc"], columns["label"], scores, ranks, columns["dropped"], name)
