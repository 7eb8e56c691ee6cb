"""`TableReader` for Parquet. The only file that imports pyarrow.

Parquet is a compressed format whose own account of its size cannot be believed: a file of a quarter of a megabyte may
unpack to gigabytes in one batch. So it is read in a process of its own, whose memory is bounded: what a stranger
uploads may end that one, never the one that serves everybody.
"""

import io
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from backend.domain.errors import TooLarge, UnreadableFile

_ROOT = Path(__file__).parents[2]
_BATCH_ROWS = 256
_PYTHON_FACTOR = 4  # Python's values take more room than Arrow's
_SPARE_BYTES = 2**29
_SECONDS = 300
_LIMITS = struct.Struct("<qq")


class ParquetTables:
    def read(self, content: bytes, *, max_rows: int, max_bytes: int) -> tuple[list[str], list[dict[str, Any]]]:
        command = [sys.executable, "-m", "backend.drivers.tables"]
        asked = _LIMITS.pack(max_rows, max_bytes) + content
        try:
            done = subprocess.run(command, input=asked, capture_output=True, cwd=_ROOT, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as err:
            raise TooLarge(f"the table could not be read in {_SECONDS} s; split it") from err
        if done.returncode != 0:
            raise _too_large(max_bytes)  # its memory ran out where nobody could catch it
        columns, rows, refusal = pickle.loads(done.stdout)  # noqa: S301 - our own child wrote it, plain values only
        if refusal is not None:
            kind, problem = refusal
            raise kind(problem)
        return columns, rows


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the table is over {max_bytes // 2**20} MiB once unpacked; split it")


def _read(content: bytes, max_rows: int, max_bytes: int) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve more than they use
    _bound_memory(_PYTHON_FACTOR * max_bytes + _SPARE_BYTES)
    rows: list[dict[str, Any]] = []
    unpacked = 0
    try:
        with pq.ParquetFile(io.BytesIO(content)) as file:
            columns = [str(name) for name in file.schema_arrow.names]
            if file.metadata.num_rows > max_rows:
                raise TooLarge(f"the table has {file.metadata.num_rows:,} rows; the limit is {max_rows:,}")
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                plain = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
                unpacked += sum(column.nbytes for column in plain)
                if unpacked > max_bytes:
                    raise _too_large(max_bytes)
                rows += pa.RecordBatch.from_arrays(plain, names=columns).to_pylist()
    except (MemoryError, pa.ArrowMemoryError):
        raise _too_large(max_bytes) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as err:
        said = str(err).splitlines()[0][:160] if str(err) else type(err).__name__
        raise UnreadableFile(f"it is not readable Parquet ({said})") from err
    return columns, rows


def _bound_memory(more: int) -> None:
    """From here on this process may take `more` bytes and no more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _main() -> None:
    max_rows, max_bytes = _LIMITS.unpack(sys.stdin.buffer.read(_LIMITS.size))
    columns, rows = list[str](), list[dict[str, Any]]()
    refusal: tuple[type[Exception], str] | None = None
    try:
        columns, rows = _read(sys.stdin.buffer.read(), max_rows, max_bytes)
    except TooLarge as err:
        refusal = TooLarge, str(err)
    except UnreadableFile as err:  # not as it is: an error that makes its own words makes them twice when unpickled
        refusal = UnreadableFile, err.problem
    pickle.dump((columns, rows, refusal), sys.stdout.buffer)


if __name__ == "__main__":
    _main()
