"""Uploads: every accepted format, and what each kind of bad file or row is told."""

import io
import json
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain import upload_rows
from backend.domain.errors import InvalidValue, TooLarge, UnreadableFile
from backend.domain.json_text import is_too_deep
from backend.domain.types import Wallet
from backend.domain.uploads import MAX_UPLOAD_BYTES, Upload, preview_text, read_upload, refuse_oversized
from backend.drivers.memory.content import MemoryTables
from backend.drivers.tables import ParquetTables

UPLOADER = Wallet("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf")
ALICE = Wallet("0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF")
BOB = Wallet("0x6813Eb9362372EEF6200f3b1dbC3f819671cBA69")
ALPACA = {"instruction": "Name it", "input": "", "output": "Done"}
CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def read(filename: str, content: bytes | str, column: str | None = None) -> Upload:
    raw = content.encode() if isinstance(content, str) else content
    tables = ParquetTables()
    return read_upload(
        filename, raw, UPLOADER, column, read_table=lambda c: tables.read(c, max_rows=1000, max_bytes=10**7)
    )


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def problem_of(upload: Upload, row: int) -> str:
    return {p.row: p.problem for p in upload.problems}[row]


def parquet(columns: dict[str, list[Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


# --- formats


@pytest.mark.parametrize(
    ("row", "kind", "body"),
    [
        (ALPACA, "alpaca", ALPACA),
        ({"instruction": " a ", "output": "b"}, "alpaca", {"instruction": "a", "input": "", "output": "b"}),
        (CHAT, "messages", CHAT),
        ({"text": "plain"}, "text", {"text": "plain"}),
        (
            {"question": "q", "contexts": ["c1", "c2"], "answer": "a", "id": 7},
            "alpaca",
            {"instruction": "q", "input": "c1\n\nc2", "output": "a"},
        ),
        ({"question": "q", "context": "c", "answer": "a"}, "alpaca", {"instruction": "q", "input": "c", "output": "a"}),
        (
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
            "messages",
            CHAT,
        ),
    ],
)
def test_each_kind_of_row_becomes_its_body(row: dict[str, Any], kind: str, body: dict[str, Any]) -> None:
    for filename, content in (("a.jsonl", lines(row)), ("a.json", json.dumps([row])), ("a", lines(row))):
        upload = read(filename, content)
        assert (upload.format, upload.records[0].body, upload.problems) == (kind, body, ())


def test_a_json_array_is_read_whatever_it_is_named_and_however_it_is_laid_out() -> None:
    for name in ("a.json", "a.jsonl", "a"):
        for indent in (None, 2):
            assert len(read(name, json.dumps([ALPACA, ALPACA], indent=indent)).records) == 2


def test_one_object_over_several_lines_is_one_row() -> None:
    assert read("a.json", json.dumps(ALPACA, indent=2)).records[0].body == ALPACA


def test_jsonl_named_json_is_read_line_by_line() -> None:
    upload = read("a.json", lines(ALPACA) + "{broken\n")
    assert (len(upload.records), upload.problems[0].row) == (1, 2)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_with_its_own_delimiter_bom_and_quotes(delimiter: str) -> None:
    text = (
        delimiter.join(["instruction", "input", "output"])
        + "\r\n"
        + delimiter.join(['"a\nb"', "", '"c,;""d"""'])
        + "\r\n"
    )
    upload = read("a.csv", "\ufeff" + text)
    assert upload.records[0].body == {"instruction": "a\nb", "input": "", "output": 'c,;"d"'}


def test_a_csv_row_is_numbered_as_a_person_counts_it() -> None:
    upload = read("a.csv", 'text\n"two\nlines"\n\nfine\nto,o many\n\n\n')
    assert [r.row for r in upload.records] == [1, 3]
    assert problem_of(upload, 2) == "the row is empty"
    assert problem_of(upload, 4) == "the row has 2 cells, the header names 1"
    assert upload.rows_total == 4


def test_csv_cells_may_hold_json_lists() -> None:
    chat = json.dumps(CHAT["messages"]).replace('"', '""')
    assert read("a.csv", f'messages\n"{chat}"\n').records[0].body == CHAT
    contexts = read("a.csv", 'question,contexts,answer\nq,"[""c1"",""c2""]",a\nq,[1] is a footnote,a\n')
    assert [r.body["input"] for r in contexts.records] == ["c1\n\nc2", "[1] is a footnote"]


def test_parquet_with_nested_values_is_read() -> None:
    upload = read("a.parquet", parquet({"question": ["q"], "contexts": [["c1", "c2"]], "answer": ["a"]}))
    assert upload.records[0].body == {"instruction": "q", "input": "c1\n\nc2", "output": "a"}
    assert read("misnamed.bin", parquet({"messages": [CHAT["messages"]]})).format == "messages"


def test_the_twin_of_the_table_reader_reads_as_the_driver_does() -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    driver = ParquetTables().read(parquet({"text": ["a", "b"]}), max_rows=9, max_bytes=10**6)
    assert MemoryTables().read(b"PAR1" + json.dumps(rows).encode(), max_rows=9, max_bytes=10**6) == driver


def test_markdown_sections_become_rows_with_their_headings() -> None:
    text = "preamble\n\n# Title\n\n## Part one\nbody one\n```\n# no heading\n```\n## Part two\nbody two\n"
    assert [r.body["text"] for r in read("a.md", text).records] == [
        "preamble",
        "# Title\n\n## Part one\nbody one\n```\n# no heading\n```",
        "## Part two\nbody two",
    ]


def test_paragraphs_of_a_plain_text_become_rows() -> None:
    upload = read("a.txt", "\none\r\nstill one\r\n\r\n \r\ntwo\n\n\n")
    assert [r.body["text"] for r in upload.records] == ["one\nstill one", "two"]


# --- contributors


def test_without_a_column_every_row_is_the_uploaders() -> None:
    assert {r.contributor for r in read("a.jsonl", lines(ALPACA, ALPACA)).records} == {UPLOADER}


@pytest.mark.parametrize("column", ["contributor", "contributor_wallet", "who"])
def test_a_column_names_each_rows_contributor(column: str) -> None:
    rows = [{"text": "a", column: BOB}, {"text": "b", column: ALICE.lower()}, {"text": "c", column: BOB}]
    upload = read("a.jsonl", lines(*rows), column if column == "who" else None)
    assert {wallet: len(rows) for wallet, rows in upload.by_contributor().items()} == {BOB: 2, ALICE: 1}
    assert list(upload.by_contributor()) == [BOB, ALICE]
    assert column not in upload.records[0].body


def test_a_column_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(InvalidValue, match="no column 'who'; the file has: text") as refused:
        read("a.csv", "text\nx\n", "who")
    assert refused.value.field == "contributor_column"


@pytest.mark.parametrize(
    ("wallet", "problem"),
    [
        ("", "is empty"),
        (None, "is empty"),
        (7, "not text"),
        ("bob.eth", "40 hex digits"),
        (BOB[:-1], "40 hex digits"),
        (BOB.replace("Eb", "eB"), "checksum"),
        ("0x" + "0" * 40, "zero address"),
    ],
)
def test_a_bad_wallet_is_a_problem_and_never_credited_to_the_uploader(wallet: object, problem: str) -> None:
    upload = read("a.jsonl", lines({"text": "a", "contributor": BOB}, {"text": "b", "contributor": wallet}))
    assert problem in problem_of(upload, 2)
    assert [r.contributor for r in upload.records] == [BOB]


# --- bad rows


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{broken", "not JSON"),
        (b'{"text": "cut', "not JSON"),
        (b'"a string"', "the row is text, not an object"),
        (b"[1]", "the row is a list, not an object"),
        (b"", "the row is empty"),
        (b"{}", "the row is empty"),
        (b'{"text": ""}', "the row is empty"),
        (b'{"text": " ", "id": 1}', "text is empty"),
        (b'{"text": 5}', "text is a number, not text"),
        (b'{"text": ["a"]}', "text is a list, not text"),
        (b'{"text": true}', "text is true or false, not text"),
        (b'{"text": "a", "text": "b"}', "given twice"),
        (b'{"text": NaN}', "NaN is no JSON value"),
        (b'{"text": "a\\u0000b"}', "zero character"),
        (b'{"text": "\\ud800"}', "not UTF-8 text at character 1"),
        (b'{"text": "caf\xe9"}', "byte 14 of the row is not UTF-8"),
        (b'{"colour": "red"}', "no column messages"),
        (b'{"instruction": "a"}', "output is missing"),
        (b'{"question": "a", "context": "b"}', "answer is missing"),
        (b'{"instruction": "a", "output": 1}', "output is a number"),
        (b'{"instruction": "", "output": "b"}', "instruction is empty"),
        (b'{"question": "q", "contexts": ["a", 2], "answer": "b"}', "contexts 2 is a number"),
        (b'{"messages": []}', "messages is empty"),
        (b'{"messages": {"role": "user"}}', "messages is an object, not a list"),
        (b'{"messages": ["hi"]}', "messages 1 is text, not an object"),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "no assistant turn"),
        (b'{"messages": [{"role": "bot", "content": "hi"}]}', "none of system, user, assistant"),
        (b'{"messages": [{"role": "assistant", "content": null}]}', "messages 1: content is nothing"),
        (b'{"messages": [{"role": "assistant", "content": " "}]}', "content is empty"),
        (b'{"text": "' + b"x" * 200_001 + b'"}', "200,001 characters; the limit is 200,000"),
        (b'{"text": "' + b"\\u0041" * 300_000 + b'"}', "the limit is 200,000 characters"),
        (b'{"text": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"text": ' + b"1" * 5_000 + b"}", "not usable JSON"),
        (json.dumps(CHAT).encode(), "one file has one kind"),
    ],
)
def test_a_bad_row_is_named_and_the_good_ones_are_kept(line: bytes, problem: str) -> None:
    good = json.dumps({"text": "good"}).encode()
    upload = read("a.jsonl", good + b"\n" + line + b"\n" + good + b"\n")
    assert [p.row for p in upload.problems] == [2]
    assert problem in problem_of(upload, 2)
    assert [r.row for r in upload.records] == [1, 3]
    assert upload.rows_total == 3


def test_the_first_good_row_decides_the_kind_not_the_first_row() -> None:
    upload = read("a.jsonl", lines({"text": ""}, ALPACA, {"text": "x"}))
    assert (upload.format, [p.row for p in upload.problems]) == ("alpaca", [1, 3])


def test_a_csv_row_in_another_encoding_is_one_bad_row() -> None:
    upload = read("a.csv", b"text\ngood\n" + "caf\xe9\n".encode("latin-1"))
    assert "not UTF-8" in problem_of(upload, 2)
    assert len(upload.records) == 1


def test_a_file_without_a_good_row_has_problems_and_no_kind() -> None:
    upload = read("a.jsonl", "junk\n")
    assert (upload.format, upload.records, len(upload.problems)) == ("", (), 1)


# --- bad files


@pytest.mark.parametrize(
    ("filename", "content", "problem"),
    [
        ("a.jsonl", b"", "empty \\(0 bytes\\)"),
        ("a.csv", b"", "empty \\(0 bytes\\)"),
        ("a.txt", b" \n\n ", "no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.csv", b"text\n", "no rows"),
        ("a.jsonl", bytes(range(256)), "binary"),
        ("a.txt", b"\x7fELF\0\0", "binary"),
        ("a.csv", b"PK\x03\x04rest", "ZIP"),
        ("a.jsonl", b"\x1f\x8brest", "gzip"),
        ("a.txt", b"%PDF-1.7", "PDF"),
        ("a.csv", "text\nx".encode("utf-16"), "UTF-16"),
        ("a.txt", b"fine\nca\xe9f\xe9", "byte 8 \\(line 2\\) is not UTF-8"),
        ("a.exe", b"MZ text", "kind is unknown"),
        ("a.parquet", b"{}", "is not Parquet"),
        ("a.parquet", b"PAR1junkPAR1", "not readable Parquet"),
        ("a.json", b'[{"text": "a"},]', "not JSON"),
        ("a.json", b'[{"text": "a"}', "no rows|not JSON"),
        ("a.csv", b"text,text\na,b\n", "'text' twice"),
        ("a.csv", b"colour,size\nred,1\n", "no column messages.*has: colour, size"),
        ("a.csv", b"instruction,input\na,b\n", "output is missing"),
        ("a.csv", b'text\n"never closed\n', "row 1 cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(filename: str, content: bytes, problem: str) -> None:
    if filename == "a.json" and content == b'[{"text": "a"}':  # taken for lines: the one row is bad
        assert problem_of(read(filename, content), 1).startswith("not JSON")
        return
    with pytest.raises(UnreadableFile, match=problem):
        read(filename, content)


def test_parquet_without_a_usable_column_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="has: colour"):
        read("a.parquet", parquet({"colour": ["red"]}))


def test_a_parquet_file_that_unpacks_to_too_much_is_too_large() -> None:
    bomb = parquet({"text": ["x" * 100_000] * 900})
    assert len(bomb) < 10_000
    with pytest.raises(TooLarge, match="unpacked"):
        read("a.parquet", bomb)
    with pytest.raises(TooLarge, match="1,001 rows"):
        read("a.parquet", parquet({"text": ["x"] * 1001}))


def test_too_many_rows_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_rows, "MAX_ROWS", 3)
    assert len(read("a.jsonl", lines(*[ALPACA] * 3)).records) == 3
    for name, content in (("a.jsonl", lines(*[ALPACA] * 4)), ("a.csv", "text\n" + "x\n" * 4), ("a.txt", "x\n\n" * 4)):
        with pytest.raises(TooLarge, match="over 3 rows"):
            read(name, content)


def test_a_file_over_the_limit_is_refused_by_its_size_alone() -> None:
    refuse_oversized(MAX_UPLOAD_BYTES)
    refuse_oversized(None)
    with pytest.raises(TooLarge, match="268,435,456"):
        refuse_oversized(10**9)
    with pytest.raises(TooLarge):
        read_upload("a.txt", b"four", UPLOADER, None, read_table=lambda _: ([], []), max_bytes=3)


@given(
    content=st.binary(max_size=300) | st.text(max_size=200).map(str.encode),
    name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.md", "a.txt", "a.parquet", "a"]),
)
def test_no_content_whatever_gets_another_answer_than_these(content: bytes, name: str) -> None:
    try:
        upload = read(name, content)
    except (InvalidValue, TooLarge):
        return
    assert upload.rows_total == len(upload.records) + len(upload.problems)


def test_deep_nesting_is_refused_even_where_the_interpreter_would_crash() -> None:
    """py_ecc, which web3 imports, sets this limit; json.loads then overflows the C stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        deep = [b"[" * 100_000, b'{"a":' * 100_000, b'{"text": "]]]]", "x": ' + b'["]",' * 100_000]
        for line in deep:
            assert "nested too deeply" in problem_of(read("a.jsonl", b'{"text": "a"}\n' + line), 2)
        with pytest.raises(UnreadableFile, match="nested too deeply"):
            read("a.json", b"[" + deep[0] + b"]")
        brackets = {"text": "[{" * 1000 + '\\"'}
        assert read("a.jsonl", lines(brackets)).problems == ()
    finally:
        sys.setrecursionlimit(before)


def test_an_unended_string_of_quotes_is_scanned_in_one_pass() -> None:
    assert not is_too_deep("[" * 60 + "{}" * 5 + '"' + '\\"' * 2_000_000)


# --- preview


def test_a_preview_reads_as_text_and_is_cut() -> None:
    assert preview_text(ALPACA) == "instruction: Name it\noutput: Done"
    assert preview_text(CHAT) == "user: hi\nassistant: hello"
    assert preview_text({"text": "x" * 50}, 10) == "x" * 9 + "…"
