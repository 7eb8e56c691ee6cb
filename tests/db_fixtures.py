"""One embedded Postgres for the whole test session; an empty, migrated database for each test.

    async def test_something(database: Database) -> None: ...      # a pool onto an empty database
    def test_something(database_url: str) -> None: ...             # its URL
    def test_something(postgres: EmbeddedPostgres) -> None: ...    # the server: never stop this one

A module gets a copy of a migrated template; between its tests every table is truncated.
"""

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from backend.drivers.db.engine import Database, migrate, open_database
from backend.embedded.postgres import EmbeddedPostgres

_TEMPLATE = "byline_template"


@contextmanager
def world_readable_directory() -> Iterator[Path]:
    """A short directory every user may enter: pytest's own tmp_path is root's alone, and Postgres is not root."""
    directory = Path(tempfile.mkdtemp(prefix="byline-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with world_readable_directory() as home:
        server = EmbeddedPostgres(home)
        try:
            yield _with_template(server)
        finally:
            server.stop()


def _with_template(server: EmbeddedPostgres) -> EmbeddedPostgres:
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:  # nothing here has to survive a power cut
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    _run(url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    migrate(at_database(url, _TEMPLATE))
    return server


def at_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _run(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="module")
def module_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _run(
        postgres.url,
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(_TEMPLATE)
        ),
    )
    yield at_database(postgres.url, name)
    _run(postgres.url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(module_database_url: str) -> Iterator[str]:
    yield module_database_url
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        if tables:
            names = sql.SQL(", ").join(sql.Identifier(row[0]) for row in tables)
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(names))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = open_database(database_url, pool_size=5)
    yield opened
    await opened.close()
