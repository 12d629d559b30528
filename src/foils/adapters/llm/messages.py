"""What is asked of a language model, and what it said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BYTES_PER_TOKEN = 4
_PER_MESSAGE = 8  # tokens that a chat template puts around a message


@dataclass(frozen=True)
class Request:
    """One question to a chat model.

    Args:
        messages: (role, text) pairs.
        prompt: name, version and digest of the prompt that made it, such as ``judge-list@1/3f2a…``.
        schema: JSON schema of the reply, or None for text.
        max_tokens: that the reply may have.
        expected: tokens that the reply will have about, for estimates.
        seed: sent along; another one is another request.
        temperature: sent along; at 0 the model's likeliest words.
    """

    messages: tuple[tuple[str, str], ...]
    prompt: str
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    max_tokens: int = 1024
    expected: int = 256
    seed: int = 0
    temperature: float = 0.0

    def key(self, model: str) -> str:
        """SHA-256, in hex, of all that a reply depends on; not of the endpoint's address, nor of a key of access."""
        parts = {
            "model": model,
            "messages": self.messages,
            "prompt": self.prompt,
            "schema": self.schema,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "temperature": self.temperature,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @property
    def tokens(self) -> int:
        """About how many tokens it has: a token is taken for 4 bytes of UTF-8. No tokenizer is needed for that."""
        return sum(count_tokens(text) + _PER_MESSAGE for _, text in self.messages)


@dataclass(frozen=True)
class Reply:
    """What a model said.

    Args:
        text: the answer; empty if there is none.
        finish: why it ended: ``stop``, ``length`` (cut off), ``content_filter``, …; ``refused`` for a request that the
            endpoint cannot take, such as one that is too long, with ``text`` its reason.
        tokens: of the request and of the reply, as the endpoint counts them; estimated where it does not.
        model: as the endpoint calls itself.
        kept: read from the disk, so that it cost nothing now.
    """

    text: str
    finish: str = "stop"
    tokens: tuple[int, int] = (0, 0)
    model: str = ""
    kept: bool = False


def count_tokens(text: str) -> int:
    """About how many tokens a text has: its bytes in UTF-8 by 4, rounded up.

    >>> count_tokens("to be, or not to be")
    5
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
