"""`Objective`: from the features of a step to one number: encode, compare, contrast, lose, average over the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foils.adapters.protocols import Kind
from foils.core.errors import PipelineError
from foils.core.spec import resolve
from foils.train.augment import Augmentation
from foils.train.batch import Batch, batch_of, slow_scores, widened
from foils.train.contrasts import Contrast
from foils.train.contrasts.bringer import Site
from foils.train.ema import SlowWeights
from foils.train.guides import Guide
from foils.train.health import health
from foils.train.influence.pressure import Lengths, pressure, temperature_of
from foils.train.influence.tally import Tally
from foils.train.learned import learned, put
from foils.train.losses import Loss
from foils.train.processes import average, shared
from foils.train.step import Step
from foils.train.student import Similarity, Student
from foils.train.towers import embed

Features = Sequence[dict[str, Any]]
Feed = Callable[[NDArray[np.int32], Kind], dict[str, Any]]


def comparable(vectors: Tensor, how: Similarity) -> Tensor:
    """Vectors whose inner product is the model's similarity, float32 or wider."""
    wide = vectors if vectors.dtype == torch.float64 else vectors.float()
    return nn.functional.normalize(wide, dim=1) if how == "cosine" else wide


class Objective(nn.Module):
    """The mean loss of a batch; of several processes, weighted by their rows.

    It holds the model under the name ``model``, where sentence-transformers puts the wrapped one for several devices.

    Args:
        student: the model.
        contrast: whom queries are compared with.
        loss: what is minimised.
        guides: vectors of frozen models whose scores are read, by name.
        half: type that the model computes in under mixed precision; None for its own.
        site: what contrasts with documents from elsewhere need; None if there is none.
        feed: features of other rows of the collection, on the model's device.

    Attributes:
        number: optimiser steps done.
        progress: share of training that is done, 0 to 1.
        watching: whether to look at what the negatives of the next step do.
        seen: what was seen last; see `foils.train.health`.
        last: loss of the last batch.
        tally: counts what every negative does, if that is wanted; see `foils.train.influence`.
    """

    tally: Tally | None

    def __init__(
        self,
        student: Student,
        contrast: Contrast,
        loss: Loss,
        *,
        guides: Mapping[str, Guide] | None = None,
        half: torch.dtype | None = None,
        site: Site | None = None,
        feed: Feed | None = None,
    ) -> None:
        super().__init__()
        self.model = student.model
        self.how, self.dim = student.similarity, student.model.truncate_dim
        self.contrast, self.loss = contrast, loss
        self.guides, self.feed = dict(guides or {}), feed
        self.number, self.progress = 0, 0.0
        self.site = site
        self.watching, self.seen = False, dict[str, float]()
        self.last, self.tally = torch.zeros(()), None
        self.reduced = half
        bringers = contrast.bringers()
        # The lists of PyTorch forget the types of what is in them; registered here, used through these.
        self.carriers = [bringer.open(_need(site)) for bringer in bringers]
        self._carriers = nn.ModuleList(self.carriers)
        decays = {*loss.slow(), *(decay for bringer in bringers for decay in bringer.slow())}
        self.slow = {decay: SlowWeights(student.model, decay) for decay in sorted(decays)}
        self._slow_weights = nn.ModuleList(self.slow.values())
        self.places = [("loss", path, found) for path, found in learned(loss).items()]
        self.places += [("contrast", path, found) for path, found in learned(contrast).items()]
        self.learned = nn.ParameterList([nn.Parameter(torch.tensor(math.log(x.start))) for _, _, x in self.places])

    def forward(self, features: Features, ids: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch.

        Args:
            features: of the distinct queries and of the distinct documents.
            ids: the layout; see `foils.train.feeding`.
        """
        return self.value(features, ids, *self.vectors(features))

    def vectors(self, features: Features) -> Sequence[Tensor]:
        """Vectors of each set of features by the current weights, as the model makes them."""
        queries, docs = features
        if not queries.keys() == docs.keys() == {"input_ids", "offsets"}:
            return [embed(self.model, part) for part in (queries, docs)]
        # A static model has no padding that would be wasted, and every pass makes a gradient as large as the model.
        both = {
            "input_ids": torch.cat((queries["input_ids"], docs["input_ids"])),
            "offsets": torch.cat((queries["offsets"], docs["offsets"] + len(queries["input_ids"]))),
        }
        vectors: Tensor = self.model(both)["sentence_embedding"]
        return vectors[: len(queries["offsets"])], vectors[len(queries["offsets"]) :]

    def value(self, features: Features, ids: Mapping[str, Any], queries: Tensor, docs: Tensor) -> Tensor:
        """The mean loss, from the vectors that the model made of the features; never in half precision."""
        with torch.autocast(device_type=queries.device.type, enabled=False):
            return self._value(features, ids, queries, docs)

    def _value(self, features: Features, ids: Mapping[str, Any], queries: Tensor, docs: Tensor) -> Tensor:
        contrast, loss = self.current()
        saved = ids.get("saved", {})
        step = self._step(features, ids, self.compared(queries), self.compared(docs))
        if "weight" in saved:
            weight = saved["weight"].gather(1, step.target.unsqueeze(1)).squeeze(1)
            step = replace(step, weight=weight.nan_to_num(nan=1.0))
        bringers = dict(zip(contrast.bringers(), self.carriers, strict=True))
        brought = {each: carrier.bring(each, step) for each, carrier in bringers.items() if not each.late}
        batch = batch_of(step, ids["own"], ids["label"], {**saved, **self._slow_scores(step)})
        batch = replace(batch, augmented=self._augmented(loss, features, step))
        batch = self._guided(widened(batch, step, brought))
        late = [bringer for bringer in bringers if bringer.late]
        if late:
            seen, others = batch.detached(), contrast.allowed(batch)
            made = {each: bringers[each].derive(each, step, seen, others) for each in late}
            batch = widened(batch, step, made)
        allowed = contrast.allowed(batch)
        rows = loss(batch, allowed)
        value = shared(rows.mean(), len(rows))
        if self.watching:
            figures = health(batch, allowed, value, ids.get("ranks", {}))
            self.seen = {"loss": float(value.detach()), **figures}
        if self.tally is not None and rows.requires_grad:
            stand = len(features) > 1 and "sentence_embedding" in features[1]
            lengths = self._lengths(queries, docs, step, "query" if stand else "document")
            pushed = pressure(batch, allowed, rows, lengths, self.how, temperature_of(loss))
            self.tally.count(batch, allowed, pushed, ids.get("ranks", {}), self.number)
        self.last = value.detach()
        for bringer, carrier in bringers.items():
            carrier.after(bringer, step)
        return value

    def current(self) -> tuple[Contrast, Loss]:
        """Contrast and loss with every scheduled number as it is now, and every learnt one as the tensor that it is."""
        values = {"contrast": resolve(self.contrast, self.progress), "loss": resolve(self.loss, self.progress)}
        for (which, path, _), number in zip(self.places, self.learned, strict=True):
            values[which] = put(values[which], path, number.exp())
        return values["contrast"], values["loss"]

    def own_weights(self) -> list[Tensor]:
        """What is trained here besides the model: learnt numbers and weights of carriers."""
        named = self.named_parameters()
        return [weight for name, weight in named if weight.requires_grad and not name.startswith("model.")]

    def agree(self) -> None:
        """Before an optimiser step: the gradient of what no process shares is averaged over all."""
        average(self.own_weights())

    def follow(self) -> None:
        """After an optimiser step: learnt numbers go back to their bounds, and moving averages move."""
        with torch.no_grad():
            for (_, _, found), number in zip(self.places, self.learned, strict=True):
                number.clamp_(math.log(found.lo), math.log(found.hi))
        for slow in self.slow.values():
            slow.follow(getattr(self.model, "module", self.model))

    def report(self) -> dict[str, float]:
        """What to log besides the loss: the step that was watched, and numbers that change in training."""
        shown = dict(self.seen)
        for (_, path, _), number in zip(self.places, self.learned, strict=True):
            shown[str(path[-1])] = number.detach().exp().item()
        for carrier in self.carriers:
            shown.update(carrier.report())
        return shown

    def memory(self) -> dict[str, Any]:
        """Everything that is not the model's: what a checkpoint has to keep besides its weights."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("model.")}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` gave."""
        missing, unexpected = self.load_state_dict(memory, strict=False)
        # Counting may begin or end where a run goes on: it decides nothing.
        missing = [name for name in missing if not name.startswith(("model.", "tally."))]
        strange = [*(name for name in unexpected if not name.startswith("tally.")), *missing]
        assert not strange, f"a checkpoint of another objective: {strange}"

    def compared(self, vectors: Tensor) -> Tensor:
        """What the model made, cut to its own number of dimensions and made comparable."""
        return comparable(vectors[:, : self.dim], self.how)

    def _step(self, features: Features, ids: Mapping[str, Any], queries: Tensor, docs: Tensor) -> Step:
        return Step(
            query=ids["queries"].long(),
            doc=ids["docs"].long(),
            at=ids["at"],
            target=ids["target"],
            known=ids["known"].long(),
            queries=queries,
            docs=docs,
            number=self.number,
            progress=self.progress,
            encode=None if self.feed is None else self._encode,
            slow=cache(partial(self._slow, features)),
        )

    def _lengths(self, queries: Tensor, docs: Tensor, step: Step, side: Kind) -> Lengths:
        lengths = [vectors.detach()[:, : self.dim].to(step.docs.dtype).norm(dim=1) for vectors in (queries, docs)]
        return Lengths(lengths[0][step.at], lengths[1], side)

    def _encode(self, rows: NDArray[np.int32], kind: Kind) -> Tensor:
        assert self.feed is not None
        with self._mixed():
            vectors = embed(self.model, self.feed(rows, kind))
        return self.compared(vectors)

    def _slow(self, features: Features, decay: float) -> tuple[Tensor, Tensor]:
        with self._mixed():
            vectors = self.slow[decay](features)
        queries, docs = map(self.compared, vectors)
        return queries, docs

    def _slow_scores(self, step: Step) -> dict[str, Tensor]:
        scores = {}
        for decay in self.loss.slow():
            assert step.slow is not None
            queries, docs = step.slow(decay)
            scores[slow_scores(decay)] = (queries @ docs.T).index_select(0, step.at)
        return scores

    def _augmented(self, loss: Loss, features: Features, step: Step) -> dict[Augmentation, Tensor]:
        made = {}
        for wanted in loss.augmentations():
            site = _need(self.site)
            side, texts = (0, site.data.queries) if wanted.of == "query" else (1, site.data.corpus)
            if "sentence_embedding" in features[side]:
                raise PipelineError(f"{loss!r}: documents stand as vectors here, so there is no other view of them.")
            # Every text once, whichever rows it is in.
            chosen, at = torch.unique(step.at if side == 0 else step.target, return_inverse=True)
            rows = (step.query if side == 0 else step.doc)[chosen].cpu().numpy()
            altered = wanted.altered(features[side], chosen, texts.keys[rows], site.seed, self.number)
            with self._mixed():
                vectors = embed(self.model, altered)
            made[wanted] = self.compared(vectors)[at]
        return made

    def _mixed(self) -> AbstractContextManager[Any]:
        # The precision that the Trainer set for the model's own passes.
        device = next(self.model.parameters()).device.type
        return torch.autocast(device_type=device, dtype=self.reduced, enabled=self.reduced is not None)

    def _guided(self, batch: Batch) -> Batch:
        if not self.guides:
            return batch
        queries, at = torch.unique(batch.query, return_inverse=True)
        rows, docs = queries.cpu().numpy().astype(np.int32), batch.doc.cpu().numpy().astype(np.int32)
        scores = dict(batch.scores)
        for name, guide in self.guides.items():
            said = torch.from_numpy(guide.score(rows, np.maximum(docs, 0))).to(batch.doc.device)[at]
            scores[name] = said.masked_fill(batch.doc < 0, float("nan"))
        return replace(batch, scores=scores)


def _need(site: Site | None) -> Site:
    assert site is not None, "a contrast with documents from elsewhere needs a site"
    return site
