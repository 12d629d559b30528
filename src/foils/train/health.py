"""What negatives do to a model, step by step: who pushes, how hard, and whether the space still has room.

Everything is read off one training step and changes nothing: no random number is drawn and no weight moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from foils.core.ranks import RANKS
from foils.evaluate.geometry import effective_rank, uniformity
from foils.train.batch import STUDENT, Batch

if TYPE_CHECKING:
    from torch import Tensor

_KEEP = 0.9  # of the moving average of the gap's change
_MOST = 512  # documents of a step whose geometry is looked at


def health(batch: Batch, allowed: Tensor, loss: Tensor, ranks: Mapping[str, Tensor]) -> dict[str, float]:
    """Figures of a step.

    How hard a negative pushes is the size of the loss's own gradient by its score, ``|∂L/∂s_ij|``; for a softmax loss
    that is its probability p_ij divided by the temperature. Shares of it are over all negatives of the step.

    Args:
        batch: the step.
        allowed: bool (B, N), the negatives.
        loss: the mean loss, whose graph is kept.
        ranks: raw ranks of own negatives by source, float32 (B, M), NaN where a source did not return one.

    Returns:
        ``negatives``: allowed ones a row. ``effective``: ``exp(H(push of a row's negatives))``, the number that count.
        ``gap``: positive's score less the mean of the row's negatives; ``gap_hardest``: less the best of them.
        ``violations``: share of rows with a negative that scores higher. ``above``: share of own negatives that do, a
        label-free proxy of false negatives, good for trends only; ``above_NAME``: the same by another score;
        ``above/GROUP``, ``above_NAME/GROUP``: of those of one source.
        ``share/GROUP``, ``count/GROUP`` and ``gap/GROUP``: push, number a row and gap of in-batch negatives
        (``in-batch``), of those that a contrast brought (its name) and of own ones by source; ``share/ranks A-B``: push
        of own ones by their best raw rank. ``top_document``: push of the document that pushes most; ``top_rows``: the
        largest share of the rows that one document pushes more than any other does. ``uniformity`` and
        ``effective_rank``: of the step's document vectors, of which ``documents`` were looked at.
    """
    import torch

    student = batch[STUDENT]
    (gradient,) = torch.autograd.grad(loss, student, retain_graph=True, allow_unused=True)
    with torch.no_grad():
        push = (torch.zeros_like(student) if gradient is None else gradient.abs()).masked_fill(~allowed, 0.0)
        total, each = push.sum().clamp(min=1e-30), push.sum(dim=1, keepdim=True)
        scores = student.detach()
        positive = scores.gather(1, batch.target.unsqueeze(1))
        has, number = allowed.any(dim=1), allowed.sum(dim=1)
        found = {"negatives": float(number.float().mean())}
        if has.any():
            share = (push / each.clamp(min=1e-30))[has]
            found["effective"] = float(torch.special.entr(share).sum(dim=1).exp().mean())
            best = scores.masked_fill(~allowed, -math.inf).amax(dim=1)
            found["gap"] = float(_mean(positive - scores, allowed))
            found["gap_hardest"] = float((positive.squeeze(1) - best)[has].mean())
            found["violations"] = float((best > positive.squeeze(1))[has].float().mean())
            found["top_document"] = float(_by_document(push, batch.doc).max() / total)
            most = torch.nn.functional.one_hot(push.argmax(dim=1), push.shape[1]) * (each > 0)
            found["top_rows"] = float(_by_document(most.to(push.dtype), batch.doc).max() / has.sum())
        over = _above(batch, batch.own & allowed)
        found |= {said: float(above[known].float().mean()) for said, (above, known) in over.items()}
        for name, mask in _groups(batch, allowed, ranks):
            if mask.any():
                found[f"share/{name}"] = float(push[mask].sum() / total)
                if not name.startswith("ranks"):
                    found[f"count/{name}"] = float(mask.sum() / len(mask))
                    found[f"gap/{name}"] = float((positive - scores)[mask].mean())
                    for said, (above, known) in over.items():
                        if (mask & known).any():
                            found[f"{said}/{name}"] = float(above[mask & known].float().mean())
        if batch.doc_vectors is not None:
            found |= geometry(batch.doc_vectors.detach()[: batch.width][:_MOST])
    return found


def trend(figures: Mapping[str, float], history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """``gap_trend``: the moving average of how the gap changes from look to look, ``m ← 0.9 m + 0.1 (gap - last gap)``.

    Below 0 for long, the negatives are closing in on the positives. It begins at the second look with 0.

    Args:
        figures: of this look.
        history: what was logged before, figures under ``foils/``.
    """
    last = next((entry for entry in reversed(history) if "foils/gap" in entry), None)
    if last is None or "gap" not in figures:
        return {}
    change = figures["gap"] - last["foils/gap"]
    return {"gap_trend": _KEEP * last.get("foils/gap_trend", 0.0) + (1 - _KEEP) * change}


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    # The mean over rows of each row's mean.
    rows = mask.any(dim=1)
    return ((values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1))[rows]).mean()


def _by_document(push: Tensor, doc: Tensor) -> Tensor:
    import torch

    # A document can be in several columns; what is no document counts by itself.
    ids = torch.where(doc >= 0, doc, -1 - torch.arange(len(doc), device=doc.device))
    distinct, place = torch.unique(ids, return_inverse=True)
    return push.new_zeros(len(distinct)).index_add_(0, place, push.sum(dim=0))


def _above(batch: Batch, own: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """By each score: which own negatives are above the positive, and of which that is known; bool (B, N) both."""
    found = {}
    for name, scores in batch.scores.items():
        values = scores.detach()
        known = own & ~values.isnan()
        if known.any() and name not in ("weight", "grade"):
            over = values > values.gather(1, batch.target.unsqueeze(1))
            found["above" if name == STUDENT else f"above_{name}"] = over, known
    return found


def _groups(batch: Batch, allowed: Tensor, ranks: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    import torch

    own = batch.own & allowed
    yield "in-batch", allowed & batch.inside & ~own
    for contrast, members in batch.brought.items():
        yield type(contrast).__name__, members & allowed & ~batch.inside
    if not ranks:
        yield "own", own
        return
    # Documents that were brought are further columns, past queries further rows: no source returned any of those.
    height, width = batch.own.shape
    wide = {
        name: torch.nn.functional.pad(rank, (0, width - rank.shape[1], 0, height - len(rank)), value=math.nan)
        for name, rank in ranks.items()
    }
    left, best = own, torch.full_like(batch[STUDENT].detach(), math.inf)
    for name, rank in wide.items():
        has = own & ~rank.isnan()
        yield name, left & has
        left, best = left & ~has, torch.where(has, torch.minimum(best, rank.to(best.dtype)), best)
    yield "own", left
    for lo, hi in RANKS:
        inside = own & (best >= lo) & (best <= (math.inf if hi is None else hi)) & best.isfinite()
        yield f"ranks {lo}-{hi}" if hi else f"ranks {lo}+", inside


def geometry(vectors: Tensor) -> dict[str, float]:
    """Whether the documents of a step still use the space: `foils.evaluate.geometry` has both figures.

    Args:
        vectors: (n, d), scaled to unit length there.
    """
    if len(vectors) < 2 or not vectors.isfinite().all():
        return {}
    seen = vectors.float().cpu().numpy()
    return {
        "documents": float(len(seen)),
        "uniformity": uniformity(seen),
        "effective_rank": effective_rank(seen),
    }
