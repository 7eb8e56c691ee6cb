"""The mirror's rows in bulk: events copied in, datanets folded again from theirs."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import delete
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.mirror import FoldedDatanet, Held, datanet_of, fold
from backend.domain.types import BlockRef, DatanetId, Digest
from backend.drivers.db.documents import to_document
from backend.drivers.db.tables_mirror import ChainBlock, ChainEventRow, DatanetFold, GrantFold, RequestFold
from backend.ports import ChainEvent

DATANETS_AT_ONCE = 500


async def copy_rows(session: AsyncSession, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """COPY, in the session's transaction: several times as fast as INSERT. All rows have the same keys."""
    if not rows:
        return
    raw = await (await session.connection()).get_raw_connection()
    connection: Any = raw.driver_connection
    columns = ", ".join(f'"{name}"' for name in rows[0])
    async with connection.cursor() as cursor, cursor.copy(f"COPY {table.__tablename__} ({columns}) FROM STDIN") as copy:
        for row in rows:
            await copy.write_row(tuple(row.values()))


async def fold_again(session: AsyncSession, datanets: Iterable[DatanetId | int | None]) -> None:
    """Replace what was folded of these datanets by the fold of the events that are there now."""
    numbers = sorted({int(n) for n in datanets if n is not None})
    for start in range(0, len(numbers), DATANETS_AT_ONCE):
        await _fold_some(session, numbers[start : start + DATANETS_AT_ONCE])


async def _fold_some(session: AsyncSession, numbers: Sequence[int]) -> None:
    event, block = ChainEventRow, ChainBlock
    statement = (
        select(event, block)
        .join(block, col(block.number) == col(event.block_number))
        .where(col(event.datanet).in_(numbers))
        .order_by(col(event.datanet), col(event.block_number), col(event.log_index))
    )
    await session.exec(delete(DatanetFold).where(col(DatanetFold.datanet).in_(numbers)))  # grants and requests too
    rows = (await session.exec(statement)).all()
    by_datanet = groupby(rows, key=lambda pair: pair[0].datanet)
    folded = [
        fold(DatanetId(number or 0), [event_of(row, block) for row, block in pairs]) for number, pairs in by_datanet
    ]
    states = [state for state in folded if state is not None]
    await copy_rows(session, DatanetFold, [_datanet(state) for state in states])
    await copy_rows(
        session,
        GrantFold,
        [
            _held(s, held) | {"grantee": held.wallet, "granted_by": held.by}
            for s in states
            for held in s.grants.values()
        ],
    )
    await copy_rows(
        session,
        RequestFold,
        [
            _held(s, held) | {"requester": held.wallet, "message": held.message}
            for s in states
            for held in s.requests.values()
        ],
    )


def block_of(row: ChainBlock) -> BlockRef:
    return BlockRef(row.number, Digest(row.hash), row.timestamp)


def block_values(block: BlockRef) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash, "timestamp": block.timestamp}


def event_of(row: ChainEventRow, block: ChainBlock) -> ChainEvent:
    return ChainEvent(block_of(block), Digest(row.tx_hash), row.log_index, row.contract, row.name, row.args)


def event_values(event: ChainEvent) -> dict[str, Any]:
    return {
        "block_number": event.block.number,
        "log_index": event.log_index,
        "tx_hash": event.tx_hash,
        "contract": event.contract,
        "name": event.name,
        "args": json.dumps(event.args),
        "datanet": datanet_of(event),
    }


def _datanet(state: FoldedDatanet) -> dict[str, Any]:
    return {
        "datanet": state.datanet,
        "owner": state.owner,
        "name": state.name,
        "version": state.version,
        "manifest_digest": state.manifest_digest,
        "publisher": state.publisher,
        "public_purposes": int(state.public_purposes),
        "terms_version": state.terms_version,
        "terms": json.dumps(to_document(state.terms)),
        "licence_cid": state.licence_cid,
        "frozen": state.frozen,
        "offered_to": state.offered_to,
        "managers": json.dumps(state.managers),
        "created_at": state.created_at,
        "block_number": state.block_number,
    }


def _held(state: FoldedDatanet, held: Held) -> dict[str, Any]:
    return {
        "datanet": state.datanet,
        "purposes": int(held.purposes),
        "expires_at": held.expires_at,
        "terms_version": held.terms_version,
        "tx_hash": held.tx_hash,
        "block_number": held.block_number,
    }
