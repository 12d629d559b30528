"""Exact search on an accelerator: float32 products and selection there, canonical scores there too.

A query keeps the m > k documents with the largest products. By the text of `foils.adapters.exact`, whoever is among the
k best has a product of at least L - 2 e, where L is the k-th largest: so if the m-th lies below that, all k best are
kept. Their scores are summed in float64 in the canonical order, one addition at a time, so the bits are those of
`foils.adapters.scores`. Queries with more near ties than m - k are left open.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.scores import order_of_sum

if TYPE_CHECKING:
    from torch import Tensor

Vectors = NDArray[Any]
Found = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]

_QUERIES, _TILE = 2048, 65536  # of one product: 512 MB
_ELEMENTS = 1 << 25  # vector elements gathered at a time for canonical scores
_SPARE = 64  # near ties of a query besides a quarter of k


def accelerator() -> str | None:
    """The device to search on, if torch is installed and has one whose sums can be trusted."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def device_search(
    queries: NDArray[np.float32], docs: Vectors, k: int, slack: NDArray[np.float64], device: str
) -> Found:
    """Rows and canonical scores of the k best, and which queries have been left open.

    Args:
        queries: float32 (q, d), contiguous.
        docs: (n, d), read in tiles.
        k: at least 1, at most n.
        slack: float64 (q,): twice the bound e.
        device: where torch computes, such as ``cuda``.
    """
    import torch

    kept = min(len(docs), k + k // 4 + _SPARE)
    left = torch.from_numpy(queries).to(device)
    with _full_precision():
        values, rows = _largest(left, docs, kept)
    reached = values[:, k - 1].double().cpu().numpy() - slack
    left_open = (values[:, -1].double().cpu().numpy() >= reached) & (kept < len(docs))
    scores = torch.empty_like(values)
    step = max(1, _ELEMENTS // (docs.shape[1] * kept))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        chosen = np.asarray(docs[rows[part].cpu().numpy().ravel()], np.float32)
        right = torch.from_numpy(chosen).to(device).view(-1, kept, docs.shape[1])
        scores[part] = canonical(left[part, None, :], right)
    by_row = rows.sort(dim=1)
    best = scores.gather(1, by_row.indices).sort(dim=1, descending=True, stable=True)
    found = by_row.values.gather(1, best.indices)[:, :k]
    return found.int().cpu().numpy(), best.values[:, :k].cpu().numpy(), left_open


def canonical(left: Tensor, right: Tensor) -> Tensor:
    """Inner products over the last dimension of float32 tensors, bit for bit those of `foils.adapters.scores`."""
    products = left.double() * right.double()
    stretches, merges = order_of_sum(products.shape[-1])
    sums = []
    for start, stop in stretches.tolist():
        whole = start + (stop - start) // 8 * 8
        total = products[..., start] * 0
        if whole > start:
            eight = products[..., start : start + 8]
            for at in range(start + 8, whole, 8):
                eight = eight + products[..., at : at + 8]
            for _ in range(3):
                eight = eight[..., ::2] + eight[..., 1::2]
            total = eight[..., 0]
        for at in range(whole, stop):
            total = total + products[..., at]
        sums.append(total)
    for into, other in merges.tolist():
        sums[into] = sums[into] + sums[other]
    return sums[0].float() + 0.0


def _largest(left: Tensor, docs: Vectors, kept: int) -> tuple[Tensor, Tensor]:
    """The largest products of each query, descending, and their rows."""
    import torch

    values = torch.full((len(left), kept), -torch.inf, device=left.device)
    rows = torch.full((len(left), kept), -1, dtype=torch.int64, device=left.device)
    for first in range(0, len(docs), _TILE):
        tile = np.ascontiguousarray(docs[first : first + _TILE], np.float32)
        right = torch.from_numpy(tile).to(left.device)
        for start in range(0, len(left), _QUERIES):
            part = slice(start, start + _QUERIES)
            new = torch.topk(left[part] @ right.T, min(kept, len(right)), dim=1)
            merged = torch.topk(torch.cat([values[part], new.values], dim=1), kept, dim=1)
            rows[part] = torch.cat([rows[part], new.indices + first], dim=1).gather(1, merged.indices)
            values[part] = merged.values
    return values, rows


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products without shorter formats inside: the bound is that of float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
