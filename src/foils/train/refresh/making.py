"""Make one generation: mine with the weights of a checkpoint, compare, publish."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foils.adapters.models import load_model
from foils.adapters.precision import lowered
from foils.adapters.sentence import SentenceEncoder
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import StoreError
from foils.core.noise import key_of
from foils.diff import compare
from foils.mine import Miner
from foils.staging import alone
from foils.store import MANIFEST, Negatives
from foils.train.checkpoints import history, write_json
from foils.train.generations import FIGURES, documents_of, folder_of, hub, mined_for, previous, publishing
from foils.train.refresh.adaptive import adapted, adapts
from foils.train.refresh.mining import Mining
from foils.train.refresh.values import Refresh
from foils.train.refresh.vectors import Carrying
from foils.train.run import GENERATIONS, NEGATIVES


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the generations of a run.

    Attributes:
        run: the run folder.
        data: the collection.
        split: whose queries are trained on.
        mining: how to mine.
        refresh: when, and what of it is computed anew.
        steps: optimiser steps of the run.
    """

    run: Path
    data: Collection
    split: str
    mining: Mining
    refresh: Refresh
    steps: int

    def make(self, number: int, step: int, weights: Path) -> Negatives:
        """Generation ``number``, made now unless it is there; a killed process goes on where it was.

        Args:
            number: from 1.
            step: of the checkpoint.
            weights: the checkpoint, or a copy of its model and its log; for step 0 the start model.

        Raises:
            StoreError: a rollback took the weights away meanwhile.
        """
        place, began = folder_of(self.run, number), time.monotonic()
        with alone(place, lambda: None):
            if (place / MANIFEST).exists():
                self._clean(number)
                return Negatives.open(place)
            miner, student = self._miner(number, step), self._student(weights, step)
            snapshot, encoded = self._carrying(number, miner).vectors(student)
            logged = history(weights) if step and adapts(self.mining.pipeline) else []
            pipeline, mix = adapted(self.mining.pipeline, logged, miner.at)
            # Another seed, so that of the same candidates others are drawn.
            seed = key_of(f"generation {number} of {self.mining.seed}") >> 16
            found = miner.mine(
                self.data,
                pipeline,
                split=self.split,
                seed=seed,
                encoders={**self.mining.models, **dict.fromkeys(self.mining.students, snapshot)},
                out=self.run / GENERATIONS / f".{number}",
            )
            figures = {
                "number": number,
                "step": step,
                "keep": self.refresh.keep,
                "progress": round(step / self.steps, 6),
                "weights": student.fingerprint("document"),
                **({"chunk": (number - 1) % self.refresh.chunks} if self.refresh.chunks > 1 else {}),
                **({"mix": mix} if mix else {}),
                **encoded,
                **self._agreement(number, found),
                "hub": round(hub(found.kept(self.data)), 5),
                "seconds": round(time.monotonic() - began, 1),
            }
            write_json(found.path / MANIFEST, {**found.manifest, FIGURES: figures})
            with publishing(self.run):
                if not weights.exists():
                    raise StoreError(f"{self.run}: generation {number} is of weights that a rollback has put aside.")
                found.path.replace(place)
            self._clean(number)
        return Negatives.open(place)

    def discard(self, number: int) -> None:
        """Remove all of a generation that will not be finished."""
        shutil.rmtree(self.run / GENERATIONS / f".{number}", ignore_errors=True)
        shutil.rmtree(self._store(number), ignore_errors=True)
        documents_of(self.run, number).unlink(missing_ok=True)

    def _clean(self, number: int) -> None:
        """Remove the vectors that a published generation was made with, but for those that the next one takes up."""
        shutil.rmtree(self._store(number), ignore_errors=True)
        documents_of(self.run, number - 1).unlink(missing_ok=True)

    def _student(self, weights: Path, step: int) -> SentenceEncoder:
        name = f"student at step {step}"
        return SentenceEncoder(lowered(load_model(weights), self.mining.precision, name), name=name)

    def _store(self, number: int) -> Path:
        # Not the cache: nobody will ever ask for vectors of these weights again.
        return self.run / GENERATIONS / f".vectors-{number}"

    def _carrying(self, number: int, miner: Miner) -> Carrying:
        return Carrying(
            self.data,
            self.refresh,
            miner.rows(self.data, self.split),
            documents_of(self.run, number - 1),
            documents_of(self.run, number),
            self._store(number),
            number,
            miner.progress,
            cache_root(miner.cache) / "vectors",
        )

    def _miner(self, number: int, step: int) -> Miner:
        chunks, rows = self.refresh.chunks, self.mining.miner.queries
        if chunks > 1:
            rows = mined_for(self.data, self.mining.queries(self.data, self.split), number, chunks)
        return replace(self.mining.miner, at=step / self.steps, overwrite=True, queries=rows)

    def _agreement(self, number: int, found: Negatives) -> dict[str, Any]:
        """How alike it is to what was mined before for the same queries."""
        before = previous(number, self.refresh.chunks)
        path = folder_of(self.run, before) if before else self.mining.first or self.run / NEGATIVES
        if not (path / MANIFEST).exists():
            return {}
        return {"previous": before, **compare(Negatives.open(path), found, self.data).to_dict()}
