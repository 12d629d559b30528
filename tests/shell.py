"""The command line, run in this process."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from foils.cli import main


def foils(*arguments: str, check: int = 0) -> str:
    """Run in this process: importing PyTorch anew for each command takes longer than the command."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["foils", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert ended.value.code == check, err.getvalue()
    return out.getvalue() if check == 0 else out.getvalue() + err.getvalue()
