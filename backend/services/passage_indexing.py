"""Take published versions into the passage index."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.domain.datanet import Passage, Record
from backend.domain.errors import AccessDenied, BylineError, ContentCorrupt, DatabaseUnavailable, NotFound
from backend.domain.types import DatanetId, Purpose
from backend.ports import AccessRegistry, Embedder, PassageIndex, VersionRow, VersionStore
from backend.services.fetching import Fetching

log = logging.getLogger(__name__)


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
