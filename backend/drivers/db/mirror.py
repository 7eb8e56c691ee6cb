"""`ChainMirror` in Postgres."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.consent import Terms
from backend.domain.mirror import FoldedDatanet, Held, above_tip, datanet_of, fold, storable
from backend.domain.types import BlockRef, DatanetId, Digest, Purpose, Wallet
from backend.drivers.db.documents import from_document, to_document
from backend.drivers.db.engine import MIRROR_LOCK, Database
from backend.drivers.db.tables_mirror import ChainBlock, ChainEventRow, DatanetFold, GrantFold, RequestFold
from backend.drivers.db.tables_versions import DatanetVersion
from backend.ports import ChainEvent, DatanetRow, GrantRow, RequestRow

_ROWS_PER_INSERT = 1_000  # a statement takes 65,535 parameters


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
            return [_block(row) for row in await session.exec(statement)]

    async def append(self, events: Sequence[ChainEvent], boundary: BlockRef) -> None:
        """Raises: Conflict when this is not the branch indexed so far."""
        async with self._database.transaction("mirror") as session:
            await _take_turn(session)
            tip = await _tip(session)
            fresh = [replace(event, args=storable(event.args)) for event in above_tip(events, boundary, tip)]
            if tip is not None and boundary.number <= tip.number:
                return
            blocks = {block.number: block for block in (*(event.block for event in fresh), boundary)}
            await _insert(session, ChainBlock, [_block_values(block) for block in blocks.values()])
            await _insert(session, ChainEventRow, [_event_values(event) for event in fresh])
            await _fold_again(session, {datanet_of(event) for event in fresh})

    async def rewind(self, to: BlockRef | None) -> None:
        async with self._database.transaction("mirror") as session:
            await _take_turn(session)
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
            if to is not None:
                await session.exec(insert(ChainBlock).values(_block_values(to)).on_conflict_do_nothing())
            await _fold_again(session, touched)

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
            return [_event(row, block) for row, block in await session.exec(statement)]

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
    return None if row is None else _block(row)


async def _insert(session: AsyncSession, table: type[Any], rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        await session.exec(insert(table).values(rows[start : start + _ROWS_PER_INSERT]))


async def _fold_again(session: AsyncSession, datanets: Iterable[DatanetId | int | None]) -> None:
    """Replace what was folded of these datanets by the fold of the events that are there now."""
    for number in sorted({n for n in datanets if n is not None}):
        statement = (
            select(ChainEventRow, ChainBlock)
            .join(ChainBlock, col(ChainBlock.number) == col(ChainEventRow.block_number))
            .where(col(ChainEventRow.datanet) == number)
            .order_by(col(ChainEventRow.block_number), col(ChainEventRow.log_index))
        )
        events = [_event(row, block) for row, block in await session.exec(statement)]
        await session.exec(delete(DatanetFold).where(col(DatanetFold.datanet) == number))  # grants and requests too
        state = fold(DatanetId(number), events)
        if state is not None:
            await _insert_fold(session, state)


async def _insert_fold(session: AsyncSession, state: FoldedDatanet) -> None:
    datanet = {
        "datanet": state.datanet,
        "owner": state.owner,
        "name": state.name,
        "version": state.version,
        "manifest_digest": state.manifest_digest,
        "publisher": state.publisher,
        "public_purposes": int(state.public_purposes),
        "terms_version": state.terms_version,
        "terms": to_document(state.terms),
        "licence_cid": state.licence_cid,
        "frozen": state.frozen,
        "offered_to": state.offered_to,
        "managers": state.managers,
        "created_at": state.created_at,
        "block_number": state.block_number,
    }
    grants = [_held(state, held) | {"grantee": held.wallet, "granted_by": held.by} for held in state.grants.values()]
    requests = [
        _held(state, held) | {"requester": held.wallet, "message": held.message} for held in state.requests.values()
    ]
    await _insert(session, DatanetFold, [datanet])
    await _insert(session, GrantFold, grants)
    await _insert(session, RequestFold, requests)


def _held(state: FoldedDatanet, held: Held) -> dict[str, Any]:
    return {
        "datanet": state.datanet,
        "purposes": int(held.purposes),
        "expires_at": held.expires_at,
        "terms_version": held.terms_version,
        "tx_hash": held.tx_hash,
        "block_number": held.block_number,
    }


def _block(row: ChainBlock) -> BlockRef:
    return BlockRef(row.number, Digest(row.hash), row.timestamp)


def _block_values(block: BlockRef) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash, "timestamp": block.timestamp}


def _event(row: ChainEventRow, block: ChainBlock) -> ChainEvent:
    return ChainEvent(_block(block), Digest(row.tx_hash), row.log_index, row.contract, row.name, row.args)


def _event_values(event: ChainEvent) -> dict[str, Any]:
    return {
        "block_number": event.block.number,
        "log_index": event.log_index,
        "tx_hash": event.tx_hash,
        "contract": event.contract,
        "name": event.name,
        "args": event.args,
        "datanet": datanet_of(event),
    }


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
