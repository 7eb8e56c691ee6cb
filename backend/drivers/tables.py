"""`TableReader` for Parquet. The only file that imports pyarrow."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backend.domain.errors import TooLarge, UnreadableFile

_BATCH_ROWS = 256  # what a dictionary-encoded file can unpack to before anyone counts it


class ParquetTables:
    def read(self, content: bytes, *, max_rows: int, max_bytes: int) -> tuple[list[str], list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        unpacked = 0
        try:
            with pq.ParquetFile(io.BytesIO(content)) as file:
                columns = [str(name) for name in file.schema_arrow.names]
                if file.metadata.num_rows > max_rows:
                    raise TooLarge(f"the table has {file.metadata.num_rows:,} rows; the limit is {max_rows:,}")
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                    unpacked += batch.nbytes
                    if unpacked > max_bytes:
                        raise TooLarge(f"the table is over {max_bytes // 2**20} MiB once unpacked; split it")
                    rows += batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError, OverflowError) as err:
            raise UnreadableFile(
                f"it is not readable Parquet ({str(err).splitlines()[0][:160] if str(err) else type(err).__name__})"
            ) from err
        return columns, rows
