"""What every `SessionStore` does."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backend.domain.types import Wallet
from backend.drivers.db.sessions import PgSessionStore
from backend.drivers.memory.sessions import MemorySessionStore
from backend.ports import Session, SessionStore

NOW = datetime.now(UTC).replace(microsecond=123456)
ALICE = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
ORIGIN = "http://localhost:8000"


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> SessionStore:
    if request.param == "memory":
        return MemorySessionStore()
    return PgSessionStore(request.getfixturevalue("database"))


def session(session_id: str = "s1", wallet: Wallet = ALICE, **fields: object) -> Session:
    made = Session(session_id, wallet, 20931, NOW, NOW, NOW + timedelta(hours=8), "Firefox")
    return replace(made, **fields)  # type: ignore[arg-type] # a test names real fields


async def test_a_nonce_is_taken_with_its_origin_and_expiry(store: SessionStore) -> None:
    await store.add_nonce("n1", ORIGIN, NOW + timedelta(minutes=5))
    assert await store.take_nonce("n1") == (ORIGIN, NOW + timedelta(minutes=5))


async def test_a_nonce_is_taken_once(store: SessionStore) -> None:
    await store.add_nonce("n1", ORIGIN, NOW + timedelta(minutes=5))
    taken = await asyncio.gather(*(store.take_nonce("n1") for _ in range(8)))
    assert len([t for t in taken if t is not None]) == 1
    assert await store.take_nonce("n1") is None


async def test_an_expired_nonce_is_handed_out_so_that_the_refusal_can_say_expired(store: SessionStore) -> None:
    await store.add_nonce("n1", ORIGIN, NOW - timedelta(minutes=5))
    assert await store.take_nonce("n1") == (ORIGIN, NOW - timedelta(minutes=5))


async def test_an_unknown_nonce_is_nobodys(store: SessionStore) -> None:
    assert await store.take_nonce("never made") is None


async def test_a_session_is_found_by_its_token_hash_and_seen(store: SessionStore) -> None:
    await store.add_session(b"\x01" * 32, session())
    later = NOW + timedelta(minutes=1)
    assert await store.find_session(b"\x01" * 32, later) == session(last_seen_at=later)
    assert await store.sessions_of(ALICE, later) == [session(last_seen_at=later)]


async def test_a_wrong_token_finds_nothing(store: SessionStore) -> None:
    await store.add_session(b"\x01" * 32, session())
    assert await store.find_session(b"\x02" * 32, NOW) is None


async def test_a_session_ends_at_its_expiry_by_the_callers_clock(store: SessionStore) -> None:
    end = NOW + timedelta(hours=1)
    await store.add_session(b"\x01" * 32, session(expires_at=end))
    assert await store.find_session(b"\x01" * 32, end - timedelta(seconds=1)) is not None
    assert await store.find_session(b"\x01" * 32, end) is None
    assert await store.sessions_of(ALICE, end) == []


async def test_a_wallet_sees_its_own_sessions_newest_first(store: SessionStore) -> None:
    older, newer = session("s1"), session("s2", created_at=NOW + timedelta(minutes=1))
    await store.add_session(b"\x01" * 32, older)
    await store.add_session(b"\x02" * 32, newer)
    await store.add_session(b"\x03" * 32, session("s3", BOB))
    assert await store.sessions_of(ALICE, NOW) == [newer, older]


async def test_an_ended_session_is_gone(store: SessionStore) -> None:
    await store.add_session(b"\x01" * 32, session())
    assert await store.end_session(ALICE, "s1") is True
    assert await store.find_session(b"\x01" * 32, NOW) is None
    assert await store.end_session(ALICE, "s1") is False


async def test_nobody_ends_anothers_session(store: SessionStore) -> None:
    await store.add_session(b"\x01" * 32, session())
    assert await store.end_session(BOB, "s1") is False
    assert await store.find_session(b"\x01" * 32, NOW) is not None
