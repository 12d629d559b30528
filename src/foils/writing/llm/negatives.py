"""Negatives that a language model writes from a query and its positive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np

from foils.core.spec import declare, require
from foils.writing.author import Desk, Wanted
from foils.writing.draft import Edit, Role
from foils.writing.llm.asking import LLMAuthor, Question, Said, document, shown, size

LEVELS = ("low", "medium", "high")
DIFFICULTY = {
    "low": "low: about the same subject; whoever reads it sees soon that it tells something else than what is asked",
    "medium": "medium: about the same thing, from another side; it has to be read to notice that what is asked is not "
    "in it",
    "high": "high: so close that all of it has to be read, and with care, to notice that the decisive point is missing "
    "or is told of something else",
}
LACKS = ("less useful", "less comprehensive")
READERS = ("a high school education", "a college education", "a PhD in the subject")
_STAYS = 0.5  # least share of words that a changed document keeps
FEWEST, MANY = 2, 6  # requirements that a query is broken into


class _FromPositive(LLMAuthor):
    """One question for each negative, about a query and one of its positives."""

    family: ClassVar[Role] = "negative"
    length: float

    def check(self) -> None:
        """Bounds of k, the temperature and the length."""
        super().check()
        require(0 < self.length <= 2, self, "length", "above 0 and at most 2")

    def attributes(self, draw: int, number: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Further gaps of the prompt, and what the draft is to tell of them.

        Args:
            draw: random, of the row.
            number: of the negative, from 0.
        """
        raise NotImplementedError

    def questions(self, wanted: Wanted, desk: Desk) -> list[Question]:
        """K for each row, whose attributes differ."""
        queries = desk.data.queries.texts(wanted.query)
        titles, bodies = desk.data.corpus.titles(wanted.doc), desk.data.corpus.bodies(wanted.doc)
        draws = self.draws(wanted, desk, "attributes")
        seeds = [self.seeds(wanted, desk, number) for number in range(self.k)]
        prompt, made = self.asking(), []
        for row, (query, title, body) in enumerate(zip(queries, titles, bodies, strict=True)):
            length, tokens = size(body, self.length)
            texts = {"query": shown(query), "document": document(title, body), "length": length}
            for number in range(self.k):
                more, asked = self.attributes(int(draws[row] >> np.uint64(16)), number)
                request = self.request(prompt, {**texts, **more}, tokens, int(seeds[number][row]))
                made.append(Question(row, request, title=title, body=body, asked=asked))
        return made


@declare
class SyNeg(_FromPositive):
    """Hard negatives that a language model writes from a query and its positive, at a chosen difficulty.

    The prompt has a role, the context with the definition of a hard negative, attributes (subject, difficulty, length),
    and asks for a reflection before the answer: what the query needs, what in the positive gives it, what the negative
    is about instead, and whether the answer could still be taken from it. With ``difficulty='mixed'`` the levels low,
    medium and high follow each other, from one drawn by the ids. ``made`` has the difficulty and the reflection.

    SyNeg (Li et al. 2024, arXiv:2412.17250; summaries were read, the words are ours) trains on these beside retrieved
    negatives; purely written ones made training unstable there. "Don't Retrieve, Generate" (arXiv:2504.21015, final
    version) finds negatives of this kind behind mined ones on ten BEIR sets: add them to mined ones, few, and compare.
    Defaults are ours; no ratio is published.
    """

    k: int = 1  # negatives for each query and positive, 1 to 20
    difficulty: Literal["mixed", "low", "medium", "high"] = "mixed"
    subject: str | None = None  # of the collection, such as 'medicine'; the prompt's role is an expert of it
    length: float = 1.0  # of the positive's, above 0 and at most 2
    temperature: float = 0.7  # of the model's draws, 0 to 2
    prompt: str | None = None  # a file in place of the shipped prompt

    task: ClassVar[str] = "syneg"
    shipped: ClassVar[str] = "syneg"

    def attributes(self, draw: int, number: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Subject and difficulty."""
        level = LEVELS[(draw + number) % len(LEVELS)] if self.difficulty == "mixed" else self.difficulty
        subject = self.subject or "the subject of the document"
        return {"subject": subject, "difficulty": DIFFICULTY[level]}, {"difficulty": level}

    def read(self, value: Any) -> Sequence[Said]:
        """The text, and the reflection."""
        return [Said(value["text"], value["title"], {"reflection": value["reflection"]})]


@declare
class E5Style(_FromPositive):
    """Hard negatives in the manner of E5-mistral's data: less useful or less comprehensive than the positive.

    Slots are filled by draws keyed by the ids: what it lacks (useful, comprehensive), who can understand it (high
    school, college, PhD), its length. It is written independently of the query's wording, copies nothing and explains
    nothing. ``made`` has the slots and what the model says is missing.

    Wang et al. 2024, arXiv:2401.00368, appendix C; the words are ours. There the model invents query, positive and
    negative; here query and positive are those of the collection. For written queries, write `Queries` first, then this
    for the shard's split ``written``. Default temperature as there.
    """

    k: int = 1  # negatives for each query and positive, 1 to 20
    length: float = 1.0  # of the positive's, above 0 and at most 2
    temperature: float = 1.0  # of the model's draws, 0 to 2
    prompt: str | None = None  # a file in place of the shipped prompt

    task: ClassVar[str] = "e5-negative"
    shipped: ClassVar[str] = "e5-negative"

    @property
    def kind(self) -> str:
        """What its drafts are called."""
        return "e5"

    def attributes(self, draw: int, number: int) -> tuple[dict[str, str], dict[str, Any]]:
        """What it lacks, and for whom it is."""
        slots = {
            "lack": LACKS[(draw + number) % len(LACKS)],
            "level": READERS[(draw // len(LACKS) + number) % len(READERS)],
        }
        return slots, slots

    def read(self, value: Any) -> Sequence[Said]:
        """The text, and what it lacks."""
        return [Said(value["hard_negative_document"], value["title"], {"missing": value["missing"]})]


@declare
class Counterfactual(_FromPositive):
    """Negatives that meet every requirement of the query but exactly one.

    The model lists what a document must give to answer the query (two to six requirements, the most specific first,
    each with how the positive meets it), violates one, and writes the positive anew so that the others are still met.
    The n-th negative of a row violates the n-th requirement, so the first is the nearest. A reply in which another one
    is violated, or in which those kept are not exactly the others, is asked for again. ``made`` has the list, the
    number of the one that is violated, the numbers of those that are kept, and the change. A text that keeps most of
    its document's words has the difference as ``edits``.

    CausalNeg (arXiv:2606.01304; the abstract was read, the words are ours), which trains on such pairs together with a
    term against the shortcut "written or retrieved": see the source probe. What is kept is the model's word; have a
    sample judged.
    """

    k: int = 1  # negatives for each query and positive, 1 to 6
    length: float = 1.0  # of the positive's, above 0 and at most 2
    temperature: float = 0.3  # of the model's draws, 0 to 2
    prompt: str | None = None  # a file in place of the shipped prompt

    task: ClassVar[str] = "counterfactual"
    shipped: ClassVar[str] = "counterfactual"

    def check(self) -> None:
        """As of the others; no more negatives than requirements."""
        super().check()
        require(self.k <= MANY, self, "k", f"between 1 and {MANY}: each violates another requirement")

    def attributes(self, draw: int, number: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Which requirement is violated."""
        return {"number": str(number + 1)}, {"number": number + 1}

    def read(self, value: Any) -> Sequence[Said]:
        """The text, the requirements, and what became of them."""
        names = ("requirements", "violated", "kept", "change")
        return [Said(value["text"], value["title"], {name: value[name] for name in names})]

    def fault(self, question: Question, value: Any) -> str | None:
        """Requirements that are too few or too many, another one violated, or others kept than the rest."""
        count, violated = len(value["requirements"]), value["violated"]
        if not FEWEST <= count <= MANY:
            return f"{count} requirements"
        wanted = (question.asked["number"] - 1) % count + 1
        if violated != wanted:
            return f"violates requirement {violated} of {count}, not {wanted}"
        if sorted(value["kept"]) != [number for number in range(1, count + 1) if number != violated]:
            return f"keeps requirements {value['kept']} of {count}, violates {violated}"
        return super().fault(question, value)

    def edits(self, source: str, text: str) -> tuple[Edit, ...]:
        """The words that differ, where at least half stay."""
        return differences(source, text)


def differences(source: str, text: str) -> tuple[Edit, ...]:
    """The edits that make a text of another, by words; none where less than half of the words stay, or all.

    >>> differences("given once a day", "given twice a day")
    (Edit(start=6, end=10, before='once', after='twice'),)
    """
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", one) for one in (source, text))
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    stays = sum(not token.isspace() for tag, a, b, *_ in steps if tag == "equal" for token in old[a:b])
    most = max(sum(not token.isspace() for token in side) for side in (old, new))
    if source == text or stays < _STAYS * most:
        return ()
    ends = [0, *accumulate(map(len, old))]
    return tuple(
        Edit(ends[a], ends[b], source[ends[a] : ends[b]], "".join(new[c:d]))
        for tag, a, b, c, d in steps
        if tag != "equal"
    )
