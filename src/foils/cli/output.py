"""What commands write to standard output: a table, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import RenderableType


def tell(as_json: bool, value: Any, shown: RenderableType | None) -> None:
    """Write ``value`` as JSON, or else what a person sees of it."""
    if as_json:
        write(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    elif shown is not None:
        from foils.terminal import console

        out = console()
        with out.capture() as captured:
            out.print(shown)
        write(captured.get())


def write(text: str) -> None:
    """Write a text to standard output; a reader that goes away is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: Exception, message: str, code: int) -> NoReturn:
    """End the process with one message: a line on standard error, or JSON if that was asked for."""
    if "--json" in sys.argv:
        report = {"error": message, "kind": type(error).__name__, "exit_code": code}
        write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"foils: {message}\n")
    sys.exit(code)
