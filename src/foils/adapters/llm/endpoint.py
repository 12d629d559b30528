"""A chat model behind an OpenAI-compatible HTTP endpoint: hosted, vLLM, Ollama, the llama.cpp server, a gateway."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from foils.adapters.llm.dialect import Dialect
from foils.adapters.llm.errors import LLMError
from foils.adapters.llm.messages import Reply, Request, count_tokens
from foils.adapters.llm.wire import Failure, opener, post
from foils.core.errors import SpecError

_OPENAI = "https://api.openai.com/v1"
_PATH = "/chat/completions"
_LONG = 1000  # tokens from which on a count can be compared with the estimate
_PART = 0.45  # of the estimate: texts of few words a byte come to .6
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to bear an endpoint that does not answer.

    Args:
        timeout: seconds for one try; long, as models on a CPU, and those that think first, take their time.
        retries: tries after the first.
        first: seconds before the first retry; each later one waits twice as long, and a little more by chance.
        longest: seconds of a wait at most; a server that asks for more (``Retry-After``) is given up.
    """

    timeout: float = 600.0
    retries: int = 6
    first: float = 1.0
    longest: float = 120.0

    def __post_init__(self) -> None:
        if not (self.timeout > 0 and self.retries >= 0 and self.first >= 0 and self.longest >= 0):
            raise SpecError(f"{self}: timeout must be above 0, the others at least 0.")


def address(url: str | None) -> str | None:
    """The address that is given, or else ``FOILS_LLM_URL`` or ``OPENAI_BASE_URL``; None where there is none."""
    return url or os.environ.get("FOILS_LLM_URL") or os.environ.get("OPENAI_BASE_URL")


class Endpoint:
    """A chat model at an address. The key of access is read from the environment, and never written anywhere.

    The key is ``FOILS_LLM_KEY``; without it ``OPENAI_API_KEY``, but only for the host of ``OPENAI_BASE_URL`` or that
    of OpenAI itself, so that it is never sent to somebody else. Local servers need none.

    Replies are asked for as JSON of the request's schema; a server that refuses that is asked for JSON, one that
    refuses this too just by the prompt. Other settings that some models refuse (temperature, seed, max_tokens) are left
    out or renamed as the refusal says. What a server refuses is asked of it once.

    Args:
        model: as the endpoint calls it. Replies are kept under this name: if a server takes any name, give it one that
            says what it is.
        url: such as ``http://localhost:11434/v1``; ``FOILS_LLM_URL`` or ``OPENAI_BASE_URL`` if left out.
        patience: how long to wait, how often to try.

    Raises:
        SpecError: no address, or one that is not http or https or that holds a password.
    """

    def __init__(self, model: str, url: str | None = None, patience: Patience | None = None) -> None:
        if not model.strip():
            raise SpecError("a model is needed, as the endpoint calls it.")
        self.name = model
        self.url = _address(address(url))
        self.patience = patience or Patience()
        self._opener = opener(self.url)
        self._key = _key(self.url)
        self._dialect = Dialect()
        self._lock = threading.Lock()
        self._quiet = 0.0  # until then nobody asks: the server said that it is too much
        self._stopped = threading.Event()
        self._warned = False

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.url!r})"

    @property
    def fingerprint(self) -> str:
        """What replies are kept under."""
        return self.name

    def stop(self) -> None:
        """Make the waits of replies that were begun end now; an exchange under way is not cut."""
        stopped, self._stopped = self._stopped, threading.Event()
        stopped.set()

    def reply(self, request: Request) -> Reply:
        """Ask, and ask again as long as that may help. Safe to call from several threads.

        Returns:
            The reply; with ``finish`` ``'refused'`` where this request is longer than the model can take.

        Raises:
            LLMError: the endpoint refuses, or did not answer after all retries.
        """
        tries, stopped = 0, self._stopped
        while True:
            while (left := self._quiet - time.monotonic()) > 0:
                self._sleep(left, stopped)
            dialect = self._dialect
            try:
                value = post(
                    self._opener, self.url + _PATH, dialect.body(self.name, request), self._key, self.patience.timeout
                )
                reply = _read(value, request)
                self._doubt(reply, request)
                return reply
            except Failure as failure:
                if failure.too_long:
                    return Reply(self._plain(failure.message), "refused")
                if failure.about_settings and self._learn(dialect, failure.message):
                    continue
                if not failure.again or tries >= self.patience.retries:
                    raise self._error(failure, tries) from None
                self._sleep(self._pause(failure, request, tries), stopped)
                tries += 1

    def _doubt(self, reply: Reply, request: Request) -> None:
        """Say once if the server seems to have read only a part: some cut long prompts off without an error."""
        if not self._warned and request.tokens > _LONG and reply.tokens[0] < request.tokens * _PART:
            self._warned = True
            _LOG.warning(
                "%s: model %r counts %s tokens in a request of about %s. If it cut the request off, its replies are "
                "worth nothing: raise the context length of the server.",
                self.url, self.name, f"{reply.tokens[0]:,}", f"{request.tokens:,}",
            )  # fmt: skip

    def _learn(self, spoken: Dialect, message: str) -> bool:
        """Speak as the server wants; False if nothing more can be left out."""
        with self._lock:
            if self._dialect is not spoken:
                return True  # another thread has learnt it meanwhile
            simpler = spoken.without(message)
            if simpler is None:
                return False
            self._dialect = simpler
            return True

    def _pause(self, failure: Failure, request: Request, tries: int) -> float:
        """Seconds before another try. A server that names a time is left alone by every thread."""
        if failure.wait is not None and failure.wait > self.patience.longest:
            raise self._error(failure, tries, f" It asks to wait {failure.wait:,.0f} seconds; come back then.")
        backoff = min(self.patience.longest, self.patience.first * 2**tries)
        if failure.wait is not None:
            with self._lock:
                self._quiet = max(self._quiet, time.monotonic() + failure.wait)
        # Spread by the request, so that those that failed together do not come back together.
        digest = hashlib.blake2b(f"{request.key(self.name)}/{tries}".encode(), digest_size=4).digest()
        spread = int.from_bytes(digest, "little") / 2**32
        return float(max(backoff, failure.wait or 0.0) * (1 + 0.25 * spread))

    def _sleep(self, seconds: float, stopped: threading.Event) -> None:
        if stopped.wait(seconds):
            raise LLMError(f"{self.url}: interrupted. What was answered is kept.")

    def _error(self, failure: Failure, tries: int, more: str = "") -> LLMError:
        status = f"HTTP {failure.status}: " if failure.status is not None else ""
        after = f" after {tries + 1} tries" if tries else ""
        message = f"{self.url}: model {self.name!r}: {status}{self._plain(failure.message)}{after}."
        return LLMError(f"{message}{more or _remedy(failure, self._key is not None)} What was answered is kept.")

    def _plain(self, message: str) -> str:
        """Without the key, which some servers repeat in their messages."""
        return message if self._key is None else message.replace(self._key, "[key]")


def _remedy(failure: Failure, has_key: bool) -> str:
    if failure.status in (401, 403):
        return " Is FOILS_LLM_KEY right?" if has_key else " Put its key into the environment as FOILS_LLM_KEY."
    if failure.status == 404:
        return " Are the model's name and the address right? The address usually ends in /v1."
    if failure.status is None and failure.again:
        return " Is the server running there?"
    return ""


def _address(text: str | None) -> str:
    if not text:
        remedy = "Give one (--llm-url), or set FOILS_LLM_URL, such as http://localhost:11434/v1."
        raise SpecError(f"the language model has no address. {remedy}")
    try:
        parts = urlsplit(text.strip())
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        shown = text.rsplit("@", 1)[-1].split("?")[0]
        remedy = "Write http://HOST:PORT/v1 or https://HOST/v1; a key belongs into the environment as FOILS_LLM_KEY."
        raise SpecError(f"{shown!r} is no address of a language model. {remedy}")
    return text.strip().rstrip("/").removesuffix(_PATH)


def _key(url: str) -> str | None:
    own, name = os.environ.get("FOILS_LLM_KEY"), "FOILS_LLM_KEY"
    if not own and _origin(url) in (_origin(_OPENAI), _origin(os.environ.get("OPENAI_BASE_URL") or _OPENAI)):
        own, name = os.environ.get("OPENAI_API_KEY"), "OPENAI_API_KEY"
    own = (own or "").strip()
    if not own.isascii() or not own.isprintable() or " " in own:
        raise LLMError(f"{name} holds what no key has: spaces, line ends or letters outside ASCII. Set it anew.")
    return own or None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _read(value: Mapping[str, Any], request: Request) -> Reply:
    """The reply in what the endpoint sent."""
    try:
        choice = value["choices"][0]
        message = choice["message"]
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Failure("a reply without choices[0].message", again=True) from None
    if isinstance(content, list):  # parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be kept
    finish = str(choice.get("finish_reason") or "stop")
    if not text and message.get("refusal"):
        finish = "content_filter"
    usage = value.get("usage")
    counted = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    read, written = (
        count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else guess
        for count, guess in zip(counted, (request.tokens, count_tokens(text)), strict=True)
    )
    return Reply(text, finish, (read, written), str(value.get("model") or ""))
