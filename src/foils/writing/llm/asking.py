"""What authors that ask a language model share: questions, seeds, sizes, and drafts out of replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.adapters.llm import Answer, Estimate, Prompt, Request, ask, count_tokens, prompt
from foils.adapters.llm.prompts import cut
from foils.core import noise
from foils.core.spec import require
from foils.writing.author import Author, Desk, Wanted
from foils.writing.check import Check
from foils.writing.draft import Draft, Edit
from foils.writing.llm.checks import Chatter

LENGTH = 6000  # characters of a document that are shown
HOTTEST = 2.0  # temperature that endpoints take
MOST = 20  # texts from one row
_DENSE = 20  # characters per word from which a script is taken to have no blanks


@dataclass(frozen=True)
class Question:
    """One question to the model, about one row.

    Attributes:
        row: among the wanted.
        request: what is asked.
        texts: how many the reply is to bring.
        title: of the document that it is about; what is written from one without a title has none.
        body: text of the document.
        asked: what was drawn for it, as JSON values; goes into the drafts' ``made``.
    """

    row: int
    request: Request
    texts: int = 1
    title: str = ""
    body: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """One text of a reply.

    Attributes:
        text: as it was written; "" where ``fault`` says why there is none.
        title: as it was written; "" for none.
        made: what the model said besides.
        fault: why there is none.
    """

    text: str
    title: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


class LLMAuthor(Author):
    """An author whose texts a language model writes, one declared value for each way to ask.

    Every question gives as many drafts as it asks for texts. Where the reply is no JSON of the prompt's form, breaks a
    rule that can be checked, is cut off or withheld, it is asked for once more with another seed; what is still
    unusable is a draft without a text, whose ``fault`` says why. So counts are exact: rows times ``k``.

    Replies are kept under model, prompt (name, version, words) and what was asked: the same again asks for nothing, in
    whatever order the rows come. Documents are shown up to 6,000 characters; what in them looks like a tag of the
    prompt loses its form.
    """

    task: ClassVar[str]
    shipped: ClassVar[str]
    k: int
    temperature: float
    prompt: str | None

    def check(self) -> None:
        """Bounds of k and the temperature."""
        require(1 <= self.k <= MOST, self, "k", f"between 1 and {MOST}")
        require(0 <= self.temperature <= HOTTEST, self, "temperature", f"between 0 and {HOTTEST:g}")

    @property
    def kind(self) -> str:
        """What its drafts are called: its name in lower case."""
        return type(self).__name__.lower()

    def prompts(self) -> tuple[str, ...]:
        """The label of the prompt."""
        return (self.asking().label,)

    def checks(self) -> tuple[Check, ...]:
        """That no text speaks of its task."""
        return (Chatter(),)

    def asking(self) -> Prompt:
        """The prompt: the shipped one, or the user's file for the same task."""
        return prompt(self.prompt or self.shipped, self.task)

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """Ask about all rows of the block, several at a time; drafts come in the order of the rows."""
        llm = desk.model(self)
        questions = self.questions(wanted, desk)
        checks = [partial(self.fault, question) for question in questions]
        answers = ask(llm, [one.request for one in questions], _teller(desk, llm.model.name), checks=checks)
        for question, answer in zip(questions, answers, strict=True):
            made = {"model": answer.reply.model or llm.model.name, "prompt": question.request.prompt}
            for said in self._said(question, answer):
                yield self._draft(wanted, question, said, {**made, **question.asked, **said.made})

    def estimate(self, wanted: Wanted, desk: Desk) -> Estimate:
        """Of the questions about a block, without second tries; asks nobody."""
        return desk.model(self).estimate([one.request for one in self.questions(wanted, desk)])

    def questions(self, wanted: Wanted, desk: Desk) -> list[Question]:
        """What is asked about a block of rows."""
        raise NotImplementedError

    def read(self, value: Any) -> Sequence[Said]:
        """The texts of a reply that follows the schema."""
        raise NotImplementedError

    def fault(self, question: Question, value: Any) -> str | None:
        """What is wrong with a reply that follows the schema: that all its texts are blank. None if nothing."""
        return None if any(said.text.strip() for said in self.read(value)) else "a blank text"

    def edits(self, source: str, text: str) -> tuple[Edit, ...]:
        """Where the text differs from its document, for authors that change one; none of what is written anew."""
        return ()

    def request(self, asked: Prompt, texts: Mapping[str, str], expected: int, seed: int) -> Request:
        """A question of the prompt; ``expected`` are the items (`foils.adapters.llm.Prompt.request`) of the reply."""
        return replace(asked.request(texts, expected), seed=seed, temperature=self.temperature)

    def seeds(self, wanted: Wanted, desk: Desk, number: int = 0) -> NDArray[np.int64]:
        """A seed for each row's request: 31 bits, as every server takes; int64 (n,)."""
        return (self.draws(wanted, desk, f"seed/{number}") >> np.uint64(33)).astype(np.int64)

    def draws(self, wanted: Wanted, desk: Desk, what: str) -> NDArray[np.uint64]:
        """64 random bits for each row, keyed by seed, author and ids."""
        return noise.bits(desk.seed, f"{type(self).__name__}/{what}", *desk.keys(wanted))

    def _said(self, question: Question, answer: Answer) -> Iterator[Said]:
        """As many as were asked for: surplus is left out, what is missing says so."""
        found = [] if answer.value is None else list(self.read(answer.value))[: question.texts]
        yield from found
        why = answer.problem or "left out of the reply"
        for _ in range(question.texts - len(found)):
            yield Said("", fault=why)

    def _draft(self, wanted: Wanted, question: Question, said: Said, made: Mapping[str, Any]) -> Draft:
        query, doc = int(wanted.query[question.row]), int(wanted.doc[question.row])
        text = said.text.strip()
        title = " ".join(said.title.split()) or question.title if question.title and text else ""
        fault = said.fault or ("" if text else "a blank text")
        edits = self.edits(question.body, text) if text else ()
        return Draft(None if query < 0 else query, doc, title, text, self.kind, edits, made, fault=fault)


def size(text: str, factor: float = 1.0) -> tuple[str, int]:
    """The length of a text in words of a prompt, and in tokens; of characters where a script has no blanks.

    >>> size("one two three four", 0.5), size("")
    (('2 words', 2), ('1 words', 1))
    """
    shown = text[:LENGTH]
    words = len(shown.split())
    count, unit = (len(shown), "characters") if len(shown) > _DENSE * max(1, words) else (words, "words")
    return f"{max(1, round(count * factor))} {unit}", max(1, round(count_tokens(shown) * factor))


def shown(text: str) -> str:
    """A document or query as it stands between tags."""
    return cut(text, LENGTH)


def document(title: str, body: str) -> str:
    """A document whose title and text are to be told apart."""
    return shown(f"Title: {title}\n\n{body}" if title else body)


def _teller(desk: Desk, name: str) -> Any:
    return lambda done, total: desk.tell(f"asking {name}", done, total)
