"""Follow the chain into the mirror, and published versions into the passage index.

The mirror is for lists and pages. No decision is ever taken from it: services ask `AccessRegistry`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.domain.datanet import Passage, Record
from backend.domain.errors import AccessDenied, BylineError, ContentCorrupt, DatabaseUnavailable, NotFound
from backend.domain.types import BlockRef, DatanetId, Purpose
from backend.ports import (
    AccessRegistry,
    ChainEvents,
    ChainMirror,
    Embedder,
    PassageIndex,
    VersionRow,
    VersionStore,
)
from backend.services.fetching import Fetching

BLOCKS_PER_STEP = 2_000
AFTER_PUBLICATION = ("published", "indexed")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ChainIndexing:
    """Polls by block hash. A restart of the node and a reorganisation look the same from here: a
    block we indexed is no longer there, so we go back to one that is."""

    events: ChainEvents
    mirror: ChainMirror
    versions: VersionStore
    _noted: bool = False  # whether the versions' states follow from the mirror as it is now

    async def step(self) -> int:
        """Bring the mirror to the chain's head. Returns the number of events added.
        Raises: ChainUnavailable, DatabaseUnavailable; nothing is half-stored."""
        known = await self.mirror.tip()
        tip = await self._back_to_canonical(known)
        self._noted = self._noted and tip == known
        head = await self.events.head()
        added = 0
        while (first := tip.number + 1 if tip else 0) <= head.number:
            last = min(head.number, first + BLOCKS_PER_STEP - 1)
            boundary = await self.events.block(last)
            if boundary is None:
                return added  # the chain shrank while we looked: the next step walks back
            events = await self.events.events(first, last)
            if not await self._unchanged(boundary, tip, [e.block for e in events]):
                return added
            await self.mirror.append(events, boundary)
            self._noted = self._noted and not events
            tip, added = boundary, added + len(events)
        if not self._noted:
            await self._note_published()
            self._noted = True
        return added

    async def _back_to_canonical(self, tip: BlockRef | None) -> BlockRef | None:
        if tip is None or await self._is_canonical(tip):
            return tip
        before = tip.number
        while earlier := await self.mirror.blocks_before(before, limit=64):
            for candidate in earlier:
                if await self._is_canonical(candidate):
                    log.warning("the chain reorganised: rewinding from block %d to %d", tip.number, candidate.number)
                    await self.mirror.rewind(candidate)
                    return candidate
            before = earlier[-1].number
        log.warning("the chain is not the one indexed before: starting again from block 0")
        await self.mirror.rewind(None)
        return None

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
        for datanet in await self.mirror.datanets():
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


@dataclass(frozen=True, slots=True)
class PassageIndexing:
    """Makes a published version searchable: fetched, verified, cut, embedded, swapped in at once."""

    access: AccessRegistry
    versions: VersionStore
    fetching: Fetching
    embedder: Embedder
    index: PassageIndex
    cut: Callable[[Sequence[Record], DatanetId, int], list[Passage]]

    async def step(self) -> int:
        """Index every version that waits. Returns how many. Raises: the first error there was, after all had
        their turn: a version whose content is nowhere to be found waits, and holds up no other."""
        done, problem = 0, None
        for row in await self.versions.awaiting_index():
            try:
                done += await self._index(row)
            except BylineError as error:
                await self._note_waiting(row, error)
                problem = problem or error
        if problem is not None:
            raise problem
        return done

    async def _note_waiting(self, row: VersionRow, error: BylineError) -> None:
        """Where the owner looks. Steps come every second, so what is written there already is not written again;
        and a database that is down cannot be told."""
        waiting = f"waiting: {error}"
        if row.problem != waiting and not isinstance(error, DatabaseUnavailable):
            await self.versions.set_status(row.manifest_digest, row.status, problem=waiting)

    async def _index(self, row: VersionRow) -> int:
        try:
            current = await self.access.current_version(row.datanet)
        except NotFound:  # a reorganisation took the datanet back
            await self.versions.set_status(row.manifest_digest, "stale")
            return 0
        if current.manifest_digest != row.manifest_digest:
            await self.versions.set_status(row.manifest_digest, "stale")
            return 0
        permission = await self.access.may_use(current.owner, row.datanet, Purpose.RETRIEVE)
        if not permission.allowed:
            raise AccessDenied.to_datanet(current.owner, row.datanet, "retrieve", permission.block.number)
        try:
            records = await self.fetching.fetch(current)
        except (ContentCorrupt, NotFound) as error:
            log.error("datanet %d version %d cannot be indexed: %s", row.datanet, row.version, error)
            await self.versions.set_status(row.manifest_digest, "corrupt", problem=str(error))
            return 0
        passages = self.cut(records, row.datanet, row.version)
        vectors = await self.embedder.embed([p.text for p in passages])
        await self.index.replace(row.datanet, row.version, passages, vectors)
        await self.versions.set_status(row.manifest_digest, "indexed", len(passages))
        log.info("datanet %d version %d: %d passages indexed", row.datanet, row.version, len(passages))
        return 1
