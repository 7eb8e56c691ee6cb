"""From what somebody pastes into the explorer to where it is on the chain."""

import re
from dataclasses import dataclass
from typing import Any

from backend.domain.errors import InvalidValue
from backend.domain.types import Digest, parse_digest, parse_wallet
from backend.ports import ChainEvent, ChainExplorer, ContractCall

MOST_FOUND = 50
REGISTRY, MODELS = "DatanetRegistry", "ModelRegistry"


@dataclass(frozen=True, slots=True)
class Found:
    kind: str  # "block", "transaction", "address" or "datanet"
    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Searching:
    explorer: ChainExplorer

    async def search(self, text: str) -> list[Found]:
        """Where `text` leads; nothing when the chain does not have it. Raises: InvalidValue for what is neither a
        hash, an address, a number nor a datanet."""
        asked = text.strip()
        if number := re.fullmatch(r"(?i)(?:#|datanet\s*#?\s*)(\d{1,18})", asked):
            return await self._numbered(int(number[1]), blocks=False)
        if re.fullmatch(r"\d{1,18}", asked):
            return await self._numbered(int(asked), blocks=True)
        bare = asked.lower().removeprefix("0x")
        if re.fullmatch(r"[0-9a-f]{40}", bare):
            address = parse_wallet("0x" + bare)
            return [Found("address", address, f"Address {address}")]
        if re.fullmatch(r"[0-9a-f]{64}", bare):
            return await self._hashed(parse_digest("0x" + bare))
        raise InvalidValue("q", "is no hash (64 hex digits), address (40), block number or datanet (#3)")

    async def _numbered(self, number: int, *, blocks: bool) -> list[Found]:
        (datanet,) = await self.explorer.views([ContractCall(REGISTRY, "datanetOf", (number,))])
        found = [Found("datanet", str(number), f"Datanet {number}")] if datanet else []
        if blocks and number <= await self.explorer.head():
            found.insert(0, Found("block", str(number), f"Block {number}"))
        return found

    async def _hashed(self, digest: Digest) -> list[Found]:
        if await self.explorer.transaction(digest) is not None:
            return [Found("transaction", digest, f"Transaction {digest}")]
        if block := await self.explorer.block_named(digest):
            return [Found("block", str(block.number), f"Block {block.number}")]
        events = await self.explorer.events_naming(digest)
        if not events:  # not every digest is indexed
            every = [*await self.explorer.events_of(REGISTRY), *await self.explorer.events_of(MODELS)]
            events = [e for e in every if digest in e.args.values()]
        return [
            Found("transaction", e.tx_hash, f"{e.name} in block {e.block.number}: its {_named(e, digest)}")
            for e in {e.tx_hash: e for e in reversed(events)}.values()
        ][:MOST_FOUND]


def _named(event: ChainEvent, value: Any) -> str:
    name = next(name for name, held in event.args.items() if held == value)
    return re.sub(r"(?<!^)([A-Z])", r" \1", name).lower()
