"""psycopg's own connection below a session, for what SQLAlchemy does not speak: COPY, procrastinate, vectors."""

from typing import Any, cast

import psycopg
from sqlmodel.ext.asyncio.session import AsyncSession


async def psycopg_connection(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    """In the session's transaction: what is done on it is committed or rolled back with the rest."""
    raw = await (await session.connection()).get_raw_connection()
    return cast("psycopg.AsyncConnection[Any]", raw.driver_connection)
