"""A language model as judge: a cheap one looks at everything, a strong one at what the cheap one found relevant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm import LLM, Access, Answer, AnyModel, Estimate, announce, ask, opened, prompt, spent
from foils.adapters.llm.structured import answer
from foils.audit.judges.asking import GRADES, Asker, Group
from foils.audit.judges.protocol import IRRELEVANT, RELEVANT, UNKNOWN, JudgeKind, Rows, Verdicts
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.pairs import Pairs

FLAGGED = 0.2  # share that the cheap model will find relevant about, for estimates (RLHN's dump: 15 %)
STAGES = 2

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LLMOptions(Access):
    """How to ask language models that judge: see `foils.adapters.llm.Access` for how they are reached.

    Attributes:
        prompt: a shipped prompt or a file: for lists (``judge-list``) or for single documents (``judge-pair``).
        at: grade from which a document counts as relevant.

    Raises:
        SpecError: a number out of its bounds.
    """

    prompt: str | Path = "judge-list"
    at: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at not in GRADES[2:]:
            raise SpecError(f"at={self.at}: documents are graded 0 to 3; relevant is from 1, 2 or 3 on.")


class LLMJudge:
    """One or two language models that grade documents, after RLHN.

    A grade is 3 (as good as a known positive, or better), 2 (answers, but less well), 1 (same subject) or 0; from
    ``at`` on a document is relevant. The first model grades everything; a second one, if there is, grades again what
    the first found relevant, and its word counts. What cannot be read, is missing, contradicts itself or is cut off is
    no decision: unknown, never relevant. Documents of a query are judged together, 25 at most, in an order drawn from
    their ids; the prompt shows three known positives that are not among them. Agreement of such judges with people is
    only fair (RLHN: kappa .32 and .39): have a sample labelled, too.

    Source: Thakur et al. 2025 (RLHN), arXiv:2505.16967, section 3 (two stages, lists with known positives, reasons
    first). The words of the prompt and the grades are ours.

    Args:
        models: one, or a cheap and a strong one: names at the endpoint, models, or functions from messages to text.
        data: the collection.
        pairs: whose positives are the known ones.
        options: the rest.
        cache: folder for replies; ``llm`` in foils' cache by default.
        progress: called with (what, done, total).

    Raises:
        SpecError: no model or more than two, prices that do not go with them, a prompt that is no judge's.
    """

    kind: JudgeKind = "llm"

    def __init__(
        self, models: Sequence[AnyModel], data: Collection, pairs: Pairs, options: LLMOptions | None = None, *,
        cache: Path | None = None, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        options = options or LLMOptions()
        if not 1 <= len(models) <= STAGES:
            raise SpecError(f"{len(models)} models: one judges, or a cheap one and a strong one: llm:CHEAP,STRONG.")
        self.options = options
        self._llms = opened(models, options, cache)
        self.name = "llm:" + ",".join(llm.model.name for llm in self._llms)
        self._asker = Asker(data, pairs, prompt(options.prompt))
        self._progress = progress
        self._flagged = self._confirmed = self._pairs = 0
        self._grades: Counter[int] = Counter()
        self._problems: Counter[str] = Counter()

    @property
    def fingerprint(self) -> str:
        """Of the models' names, the prompt, and the grade that counts."""
        return f"{self.name}/{self._asker.prompt.label}/{self.options.at}"

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """Grade all pairs, and what is flagged a second time.

        Raises:
            OfflineError, BudgetError, LLMError: replies that cannot be had; those that came are kept.
        """
        grade, reason = self._graded(self._llms[0], query, doc)
        flagged = np.flatnonzero(grade >= self.options.at)
        self._flagged += len(flagged)
        if len(self._llms) > 1:
            again, why = self._graded(self._llms[1], query[flagged], doc[flagged])
            grade[flagged] = again
            for place, text in zip(flagged.tolist(), why, strict=True):
                reason[place] = text
        self._confirmed += int((grade >= self.options.at).sum())
        self._pairs += len(grade)
        self._grades.update(grade.tolist())
        said = np.where(grade < 0, UNKNOWN, np.where(grade >= self.options.at, RELEVANT, IRRELEVANT))
        return Verdicts.of(said, reasons=reason)

    def price(self, query: Rows, doc: Rows) -> Mapping[str, Any]:
        """What judging would take: calls, tokens, cost, as expected and at most.

        The strong model's part is known as far as the cheap one has graded; of the rest a fifth is expected.
        """
        every = self._asker.groups(query, doc)
        requests = self._asker.requests(every)
        stages = [self._llms[0].estimate(requests)]
        if len(self._llms) > 1:
            pairs = zip(requests, self._llms[0].kept(requests), strict=True)
            stages += self._second(
                every, [None if said is None else answer(asked, said) for asked, said in pairs], query, doc
            )
        total = sum(stages[1:], stages[0])
        body = {"calls": total.requests - total.kept, "kept": total.kept, "tokens": list(total.tokens)}
        if total.cost is not None:
            body |= {"cost": total.cost[0], "cost_at_most": total.cost[1]}
        return body | {"models": [llm.model.name for llm in self._llms], "prompt": self._asker.prompt.label}

    def facts(self) -> Mapping[str, Any]:
        """Models, prompt, grades, what could not be read, and what it took."""
        told: dict[str, Any] = {
            "models": [llm.model.name for llm in self._llms],
            "prompt": self._asker.prompt.label,
            "at": self.options.at,
            "pairs": self._pairs,
            "grades": {str(grade): self._grades[grade] for grade in GRADES[1:]},
            "undecided": self._grades[UNKNOWN],
            "problems": dict(sorted(self._problems.items())),
            **spent(self._llms),
        }
        if len(self._llms) > 1:
            told |= {"flagged": self._flagged, "confirmed": self._confirmed}
        return told

    def _graded(self, llm: LLM, query: Rows, doc: Rows) -> tuple[NDArray[np.int8], list[str]]:
        """A grade of each pair, -1 where there is no decision, and its reason."""
        groups = self._asker.groups(query, doc)
        requests = self._asker.requests(groups)
        announce(llm, requests)
        report = self._progress
        tell = None if report is None else lambda done, total: report(f"asking {llm.model.name}", done, total)
        answers = ask(llm, requests, tell)
        grade, reason = np.full(len(query), UNKNOWN, np.int8), [""] * len(query)
        for group, found in zip(groups, answers, strict=True):
            self._read(group, found, grade, reason)
        return grade, reason

    def _read(self, group: Group, answer: Answer, grade: NDArray[np.int8], reason: list[str]) -> None:
        for place, (given, text) in zip(group.places, self._asker.read(group, answer), strict=True):
            if given is None:
                self._problems[text] += 1
                reason[place] = f"no decision: {text}"
            else:
                grade[place] = given
                reason[place] = f"{given}: {text}" if given >= 0 else f"cannot be decided: {text}"

    def _second(
        self, every: Sequence[Group], answers: Sequence[Answer | None], query: Rows, doc: Rows
    ) -> list[Estimate]:
        """Of the strong model: what is known to be flagged, and of the rest a fifth, at most everything."""
        rest = [group for group, made in zip(every, answers, strict=True) if made is None]
        graded = (
            (place, grade)
            for group, made in zip(every, answers, strict=True)
            if made is not None
            for place, (grade, _) in zip(group.places, self._asker.read(group, made), strict=True)
        )
        flagged = np.array(sorted(place for place, grade in graded if (grade or 0) >= self.options.at), np.int64)
        known = self._llms[1].estimate(self._asker.requests(self._asker.groups(query[flagged], doc[flagged])))
        most = self._llms[1].estimate(self._asker.requests(rest))
        tokens = round(most.tokens[0] * FLAGGED), round(most.tokens[1] * FLAGGED)
        price = self._llms[1].spending.price
        cost = None if price is None or most.cost is None else (price.of(tokens), most.cost[1])
        calls = min(most.requests, max(1, round(most.requests * FLAGGED))) if most.requests else 0
        return [known, Estimate(calls, min(most.kept, calls), tokens, most.most, cost)]
