"""`VersionStore` in memory."""

from dataclasses import replace
from datetime import datetime

from backend.domain.errors import Conflict, NotFound
from backend.domain.mirror import storable
from backend.domain.types import DatanetId, Digest
from backend.ports import Draft, VersionRow


class MemoryVersionStore:
    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._versions: dict[Digest, VersionRow] = {}

    async def add_draft(self, draft: Draft) -> None:
        self._drafts[draft.draft_id] = replace(draft, filename=storable(draft.filename))

    async def draft(self, draft_id: str, now: datetime) -> Draft | None:
        draft = self._drafts.get(draft_id)
        return draft if draft is not None and draft.expires_at > now else None

    async def drop_draft(self, draft_id: str) -> None:
        self._drafts.pop(draft_id, None)

    async def add_version(self, row: VersionRow) -> None:
        """Raises: Conflict when that manifest is there already."""
        if row.manifest_digest in self._versions:
            raise Conflict(f"manifest {row.manifest_digest} was stored before")
        self._versions[row.manifest_digest] = row

    async def version(self, manifest_digest: Digest) -> VersionRow | None:
        return self._versions.get(manifest_digest)

    async def versions_of(self, datanet: DatanetId) -> list[VersionRow]:
        rows = [row for row in self._versions.values() if row.datanet == datanet]
        return sorted(rows, key=lambda row: (row.version, row.created_at), reverse=True)

    async def datanets(self) -> set[DatanetId]:
        return {row.datanet for row in self._versions.values()}

    async def set_status(
        self, manifest_digest: Digest, status: str, passages: int | None = None, *, problem: str | None = None
    ) -> None:
        """Raises: NotFound."""
        row = self._versions.get(manifest_digest)
        if row is None:
            raise NotFound(f"manifest {manifest_digest}")
        self._versions[manifest_digest] = replace(
            row,
            status=status,
            passages=row.passages if passages is None else passages,
            problem=None if problem is None else storable(problem),
        )

    async def awaiting_index(self) -> list[VersionRow]:
        """Oldest first."""
        rows = [row for row in self._versions.values() if row.status == "published"]
        return sorted(rows, key=lambda row: (row.created_at, row.manifest_digest))
