"""All commands as one program: which there are, and how it ends."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, NoReturn

import typer

from foils.cli.advising import advise
from foils.cli.auditing import audit
from foils.cli.calibrating import calibrate
from foils.cli.collections import demo, import_, inspect
from foils.cli.comparing import compare
from foils.cli.generations import diff, generations, rollback
from foils.cli.influencing import influence, probe
from foils.cli.listings import prompts, recipes, stages
from foils.cli.negatives import check, export, mine, show
from foils.cli.output import fail
from foils.cli.reporting import report, watch
from foils.cli.teaching import teach
from foils.cli.training import evaluate, train
from foils.cli.transferring import transfer
from foils.cli.writing import write
from foils.core.errors import FoilsError

app = typer.Typer(
    help="The negatives that dense retrievers are trained with: find, choose, clean, train with and measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
_COMMANDS = (demo, inspect, import_, mine, show, export, check, audit, teach, train, evaluate, recipes, prompts, stages)
_MORE = (write, advise, transfer, calibrate, compare, influence, probe, generations, diff, rollback, report, watch)
for command in (*_COMMANDS, *_MORE):
    app.command(command.__name__.rstrip("_"))(command)


def _version(wanted: bool) -> None:
    if wanted:
        from foils import __version__

        sys.stdout.write(f"foils {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line; errors raised on purpose, and those of the system, are one message and an exit code."""
    _log_to_stderr()
    try:
        code = app(standalone_mode=False)
    except FoilsError as error:
        fail(error, str(error), error.exit_code)
    except OSError as error:
        fail(error, str(error), 1)
    except typer.Abort:
        code = 130
    except Exception as error:
        show_usage = getattr(error, "show", None)
        if show_usage is None:
            raise
        if "--json" not in sys.argv:
            show_usage()  # a fault of usage that the parser found
            sys.exit(getattr(error, "exit_code", 2))
        fail(error, error.format_message(), getattr(error, "exit_code", 2))  # type: ignore[attr-defined]
    if code == 130:  # what typer makes of Ctrl-C
        sys.stderr.write("foils: interrupted; the same command goes on from here.\n")
    sys.exit(code or 0)


def _log_to_stderr() -> None:
    # A library only logs; whoever runs a command wants to read it.
    root = logging.getLogger("foils")
    root.setLevel(logging.INFO)
    root.handlers = [logging.StreamHandler(sys.stderr)]
