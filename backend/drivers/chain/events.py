"""`ChainEvents`: blocks and decoded logs, for the indexer."""

from backend.domain.types import BlockRef
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.logs import read_events
from backend.ports import ChainEvent


class Web3ChainEvents:
    """`ChainEvents` by polling. Subscriptions would only be a wake-up: nodes differ in what they push."""

    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain

    async def head(self) -> BlockRef:
        return await self._chain.newest_block()

    async def block(self, number: int) -> BlockRef | None:
        return await self._chain.block(number)

    async def events(self, first: int, last: int) -> list[ChainEvent]:
        return await read_events(self._chain, first, last)
