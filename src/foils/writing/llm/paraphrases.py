"""Positives that a language model writes: documents and queries in other words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from foils.core.spec import declare
from foils.writing.author import Desk, Wanted
from foils.writing.draft import Role, Start
from foils.writing.llm.asking import LLMAuthor, Question, Said, document, shown, size


@declare
class Paraphrase(LLMAuthor):
    """Positives in other words: the document of a query (another positive), or the query (another one, same positives).

    Of documents every fact stays, which the model lists first; of queries what is asked for, neither wider nor
    narrower. A paraphrase is a positive or a second view for a consistency loss, never a negative. That it is still
    relevant is the model's word: have a sample judged. Prompts and defaults are ours.
    """

    of: Literal["document", "query"] = "document"  # what is said in other words
    k: int = 1  # paraphrases of each, 1 to 20
    temperature: float = 0.7  # of the model's draws, 0 to 2
    prompt: str | None = None  # a file in place of the shipped prompt

    family: ClassVar[Role] = "positive"

    @property
    def writes(self) -> Role:
        """A positive of a document, a query of a query."""
        return "positive" if self.of == "document" else "query"

    @property
    def starts(self) -> Start:
        """Both from a query and its positive."""
        return "pair"

    @property
    def task(self) -> str:  # type: ignore[override]
        """Of the prompt: each side has its own."""
        return f"paraphrase-{self.of}"

    @property
    def shipped(self) -> str:  # type: ignore[override]
        """The prompt of that name."""
        return self.task

    def questions(self, wanted: Wanted, desk: Desk) -> list[Question]:
        """Of documents one for each paraphrase, of queries one for all."""
        queries = desk.data.queries.texts(wanted.query)
        titles, bodies = desk.data.corpus.titles(wanted.doc), desk.data.corpus.bodies(wanted.doc)
        numbers = range(self.k if self.of == "document" else 1)
        seeds = [self.seeds(wanted, desk, number) for number in numbers]
        prompt, made = self.asking(), []
        for row, (query, title, body) in enumerate(zip(queries, titles, bodies, strict=True)):
            texts = {"query": shown(query), "document": document(title, body)}
            if self.of == "query":
                request = self.request(prompt, {**texts, "number": str(self.k)}, self.k, int(seeds[0][row]))
                made.append(Question(row, request, texts=self.k))
                continue
            length, tokens = size(body)
            for number in numbers:
                request = self.request(prompt, {**texts, "length": length}, tokens, int(seeds[number][row]))
                made.append(Question(row, request, title=title))
        return made

    def read(self, value: Any) -> Sequence[Said]:
        """The texts, and what the model says must stay."""
        if self.of == "document":
            return [Said(value["text"], value["title"], {"facts": value["facts"]})]
        return [Said(query, made={"need": value["need"]}) for query in value["queries"]]
