"""The way into Postgres: URLs, migrations, and what the stores say when it does not answer."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic import command
from sqlalchemy import make_url, text

from backend.domain.errors import DatabaseUnavailable, InvalidValue
from backend.domain.types import NO_WALLET, BlockRef, DatanetId, Digest
from backend.drivers.db.engine import (
    Database,
    alembic_config,
    libpq_url,
    migrate,
    open_database,
    server_version,
)
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.outbox import PgOutbox
from backend.drivers.db.sessions import PgSessionStore
from backend.drivers.db.tables_sessions import SignInNonce
from backend.drivers.db.versions import PgVersionStore
from backend.embedded.postgres import EmbeddedPostgres
from backend.ports import ContractCall, SignedTransaction
from tests.db_fixtures import at_database, world_readable_directory

DIGEST = Digest("0x" + "ab" * 32)
MIGRATE = "import sys; from backend.drivers.db.engine import migrate; migrate(sys.argv[1])"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_a_postgres_url_is_one_url(scheme: str) -> None:
    url = f"{scheme}://app:p%40ss@db.example:5433/byline?sslmode=require"
    assert libpq_url(url) == "postgresql://app:p%40ss@db.example:5433/byline?sslmode=require"


@pytest.mark.parametrize("url", ["mysql://app:secret@db/byline", "secret", "postgresql+asyncpg://app:secret@db/x"])
def test_a_url_of_something_else_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(InvalidValue, match="DATABASE_URL") as refused:
        open_database(url)
    assert "secret" not in str(refused.value)


# --- migrations ----------------------------------------------------------------------------------


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_one")
        yield at_database(postgres.url, "empty_one")
        connection.execute("DROP DATABASE empty_one WITH (FORCE)")


def sync_engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=sqlalchemy.NullPool
    )


@pytest.mark.integration
def test_the_migrations_make_exactly_the_tables_that_the_code_declares(empty_database_url: str) -> None:
    migrate(empty_database_url)
    migrate(empty_database_url)
    with sync_engine(empty_database_url).begin() as connection:
        command.check(alembic_config(connection))  # raises where they differ


@pytest.mark.integration
def test_the_migrations_can_be_taken_back_and_run_again(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with sync_engine(empty_database_url).begin() as connection:
        command.downgrade(alembic_config(connection), "base")
        left = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
    assert left == ["alembic_version"]
    migrate(empty_database_url)


@pytest.mark.integration
async def test_what_was_signed_before_attempts_were_kept_is_the_first_attempt(empty_database_url: str) -> None:
    with sync_engine(empty_database_url).begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        command.upgrade(alembic_config(connection), "0002")
        for reference, status, signed in (("a", "queued", False), ("b", "signed", True), ("c", "mined", True)):
            connection.execute(
                text("""
                    INSERT INTO outgoing_transaction
                        (reference, contract, function, args, status, nonce, raw, tx_hash, block_number)
                    VALUES (:reference, 'ReceiptLedger', 'anchor', '[]', :status, :nonce, :raw, :hash, :block)"""),
                {"reference": reference, "status": status, "block": 9 if status == "mined" else None}
                | (
                    {"nonce": 4, "raw": b"\x02", "hash": DIGEST}
                    if signed
                    else {"nonce": None, "raw": None, "hash": None}
                ),
            )
    migrate(empty_database_url)
    database = open_database(empty_database_url)
    outbox, attempt = PgOutbox(database), SignedTransaction(DIGEST, b"\x02", 4)
    found = [await outbox.get(reference) for reference in "abc"]
    assert [(row.status, row.attempts, row.tx_hash, row.block_number) for row in found if row] == [
        ("queued", (), None, None), ("signed", (attempt,), None, None), ("final", (attempt,), DIGEST, 9)
    ]  # fmt: skip
    await database.close()


@pytest.mark.integration
def test_processes_that_migrate_at_once_all_succeed(empty_database_url: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, empty_database_url]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


@pytest.mark.integration
def test_a_server_without_pgvector_is_refused_by_name(empty_database_url: str) -> None:
    blind = str(make_url(empty_database_url).update_query_dict({"options": "-c extension_control_path=/nowhere"}))
    with pytest.raises(InvalidValue, match="DATABASE_URL: that server has no pgvector"):
        migrate(with_password(blind, empty_database_url))


@pytest.mark.integration
def test_a_server_with_an_old_pgvector_is_refused_by_name(empty_database_url: str) -> None:
    with world_readable_directory() as directory:
        (directory / "extension").mkdir()
        (directory / "extension" / "vector.control").write_text("default_version = '0.7.4'\n")
        old = str(make_url(empty_database_url).update_query_dict({"options": f"-c extension_control_path={directory}"}))
        with pytest.raises(InvalidValue, match=r"DATABASE_URL: that server has pgvector 0\.7\.4"):
            migrate(with_password(old, empty_database_url))


@pytest.mark.integration
def test_a_user_who_may_not_create_the_extension_is_told_who_may(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        guest = make_url(empty_database_url).set(username="guest", password="guest")
        with pytest.raises(InvalidValue, match="CREATE EXTENSION vector there as a superuser"):
            migrate(guest.render_as_string(hide_password=False))
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute("DROP ROLE guest")


def with_password(url: str, original: str) -> str:
    return make_url(url).set(password=make_url(original).password).render_as_string(hide_password=False)


@pytest.mark.integration
def test_the_doctor_sees_both_versions(postgres: EmbeddedPostgres) -> None:
    found = server_version(postgres.url)
    assert found.postgres == postgres.version
    assert found.pgvector is not None
    assert found.pgvector.startswith("0.8.")


def test_nobody_listening_is_unavailable_not_a_crash(tmp_path: Path) -> None:
    nowhere = f"postgresql://app:pw@/byline?host={tmp_path}"
    with pytest.raises(DatabaseUnavailable):
        migrate(nowhere)
    with pytest.raises(DatabaseUnavailable):
        server_version(nowhere)


# --- down, and up again --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    with world_readable_directory() as home:
        server = EmbeddedPostgres(home)
        migrate(server.start())
        yield server
        server.stop()


def every_call(database: Database) -> list[Callable[[], Awaitable[object]]]:
    """One of each kind of statement that each store makes; all may run on an empty database."""
    sessions, mirror = PgSessionStore(database), PgChainMirror(database)
    versions, outbox = PgVersionStore(database), PgOutbox(database)
    now = datetime.now(UTC)

    async def lead() -> None:
        async with outbox.lead() as leading:
            assert leading

    return [
        database.ping,
        lambda: sessions.add_nonce(f"n{now.timestamp()}{id(database)}", "http://x", now),
        lambda: sessions.take_nonce("n"),
        lambda: sessions.find_session(b"t", now),
        lambda: sessions.sessions_of(NO_WALLET, now),
        lambda: sessions.end_session(NO_WALLET, "s"),
        mirror.tip,
        lambda: mirror.append([], BlockRef(1, DIGEST, 1)),
        lambda: mirror.rewind(None),
        mirror.datanets,
        lambda: mirror.grants_of(DatanetId(1)),
        lambda: mirror.events_named("Credited"),
        lambda: versions.draft("d", now),
        lambda: versions.version(DIGEST),
        versions.awaiting_index,
        lambda: outbox.add("a", ContractCall("ReceiptLedger", "anchor", ())),
        outbox.unfinished,
        lead,
    ]


@pytest.mark.integration
async def test_while_postgres_is_down_every_store_says_so_and_works_when_it_is_back(
    own_server: EmbeddedPostgres,
) -> None:
    database = open_database(own_server.url)
    calls = every_call(database)
    try:
        for call in calls:
            await call()
        own_server.stop()
        for call in calls:
            with pytest.raises(DatabaseUnavailable):
                await call()
        own_server.start()
        for call in every_call(database):
            await call()
    finally:
        await database.close()
        own_server.start()


@pytest.mark.integration
async def test_a_connection_lost_inside_a_transaction_is_unavailable_and_stores_nothing(database: Database) -> None:
    async def store_and_lose() -> None:
        async with database.transaction("test") as session:
            session.add(SignInNonce(nonce="n1", origin="http://x", expires_at=datetime.now(UTC)))
            await session.flush()
            await (await session.connection()).execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseUnavailable):
        await store_and_lose()
    assert await PgSessionStore(database).take_nonce("n1") is None


@pytest.mark.integration
async def test_a_leader_whose_connection_died_leads_no_more(database: Database) -> None:
    outbox = PgOutbox(database)
    async with outbox.lead() as leading:
        assert leading
        async with database.connection("test") as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND granted")
            )
        async with outbox.lead() as next_one:
            assert next_one


@pytest.mark.integration
async def test_a_full_pool_is_unavailable_after_a_wait(database_url: str) -> None:
    database = open_database(database_url, pool_size=1, pool_wait_seconds=0.1)
    try:
        async with database.connection("one"), database.connection("two"):
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
        await asyncio.wait_for(database.ping(), 30)
    finally:
        await database.close()


@pytest.mark.integration
async def test_a_wrong_query_is_not_called_unavailable(database: Database) -> None:
    with pytest.raises(sqlalchemy.exc.ProgrammingError):
        async with database.connection("test") as connection:
            await connection.execute(text("SELECT no_such_column"))
