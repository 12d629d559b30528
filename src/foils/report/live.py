"""`watch`: the page of a run, live while it goes on, and alarms.

A server of the standard library, on the loopback interface unless another is asked for. It answers two questions, what
the page says and whether it has changed, and serves no files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from foils.core.collection import Collection
from foils.core.errors import FoilsError, SpecError, StoreError
from foils.report.alarms import Alarm, alarms
from foils.report.blocks import Section, Words
from foils.report.making import Settings, about_negatives, page_of
from foils.report.page import render
from foils.report.subject import Subject, find_subject
from foils.store import MANIFEST

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_FIRST, _PORTS = 8765, 20  # where to look for a free port
_LOOK = 1.0  # seconds between two looks at the folder
_IDLE = 10.0  # at most so many seconds between two looks at the clock
_READING = Words("The negatives are being read; this part of the page will come.")


class Live:
    """What the page of a run says now; made again when files of the run have changed.

    Args:
        source: folder of a run; it may be written while this reads it, and killed and continued.
        data: the collection; found in the cache if left out.
        settings: how much to show.

    Raises:
        StoreError: there is no such folder, or it holds something else.
    """

    def __init__(self, source: str | Path, data: Collection | None = None, settings: Settings | None = None) -> None:
        self.source, self.data, self.settings = Path(source), data, settings or Settings()
        self._lock = threading.Lock()
        self._mined: tuple[str, list[Section] | None] = ("", None)
        self._page: tuple[str, str, str] = ("", "", "")
        self._found: list[Alarm] = []
        self._seen: tuple[tuple[str, ...], float] = ((), 0.0)
        self._subject()

    def look(self) -> list[Alarm]:
        """Look at the folder; the alarms there are now."""
        with self._lock:
            self._make()
        return self._found

    def version(self) -> str:
        """Another one whenever the page is another one."""
        with self._lock:
            self._make()
            return self._page[0]

    def page(self, *, whole: bool) -> str:
        """The page as HTML; without scripts and styles for a browser that has them."""
        with self._lock:
            self._make()
            return self._page[1 if whole else 2]

    def _make(self) -> None:
        seen = (*_stamp(self.source), self._mined[0], str(self._mined[1] is None))
        if seen == self._seen[0] and time.monotonic() - self._seen[1] < _IDLE:
            return  # nothing was written; only what the clock says may be new, and that can wait
        self._look()
        self._seen = (seen, time.monotonic())

    def _look(self) -> None:
        subject = self._subject()
        mined = self._about(subject)
        self._found = alarms(subject)
        shown = [(alarm.tone, alarm.text) for alarm in self._found]
        seen = _stamp(self.source), [alarm.key for alarm in self._found], mined is None
        version = hashlib.blake2b(repr(seen).encode(), digest_size=8).hexdigest()
        if version == self._page[0]:
            return
        known = [Section("survivors", "Negatives", [_READING])] if mined is None else mined
        page = replace(page_of(subject, self.settings, known), live=version, alarms=shown)
        self._page = (version, render(page), render(page, whole=False))

    def _subject(self) -> Subject:
        try:
            return find_subject(self.source, self.data)
        except StoreError:
            held = [path.name for path in self.source.iterdir()] if self.source.is_dir() else []
            if not held or not all(name.startswith(".") for name in held):
                raise
            return Subject("run", str(self.source), self.source)  # nothing is finished yet

    def _about(self, subject: Subject) -> list[Section] | None:
        """Sections about the negatives: read in the background, once for each folder of them; None while they are."""
        if subject.negatives is None:
            return []
        key = _stamp_of(subject.negatives.path / MANIFEST)
        if key != self._mined[0]:
            self._mined = (key, None)
            threading.Thread(target=self._read, args=(subject, key), daemon=True).start()
        return self._mined[1]

    def _read(self, subject: Subject, key: str) -> None:
        try:
            found = about_negatives(subject, self.settings)
        except (FoilsError, OSError) as error:
            found = [Section("survivors", "Negatives", [Words(f"They cannot be read: {error}", "warn")])]
        if self._mined[0] == key:
            self._mined = (key, found)


def _stamp(run: Path) -> list[str]:
    """Times and sizes of what a page is made from."""
    patterns = (
        "*.json",
        "*.jsonl",
        "*/manifest.json",
        "generations/*/manifest.json",
        "checkpoint-*/complete.json",
        "influence/*.json",
        "audit/*.json",
        "phases/*/*.json",
        "phases/*/*.jsonl",
        "phases/*/negatives/manifest.json",
        "phases/*/generations/*/manifest.json",
    )
    return sorted(_stamp_of(path) for pattern in patterns for path in run.glob(pattern))


def _stamp_of(path: Path) -> str:
    with suppress(OSError):
        found = path.stat()
        return f"{path} {found.st_mtime_ns} {found.st_size}"
    return str(path)


class Server:
    """Serves a page until it is closed.

    Args:
        shown: what to serve.
        host: interface; the loopback one by default.
        port: a fixed one, 0 for any; None for the first free one from 8765.

    Attributes:
        url: where the page is.

    Raises:
        SpecError: the port is taken, or the host is none of this machine.
    """

    def __init__(self, shown: Live, host: str = HOST, port: int | None = None) -> None:
        self._http = _bound(host, port, _handler(shown, _names(host)))
        self.host, self.port = host, int(self._http.server_address[1])
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def watch(
    source: str | Path,
    *,
    host: str = HOST,
    port: int | None = None,
    data: Collection | None = None,
    settings: Settings | None = None,
    tell: Callable[[str, Any], bool] | None = None,
) -> None:
    """Serve the page of a run while it goes on, until interrupted.

    Args:
        source: folder of a run.
        host: interface to serve on. Whoever reaches it can read the page, texts of the collection included.
        port: a fixed one, 0 for any; the first free one from 8765 if left out.
        data: the collection; found in the cache if left out.
        settings: how much to show.
        tell: called with ("url", where) at first and with ("alarm", alarm) for each new one; False ends it.

    Raises:
        StoreError: there is no run.
        SpecError: the port is taken, or the host is none of this machine.
    """
    shown = Live(source, data, settings)
    shown.version()  # what cannot be made fails here, not in a browser
    server = Server(shown, host, port)
    said: set[str] = set()
    waiting = threading.Event()
    try:
        going = tell is None or tell("url", server.url) is not False
        while going:
            found = shown.look()
            for alarm in found:
                if alarm.key not in said and tell is not None:
                    going = tell("alarm", alarm) is not False and going
            said = {alarm.key for alarm in found}
            waiting.wait(_LOOK)
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        server.close()


def _bound(host: str, port: int | None, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    tried = range(_FIRST, _FIRST + _PORTS) if port is None else (port,)
    error: OSError | None = None
    kind = _Six if ":" in host else _Four
    for number in tried:
        try:
            return kind((host, number), handler)
        except OSError as failed:
            error = failed
    said = error.strerror or error if error is not None else ""
    where = f"{host}:{port}" if port is not None else f"{host}, ports {_FIRST} to {_FIRST + _PORTS - 1}"
    raise SpecError(f"{where}: cannot be served on ({said}). Pass --port 0 for any free one, or another --host.")


class _Four(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Six(_Four):
    address_family = socket.AF_INET6


def _names(host: str) -> set[str] | None:
    """The names that a browser may call a loopback server by; None where anyone may call it anything.

    A page of another site could have its own name point here and read what is served; such a name is refused.
    """
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return {"localhost", "127.0.0.1", "::1", host} if loopback else None


def _handler(shown: Live, names: set[str] | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "foils", ""
        timeout = 30

        def do_GET(self) -> None:
            if names is not None and urlsplit(f"//{self.headers.get('Host', '')}").hostname not in names:
                self._send(421, "text/plain", "This server is called by another name.\n")
                return
            try:
                kind, text = self._answer(urlsplit(self.path).path)
            except (FoilsError, OSError, ValueError, KeyError) as error:
                log.warning("%s: %s", self.path, error)
                self._send(503, "text/plain", f"{error}\n")
                return
            self._send(200 if text else 404, kind, text or "There is nothing here.\n")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, path: str) -> tuple[str, str]:
            if path == "/":
                return "text/html", shown.page(whole=True)
            if path == "/page":
                return "text/html", shown.page(whole=False)
            if path == "/state":
                return "application/json", json.dumps({"version": shown.version()})
            return "text/plain", ""

        def _send(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 1000:
                body = gzip.compress(body, 4)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Referrer-Policy", "no-referrer"),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
