"""An uploaded file → records and the problems of the rows that cannot be records.

A bad row never spoils the others: the owner sees each problem with its row number and decides
whether to keep the good ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from backend.domain.errors import InvalidValue, RowProblem, TooLarge, UnreadableFile
from backend.domain.record_body import RowRefused, body_of
from backend.domain.types import NO_WALLET, Wallet, parse_wallet
from backend.domain.upload_rows import MAX_ROWS, TableParser, read_rows

MAX_UPLOAD_BYTES = 256 * 2**20
# A version replaces the one before, so parts of one file are no versions of one datanet.
WHAT_TO_DO = "split it and publish each part as a datanet of its own, or raise MAX_UPLOAD_BYTES on the server"
CONTRIBUTOR_COLUMNS = ("contributor", "contributor_wallet")

__all__ = [
    "CONTRIBUTOR_COLUMNS",
    "MAX_ROWS",
    "MAX_UPLOAD_BYTES",
    "WHAT_TO_DO",
    "Upload",
    "UploadedRow",
    "preview_text",
    "read_upload",
    "refuse_oversized",
]


@dataclass(frozen=True, slots=True)
class UploadedRow:
    row: int  # 1-based, counting data rows
    body: dict[str, Any]
    contributor: Wallet


@dataclass(frozen=True, slots=True)
class Upload:
    filename: str
    file_format: str  # "jsonl", "json", "csv", "parquet", "markdown" or "text"
    format: str  # the kind of its bodies, as in Manifest: "alpaca", "messages" or "text"; "" without a good row
    columns: tuple[str, ...]
    records: tuple[UploadedRow, ...]
    rows_total: int
    problems: tuple[RowProblem, ...] = field(default=())

    def by_contributor(self) -> dict[Wallet, list[UploadedRow]]:
        """In order of first appearance."""
        groups: dict[Wallet, list[UploadedRow]] = {}
        for record in self.records:
            groups.setdefault(record.contributor, []).append(record)
        return groups


def refuse_oversized(size: int | None, limit: int = MAX_UPLOAD_BYTES) -> None:
    """For a caller that knows a size (Content-Length, a stat) before it reads. Raises: TooLarge."""
    if size is not None and size > limit:
        raise TooLarge(f"the file has {size:,} bytes, the limit is {limit:,}; {WHAT_TO_DO}")


def read_upload(
    filename: str,
    content: bytes,
    uploader: Wallet,
    contributor_column: str | None,
    *,
    read_table: TableParser,
    max_bytes: int = MAX_UPLOAD_BYTES,
) -> Upload:
    """Every row becomes a record or a problem.

    Args:
        contributor_column: holds each row's wallet. None: `contributor` or `contributor_wallet` when
            the file has such a column, else every row is the uploader's.
        read_table: takes Parquet apart, which needs a driver.
    Raises: TooLarge; UnreadableFile when the file as a whole cannot be read; InvalidValue when the
        named contributor column is not there.
    """
    refuse_oversized(len(content), max_bytes)
    file_format, columns, rows = read_rows(filename, content, read_table)
    if contributor_column is not None and contributor_column not in columns:
        shown = ", ".join(columns[:20]) or "none"
        raise InvalidValue(
            "contributor_column", f"there is no column {contributor_column[:60]!r}; the file has: {shown}"
        )
    column = contributor_column or next((name for name in CONTRIBUTOR_COLUMNS if name in columns), None)
    records: list[UploadedRow] = []
    problems: list[RowProblem] = []
    kind = ""
    for row in rows:
        try:
            if row.problem is not None:
                raise RowRefused(row.problem)
            found, body = body_of({key: value for key, value in row.values.items() if key != column})
            contributor = _contributor(row.values.get(column), column) if column else uploader
            if kind and found != kind:
                raise RowRefused(
                    f"the row is {found}, but the first good row of the file is {kind}; one file has one kind"
                )
        except RowRefused as refused:
            problems.append(RowProblem(row.number, str(refused)))
        else:
            kind = found
            records.append(UploadedRow(row.number, body, contributor))
    if not records and not problems:
        raise UnreadableFile("it has no rows")
    return Upload(filename, file_format, kind, tuple(columns), tuple(records), len(rows), tuple(problems))


def _contributor(value: object, column: str) -> Wallet:
    """Empty is refused: crediting the uploader for a forgotten wallet would be a silent theft."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowRefused(f"{column} is empty; every row needs its contributor's wallet")
    if not isinstance(value, str):
        raise RowRefused(f"{column} is not text")
    return _wallet(value.strip(), column)


@lru_cache(maxsize=4096)  # a checksum costs a Keccak hash, and a file names few wallets many times
def _wallet(text: str, column: str) -> Wallet:
    try:
        wallet = parse_wallet(text)
    except InvalidValue as err:
        raise RowRefused(f"{column}: {err.problem}") from err
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and text != wallet:
        raise RowRefused(f"{column}: {text} fails its EIP-55 checksum; a character is mistyped")
    if wallet == NO_WALLET:
        raise RowRefused(f"{column}: the zero address is nobody's wallet")
    return wallet


def preview_text(body: Mapping[str, Any], max_chars: int = 600) -> str:
    """A record as a person reads it, cut to `max_chars`."""
    if "messages" in body:
        text = "\n".join(f"{turn['role']}: {turn['content']}" for turn in body["messages"])
    elif "text" in body:
        text = body["text"]
    else:
        text = "\n".join(f"{name}: {body[name]}" for name in ("instruction", "input", "output") if body[name])
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
