"""One HTTP exchange with an endpoint, and what its failure means. The standard library suffices."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from foils.version import __version__

_LARGEST = 32 * 2**20  # bytes of a reply
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 529}
_SPENT = ("insufficient_quota", "billing", "credit balance", "exceeded your current quota")
_LONG = ("context length", "context_length", "context size", "context window", "maximum context", "prompt is too long")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Failure(Exception):  # noqa: N818 - an event of the wire, not an error that users see
    """What came of an exchange that gave no reply.

    Args:
        message: what happened.
        status: of HTTP, or None where there was none.
        again: whether the same may work later.
        wait: seconds that the server asks for.
    """

    def __init__(self, message: str, status: int | None = None, *, again: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.again, self.wait = message, status, again, wait

    @property
    def too_long(self) -> bool:
        """Whether this one request is larger than the model can take."""
        text = self.message.lower()
        return self.status == 413 or (self.status in (400, 422) and any(sign in text for sign in _LONG))

    @property
    def about_settings(self) -> bool:
        """Whether it may be a setting that the server does not take, such as a schema."""
        text = self.message.lower()
        words = ("response_format", "schema", "grammar")
        return self.status in (400, 422) or (self.status in (500, 501) and any(word in text for word in words))


class _Stay(urllib.request.HTTPRedirectHandler):
    """An address that points elsewhere is an error: the key is for the host that was named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def opener(url: str) -> urllib.request.OpenerDirector:
    """Opens this address, through the proxy that the environment names unless it is this machine."""
    local = urlsplit(url).hostname in LOOPBACK
    proxies = urllib.request.ProxyHandler({} if local else None)
    return urllib.request.build_opener(_Stay, proxies)


def post(
    by: urllib.request.OpenerDirector, url: str, body: Mapping[str, Any], key: str | None, timeout: float
) -> dict[str, Any]:
    """Send JSON and read JSON.

    Args:
        by: from `opener`.
        url: where to.
        body: what to send.
        key: of access, or None.
        timeout: seconds for the whole exchange, and for each wait within.

    Raises:
        Failure: there is no JSON object that is no error.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": f"foils/{__version__}"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    sent = json.dumps(body, ensure_ascii=True).encode()
    ends = time.monotonic() + timeout
    try:
        with by.open(urllib.request.Request(url, sent, headers), timeout=timeout) as reply:
            status, data = int(reply.status), _read(reply, ends)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error) from None
    except (TimeoutError, ssl.SSLWantReadError):
        raise Failure(f"no reply within {timeout:g} seconds", again=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error, timeout) from None
    return _object(status, data)


def _read(reply: Any, ends: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := reply.read1(2**16):
        size += len(part)
        if size > _LARGEST:
            raise Failure(f"a reply of more than {_LARGEST:,} bytes", again=False)
        if time.monotonic() > ends:
            raise TimeoutError
        parts.append(part)
    if reply.length:  # the server promised more
        raise http.client.IncompleteRead(b"", reply.length)
    return b"".join(parts)


def _broken(error: Exception, timeout: float) -> Failure:
    """A connection that failed."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return Failure(f"no reply within {timeout:g} seconds", again=True)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Failure(f"its certificate is not trusted ({reason.verify_message})", again=False)
    if isinstance(reason, http.client.InvalidURL):
        return Failure("is no address that can be opened", again=False)
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return Failure(f"the connection failed ({text})", again=True)


def _refusal(error: urllib.error.HTTPError) -> Failure:
    """An HTTP status that is no success."""
    try:
        text = error.read(2**16).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    message = _message(text) or str(error.reason)
    spent = error.code == 429 and any(sign in text.lower() for sign in _SPENT)
    return Failure(message, error.code, again=error.code in _AGAIN and not spent, wait=_wait(error.headers))


def _object(status: int, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except ValueError:
        raise Failure("a reply that is not JSON", status, again=True) from None
    if not isinstance(value, dict):
        raise Failure("a reply that is no JSON object", status, again=True)
    if value.get("error"):  # some gateways report errors of what is behind them as a success
        error = value["error"]
        code = error.get("code") if isinstance(error, dict) else None
        code = code if isinstance(code, int) else status
        raise Failure(_message(json.dumps(value)) or "an error without a message", code, again=code in _AGAIN)
    return value


def _message(text: str) -> str:
    """The message in the body of an error, on one line."""
    try:
        value = json.loads(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else _line(text)
    for name in ("error", "detail", "message"):
        found = value.get(name) if isinstance(value, dict) else None
        if isinstance(found, dict):
            parts = [str(found[part]) for part in ("message", "code") if found.get(part)]
            return _line(" ".join(parts) or json.dumps(found))
        if found:
            return _line(found if isinstance(found, str) else json.dumps(found))
    return ""


def _line(text: str) -> str:
    return " ".join(text.split())[:400]


def _wait(headers: Message) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date."""
    milliseconds, text = headers.get("retry-after-ms"), headers.get("Retry-After")
    for value, unit in ((milliseconds, 1e-3), (text, 1.0)):
        try:
            seconds = float(value or "") * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(text or "").timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
