"""What the embedded chain keeps on disk: one state, and the blocks mined since, each synced before it is mined."""

import gzip
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

log = logging.getLogger("byline.chain")


@dataclass(frozen=True, slots=True)
class BlockLine:
    """One block, as the journal has it. `parent` lets a replay notice that it went astray."""

    number: int
    parent: str
    timestamp: int
    raw: tuple[str, ...]


class Journal:
    """`state.bin` (one JSON line, then the gzipped state) and `journal.jsonl` (one line a block since)."""

    def __init__(self, home: Path) -> None:
        self._state = home / "state.bin"
        self._lines = home / "journal.jsonl"
        self._file: BinaryIO | None = None

    def load(self) -> tuple[dict[str, Any], bytes] | None:
        """({"number", "genesis", "pool"}, state JSON), or None on the very first start."""
        if not self._state.exists():
            return None
        header, _, packed = self._state.read_bytes().partition(b"\n")
        return json.loads(header), gzip.decompress(packed)

    def blocks_after(self, number: int) -> list[BlockLine]:
        """The journal's whole lines above `number`. A torn last line is cut off: it was never acknowledged."""
        content = self._lines.read_bytes() if self._lines.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            log.warning("cut %d bytes of a torn line off the journal", len(content) - len(whole))
            os.truncate(self._lines, len(whole))
        lines = [json.loads(line) for line in whole.splitlines()]
        blocks = [BlockLine(e["number"], e["parent"], e["timestamp"], tuple(e["raw"])) for e in lines]
        return [block for block in blocks if block.number > number]

    def open(self) -> None:
        self._file = self._lines.open("ab")
        sync_directory(self._lines.parent)

    def append(self, block: BlockLine) -> None:
        """Returns once the line is on the disk."""
        if self._file is None:
            raise ValueError("the journal is not open")
        line = {"number": block.number, "parent": block.parent, "timestamp": block.timestamp, "raw": block.raw}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def replace(self, header: dict[str, Any], packed: bytes) -> None:
        """Make the state the new beginning, atomically. Lines it covers are skipped if the truncation is lost."""
        fresh = self._state.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n" + packed)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._state)
        sync_directory(self._state.parent)
        if self._file is not None:
            self._file.truncate(0)
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
