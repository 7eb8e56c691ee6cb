"""`TableReader`: Parquet through pyarrow, and the twin over JSON."""

import io
import json
import resource
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.domain.errors import TooLarge, UnreadableFile
from backend.drivers.memory.content import MemoryTables
from backend.drivers.tables import ParquetTables
from backend.ports import TableReader


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def twin(rows: list[dict[str, Any]]) -> bytes:
    return b"PAR1" + json.dumps(rows).encode()


@pytest.fixture(params=["memory", "parquet"])
def case(request: pytest.FixtureRequest) -> tuple[TableReader, Any]:
    return (MemoryTables(), twin) if request.param == "memory" else (ParquetTables(), parquet)


def test_columns_and_rows_come_back_as_python_values(case: tuple[TableReader, Any]) -> None:
    reader, write = case
    rows = [{"text": "a", "n": 1, "list": ["x"]}, {"text": None, "n": 2, "list": []}]
    assert reader.read(write(rows), max_rows=2, max_bytes=10**6) == (["text", "n", "list"], rows)


def test_junk_is_unreadable(case: tuple[TableReader, Any]) -> None:
    for junk in (b"PAR1", b"PAR1 junk PAR1", b"PAR1" + bytes(100)):
        with pytest.raises(UnreadableFile) as refused:
            case[0].read(junk, max_rows=9, max_bytes=10**6)
        assert str(refused.value).count("file:") == 1


def test_every_cut_of_a_table_is_unreadable_not_shorter(case: tuple[TableReader, Any]) -> None:
    reader, write = case
    whole = write([{"text": f"row {i}"} for i in range(20)])
    for end in range(4, len(whole) - 1, 37):
        with pytest.raises(UnreadableFile):
            reader.read(whole[:end], max_rows=99, max_bytes=10**6)


@pytest.mark.parametrize("kept", ["as a dictionary", "as text"])
def test_a_small_file_that_unpacks_to_gigabytes_is_too_large(kept: str) -> None:
    said = pa.DictionaryArray.from_arrays(pa.array([0] * 40_000, pa.int32()), pa.array(["x" * 100_000]))
    out = io.BytesIO()
    with pq.ParquetWriter(out, pa.schema([("text", said.type if kept == "as a dictionary" else pa.string())])) as file:
        for at in range(0, len(said), 400):
            part = said[at : at + 400]
            file.write_table(pa.table({"text": part if kept == "as a dictionary" else part.dictionary_decode()}))
    assert len(out.getvalue()) < 4_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge, match="split it"):
        ParquetTables().read(out.getvalue(), max_rows=10**6, max_bytes=10**6)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_too_many_rows_and_too_many_bytes_are_too_large(case: tuple[TableReader, Any]) -> None:
    reader, write = case
    table = write([{"text": "x" * 1000}] * 10)
    with pytest.raises(TooLarge):
        reader.read(table, max_rows=9, max_bytes=10**6)
    with pytest.raises(TooLarge):
        reader.read(table, max_rows=10, max_bytes=5_000)
