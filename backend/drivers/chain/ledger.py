"""`ReceiptLedger` over the contract of that name."""

from backend.domain.answers import Checkpoint
from backend.domain.types import Digest, Wallet
from backend.drivers.chain.abi import number_topic, wallet_topic
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.logs import read_events
from backend.drivers.chain.transactions import mined_transaction
from backend.ports import MinedTransaction

LEDGER = "ReceiptLedger"


class ContractReceiptLedger:
    """`ReceiptLedger` as the contract of that name has it, for one publisher."""

    def __init__(self, chain: ChainConnection, publisher: Wallet) -> None:
        self._chain = chain
        self._publisher = publisher

    async def checkpoint(self) -> Checkpoint:
        block, (size, root) = await self._chain.call_at_head(LEDGER, "checkpointOf", self._publisher)
        anchored = await self._anchored(size, block.number) if size else None
        return Checkpoint(size, root, *(anchored or (None, None)))

    async def anchoring_of(self, receipt: Digest, size: int) -> MinedTransaction | None:
        """`receipt` is not looked at: a receipt without credits leaves no event of its own."""
        last = await self._chain.newest_block()
        anchored = await self._anchored(size, last.number)
        return await mined_transaction(self._chain, anchored[0]) if anchored else None

    async def _anchored(self, size: int, last: int) -> tuple[Digest, int] | None:
        topic = self._chain.artifacts[LEDGER].topic("CheckpointAnchored")
        topics = [topic, wallet_topic(self._publisher), number_topic(size)]
        events = await read_events(self._chain, 0, last, [LEDGER], topics)
        return (events[-1].tx_hash, events[-1].block.number) if events else None
