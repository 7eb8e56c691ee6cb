"""The way into Postgres: URLs, the pool, migrations, and the one place its failures get our names."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.errors import DatabaseUnavailable, InvalidValue

# Advisory locks share one number space in a database; all of ours are here.
MIGRATION_LOCK = 20931_01
MIRROR_LOCK = 20931_02
OUTBOX_LOCK = 20931_03

_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
_CONNECT_SECONDS = 5
_MIGRATIONS = Path(__file__).parents[2] / "migrations"
_alembic = threading.Lock()  # alembic keeps its context in module globals


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn "Postgres does not answer" into `DatabaseUnavailable(doing)`; a wrong query stays what it is.

    Connections refused or lost, a full pool, a server shutting down, deadlocks: the caller may try again.
    """
    try:
        yield
    except (
        exc.OperationalError, exc.InterfaceError, exc.TimeoutError, psycopg.OperationalError, psycopg.InterfaceError,
    ) as err:  # fmt: skip
        raise DatabaseUnavailable(doing) from err
    except exc.DBAPIError as err:
        if err.connection_invalidated:
            raise DatabaseUnavailable(doing) from err
        raise


@dataclass(frozen=True, slots=True)
class Database:
    """A pool of connections. The stores share one."""

    engine: AsyncEngine
    url: str  # as libpq reads it, for what does not go through SQLAlchemy: LISTEN, procrastinate

    @asynccontextmanager
    async def transaction(self, doing: str) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back by an exception.

        `doing` completes "the database does not answer (…)". Raises: DatabaseUnavailable.
        """
        with database_errors(doing):
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                yield session

    @asynccontextmanager
    async def connection(self, doing: str) -> AsyncIterator[AsyncConnection]:
        """A connection of its own in autocommit, for locks that outlive a transaction. Raises: DatabaseUnavailable."""
        with database_errors(doing):
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def ping(self) -> None:
        """Raises: DatabaseUnavailable."""
        async with self.connection("ping") as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


def open_database(url: str, *, pool_size: int = 10, pool_wait_seconds: float = 10) -> Database:
    """At most twice `pool_size` connections; nothing connects before the first query.

    Raises: InvalidValue for a URL that is not Postgres'.
    """
    parsed = _parse(url)
    engine = create_async_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=pool_wait_seconds,
        hide_parameters=True,  # an error would otherwise take questions and answers into the log
        pool_pre_ping=True,  # a restarted Postgres costs a reconnect, not an error
        connect_args={"connect_timeout": _CONNECT_SECONDS},
    )
    return Database(engine, libpq_url(url))


def libpq_url(url: str) -> str:
    """The same server, as psycopg and psql take it. Raises: InvalidValue."""
    return _parse(url).set(drivername="postgresql").render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True)
class ServerVersion:
    postgres: str
    pgvector: str | None  # what the server offers; None when it has none


def server_version(url: str) -> ServerVersion:
    """For a person's eyes. Blocks; raises: InvalidValue, DatabaseUnavailable."""
    with _one_transaction(url, "server version") as connection:
        postgres = connection.execute(text("SHOW server_version")).scalar_one()
        return ServerVersion(str(postgres).split()[0], _offered_pgvector(connection))


def migrate(url: str) -> None:
    """Bring the schema to head; all of it or nothing. Several processes may do so at once: one works, the rest wait.

    Blocks. Raises: InvalidValue naming DATABASE_URL when the server has no pgvector >= 0.8; DatabaseUnavailable.
    """
    with _alembic, _one_transaction(url, "migrations") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        _require_pgvector(connection)
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: sqlalchemy.Connection) -> Config:
    """Alembic without an ini file; migrations/env.py uses this connection and its transaction."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise InvalidValue("DATABASE_URL", "it is not a URL like postgresql://user:password@host/database") from None
    if parsed.drivername not in _SCHEMES:
        raise InvalidValue("DATABASE_URL", f"{parsed.drivername}:// is not Postgres; use postgresql://…")
    return parsed.set(drivername="postgresql+psycopg")


@contextmanager
def _one_transaction(url: str, doing: str) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(
        _parse(url), poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}
    )
    with database_errors(doing), engine.begin() as connection:
        yield connection


def _offered_pgvector(connection: sqlalchemy.Connection) -> str | None:
    """The version in use in this database, else the one CREATE EXTENSION would make."""
    row = connection.execute(
        text("SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'")
    ).scalar_one_or_none()
    return None if row is None else str(row)


def _require_pgvector(connection: sqlalchemy.Connection) -> None:
    version = _offered_pgvector(connection)
    if version is None:
        raise InvalidValue("DATABASE_URL", "that server has no pgvector; install pgvector 0.8 or newer there")
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise InvalidValue(
            "DATABASE_URL",
            f"that server has pgvector {version}; Byline needs 0.8 or newer (then ALTER EXTENSION vector UPDATE)",
        )
    try:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except exc.ProgrammingError as err:
        raise InvalidValue(
            "DATABASE_URL", "its user may not create the extension; run CREATE EXTENSION vector there as a superuser"
        ) from err
