"""Retrieval measures by their ir-measures names: read, checked, and computed per query.

The measures are ir-measures' (MacAvaney et al. 2022), which hands them to pytrec_eval and others. Those providers break
ties in three different ways, by document id up or down; so a ranking is handed over as ranks, never as scores, and the
order that we decided on is the one that is measured.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import DataError, SpecError, need
from foils.core.pairs import Pairs
from foils.core.text import did_you_mean

log = logging.getLogger(__name__)

DEFAULT = ("RR@10", "nDCG@10", "R@100")
RANK = "run"  # name of the rank column of a ranking
_LEAST, _UNCUT = 100, 1000
_FORM = "Write it as ir-measures does: nDCG@10, RR@10, R@100, AP, P(rel=2)@5."


def parse(names: Sequence[str]) -> list[Any]:
    """Read measure names; a measure named twice (``RR@10`` is ``MRR@10``) is taken once.

    Args:
        names: any that ir-measures knows and an installed provider can compute.

    Returns:
        ``ir_measures.Measure`` values; ``str`` of one is its canonical name.

    Raises:
        SpecError: an unknown name or parameter, a cutoff that is missing or below 1, or a measure that nothing
            installed computes.
    """
    if isinstance(names, str):
        raise SpecError(f"measures={names!r}: give a list of names, such as [{names!r}].")
    found = {str(measure): measure for measure in map(_parse_one, names)}
    if not found:
        raise SpecError(f"no measures given. {_FORM}")
    return list(found.values())


def depth_for(measures: Sequence[Any]) -> int:
    """How deep a ranking must go: the largest cutoff, at least 100; 1,000 (TREC's custom) for a measure without one."""
    return max(_LEAST, *(int(measure.params.get("cutoff", _UNCUT)) for measure in measures))


class Judge:
    """Measures bound to the judgements of some queries; used for one ranking after another.

    Grades are whole numbers in trec_eval and all of ir-measures. Of others the fraction is cut off, as trec_eval does
    when it reads a file, but what is above 0 counts as 1 at least: relevant here is relevant everywhere else. Measures
    that ask whether a grade is reached are exact by that; gains, as of nDCG, are of whole grades. A warning says so.

    Args:
        measures: from `parse`.
        qrels: judgements with a score column ``grade``; other queries in it are ignored.
        queries: rows of the queries to measure, ascending, int32 (n,).
    """

    def __init__(self, measures: Sequence[Any], qrels: Pairs, queries: NDArray[np.int32]) -> None:
        self.names = [str(measure) for measure in measures]
        self.queries = queries
        judged = qrels.take(np.isin(qrels.query, queries))
        # Rows as ids: one provider reads only numbers, and no id of the user's can collide or be misread.
        nested = _nested(judged, _whole(judged.scores["grade"]))
        self._evaluator = need("ir_measures", "eval").evaluator(measures, nested)

    def per_query(self, ranking: Pairs) -> dict[str, NDArray[np.float64]]:
        """Value of each measure for each query; 0 (the measure's own default) for a query that has no results.

        Args:
            ranking: with a rank column ``run``, 1 the best; other queries in it are ignored.

        Returns:
            Name -> float64 (n,), aligned with ``queries``.

        Raises:
            DataError: a measure has no value for some query.
        """
        wanted = ranking.take(np.isin(ranking.query, self.queries))
        surrogate = (wanted.ranks[RANK].max(initial=0) + 1 - wanted.ranks[RANK]).astype(np.float64)
        place = {str(query): i for i, query in enumerate(self.queries.tolist())}
        values = {name: np.full(len(self.queries), np.nan) for name in self.names}
        for metric in self._evaluator.iter_calc(_nested(wanted, surrogate)):
            values[str(metric.measure)][place[metric.query_id]] = metric.value
        for name, column in values.items():
            if missing := int(np.isnan(column).sum()):
                raise DataError(
                    f"{name} has no value for {missing:,} of {len(column):,} queries.", remedy="Leave it out."
                )
        return values


def _whole(grades: NDArray[Any]) -> NDArray[np.int64]:
    whole = np.trunc(grades)
    if broken := int((whole != grades).sum()):
        log.warning(
            "%s of %s grades are no whole numbers, which the measures need: fractions are cut off, and a grade above 0 "
            "counts as 1 at least.",
            f"{broken:,}",
            f"{len(grades):,}",
        )
    return np.where((grades > 0) & (whole < 1), 1, whole).astype(np.int64)


def _nested(pairs: Pairs, values: NDArray[Any]) -> dict[str, dict[str, Any]]:
    docs, numbers = list(map(str, pairs.doc.tolist())), values.tolist()
    bounds = pairs.starts.tolist()
    return {
        str(query): dict(zip(docs[start:stop], numbers[start:stop], strict=True))
        for query, start, stop in zip(pairs.queries.tolist(), bounds[:-1], bounds[1:], strict=True)
    }


def _parse_one(text: str) -> Any:
    irm = need("ir_measures", "eval")
    try:
        node: Any = ast.parse(text.strip(), mode="eval").body
        cut = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            node, cut = node.left, ast.literal_eval(node.right)
        arguments = {}
        if isinstance(node, ast.Call) and not node.args:
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
            node = node.func
    except (SyntaxError, ValueError):
        raise SpecError(f"measure {text!r} cannot be read. {_FORM}") from None
    if not isinstance(node, ast.Name):
        raise SpecError(f"measure {text!r} cannot be read. {_FORM}")
    known = irm.measures.registry
    if node.id not in known:
        raise SpecError(f"unknown measure {node.id!r}.{did_you_mean(node.id, list(known))} {_FORM}")
    measure = known[node.id]
    if cut is not None:
        arguments[measure.AT_PARAM] = cut
    return _checked(text, measure(**arguments))


def _checked(text: str, measure: Any) -> Any:
    irm = need("ir_measures", "eval")
    required = [name for name, info in measure.SUPPORTED_PARAMS.items() if info.required]
    for name in required:
        if name not in measure.params:
            example = f"{text}@10" if name == measure.AT_PARAM else f"{text}({name}=…)"
            raise SpecError(f"measure {text!r} needs a {name}, such as {example}.")
    cutoff = measure.params.get("cutoff", 1)
    if isinstance(cutoff, int) and cutoff < 1:
        # A cutoff of 0 ends the whole process inside trec_eval's C code.
        raise SpecError(f"measure {text!r}: the cutoff must be at least 1.")
    try:
        supported = irm.DefaultPipeline.supports(measure)
    except AssertionError as error:
        raise SpecError(f"measure {text!r}: {error}. {_FORM}") from None
    if not supported:
        raise SpecError(f"measure {text!r}: nothing installed computes it. See ir-measures' list of providers.")
    return measure
