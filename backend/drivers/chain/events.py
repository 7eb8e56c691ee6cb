"""`ChainEvents`: blocks and decoded logs, for the indexer."""

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable
from backend.domain.finality import Finality
from backend.domain.types import BlockRef, digest_of
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.logs import TAIL_BLOCKS, read_events
from backend.ports import ChainEvent


class Web3ChainEvents:
    """`ChainEvents` by polling. Subscriptions would only be a wake-up: nodes differ in what they push."""

    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain

    @property
    def blocks_at_once(self) -> int:
        return self._chain.log_span.blocks + TAIL_BLOCKS

    async def head(self) -> BlockRef:
        return await self._chain.newest_block()

    async def block(self, number: int) -> BlockRef | None:
        return await self._chain.block(number)

    async def finality(self) -> Finality:
        first = await self._chain.block(0)
        if first is None:
            raise ChainUnavailable(f"{self._chain.host} has no block 0")
        addresses = [self._chain.contracts.of(name) for name in CONTRACTS]
        chain = digest_of(keccak(text=" ".join([str(self._chain.chain_id), first.hash, *addresses])))
        return Finality(chain, await self._chain.finalized())

    async def events(self, first: int, last: int) -> list[ChainEvent]:
        return await read_events(self._chain, first, last)
