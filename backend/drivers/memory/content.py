"""Twins of what touches content: a store in a dict, and tables that are JSON."""

import json
from typing import Any, BinaryIO

from aleph_cid import CidHasher

from backend.domain.errors import ContentCorrupt, ContentUnavailable, InvalidValue, TooLarge, UnreadableFile


class MemoryContentStore:
    """`ContentStore` with knobs. `down` refuses every call; CIDs in `missing` are nowhere to be found;
    those in `corrupt` come back damaged (and are noticed); `fail_after_puts` goes down after so many."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.pinned: set[str] = set()
        self.down = False
        self.missing: set[str] = set()
        self.corrupt: set[str] = set()
        self.fail_after_puts: int | None = None
        self.gets: list[str] = []

    async def put(self, content: BinaryIO) -> str:
        if self.fail_after_puts is not None:
            self.down = self.down or self.fail_after_puts == 0
            self.fail_after_puts -= 1
        self._answer("adding content")
        data = content.read()
        cid = _cid(CidHasher.for_ipfs_v1_raw_leaves(), data)
        self.objects[cid] = data
        self.pinned.add(cid)
        return cid

    async def get(self, cid: str, *, max_bytes: int) -> bytes:
        try:
            hasher = CidHasher.for_expected(cid)
        except ValueError as err:
            raise InvalidValue("cid", f"{cid[:80]!r} is not a CID of a file") from err
        self._answer(f"reading {cid}")
        self.gets.append(cid)
        if cid not in self.objects or cid in self.missing:
            raise ContentUnavailable(f"reading {cid}: the node does not have this content and found it nowhere")
        data = self.objects[cid]
        if len(data) > max_bytes:
            raise TooLarge(f"content {cid} is over {max_bytes} bytes; it was not taken in")
        if cid in self.corrupt:
            data = data[:-1]
        if _cid(hasher, data) != cid:
            raise ContentCorrupt(f"what came back for {cid} has another CID")
        return data

    async def unpin(self, cid: str) -> None:
        self._answer(f"unpinning {cid}")
        self.pinned.discard(cid)

    def _answer(self, doing: str) -> None:
        if self.down:
            raise ContentUnavailable(f"{doing}: the IPFS node cannot be reached")


def _cid(hasher: CidHasher, data: bytes) -> str:
    hasher.update(data)
    return str(hasher.finalize())


class MemoryTables:
    """`TableReader` over JSON: PAR1 and a list of objects, where Parquet would be."""

    def read(self, content: bytes, *, max_rows: int, max_bytes: int) -> tuple[list[str], list[dict[str, Any]]]:
        if len(content) > max_bytes:
            raise TooLarge(f"the table is over {max_bytes} bytes once unpacked")
        try:
            rows = json.loads(content.removeprefix(b"PAR1"))
        except ValueError as err:
            raise UnreadableFile("it is not a readable Parquet file") from err
        if len(rows) > max_rows:
            raise TooLarge(f"the table has {len(rows):,} rows; the limit is {max_rows:,}")
        return list(dict.fromkeys(key for row in rows for key in row)), rows
