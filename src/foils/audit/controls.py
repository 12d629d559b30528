"""Controls: whether a judge that nobody has checked tells known positives from random documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.estimators import UninformativeJudge, refuse_uninformative
from foils.audit.judges.models import ScoreJudge
from foils.audit.judges.protocol import RELEVANT, Judge, Verdicts
from foils.audit.population import Population
from foils.core import noise
from foils.core.collection import Collection
from foils.core.pairs import POSITIVE, Pairs

Rows = NDArray[np.int32]


def known_positives(found: Population, data: Collection, count: int, seed: int) -> tuple[Rows, Rows]:
    """Queries and documents of so many known positives, drawn by their ids."""
    pairs = found.pairs.take(found.pairs.label == POSITIVE)
    draws = noise.uniform(seed, "audit/controls", data.queries.keys[pairs.query], data.corpus.keys[pairs.doc])
    rows = np.argsort(draws, kind="stable")[:count]
    return pairs.query[rows], pairs.doc[rows]


def controls(found: Population, data: Collection, count: int, seed: int) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Pairs that a judge must tell apart: known positives, and the same queries with random documents.

    Returns:
        Queries, documents, and which are known positives. A random document may be relevant by chance: seldom.
    """
    query, doc = known_positives(found, data, count, seed)
    bits = noise.bits(seed, "audit/random", data.queries.keys[query], data.corpus.keys[doc])
    other = (bits % np.uint64(len(data.base.corpus))).astype(np.int32)
    mine = found.pairs.find(Pairs(query, other, np.zeros(len(query), np.int8))) < 0
    asked = np.concatenate([query, query[mine]])
    return asked, np.concatenate([doc, other[mine]]), np.arange(len(asked)) < len(query)


def checked(judge: Judge, found: Population, data: Collection, count: int, seed: int) -> dict[str, Any] | None:
    """What a judge makes of its controls; None where there are none.

    Raises:
        UninformativeJudge: it calls as many random documents relevant as known positives.
    """
    query, doc, positive = controls(found, data, count, seed)
    if not positive.any() or positive.all():
        return None
    said = judge.judge(query, doc)
    right, wrong = _share(said, positive), _share(said, ~positive)
    if right is None or wrong is None:
        return None
    refuse_uninformative(right, 1 - wrong, f"judge {judge.name!r}, asked about known positives and random documents,")
    return {"pairs": len(query), "known_positives": right, "random_documents": wrong}


def scored(judge: ScoreJudge) -> dict[str, Any] | None:
    """The control of a mined score, which random documents do not have: its positives against their candidates.

    Raises:
        UninformativeJudge: as many candidates are above the positives as chance would put there.
    """
    found = judge.against_chance()
    if found is not None and found["above"] >= found["chance"]:
        raise UninformativeJudge(
            f"judge {judge.name!r} puts {found['above']:.1%} of the candidates above their query's positives, where "
            f"scores without meaning would put {found['chance']:.1%}: its verdicts on them say nothing. Take another "
            "judge, which may correct this one as the cheap judge."
        )
    return found


def _share(said: Verdicts, rows: NDArray[np.bool_]) -> float | None:
    mine = said.judged & rows
    return float((said.verdict[mine] == RELEVANT).mean()) if mine.any() else None
