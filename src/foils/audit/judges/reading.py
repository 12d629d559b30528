"""The rows of a sheet of labels, as people's spreadsheets save them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from foils.core.errors import DataError

NEEDED = ("query_id", "doc_id", "label")


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a sheet, and of each row the line it ends in with its cells; what a row lacks is empty.

    Commas, semicolons or tabs, whichever the first line has most of; with or without a byte order mark.

    Raises:
        DataError: no such file, not UTF-8, or no CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read()
    except FileNotFoundError:
        raise DataError("no such file.", file=path, remedy="foils audit NEG -o DIR writes DIR/labels.csv.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"is not UTF-8 (byte 0x{error.object[error.start]:02x})."
        raise DataError(what, file=path, line=line, remedy="Save it as CSV in UTF-8.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error}).", file=path, remedy="Save it as CSV in UTF-8.") from None
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), restval="")
    try:
        names = [str(name) for name in reader.fieldnames or ()]
        return names, [(reader.line_num, {name: row[name] for name in names}) for row in reader]
    except csv.Error as error:
        raise DataError(f"is no CSV ({error}).", file=path, line=reader.line_num, remedy="Save it as CSV.") from None
