"""What `Search` does in a step: look up the corpus with the vectors of the queries."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from foils.adapters import ann
from foils.adapters.ann_settings import Exact
from foils.adapters.ann_text import parse
from foils.adapters.exact import ExactIndex
from foils.adapters.protocols import Index
from foils.core.spec import Schedule, resolve
from foils.train.carriers.carrier import Carrier
from foils.train.contrasts.bringer import Bringer, Site
from foils.train.contrasts.search import Search
from foils.train.step import Brought, Report, Step

_SPARE = 8  # documents found besides the k, so that a few copies do not ask for a second search


class Searching(Carrier):
    """An index over document vectors that stand. It has nothing to remember: what it brings is a function of the step.

    Args:
        search: the contrast.
        site: where it works; ``site.docs`` must be there.
    """

    def __init__(self, search: Search, site: Site) -> None:
        super().__init__()
        assert site.docs is not None, "the contrast says that document vectors stand"
        self.docs, self.same = site.docs, site.data.same
        self.found = len(site.data.base.corpus)  # what was written behind them is not searched for
        self.leaders = int((self.same[: self.found] == np.arange(self.found)).sum())
        times = search.k.times() if isinstance(search.k, Schedule) else (0.0,)
        most = max(round(resolve(search.k, t)) for t in times)
        self.index, self.exact = _opened(search, site, most, self._depth(most))
        self._seconds, self._steps, self._queries, self._found = 0.0, 0, 0, 0

    def bring(self, contrast: Bringer, step: Step) -> Brought:
        """The union of all lists as columns, ascending; each row considers the list of its query."""
        assert isinstance(contrast, Search)
        begun = time.perf_counter()
        found = self.nearest(step.queries.detach().float().cpu().numpy(), contrast.k)
        self._seconds, self._steps = self._seconds + time.perf_counter() - begun, self._steps + 1
        at, known = step.at.cpu().numpy(), step.known.cpu().numpy()
        own = step.doc[step.target].cpu().numpy()
        doc, members, hit = listed(found[at], known, own)
        first = np.unique(at, return_index=True)[1]
        self._queries, self._found = self._queries + len(first), self._found + int(hit[first].sum())
        device = step.docs.device
        return Brought(
            doc=torch.from_numpy(doc).to(device),
            vectors=torch.from_numpy(np.array(self.docs[doc], np.float32)).to(device),
            members=torch.from_numpy(members).to(device),
        )

    def nearest(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The k nearest distinct documents of each query, best first, int64 (U, k), padded with -1.

        Args:
            queries: float32 (U, d).
            k: at least 1.
        """
        fetch, everything = self._depth(k), self.found
        while True:
            rows = self.index.search(queries, fetch)[0]
            found = distinct(rows, self.same, k)
            enough = (found >= 0).sum(axis=1).min(initial=k) >= min(k, self.leaders)
            if enough or not self.exact or fetch >= everything:
                return found
            fetch = min(2 * fetch, everything)

    def report(self) -> Report:
        """Milliseconds of search a step, and the share of queries that found a positive; since the last report."""
        if not self._steps:
            return {}
        shown = {"search_ms": 1000 * self._seconds / self._steps, "search_found": self._found / self._queries}
        self._seconds, self._steps, self._queries, self._found = 0.0, 0, 0, 0
        return shown

    def _depth(self, k: int) -> int:
        copies = self.found - self.leaders
        return min(self.found, k + min(copies, max(_SPARE, k // _SPARE)))


def distinct(rows: NDArray[np.int32], same: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """The first k documents of each line that stand for their text, int64 (n, k), padded with -1.

    Copies of a text are passed over, as in mining. They may differ in case, and so in their vectors.

    Args:
        rows: best first, none twice, padded with -1, (n, m).
        same: the document that stands for each one.
        k: at least 1.

    >>> distinct(np.array([[2, 1, 3, 0], [0, 3, -1, -1]], np.int32), np.array([0, 1, 1, 3], np.int32), 2).tolist()
    [[1, 3], [0, 3]]
    """
    found = np.where((rows >= 0) & (same[np.maximum(rows, 0)] == rows), rows, -1).astype(np.int64)
    order = np.argsort(found < 0, axis=1, kind="stable")[:, :k]
    packed = np.take_along_axis(found, order, axis=1)
    return np.pad(packed, ((0, 0), (0, k - packed.shape[1])), constant_values=-1)


def listed(
    found: NDArray[np.int64], known: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """ADORE's lists: what was found, and all known positives where none of them was.

    Args:
        found: of each row's query, padded with -1, (B, k).
        known: known positives of each row's query, padded with -1, (B, P).
        own: the row's own positive, (B,).

    Returns:
        The documents of all lists, int64 (E,), ascending; who is in whose list, bool (B, E), nobody in that of a row
        whose own positive is not; and which rows found a positive, bool (B,).
    """
    there = (known[:, :, None] == found[:, None, :]) & (known >= 0)[:, :, None]
    hit = there.any(axis=(1, 2))
    whole = np.concatenate((found, np.where(hit[:, None], -1, known)), axis=1)
    counts = (whole == own[:, None]).any(axis=1)
    whole = np.where(counts[:, None], whole, -1)
    doc = np.unique(whole[whole >= 0])
    members = np.zeros((len(whole), len(doc) + 1), bool)
    column = np.where(whole >= 0, np.searchsorted(doc, whole), len(doc))
    np.put_along_axis(members, column, True, axis=1)
    return doc, members[:, :-1], hit


def _opened(search: Search, site: Site, k: int, depth: int) -> tuple[Index, bool]:
    assert site.docs is not None
    base = site.data.base.corpus
    settings, docs = parse(search.index), site.docs[: len(base)]
    if isinstance(settings.derive(len(docs), docs.shape[1], depth), Exact):
        return ExactIndex(docs), True
    encoder, texts = site.student.encoder(site.max_length), site.data.queries
    asked = site.queries[ann.sampled(texts.keys[site.queries])]
    made = ann.fingerprint(site.student.encoder(None).fingerprint("document"), base.fingerprint)
    wanted = ann.Wanted(settings, k, depth, made, site.cache.parent / "indexes")
    return ann.prepare(docs, encoder.encode(texts.texts(asked), "query"), wanted).index, False
