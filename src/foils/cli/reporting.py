"""Commands about what a person reads: report, watch."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from foils.cli.options import Json, Seed, loaded
from foils.cli.output import tell, write

_Given = Annotated[str | None, typer.Option("--data", help="The collection; found in the cache if left out.")]
_Examples = Annotated[int, typer.Option(min=0, max=1000, help="Queries to show.")]
_Check = Annotated[
    bool | None,
    typer.Option("--check/--no-check", help="Look for leaks and duplicates; unasked among up to 200,000 negatives."),
]


def report(
    source: Annotated[Path, typer.Argument(metavar="RUN|NEG|STUDY|AUDIT", help="Folder of any of these.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")],
    data: _Given = None,
    audit: Annotated[
        Path | None, typer.Option(help="Folder of an audit; the one beside the negatives if left out.")
    ] = None,
    examples: _Examples = 40,
    check: _Check = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write one HTML page, without any network: what was mined and how, and what came of it."""
    from foils.report import Settings
    from foils.report import report as make
    from foils.terminal import facts, progress

    began = time.monotonic()
    collection = None if data is None else loaded(data)
    with progress() as shown:
        settings = Settings(examples, seed, check, shown)
        page = make(source, out, data=collection, audit=audit, settings=settings)
    record = {"out": str(page), "bytes": page.stat().st_size, "seconds": round(time.monotonic() - began, 1)}
    tell(as_json, record, facts(record.items()))


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run; it may be going on.")],
    host: Annotated[str, typer.Option(help="Interface; others than loopback let others read the texts.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0 for any; the first free one from 8765 if left out.")
    ] = None,
    data: _Given = None,
    examples: _Examples = 40,
    check: _Check = None,
    once: Annotated[bool, typer.Option("--once", help="Tell the alarms and end; exits with 1 if one is bad.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Serve the page of a run while it goes on, and tell when something is wrong; Ctrl-C ends it."""
    from foils.report import Live, Settings
    from foils.report import watch as serve

    settings = Settings(examples, seed, check)
    collection = None if data is None else loaded(data)
    if once:
        found = Live(run, collection, settings).look()
        tell(as_json, {"run": str(run), "alarms": [vars(alarm) for alarm in found]}, None)
        for alarm in () if as_json else found:
            write(f"{alarm.tone}: {alarm.text}\n")
        raise typer.Exit(int(any(alarm.tone == "bad" for alarm in found)))
    signal.signal(signal.SIGTERM, _interrupted)
    serve(run, host=host, port=port, data=collection, settings=settings, tell=_teller(run, host, as_json))
    if not as_json:
        sys.stderr.write("stopped\n")


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _teller(run: Path, host: str, as_json: bool) -> Any:
    def say(what: str, value: Any) -> bool:
        if as_json:
            plain = {"run": str(run), "url": value} if what == "url" else {"alarm": vars(value), "time": time.time()}
            write(json.dumps(plain, ensure_ascii=False) + "\n")
        elif what == "url":
            write(f"{value}  (Ctrl-C ends it)\n")
            if host not in ("127.0.0.1", "::1", "localhost"):
                sys.stderr.write(f"{host}: whoever reaches this address can read the page, texts included.\n")
        else:
            write(f"{time.strftime('%H:%M:%S')} {value.tone}: {value.text}\n")
        return True

    return say
