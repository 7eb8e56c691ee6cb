"""`ChainMirror` in Postgres."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.consent import Terms
from backend.domain.finality import Finality, Standing
from backend.domain.mirror import above_tip, datanet_of, storable
from backend.domain.types import BlockRef, DatanetId, Digest, Purpose, Wallet
from backend.drivers.db.documents import from_document
from backend.drivers.db.engine import MIRROR_LOCK, Database
from backend.drivers.db.mirror_rows import block_of, block_values, copy_rows, event_of, event_values, fold_again
from backend.drivers.db.tables_mirror import (
    ChainBlock,
    ChainEventRow,
    ChainStanding,
    DatanetFold,
    GrantFold,
    RequestFold,
)
from backend.drivers.db.tables_versions import DatanetVersion
from backend.ports import ChainEvent, DatanetRow, GrantRow, RequestRow


class PgChainMirror:
    """`append` and `rewind` take turns (advisory lock), so two indexers never mix two branches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tip(self) -> BlockRef | None:
        async with self._database.transaction("mirror") as session:
            return await _tip(session)

    async def blocks_before(self, number: int, limit: int) -> list[BlockRef]:
        statement = (
            select(ChainBlock)
            .where(col(ChainBlock.number) < number)
            .order_by(col(ChainBlock.number).desc())
            .limit(limit)
        )
        async with self._database.transaction("mirror") as session:
            return [block_of(row) for row in await session.exec(statement)]

    async def standing(self) -> Standing:
        async with self._database.transaction("mirror") as session:
            return await _standing(session)

    async def append(self, events: Sequence[ChainEvent], boundary: BlockRef, finality: Finality | None = None) -> None:
        """Raises: Conflict when this is not the branch indexed so far."""
        async with self._database.transaction("mirror") as session:
            await _take_turn(session)
            fresh = await _store(session, events, boundary, finality)
            await fold_again(session, {datanet_of(event) for event in fresh})

    async def rewind(self, to: BlockRef | None) -> None:
        async with self._database.transaction("mirror") as session:
            await _take_turn(session)
            standing = await _standing(session)
            number = col(ChainBlock.number)
            gone = (
                number >= 0
                if to is None
                else or_(number > to.number, and_(number == to.number, col(ChainBlock.hash) != to.hash))
            )
            touched = set(
                await session.exec(
                    select(ChainEventRow.datanet)
                    .join(ChainBlock, number == col(ChainEventRow.block_number))
                    .where(gone)
                    .distinct()
                )
            )
            await session.exec(delete(ChainBlock).where(gone))  # its events go with it
            if to is None:
                await session.exec(delete(ChainStanding))
            else:
                await session.exec(insert(ChainBlock).values(block_values(to)).on_conflict_do_nothing())
                if standing.finality is not None:
                    await _keep_standing(session, standing.finality.up_to(to), standing.problem)
            await fold_again(session, touched)

    async def rebuild(
        self,
        history: AsyncIterator[tuple[Sequence[ChainEvent], BlockRef]],
        finality: Finality,
        problem: str | None = None,
    ) -> None:
        async with self._database.transaction("mirror") as session:
            await _take_turn(session)  # the other indexer waits until this is whole; readers see what was
            for table in (DatanetFold, ChainBlock, ChainStanding):
                await session.exec(delete(table))
            touched: set[DatanetId | None] = set()
            async for events, boundary in history:
                touched |= {datanet_of(event) for event in await _store(session, events, boundary, finality)}
            await fold_again(session, touched)
            standing = await _standing(session)
            await _keep_standing(session, standing.finality or finality, problem)

    async def datanets(self) -> list[DatanetRow]:
        """In the order of their ids."""
        return await self._datanets()

    async def datanet(self, datanet: DatanetId) -> DatanetRow | None:
        found = await self._datanets(datanet)
        return found[0] if found else None

    async def grants_of(self, datanet: DatanetId) -> list[GrantRow]:
        """Expired ones too; oldest first."""
        statement = select(GrantFold).where(col(GrantFold.datanet) == datanet)
        async with self._database.transaction("mirror") as session:
            rows = await session.exec(statement.order_by(col(GrantFold.block_number), col(GrantFold.grantee)))
            return [_grant(row) for row in rows]

    async def requests_of(self, datanet: DatanetId) -> list[RequestRow]:
        """Oldest first."""
        statement = select(RequestFold).where(col(RequestFold.datanet) == datanet)
        async with self._database.transaction("mirror") as session:
            rows = await session.exec(statement.order_by(col(RequestFold.block_number), col(RequestFold.requester)))
            return [_request(row) for row in rows]

    async def grants_to(self, wallet: Wallet) -> list[GrantRow]:
        """In the order of the datanets' ids."""
        statement = select(GrantFold).where(col(GrantFold.grantee) == wallet).order_by(col(GrantFold.datanet))
        async with self._database.transaction("mirror") as session:
            return [_grant(row) for row in await session.exec(statement)]

    async def events_named(self, name: str, limit: int = 1000, **args: Any) -> list[ChainEvent]:
        statement = (
            select(ChainEventRow, ChainBlock)
            .join(ChainBlock, col(ChainBlock.number) == col(ChainEventRow.block_number))
            .where(col(ChainEventRow.name) == name)
            .order_by(col(ChainEventRow.block_number).desc(), col(ChainEventRow.log_index).desc())
            .limit(limit)
        )
        if args:
            statement = statement.where(col(ChainEventRow.args).contains(storable(args)))
        async with self._database.transaction("mirror") as session:
            return [event_of(row, block) for row, block in await session.exec(statement)]

    async def _datanets(self, only: DatanetId | None = None) -> list[DatanetRow]:
        statement = (
            select(
                DatanetFold,
                func.coalesce(col(DatanetVersion.records), 0),
                func.coalesce(col(DatanetVersion.passages), 0),
            )
            .join(DatanetVersion, col(DatanetVersion.manifest_digest) == col(DatanetFold.manifest_digest), isouter=True)
            .order_by(col(DatanetFold.datanet))
        )
        if only is not None:
            statement = statement.where(col(DatanetFold.datanet) == only)
        async with self._database.transaction("mirror") as session:
            return [_datanet(row, records, passages) for row, records, passages in await session.exec(statement)]


async def _take_turn(session: AsyncSession) -> None:
    await session.exec(select(func.pg_advisory_xact_lock(MIRROR_LOCK)))


async def _tip(session: AsyncSession) -> BlockRef | None:
    row = (await session.exec(select(ChainBlock).order_by(col(ChainBlock.number).desc()).limit(1))).one_or_none()
    return None if row is None else block_of(row)


async def _standing(session: AsyncSession) -> Standing:
    row = (await session.exec(select(ChainStanding))).one_or_none()
    tip = await _tip(session)
    if row is None:
        return Standing(tip)
    final = BlockRef(row.final_number, Digest(row.final_hash), row.final_timestamp)
    return Standing(tip, Finality(Digest(row.chain), final), row.problem)


async def _keep_standing(session: AsyncSession, finality: Finality, problem: str | None) -> None:
    values = {
        "chain": finality.chain,
        "final_number": finality.block.number,
        "final_hash": finality.block.hash,
        "final_timestamp": finality.block.timestamp,
        "problem": problem,
    }
    statement = insert(ChainStanding).values(singleton=True, **values)
    await session.exec(statement.on_conflict_do_update(index_elements=["singleton"], set_=values))


async def _store(
    session: AsyncSession, events: Sequence[ChainEvent], boundary: BlockRef, finality: Finality | None
) -> list[ChainEvent]:
    """All but the folds. Returns the events that were not stored before. Raises: Conflict."""
    standing = await _standing(session)
    fresh = [_storable(event) for event in above_tip(events, boundary, standing.tip)]
    if standing.tip is not None and boundary.number <= standing.tip.number:
        return []
    blocks = {block.number: block for block in (*(event.block for event in fresh), boundary)}
    await copy_rows(session, ChainBlock, [block_values(block) for block in blocks.values()])
    await copy_rows(session, ChainEventRow, [event_values(event) for event in fresh])
    if finality is not None:
        settled = finality.up_to(boundary).after(standing.finality)
        await _forget_empty_blocks(session, standing.finality, settled)
        await _keep_standing(session, settled, standing.problem)
    return fresh


def _storable(event: ChainEvent) -> ChainEvent:
    args = storable(event.args)
    return event if args == event.args else replace(event, args=args)


async def _forget_empty_blocks(session: AsyncSession, before: Finality | None, settled: Finality) -> None:
    """Of those that became final: no reorganisation is walked back to them."""
    number = col(ChainBlock.number)
    held = select(ChainEventRow.block_number).where(col(ChainEventRow.block_number) == number).exists()
    since = before.block.number if before is not None and before.chain == settled.chain else 0
    await session.exec(delete(ChainBlock).where(number >= since, number < settled.block.number, ~held))


def _datanet(row: DatanetFold, records: int, passages: int) -> DatanetRow:
    return DatanetRow(
        datanet=DatanetId(row.datanet),
        owner=Wallet(row.owner),
        name=row.name,
        version=row.version,
        manifest_digest=None if row.manifest_digest is None else Digest(row.manifest_digest),
        publisher=Wallet(row.publisher),
        public_purposes=Purpose(row.public_purposes),
        terms_version=row.terms_version,
        terms=from_document(Terms, row.terms),
        licence_cid=row.licence_cid,
        frozen=row.frozen,
        offered_to=Wallet(row.offered_to),
        managers=tuple(Wallet(manager) for manager in row.managers),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        block_number=row.block_number,
        records=records,
        passages=passages,
    )


def _grant(row: GrantFold) -> GrantRow:
    return GrantRow(
        datanet=DatanetId(row.datanet),
        grantee=Wallet(row.grantee),
        purposes=Purpose(row.purposes),
        expires_at=row.expires_at,
        granted_by=Wallet(row.granted_by),
        terms_version=row.terms_version,
        tx_hash=Digest(row.tx_hash),
        block_number=row.block_number,
    )


def _request(row: RequestFold) -> RequestRow:
    return RequestRow(
        datanet=DatanetId(row.datanet),
        requester=Wallet(row.requester),
        purposes=Purpose(row.purposes),
        expires_at=row.expires_at,
        terms_version=row.terms_version,
        message=row.message,
        tx_hash=Digest(row.tx_hash),
        block_number=row.block_number,
    )
