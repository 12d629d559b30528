"""Several judges as one: Dawid and Skene's consensus, or a vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.audit.dawid_skene import Consensus, consensus
from foils.audit.estimators import UninformativeJudge
from foils.audit.judges.protocol import UNKNOWN, Judge, JudgeKind, Rows, Verdicts
from foils.core.errors import SpecError

Rule = Literal["em", "majority", "any", "all"]
Votes = NDArray[np.int8]
_CHANCE = 0.05  # how often judges that say nothing pass by luck, at most, on each of the two counts


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
        """Ask each of them, then settle.

        Raises:
            UninformativeJudge: ``em``, and what they say is chance as far as one can see; see `refuse_chance`.
        """
        votes = self._ask(query, doc)
        if self.rule != "em":
            return voted(votes, self.rule)
        anchors = None if self._anchors is None or not len(self._anchors[0]) else self._ask(*self._anchors)
        self._fitted = consensus(votes, anchors)
        refuse_chance(self._fitted, votes, anchors, self.name)
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


def refuse_chance(found: Consensus, votes: Votes, anchors: Votes | None, name: str) -> None:
    """Raise for judges of whom nothing shows that they are better than chance.

    Dawid and Skene's model explains any votes, coins too: their fit has classes, and a prevalence, that are made of
    luck. Two things are asked for that luck does not make. The fit must have a judge whose sensitivity + specificity is
    above 1 by more than 1.96 standard errors, ``√(Se(1-Se)/n₁ + Sp(1-Sp)/n₀)`` with n₁ and n₀ items of the classes. And
    two judges, for that alone does not tell coins from judges, must agree beyond chance (``r·√n``, one-sided, over all
    pairs of judges, Bonferroni), or two must call known positives relevant more often than the items (two proportions,
    likewise over judges), where so few items are relevant that agreement cannot be seen. One judge that is left has
    nobody to agree with, and is followed.

    Args:
        found: the fit.
        votes: int8 (n, judges).
        anchors: votes on known positives, int8 (m, judges), or None.
        name: of the judges.

    Raises:
        UninformativeJudge: they are near chance.
    """
    used = np.flatnonzero((found.same == np.arange(votes.shape[1])) & ~np.isnan(found.sensitivity))
    if len(used) < 2:
        return
    se, sp = found.sensitivity[used], found.specificity[used]
    belief = np.nan_to_num(found.probability)
    known = votes[:, used] >= 0
    n1, n0 = (np.maximum(part @ known, 1e-9) for part in (belief, 1 - belief))
    told = (se + sp - 1) > 1.96 * np.sqrt(se * (1 - se) / n1 + sp * (1 - sp) / n0)
    right = 0 if anchors is None else int(_above(votes[:, used], anchors[:, used]).sum())
    if not told.any() or (right < 2 and not _agree(votes[:, used])):
        raise UninformativeJudge(
            f"the {len(used)} judges of {name!r} agree on these pairs no more than chance would have them: at best, "
            f"sensitivity + specificity = {float((se + sp).max()):.2f}, which luck alone can make. A rate of theirs "
            "would be made up. Label some pairs by hand (--labels), or take other judges."
        )


def _agree(votes: Votes) -> bool:
    """Whether two judges agree beyond chance."""
    pairs = list(combinations(range(votes.shape[1]), 2))
    for first, second in pairs:
        both = (votes[:, first] >= 0) & (votes[:, second] >= 0)
        a, b = votes[both, first], votes[both, second]
        if both.any() and a.std() and b.std():
            r = float(np.corrcoef(a, b)[0, 1])
            if r * np.sqrt(len(a)) > NormalDist().inv_cdf(1 - _CHANCE / len(pairs)):
                return True
    return False


def _above(votes: Votes, anchors: Votes) -> NDArray[np.bool_]:
    """Which judges call known positives relevant more often than what they are asked about."""
    counts = [((part >= 0).sum(axis=0), (part == 1).sum(axis=0)) for part in (anchors, votes)]
    (m, hits), (n, yes) = counts
    pooled = (hits + yes) / np.maximum(m + n, 1)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(m, 1) + 1 / np.maximum(n, 1)))
    more = hits / np.maximum(m, 1) - yes / np.maximum(n, 1)
    above: NDArray[np.bool_] = (m > 0) & (more > NormalDist().inv_cdf(1 - _CHANCE / votes.shape[1]) * spread)
    return above


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
