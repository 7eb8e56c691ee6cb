"""A file of any accepted format → its rows as mappings, with the number a person would give each."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backend.domain.errors import TooLarge, UnreadableFile
from backend.domain.record_body import MAX_ROW_CHARS, RowRefused, clean, json_value, missing_column, named

MAX_ROWS = 1_000_000
MAX_COLUMNS = 200
_EXTENSIONS = {
    "jsonl": "jsonl", "ndjson": "jsonl", "json": "json", "csv": "csv", "tsv": "csv", "parquet": "parquet",
    "md": "markdown", "markdown": "markdown", "txt": "text", "text": "text",
}  # fmt: skip
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or an office document; unpack it, or export it as CSV",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"%PDF": "a PDF; export its text as .txt or .md",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}
_HEADING = re.compile(r"#{1,6}(\s|$)")
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")

# (content) → (columns, rows); what only a driver can read. Raises: UnreadableFile, TooLarge.
TableParser = Callable[[bytes], tuple[list[str], list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class RawRow:
    number: int  # 1-based, counting data rows
    values: Mapping[str, Any]
    problem: str | None = None  # then `values` is empty


def read_rows(filename: str, content: bytes, read_table: TableParser) -> tuple[str, list[str], list[RawRow]]:
    """(file format, columns, rows). A damaged row is a row with a problem; a file that cannot be
    taken apart into rows raises. Raises: UnreadableFile, TooLarge."""
    form = _format(filename, content)
    if form == "parquet":
        columns, values = read_table(content)
        _require_columns(columns)
        rows = [RawRow(number, row) for number, row in enumerate(values, 1)]
    elif form == "csv":
        columns, found = _csv(content)
        rows = _limited(found)
    else:
        readers = {"jsonl": _jsonl, "json": _json, "markdown": _markdown, "text": _paragraphs}
        rows = _limited(readers[form](content))
        columns = list(dict.fromkeys(key for row in rows for key in row.values))[:MAX_COLUMNS]
    if not rows:
        raise UnreadableFile("it has no rows")
    return form, columns, rows


def _limited(rows: Iterator[RawRow]) -> list[RawRow]:
    out: list[RawRow] = []
    for row in rows:
        if len(out) == MAX_ROWS:
            raise TooLarge(
                f"the file has over {MAX_ROWS:,} rows; split it and publish each part as a datanet of its own"
            )
        out.append(row)
    return out


def _format(filename: str, content: bytes) -> str:
    """By the name, corrected by what the content plainly is."""
    if not content:
        raise UnreadableFile("it is empty (0 bytes)")
    for magic, what in _FOREIGN.items():
        if content.startswith(magic):
            raise UnreadableFile(f"it is {what}")
    if content.startswith(b"PAR1"):
        return "parquet"
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    form = _EXTENSIONS.get(extension)
    if form == "parquet":
        raise UnreadableFile("it is named .parquet and is not Parquet")
    if b"\0" in content[:65_536]:
        raise UnreadableFile("it is binary, not text; upload JSONL, CSV, Parquet, Markdown or plain text")
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if form in ("json", "jsonl", None):
        if start == b"[" and content.rstrip().endswith(b"]"):
            return "json"
        if start in (b"[", b"{"):
            return "json" if form == "json" and _is_spread(content) else "jsonl"
    if form is None:
        raise UnreadableFile("its kind is unknown; name it .jsonl, .csv, .parquet, .md or .txt")
    return form


def _is_spread(content: bytes) -> bool:
    """One object laid out over several lines, rather than an object a line."""
    return not content.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")[0].rstrip().endswith(b"}")


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise UnreadableFile(f"byte {err.start + 1} (line {line}) is not UTF-8 text; save it as UTF-8") from err


def _jsonl(content: bytes) -> Iterator[RawRow]:
    # On b"\n" only: U+2028 and its like are legal inside a JSON string.
    for number, line in enumerate(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf").rstrip()), 1):
        try:
            yield RawRow(number, _json_row(line))
        except RowRefused as refused:
            yield RawRow(number, {}, str(refused))


def _json_row(line: bytes) -> dict[str, Any]:
    if not line.strip():
        raise RowRefused("the row is empty")
    if len(line) > 8 * MAX_ROW_CHARS:  # what escapes could blow it up to; not parsed at all
        raise RowRefused(f"the row has {len(line):,} bytes; the limit is {MAX_ROW_CHARS:,} characters")
    try:
        text = line.decode()
    except UnicodeDecodeError as err:
        raise RowRefused(f"byte {err.start + 1} of the row is not UTF-8 text; save the file as UTF-8") from err
    return _object(json_value(text.strip()))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowRefused(f"the row is {named(value)}, not an object with named values")
    for key in value:
        clean(key, "a column name")
    return value


def _json(content: bytes) -> Iterator[RawRow]:
    try:
        value = json_value(_decode(content))
    except RowRefused as refused:
        raise UnreadableFile(str(refused)) from refused
    rows = value if isinstance(value, list) else [value]
    for number, value in enumerate(rows, 1):
        try:
            yield RawRow(number, _object(value))
        except RowRefused as refused:
            yield RawRow(number, {}, str(refused))


def _csv(content: bytes) -> tuple[list[str], Iterator[RawRow]]:
    csv.field_size_limit(2**31 - 1)  # an over-long cell is a row's problem, not the file's
    # Undecodable bytes travel as surrogates, so that only their row is refused.
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape", newline="")
    head = text.readline()
    text.seek(0)
    delimiter = max(",;\t", key=head.count)
    cells = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(cells, [])]
    except csv.Error as err:
        raise UnreadableFile(f"its header line cannot be read: {err}") from err
    _require_columns(columns)
    return columns, _csv_rows(cells, columns)


def _csv_rows(cells: Iterator[list[str]], columns: list[str]) -> Iterator[RawRow]:
    number, blank = 0, 0
    while True:
        number += 1
        try:
            row = next(cells, None)
        except csv.Error as err:
            raise UnreadableFile(f"row {number} cannot be read as CSV: {err}; check its quotes") from err
        if row is None:
            return
        if not row:
            blank += 1
            continue
        for back in range(blank, 0, -1):  # blank lines count as rows unless they only end the file
            yield RawRow(number - back, {}, "the row is empty")
        blank = 0
        if len(row) != len(columns):
            yield RawRow(number, {}, f"the row has {len(row)} cells, the header names {len(columns)}")
        else:
            yield RawRow(number, dict(zip(columns, row, strict=True)))


def _require_columns(columns: list[str]) -> None:
    try:
        for name in columns:
            clean(name, "a column name")
    except RowRefused as refused:
        raise UnreadableFile(str(refused)) from refused
    if len(columns) > MAX_COLUMNS:
        raise UnreadableFile(f"it has {len(columns)} columns; the limit is {MAX_COLUMNS}")
    if twice := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        raise UnreadableFile(f"its header names {twice[0]!r} twice")
    if (problem := missing_column(columns)) is not None:
        raise UnreadableFile(problem)


def _markdown(content: bytes) -> Iterator[RawRow]:
    """A section a row, its heading with it. A heading with nothing below joins the next section."""
    section: list[str] = []
    fence = ""
    number = 0

    def has_body() -> bool:
        return any(line.strip() and not _HEADING.match(line) for line in section)

    for line in _decode(content).split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence and _HEADING.match(line) and has_body():
            number += 1
            yield RawRow(number, {"text": "\n".join(section).strip()})
            section = []
        section.append(line)
    if text := "\n".join(section).strip():
        yield RawRow(number + 1, {"text": text})


def _paragraphs(content: bytes) -> Iterator[RawRow]:
    parts = (part.strip() for part in _BLANK_LINES.split(_decode(content)))
    for number, part in enumerate(filter(None, parts), 1):
        yield RawRow(number, {"text": part})
