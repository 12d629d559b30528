"""What an endpoint lets be said: servers and models differ in the settings that they take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from foils.adapters.llm.messages import Request

Format = Literal["json_schema", "json_object", "text"]
_SIMPLER: dict[Format, Format] = {"json_schema": "json_object", "json_object": "text"}


@dataclass(frozen=True)
class Dialect:
    """The settings to send.

    Args:
        format: how JSON is asked for; ``text`` is by the prompt alone.
        temperature: whether it is sent.
        seed: whether it is sent.
        limit: the name of the bound on the reply's tokens.
    """

    format: Format = "json_schema"
    temperature: bool = True
    seed: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """The request as it is sent."""
        messages = [{"role": role, "content": text} for role, text in request.messages]
        made: dict[str, Any] = {"model": model, "messages": messages, self.limit: request.max_tokens, "stream": False}
        if self.temperature:
            made["temperature"] = request.temperature
        if self.seed:
            made["seed"] = request.seed
        if request.schema is not None and self.format == "json_schema":
            form = {"name": "reply", "strict": True, "schema": dict(request.schema)}
            made["response_format"] = {"type": "json_schema", "json_schema": form}
        elif request.schema is not None and self.format == "json_object":
            made["response_format"] = {"type": "json_object"}
        return made

    def without(self, message: str) -> Dialect | None:
        """The dialect for a server that refused with this message; None if there is nothing more to leave out."""
        said = message.lower()
        if self.limit == "max_tokens" and "max_completion_tokens" in said:
            return replace(self, limit="max_completion_tokens")
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        if self.seed and "seed" in said:
            return replace(self, seed=False)
        if self.format in _SIMPLER:  # what most servers that refuse something refuse, whatever they call it
            return replace(self, format=_SIMPLER[self.format])
        return None
