"""Several judges as one: Dawid and Skene's consensus, or a vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.audit.dawid_skene import Consensus, consensus
from foils.audit.judges.protocol import UNKNOWN, Judge, JudgeKind, Rows, Verdicts
from foils.core.errors import SpecError

Rule = Literal["em", "majority", "any", "all"]


class ConsensusJudge:
    """What several judges together say of the pairs that they are asked about.

    ``em`` fits each judge's sensitivity and specificity to the votes (see `foils.audit.dawid_skene.consensus`) and
    gives the probability that a pair is relevant; judges with the same votes are one. ``majority``, ``any`` and ``all``
    count the votes of those who know, and give verdicts without a probability: a rate is of what the rule decides;
    ``all`` is most precise, ``any`` finds most. Judges of the same fingerprint are one under every rule: asked once,
    and with one vote.

    Args:
        judges: at least two.
        rule: how their votes become one.
        anchors: queries and documents, int32 each, that are known to be relevant: they fix which class is "relevant".

    Raises:
        SpecError: fewer than two judges.
    """

    kind: JudgeKind = "consensus"

    def __init__(self, judges: Sequence[Judge], *, rule: Rule = "em", anchors: tuple[Rows, Rows] | None = None) -> None:
        if len(judges) < 2:
            raise SpecError(f"a consensus of {len(judges)} judges; it takes at least 2, and 3 to tell which errs.")
        if rule not in ("em", "majority", "any", "all"):
            raise SpecError(f"rule={rule!r}: it must be 'em', 'majority', 'any' or 'all'.")
        self.judges, self.rule, self._anchors = list(judges), rule, anchors
        self.name = " + ".join(judge.name for judge in judges)
        self._fitted: Consensus | None = None
        prints = [judge.fingerprint for judge in self.judges]
        self._first = [prints.index(one) for one in prints]
        self._asked = sorted(set(self._first))

    @property
    def fingerprint(self) -> str:
        """Of the judges and the rule."""
        return "/".join([self.rule, *sorted({judge.fingerprint for judge in self.judges})])

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """Ask each of them, then settle."""
        votes = self._ask(query, doc)
        if self.rule != "em":
            return voted(votes, self.rule)
        anchors = None if self._anchors is None or not len(self._anchors[0]) else self._ask(*self._anchors)
        self._fitted = consensus(votes, anchors)
        chance = self._fitted.probability
        return Verdicts.of(np.where(np.isnan(chance), UNKNOWN, chance >= 0.5), chance)

    def _ask(self, query: Rows, doc: Rows) -> NDArray[np.int8]:
        return np.stack([self.judges[place].judge(query, doc).verdict for place in self._asked], axis=1)

    def facts(self) -> Mapping[str, Any]:
        """What each of them is worth."""
        found = self._fitted
        listed: list[dict[str, Any]] = [
            {"name": judge.name, "kind": judge.kind, **dict(judge.facts())} for judge in self.judges
        ]
        for number, one in enumerate(listed):
            vote = self._asked.index(self._first[number])
            first = self._first[number]
            if found is not None:
                one["weight"] = round(float(found.weight[vote]), 6)
                for name, values in (("sensitivity", found.sensitivity), ("specificity", found.specificity)):
                    one[name] = None if np.isnan(values[vote]) else round(float(values[vote]), 6)
                first = self._asked[int(found.same[vote])]
            if first != number:
                one["same_as"] = self.judges[first].name
        return {"rule": self.rule, "judges": listed}


def voted(votes: NDArray[np.int8], rule: Rule) -> Verdicts:
    """Count votes: relevant if any, all, or more than half of those who know say so; nobody knows: unknown.

    The verdicts have no probability: the share of the votes is none of the rule's, which may decide against it.

    Args:
        votes: int8 (n, judges): 1, 0, or -1 for none.
        rule: ``any``, ``all`` or ``majority``.
    """
    known, yes = (votes >= 0).sum(axis=1), (votes == 1).sum(axis=1)
    need = {"any": np.ones_like(known), "all": known, "majority": known // 2 + 1}[rule]
    return Verdicts.of(np.where(known > 0, (yes >= need) & (yes > 0), UNKNOWN))
