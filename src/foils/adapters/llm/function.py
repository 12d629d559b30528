"""Any function as a language model."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foils.adapters.llm.errors import LLMError, OfflineError
from foils.adapters.llm.messages import Reply, Request, count_tokens
from foils.adapters.protocols import UNCACHED


class Absent:
    """A model of which only kept replies are there.

    Args:
        name: as the endpoint called it.
    """

    def __init__(self, name: str) -> None:
        self.name = self.fingerprint = name

    def stop(self) -> None:
        """Nothing waits here."""

    def reply(self, request: Request) -> Reply:
        """Never.

        Raises:
            OfflineError: always.
        """
        raise OfflineError(f"{self.name}: a reply to {request.prompt} is not kept, and nobody may be asked.")


class Function:
    """A function from messages to text in place of an endpoint.

    Nobody can tell from outside whether a function still does what it did. So without ``version`` nothing is kept. With
    it, replies are found again under (name, version): give another one whenever the function changes. It is called from
    several threads, unless the client's ``concurrency`` is 1.

    Args:
        fn: from a list of ``{"role": …, "content": …}`` to a text, or to an object that can be written as JSON.
        name: how messages call it; the function's name by default.
        version: whatever tells versions of the function apart.

    >>> Function(lambda messages: messages[-1]["content"].upper()).reply(Request((("user", "louder"),), "p@1")).text
    'LOUDER'
    """

    def __init__(
        self,
        fn: Callable[[Sequence[Mapping[str, str]]], Any],
        name: str | None = None,
        version: str | None = None,
    ) -> None:
        self.fn, self.version = fn, version
        self.name: str = name or getattr(fn, "__name__", None) or type(fn).__name__

    @property
    def fingerprint(self) -> str:
        """Of name and version; new at every call where there is no version."""
        if self.version is None:
            return UNCACHED + uuid.uuid4().hex
        return f"function:{self.name}:{self.version}"

    def stop(self) -> None:
        """Nothing waits here."""

    def reply(self, request: Request) -> Reply:
        """Call the function.

        Raises:
            LLMError: it raises, or returns what is neither a text nor JSON.
        """
        messages = [{"role": role, "content": text} for role, text in request.messages]
        try:
            made = self.fn(messages)
            text = made if isinstance(made, str) else json.dumps(made)
        except Exception as error:  # of whatever kind: it is the user's function
            raise LLMError(f"{self.name}: {type(error).__name__}: {error}. What was answered is kept.") from error
        return Reply(text, "stop", (request.tokens, count_tokens(text)), self.name)
