"""`ChainMirror` in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from backend.domain.finality import Finality, Standing
from backend.domain.mirror import FoldedDatanet, above_tip, datanet_of, fold, storable
from backend.domain.types import BlockRef, DatanetId, Wallet
from backend.ports import ChainEvent, DatanetRow, GrantRow, RequestRow, VersionStore


class MemoryChainMirror:
    """Folds at every question, so there is nothing to keep in step. `versions` knows records and passages."""

    def __init__(self, versions: VersionStore) -> None:
        self._versions = versions
        self._blocks: dict[int, BlockRef] = {}
        self._events: list[ChainEvent] = []
        self._finality: Finality | None = None
        self._problem: str | None = None

    async def tip(self) -> BlockRef | None:
        return self._blocks[max(self._blocks)] if self._blocks else None

    async def blocks_before(self, number: int, limit: int) -> list[BlockRef]:
        return [self._blocks[n] for n in sorted(self._blocks, reverse=True) if n < number][:limit]

    async def standing(self) -> Standing:
        return Standing(await self.tip(), self._finality, self._problem)

    async def append(self, events: Sequence[ChainEvent], boundary: BlockRef, finality: Finality | None = None) -> None:
        """Raises: Conflict when this is not the branch indexed so far."""
        tip = await self.tip()
        fresh = above_tip(events, boundary, tip)
        if tip is not None and boundary.number <= tip.number:
            return
        self._events += [replace(event, args=storable(event.args)) for event in fresh]
        self._events.sort(key=_place)
        for block in (*(event.block for event in fresh), boundary):
            self._blocks[block.number] = block
        if finality is not None:
            self._finality = finality.up_to(boundary).after(self._finality)
            held = {event.block.number for event in self._events} | {boundary.number}
            final = self._finality.block.number
            self._blocks = {n: block for n, block in self._blocks.items() if n >= final or n in held}

    async def rewind(self, to: BlockRef | None) -> None:
        kept = {n: b for n, b in self._blocks.items() if to is not None and n <= to.number}
        if to is not None and kept.get(to.number, to).hash != to.hash:
            del kept[to.number]
        self._events = [event for event in self._events if event.block.number in kept]
        self._blocks = kept if to is None else {**kept, to.number: kept.get(to.number, to)}
        if to is None:
            self._finality = self._problem = None
        elif self._finality is not None:
            self._finality = self._finality.up_to(to)

    async def rebuild(
        self,
        history: AsyncIterator[tuple[Sequence[ChainEvent], BlockRef]],
        finality: Finality,
        problem: str | None = None,
    ) -> None:
        new = MemoryChainMirror(self._versions)
        async for events, boundary in history:
            await new.append(events, boundary, finality)
        self._blocks, self._events = new._blocks, new._events
        self._finality, self._problem = new._finality, problem

    async def datanets(self) -> list[DatanetRow]:
        """In the order of their ids."""
        return [await self._row(state) for state in self._folded()]

    async def datanet(self, datanet: DatanetId) -> DatanetRow | None:
        state = self._fold(datanet)
        return None if state is None else await self._row(state)

    async def grants_of(self, datanet: DatanetId) -> list[GrantRow]:
        """Expired ones too; oldest first."""
        state = self._fold(datanet)
        return [] if state is None else sorted(_grants(state), key=lambda g: (g.block_number, g.grantee))

    async def requests_of(self, datanet: DatanetId) -> list[RequestRow]:
        """Oldest first."""
        state = self._fold(datanet)
        return [] if state is None else sorted(_requests(state), key=lambda r: (r.block_number, r.requester))

    async def grants_to(self, wallet: Wallet) -> list[GrantRow]:
        """In the order of the datanets' ids."""
        return [grant for state in self._folded() for grant in _grants(state) if grant.grantee == wallet]

    async def events_named(self, name: str, limit: int = 1000, **args: Any) -> list[ChainEvent]:
        wanted = storable(args)
        found = [
            event
            for event in reversed(self._events)
            if event.name == name and all(key in event.args and event.args[key] == wanted[key] for key in wanted)
        ]
        return found[:limit]

    def _fold(self, datanet: DatanetId) -> FoldedDatanet | None:
        return fold(datanet, [event for event in self._events if datanet_of(event) == datanet])

    def _folded(self) -> list[FoldedDatanet]:
        numbers = sorted({n for n in map(datanet_of, self._events) if n is not None})
        return [state for state in map(self._fold, numbers) if state is not None]

    async def _row(self, state: FoldedDatanet) -> DatanetRow:
        current = None if state.manifest_digest is None else await self._versions.version(state.manifest_digest)
        return DatanetRow(
            datanet=state.datanet,
            owner=state.owner,
            name=state.name,
            version=state.version,
            manifest_digest=state.manifest_digest,
            publisher=state.publisher,
            public_purposes=state.public_purposes,
            terms_version=state.terms_version,
            terms=state.terms,
            licence_cid=state.licence_cid,
            frozen=state.frozen,
            offered_to=state.offered_to,
            managers=tuple(state.managers),
            created_at=datetime.fromtimestamp(state.created_at, UTC),
            block_number=state.block_number,
            records=0 if current is None else current.manifest.records,
            passages=0 if current is None else current.passages,
        )


def _place(event: ChainEvent) -> tuple[int, int]:
    return event.block.number, event.log_index


def _grants(state: FoldedDatanet) -> list[GrantRow]:
    return [
        GrantRow(
            datanet=state.datanet,
            grantee=held.wallet,
            purposes=held.purposes,
            expires_at=held.expires_at,
            granted_by=held.by,
            terms_version=held.terms_version,
            tx_hash=held.tx_hash,
            block_number=held.block_number,
        )
        for held in state.grants.values()
    ]


def _requests(state: FoldedDatanet) -> list[RequestRow]:
    return [
        RequestRow(
            datanet=state.datanet,
            requester=held.wallet,
            purposes=held.purposes,
            expires_at=held.expires_at,
            terms_version=held.terms_version,
            message=held.message,
            tx_hash=held.tx_hash,
            block_number=held.block_number,
        )
        for held in state.requests.values()
    ]
