"""`byline reindex`: the mirror's tables made anew from the chain."""

from collections.abc import Callable

from backend.domain.types import BlockRef
from backend.settings import Settings
from backend.system import open_system


async def reindex_chain(settings: Settings, say: Callable[[str, str], None]) -> int:
    """Returns the number of events. Raises: InvalidValue when nothing runs, ChainUnavailable, DatabaseUnavailable."""
    async with open_system(settings) as system:
        head = await system.events.head()
        say("reindex", f"chain {settings.chain_id} up to block {head.number:,}")

        def said(block: BlockRef, events: int) -> None:
            say("reindex", f"block {block.number:,}: {events:,} events so far")

        return await system.chain_indexing.reindex(said)
