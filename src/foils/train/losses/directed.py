"""Losses that also compare queries with queries and documents with documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from foils.core.pairs import POSITIVE
from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Tempered
from foils.train.losses.rows import NEVER, log_sum, of_target, with_target

if TYPE_CHECKING:
    from torch import Tensor

Direction = Literal["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]


@declare
class DirectedInfoNCE(Tempered):
    """InfoNCE in several directions at once: a query and its positive against documents, queries, or both.

    Each direction is a block of logits ``s / t``; for row i with query q and positive d⁺:

    - ``'query_to_doc'`` (always): q with d⁺ and the allowed negatives.
    - ``'doc_to_query'``: d⁺ with q and the other queries of the batch, except those that d⁺ is a known positive of.
    - ``'query_to_query'``: q with the other queries, except those that share a known positive with it in the batch.
    - ``'doc_to_doc'``: d⁺ with the allowed negatives that other rows brought.

    ``partition='per_direction'`` is the mean over directions of ``ln Σ exp block - s⁺ / t`` and takes the first two
    only; ``'joint'`` is ``ln Σ exp`` of all blocks together ``- s⁺ / t``, and with ``'doc_to_query'`` in it the
    positive counts twice: the least loss is ln 2. A query that is in the batch twice is compared with once.

    The same as sentence-transformers' ``MultipleNegativesRankingLoss`` of these names where nothing has to be masked.
    The default is that of Günther et al. 2023 (Jina v2), arXiv:2310.19923; all four, joint, is GTE (Li et
    al. 2023, arXiv:2308.03281). Mined negatives are in no ``'doc_to_query'``.
    """

    directions: tuple[Direction, ...] = ("query_to_doc", "doc_to_query")  # blocks
    partition: Literal["per_direction", "joint"] = "per_direction"  # a softmax for each block, or one
    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds, and that every softmax has a positive."""
        super().check()
        require("query_to_doc" in self.directions, self, "directions", "with 'query_to_doc', which has the positive")
        require(len(set(self.directions)) == len(self.directions), self, "directions", "different from each other")
        lacking = {"query_to_query", "doc_to_doc"} & set(self.directions)
        joint = "'joint' for 'query_to_query' and 'doc_to_doc', which have no positive of their own"
        require(self.partition == "joint" or not lacking, self, "partition", joint)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Blocks of logits with minus infinity for what is masked."""
        import torch

        blocks = [_block(view, allowed, name) for name in self.directions]
        logits = [(scores / self.temperature).masked_fill(~members, NEVER) for scores, members in blocks]
        positive = of_target(view[STUDENT], view).squeeze(1) / self.temperature
        if self.partition == "joint":
            return torch.cat(logits, dim=1).logsumexp(dim=1) - positive
        return torch.stack([block.logsumexp(dim=1) for block in logits]).mean(dim=0) - positive


def _block(view: Batch, allowed: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
    """Scores of a direction and which of them count, both (B, N) or (B, B)."""
    if direction == "query_to_doc":
        return view[STUDENT], with_target(allowed, view)
    if direction == "doc_to_query":
        return by_queries(view)
    if direction == "doc_to_doc":
        return by_docs(view), allowed & ~view.own
    assert view.query_vectors is not None
    return view.query_vectors @ view.query_vectors.T, strangers(view)


def by_docs(view: Batch) -> Tensor:
    """Similarity of each row's positive to every document, (B, N)."""
    assert view.doc_vectors is not None
    return view.doc_vectors[view.target] @ view.doc_vectors.T


def by_queries(view: Batch) -> tuple[Tensor, Tensor]:
    """Similarity of each row's positive to every row's query, (B, B), and which count.

    Those are its own and the distinct others that it is no known positive of.
    """
    import torch

    others = distinct(view.query) & (view.label.T[view.target] != POSITIVE)
    return view[STUDENT].T[view.target], others | torch.eye(len(others), dtype=torch.bool, device=others.device)


def strangers(view: Batch) -> Tensor:
    """Other queries that share no known positive with the row's in the batch, each once, bool (B, B)."""
    labels = (view.label * view.inside).float()
    return distinct(view.query) & (labels @ labels.T == 0)


def distinct(texts: Tensor) -> Tensor:
    """For each of B texts, which of the B are other ones, each of them once, bool (B, B).

    Args:
        texts: int64 (B,), their rows in the collection or columns in the batch.
    """
    same = texts.unsqueeze(1) == texts
    return ~same & ~same.tril(-1).any(dim=1)


@declare
class PassageCentric(Tempered):
    """PAIR's passage-centric loss: a positive must be closer to its query than to negatives.

    ``loss_i = -ln(exp s(d⁺,q) / (exp s(d⁺,q) + Σ_x exp s(d⁺,x)))``, s in units of the temperature. x goes over the
    mined negatives among those allowed, other rows' positives never (``form='paper'``, Ren et al. 2021,
    arXiv:2108.06027), and in the released code over the other queries of the batch, too (``form='code'``;
    queries that d⁺ is a known positive of are left out). With one row both are the same.

    Documents that a contrast brings from elsewhere count as mined ones: whose positives they are is not known.

    PAIR trains first on ``0.9*InfoNCE(temperature=1.0) + 0.1*PassageCentric()`` with dot products, then on the first
    term alone. One encoder for both sides is needed, and clean negatives: a false negative that is
    close to the positive is pushed from it.
    """

    form: Literal["paper", "code"] = "paper"  # without, or with the other queries
    temperature: float = 1.0  # divides scores; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """One softmax over both kinds."""
        import torch

        mined = (view.own & ~with_target(view.own & False, view)).any(dim=0)
        docs, members = by_docs(view) / self.temperature, allowed & (mined | ~view.inside)
        queries, others = by_queries(view)
        if self.form == "paper":
            others = others & torch.eye(len(others), dtype=torch.bool, device=others.device)
        logits, masks = (docs, queries / self.temperature), (members, others)
        whole = log_sum(torch.cat(logits, dim=1), torch.cat(masks, dim=1))
        return (whole - of_target(view[STUDENT], view) / self.temperature).squeeze(1)
