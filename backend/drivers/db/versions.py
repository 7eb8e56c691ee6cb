"""`VersionStore` in Postgres."""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from backend.domain.datanet import Manifest, Shard
from backend.domain.errors import Conflict, NotFound
from backend.domain.mirror import storable
from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.db.engine import Database
from backend.drivers.db.tables_versions import DatanetVersion, DraftRow
from backend.ports import Draft, VersionRow

_DRAFT_KEPT_AFTER_EXPIRY = timedelta(days=1)


class PgVersionStore:
    """Expired drafts are deleted a day later, when the next one is added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_draft(self, draft: Draft) -> None:
        kept = replace(draft, filename=storable(draft.filename))
        async with self._database.transaction("drafts") as session:
            await session.exec(delete(DraftRow).where(col(DraftRow.expires_at) < func.now() - _DRAFT_KEPT_AFTER_EXPIRY))
            session.add(DraftRow(**asdict(kept)))

    async def draft(self, draft_id: str, now: datetime) -> Draft | None:
        statement = select(DraftRow).where(col(DraftRow.draft_id) == draft_id, col(DraftRow.expires_at) > now)
        async with self._database.transaction("drafts") as session:
            row = (await session.exec(statement)).one_or_none()
            return None if row is None else _draft(row)

    async def drop_draft(self, draft_id: str) -> None:
        async with self._database.transaction("drafts") as session:
            await session.exec(delete(DraftRow).where(col(DraftRow.draft_id) == draft_id))

    async def add_version(self, row: VersionRow) -> None:
        """Raises: Conflict when that manifest is there already."""
        values = asdict(row) | {"records": row.manifest.records}
        statement = insert(DatanetVersion).values(values).on_conflict_do_nothing()
        async with self._database.transaction("versions") as session:
            if (await session.exec(statement.returning(col(DatanetVersion.version)))).first() is None:
                raise Conflict(f"manifest {row.manifest_digest} was stored before")

    async def version(self, manifest_digest: Digest) -> VersionRow | None:
        async with self._database.transaction("versions") as session:
            row = await session.get(DatanetVersion, manifest_digest)
            return None if row is None else _version(row)

    async def versions_of(self, datanet: DatanetId) -> list[VersionRow]:
        newest_first = col(DatanetVersion.version).desc(), col(DatanetVersion.created_at).desc()
        statement = select(DatanetVersion).where(col(DatanetVersion.datanet) == datanet).order_by(*newest_first)
        async with self._database.transaction("versions") as session:
            return [_version(row) for row in await session.exec(statement)]

    async def datanets(self) -> set[DatanetId]:
        async with self._database.transaction("versions") as session:
            return {DatanetId(n) for n in await session.exec(select(DatanetVersion.datanet).distinct())}

    async def set_status(
        self, manifest_digest: Digest, status: str, passages: int | None = None, *, problem: str | None = None
    ) -> None:
        """Raises: NotFound."""
        values: dict[str, Any] = {"status": status, "problem": None if problem is None else storable(problem)}
        values |= {} if passages is None else {"passages": passages}
        statement = (
            update(DatanetVersion)
            .where(col(DatanetVersion.manifest_digest) == manifest_digest)
            .values(values)
            .returning(col(DatanetVersion.version))
        )
        async with self._database.transaction("versions") as session:
            if (await session.exec(statement)).first() is None:
                raise NotFound(f"manifest {manifest_digest}")

    async def awaiting_index(self) -> list[VersionRow]:
        """Oldest first."""
        statement = (
            select(DatanetVersion)
            .where(col(DatanetVersion.status) == "published")
            .order_by(col(DatanetVersion.created_at), col(DatanetVersion.manifest_digest))
        )
        async with self._database.transaction("versions") as session:
            return [_version(row) for row in await session.exec(statement)]


def _draft(row: DraftRow) -> Draft:
    return Draft(
        draft_id=row.draft_id,
        datanet=DatanetId(row.datanet),
        owner=Wallet(row.owner),
        filename=row.filename,
        contributor_column=row.contributor_column,
        sealed=row.sealed,
        wrapped_key=row.wrapped_key,
        expires_at=row.expires_at,
    )


def _version(row: DatanetVersion) -> VersionRow:
    shards = tuple(Shard(**shard) for shard in row.manifest["shards"])
    return VersionRow(
        datanet=DatanetId(row.datanet),
        version=row.version,
        owner=Wallet(row.owner),
        manifest_digest=Digest(row.manifest_digest),
        manifest_cid=row.manifest_cid,
        manifest=Manifest(**{**row.manifest, "shards": shards}),
        wrapped_key=row.wrapped_key,
        status=row.status,
        passages=row.passages,
        created_at=row.created_at,
        problem=row.problem,
    )
