"""The share of queries that have a false negative among their negatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from foils.audit.drawn import Judged
from foils.audit.estimators import wilson
from foils.audit.population import Population

_WHY = "not told by a sample: it takes all negatives of a query"


def per_query(found: Population, judged: Judged) -> dict[str, Any]:
    """The rate over queries: of those whose negatives all have a verdict, how many have a relevant one among them.

    It is told only where everybody was asked about all negatives. Of a sample, the queries whose negatives happen to be
    judged all are those with few of them, and a query with few has seldom a false one. Where some negatives are holes,
    the interval is Wilson's for a draw of the fully judged queries from all, as if holes fell on queries like any;
    ``bounds`` need no such assumption: what the share is if no hole is relevant, or if all are. A graded verdict counts
    from one half on.

    Returns:
        ``queries`` with negatives, how many are ``judged`` fully, how many of these are ``false``, ``rate``, ``low``,
        ``high``, ``bounds``; the rates None with the reason as ``why`` where it is not told.
    """
    mine = found.negative[judged.drawn.at]
    queries, owner = np.unique(found.query[found.negative], return_inverse=True)
    nothing = {"rate": None, "low": None, "high": None, "bounds": None, "judged": 0, "false": 0}
    if int(mine.sum()) < len(owner):
        return {"queries": len(queries), **nothing, "why": _WHY}
    place = np.searchsorted(queries, found.query[judged.drawn.at[mine]])
    share = judged.share[mine]
    hole = np.bincount(place, np.isnan(share), minlength=len(queries)) > 0
    false = np.bincount(place, np.nan_to_num(share) >= 0.5, minlength=len(queries)) > 0
    n, total = int((~hole).sum()), len(queries)
    if not n:
        return {"queries": total, **nothing, "why": "no query has all of its negatives judged"}
    count = int((false & ~hole).sum())
    size = n * (total - 1) / (total - n) if n < total else float("inf")
    low, high = wilson(count / n, size, judged.level)
    bounds = [float(false.mean()), float((false | hole).mean())]
    told = {"rate": count / n, "low": low, "high": high, "bounds": bounds}
    return {"queries": total, "judged": n, "false": count, **told}
