"""What an auditor asks the chain itself, not Byline's mirror of it."""

from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.chain.abi import digest_topic
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.logs import read_events
from backend.ports import ChainEvent


class Web3AuditReader:
    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain

    async def credited(self, receipt: Digest) -> list[tuple[Wallet, int, int, Digest]]:
        """(contributor, datanet, share in bps, transaction) for each `Credited` of that receipt, in chain order."""
        topics = [self._chain.artifacts["ReceiptLedger"].topic("Credited"), None, None, digest_topic(receipt)]
        events = await read_events(self._chain, 0, await self._last(), ["ReceiptLedger"], topics)
        return [(e.args["contributor"], e.args["datanetId"], e.args["shareBps"], e.tx_hash) for e in events]

    async def version_on_chain(self, datanet: DatanetId, version: int) -> tuple[Digest, Digest, int] | None:
        """(manifest digest, records root, published at in Unix seconds), or None when never published."""
        _, (manifest, root, published_at) = await self._chain.call_at_head(
            "DatanetRegistry", "versionOf", datanet, version
        )
        return (manifest, root, published_at) if published_at else None

    async def model_by_adapter(self, adapter: Digest) -> list[ChainEvent]:
        """Each `ModelRegistered` of that adapter, in chain order."""
        topics = [self._chain.artifacts["ModelRegistry"].topic("ModelRegistered"), None, None, digest_topic(adapter)]
        return await read_events(self._chain, 0, await self._last(), ["ModelRegistry"], topics)

    async def block_hash_at(self, number: int) -> Digest | None:
        found = await self._chain.block(number)
        return found.hash if found else None

    async def _last(self) -> int:
        return (await self._chain.newest_block()).number
