"""Everything that foils raises on purpose.

A message says the value, the bound and the remedy. The command line prints it on one line and exits with ``exit_code``:
1 when data or a result is refused, 2 when what was asked for cannot be understood.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class FoilsError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class DataError(FoilsError):
    """Input that cannot be used as it is.

    Args:
        message: what is wrong, with the value.
        file: the file at fault, if one is.
        line: its 1-based line, if known.
        remedy: what to do about it.
    """

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, remedy: str | None = None
    ) -> None:
        self.file, self.line, self.remedy = file, line, remedy
        where = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(where + message + (f" {remedy}" if remedy else ""))


class SpecError(FoilsError):
    """A pipeline, recipe or option that cannot be read; says where in the text and what was meant."""

    exit_code = 2


class PipelineError(FoilsError):
    """Stages that cannot work in this order or without this column, encoder or index."""

    exit_code = 2


class ModelError(FoilsError):
    """A model that cannot be found, loaded or trusted (NaN vectors, a distance instead of a similarity)."""


class StoreError(FoilsError):
    """An output folder that is incomplete, of another run, or of another version."""


class BreachError(FoilsError):
    """A training run that broke a bound of its guard and has nothing to fall back on; the message says how to go on."""


class MissingExtra(FoilsError):  # noqa: N818 - reads as what it is
    """An optional dependency that is not installed.

    Args:
        module: the module that failed to import.
        extra: the extra of foils that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"'{module}' is not installed. Install it with: pip install 'foils[{extra}]'")


def need(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or raise `MissingExtra` with the command that installs it.

    Args:
        module: dotted module name.
        extra: the extra of foils that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] == error.name.split(".")[0]:
            raise MissingExtra(module, extra) from None
        raise
