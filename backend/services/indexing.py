"""Follow the chain into the mirror.

The mirror is for lists and pages. No decision is ever taken from it: services ask `AccessRegistry`.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from backend.domain.errors import ChainUnavailable
from backend.domain.finality import Standing
from backend.domain.types import BlockRef
from backend.ports import ChainEvent, ChainEvents, ChainMirror, VersionStore

PATIENCE_STEPS = 120  # with a node whose head rests below what was indexed
AFTER_PUBLICATION = ("published", "indexed")

log = logging.getLogger(__name__)


class Moved(Exception):
    """The chain changed while it was read: read on from a block that is still there."""


@dataclass(slots=True)
class ChainIndexing:
    """Polls by block hash. A restart of the node and a reorganisation look the same from here: a
    block we indexed is no longer there, so we go back to one that is."""

    events: ChainEvents
    mirror: ChainMirror
    versions: VersionStore
    _noted: bool = False  # whether the versions' states follow from the mirror as it is now
    _same_chain: bool = False  # whether the chain was found to be the mirror's, by this process
    _lag: tuple[BlockRef, int] | None = None  # a head below the mirror's tip, and how often it was seen in a row

    async def step(self) -> int:
        """Bring the mirror to the chain's head. Returns the number of events added.
        Raises: ChainUnavailable, also for a node that lags; DatabaseUnavailable. Nothing is half-stored."""
        standing = await self.mirror.standing()
        tip = await self._back_to_canonical(standing)
        self._noted = self._noted and tip == standing.tip
        head, added = await self.events.head(), 0
        if tip is None or head.number > tip.number:
            finality = await self.events.finality()
            try:
                async for events, boundary in self._read(tip, head.number):
                    await self.mirror.append(events, boundary, finality)
                    self._noted = self._noted and not events
                    added += len(events)
            except Moved:
                return added  # the next step walks back
        if not self._noted:
            await self._note_published()
            self._noted = True
        return added

    async def reindex(self, said: Callable[[BlockRef, int], None] = lambda block, events: None) -> int:
        """Read the chain again from block 0 into the same tables, at once for who reads them. `said` hears how far
        it is: a block, and the events so far. Returns the number of events, and clears the mirror's problem.

        Raises: ChainUnavailable, also when the chain is reorganised meanwhile; DatabaseUnavailable. All stays as
        it was then."""
        return await self._rebuild(None, said)

    async def _rebuild(self, problem: str | None, said: Callable[[BlockRef, int], None]) -> int:
        head, finality = await self.events.head(), await self.events.finality()
        earlier = await self.mirror.blocks_before(head.number + 1, limit=1_000)
        # Steps end where they ended before, as far as it is not final: so the way back stays as long as it was.
        ends = [block.number for block in earlier if block.number >= finality.block.number]
        added = 0

        async def history() -> AsyncIterator[tuple[Sequence[ChainEvent], BlockRef]]:
            nonlocal added
            async for events, boundary in self._read(None, head.number, ends):
                yield events, boundary
                added += len(events)
                said(boundary, added)

        try:
            await self.mirror.rebuild(history(), finality, problem)
        except Moved as moved:
            raise ChainUnavailable("it was reorganised while it was read from block 0") from moved
        return added

    async def _read(
        self, tip: BlockRef | None, last: int, ends: Sequence[int] = ()
    ) -> AsyncIterator[tuple[list[ChainEvent], BlockRef]]:
        """Events and boundary of one range after another, from above `tip` to `last`; ranges end at `ends` too.
        Raises: Moved."""
        while (first := tip.number + 1 if tip else 0) <= last:
            end = min(last, first + self.events.blocks_at_once - 1, *(n for n in ends if n >= first))
            boundary = await self.events.block(end)
            if boundary is None:
                raise Moved
            events = await self.events.events(first, end)
            if not await self._unchanged(boundary, tip, [event.block for event in events]):
                raise Moved
            yield events, boundary
            tip = boundary

    # --- walking back -------------------------------------------------------------------------

    async def _back_to_canonical(self, standing: Standing) -> BlockRef | None:
        """The highest block that both the mirror and the chain have, the mirror rewound to it; None for none.
        Raises: ChainUnavailable when the node only lags."""
        tip = standing.tip
        if tip is None:
            return None
        if not self._same_chain and await self._is_another_chain(standing):
            await self._start_again()
            return None
        self._same_chain = True
        now = await self.events.block(tip.number)
        if now is not None and now.hash == tip.hash:
            self._lag = None
            return tip
        if now is None:
            await self._refuse_lag(standing, tip)
        self._lag = None
        final = standing.finality.block if standing.finality else None
        if final is not None and not await self._is_canonical(final):
            return await self._found_again(standing, final)
        found = await self._highest_canonical(tip, final)
        if found is None:
            await self._start_again()
            return None
        log.warning("the chain reorganised: rewinding from block %d to %d", tip.number, found.number)
        await self.mirror.rewind(found)
        return found

    async def _highest_canonical(self, tip: BlockRef, final: BlockRef | None) -> BlockRef | None:
        before = tip.number
        while earlier := await self.mirror.blocks_before(before, limit=64):
            for candidate in earlier:
                if final is not None and candidate.number <= final.number:
                    return final
                if await self._is_canonical(candidate):
                    return candidate
            before = earlier[-1].number
        return final

    async def _refuse_lag(self, standing: Standing, tip: BlockRef) -> None:
        """Behind one address there may be several nodes, some of which lag. A shorter chain that is ours as far as
        it goes is waited for, unless its head rests: then the chain was set back.

        Raises: ChainUnavailable."""
        head = await self.events.head()
        if head.number < tip.number:
            indexed = await self.mirror.blocks_before(head.number + 1, limit=1)
            if not (await self._is_canonical(indexed[0]) if indexed else not await self._is_another_chain(standing)):
                return  # another branch
            times = self._lag[1] + 1 if self._lag and self._lag[0] == head else 1
            self._lag = head, times
            if times >= PATIENCE_STEPS:
                return
        raise ChainUnavailable(
            f"the node's newest block is {head.number}, and block {tip.number} was indexed before: it is behind"
        )

    async def _is_another_chain(self, standing: Standing) -> bool:
        return standing.finality is not None and (await self.events.finality()).chain != standing.finality.chain

    async def _start_again(self) -> None:
        log.warning("the chain is not the one indexed before: starting again from block 0")
        await self.mirror.rewind(None)

    async def _found_again(self, standing: Standing, final: BlockRef) -> BlockRef | None:
        """A final block is gone: on another chain that is how it is, on the same one nothing can be relied on but
        the chain as it is now."""
        if await self._is_another_chain(standing):
            await self._start_again()
            return None
        problem = (
            f"the chain replaced block {final.number}, which it had called final ({final.hash}); what is shown was "
            "read again from block 0. See to the node behind RPC_URL, then run `byline reindex`"
        )
        log.error("%s", problem)
        await self._rebuild(problem, lambda block, events: None)
        return await self.mirror.tip()

    async def _is_canonical(self, block: BlockRef) -> bool:
        now = await self.events.block(block.number)
        return now is not None and now.hash == block.hash

    async def _unchanged(self, boundary: BlockRef, tip: BlockRef | None, seen: Sequence[BlockRef]) -> bool:
        """Whether the chain we just read is one chain: both ends still stand as we read them."""
        if any(block.number == boundary.number and block.hash != boundary.hash for block in seen):
            return False
        return await self._is_canonical(boundary) and (tip is None or await self._is_canonical(tip))

    async def _note_published(self) -> None:
        """A prepared version whose transaction the chain shows is published; one whose transaction the chain
        shows no more is prepared again, and the version before it has to be indexed anew. Idempotent.

        Its transaction is that of who prepared it. Digests are public: after a reorganisation, or on another chain
        behind the same database, a stranger can own a datanet of that number and publish the digest as theirs.
        """
        prepared_here = await self.versions.datanets()
        for datanet in [row for row in await self.mirror.datanets() if row.datanet in prepared_here]:
            rows = await self.versions.versions_of(datanet.datanet)
            current = next(
                (r for r in rows if r.manifest_digest == datanet.manifest_digest and r.owner == datanet.publisher), None
            )
            lost = [
                row
                for row in rows
                if row.version >= max(datanet.version, 1) and row is not current and row.status in AFTER_PUBLICATION
            ]
            again = ("prepared", "stale", "indexed") if lost else ("prepared", "stale")
            if current is not None and current.status in again:  # first: a crash in between leaves `lost` to find
                await self.versions.set_status(current.manifest_digest, "published")
            for row in lost:
                await self.versions.set_status(row.manifest_digest, "prepared")
