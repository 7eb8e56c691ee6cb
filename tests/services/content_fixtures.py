"""Publishing and Fetching on twins, as test_publishing and test_fetching both need them."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.domain.types import DatanetId, PublishedVersion, Wallet
from backend.drivers.content_crypto import StreamCipher
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.content import MemoryContentStore, MemoryTables
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import VersionRow
from backend.services.fetching import Fetching
from backend.services.publishing import Publishing

OWNER = Wallet("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf")
ALICE = Wallet("0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF")
BOB = Wallet("0x6813Eb9362372EEF6200f3b1dbC3f819671cBA69")
REGISTRY = Wallet("0x1efF47bc3a10a45D4B230B5d10E37751FE6AA718")
ROWS = [
    {"text": "Warfarin thins blood.", "contributor": BOB},
    {"text": "Aspirin does too.", "contributor": ALICE},
    {"text": "Vitamin K undoes warfarin.", "contributor": BOB},
]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass
class House:
    """`publish` does what the owner's wallet does with a prepared version."""

    chain: MemoryChain = field(default_factory=MemoryChain)
    versions: MemoryVersionStore = field(default_factory=MemoryVersionStore)
    content: MemoryContentStore = field(default_factory=MemoryContentStore)
    cipher: StreamCipher = field(default_factory=lambda: StreamCipher(b"k" * 32))
    time: datetime = datetime(2026, 3, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.datanet: DatanetId = self.chain.create_datanet(OWNER, "cardio")
        self.publishing = Publishing(
            self.chain, self.versions, self.content, self.cipher, MemoryTables(), 20931, REGISTRY, now=lambda: self.time
        )
        self.fetching = Fetching(self.versions, self.content, self.cipher, 20931, REGISTRY)

    def pass_time(self, by: timedelta) -> None:
        self.time += by

    async def draft(self, content: bytes | None = None, filename: str = "rows.jsonl") -> str:
        made, _ = await self.publishing.preview(OWNER, self.datanet, filename, content or jsonl(ROWS), None)
        return made.draft_id

    async def prepare(self, content: bytes | None = None) -> VersionRow:
        return await self.publishing.prepare(OWNER, await self.draft(content), "refuse")

    async def publish(self, row: VersionRow) -> PublishedVersion:
        self.chain.publish(row.datanet, row.manifest_digest, row.manifest.records_root, row.manifest_cid)
        await self.versions.set_status(row.manifest_digest, "published")  # what the indexer sees a moment later
        return await self.chain.current_version(row.datanet)
