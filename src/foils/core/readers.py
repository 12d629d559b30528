"""Read files row by row or batch by batch; what cannot be read is an error with its line and a remedy."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from foils.core.errors import DataError

Row = dict[str, Any]
Sized = tuple[int, int, Row]  # line, bytes or characters, row


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file as bytes, unpacked if its name ends in ``.gz``.

    Raises:
        DataError: missing, not gzip in spite of its name, gzip in spite of its name, or cut short.
    """
    if not path.is_file():
        remedy = "Check the path." if not path.is_dir() else "It is a folder; give a file."
        raise DataError("no such file.", file=path, remedy=remedy)
    packed = path.name.casefold().endswith(".gz")
    with path.open("rb") as raw:
        magic = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed != magic and path.stat().st_size:
            message = "is named .gz but is not gzip." if packed else "is gzip, but its name does not end in .gz."
            raise DataError(message, file=path, remedy="Rename it.")
        try:
            yield io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed and magic else raw  # type: ignore[type-var]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"is damaged or cut short ({error}).", file=path, remedy="Fetch it again.") from error


def text_lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines as text, line ends kept.

    Raises:
        DataError: a line that is not UTF-8.
    """
    for number, line in enumerate(file, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            message = f"is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1} of the line."
            remedy = f"Convert it, for example: iconv -f latin1 -t utf-8 {path.name}"
            raise DataError(message, file=path, line=number, remedy=remedy) from None


def checked_characters(text: str, file: str, line: int) -> bytes:
    """The text as UTF-8.

    Raises:
        DataError: it holds half of a surrogate pair, which JSON can write and UTF-8 cannot.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = "holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no character."
        raise DataError(message, file=file, line=line, remedy="Write the text again as UTF-8.") from None


def json_lines(path: Path) -> Iterator[Sized]:
    """The objects of a file with one JSON object on each line; blank lines are skipped.

    Raises:
        DataError: a line that is not UTF-8, not JSON, or no object.
    """
    with opened(path) as file:
        for number, line in text_lines(path, file):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                remedy = "One JSON object on each line, please." + (
                    " A file that is one JSON array must be named .json." if line.lstrip()[:1] == "[" else ""
                )
                raise DataError(f"is not JSON: {error}.", file=path, line=number, remedy=remedy) from None
            if not isinstance(row, dict):
                message = f"holds a JSON {type(row).__name__}, not an object."
                raise DataError(message, file=path, line=number, remedy="One JSON object on each line, please.")
            if "\\ud" in line or "\\uD" in line:
                checked_characters(json.dumps(row, ensure_ascii=False), str(path), number)
            yield number, len(line), row


def json_array(path: Path) -> Iterator[Sized]:
    """The objects of a file that is one JSON array, or an object with such an array as ``data``; read whole.

    Raises:
        DataError: not an array of objects.
    """
    with opened(path) as file:
        text = "".join(line for _, line in text_lines(path, file))
    remedy = "Give an array of objects; if there is one object on each line, name it .jsonl."
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DataError(f"is not one JSON value: {error}.", file=path, remedy=remedy) from None
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        rows = rows["data"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("is not a JSON array of objects.", file=path, remedy=remedy)
    checked_characters(json.dumps(rows, ensure_ascii=False), str(path), 1)
    return ((number, 0, row) for number, row in enumerate(rows, 1))


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Let csv read fields of any length; its limit is a setting of the whole process, so put it back."""
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def separated(path: Path, kind: str, header: bool) -> Iterator[Sized]:
    """The rows of a CSV or TSV file (kind '.csv' or '.tsv'), without a header with the columns '0', '1', ….

    Raises:
        DataError: a row with more or fewer fields than the first, or a stray quotation mark.
    """
    with opened(path) as file, _long_fields():
        lines = (line for _, line in text_lines(path, file))
        # A TSV has no quoting: a field may begin with a quotation mark that is never closed.
        reader = csv.reader(lines) if kind == ".csv" else csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names: list[str] = []
        try:
            for fields in reader:
                if not fields:
                    continue
                if not names:
                    names = fields if header else [str(i) for i in range(len(fields))]
                    if header:
                        continue
                if len(fields) != len(names):
                    message = f"has {len(fields)} fields, but the first line has {len(names)}."
                    remedy = "Quote fields that hold a separator." if kind == ".csv" else "Tabs separate the fields."
                    raise DataError(message, file=path, line=reader.line_num, remedy=remedy)
                yield reader.line_num, sum(map(len, fields)), dict(zip(names, fields, strict=True))
        except csv.Error as error:
            raise DataError(f"is not CSV: {error}.", file=path, line=reader.line_num) from None


def arrow_batches(path: Path, kind: str, size: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most ``size`` rows of a Parquet or an Arrow IPC file (kind '.parquet' or '.arrow').

    Raises:
        DataError: the file is not what its name says, or is cut short.
    """
    with opened(path):
        pass
    try:
        yield from _parquet(path, size) if kind == ".parquet" else _ipc(path, size)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"cannot be read as {kind[1:]}: {str(error).splitlines()[0]}"
        raise DataError(message, file=path, remedy="Is it what its name says, and complete?") from None


def _parquet(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=size)


def _ipc(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
            batches: Iterable[pa.RecordBatch] = (file.get_batch(i) for i in range(file.num_record_batches))
        except pa.ArrowInvalid:  # what the datasets package writes is the streaming format
            source.seek(0)
            batches = pa.ipc.open_stream(source)
        for batch in batches:
            for start in range(0, batch.num_rows, size):
                yield batch.slice(start, size)
