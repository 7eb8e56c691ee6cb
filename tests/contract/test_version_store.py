"""What every `VersionStore` does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backend.domain.datanet import Manifest, Shard
from backend.domain.errors import Conflict, NotFound
from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.db.versions import PgVersionStore
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import Draft, VersionRow, VersionStore

NOW = datetime.now(UTC)
OWNER = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
CARDIO = DatanetId(1)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> VersionStore:
    if request.param == "memory":
        return MemoryVersionStore()
    return PgVersionStore(request.getfixturevalue("database"))


def draft(draft_id: str = "d1", filename: str = "rows.jsonl") -> Draft:
    return Draft(draft_id, CARDIO, OWNER, filename, None, b"\x00sealed\xff", b"key", NOW + timedelta(hours=1))


def digest(number: int) -> Digest:
    return Digest(f"0x{number:064x}")


def row(number: int, version: int = 1, datanet: DatanetId = CARDIO, status: str = "prepared") -> VersionRow:
    shards = (
        Shard("bafy1", 100, digest(1), 2, OWNER),
        Shard("bafy2", 200, digest(2), 3, Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")),
    )
    manifest = Manifest(20931, OWNER, datanet, version, "alpaca", 5, digest(9), shards)
    made = NOW + timedelta(seconds=number)
    return VersionRow(datanet, version, OWNER, digest(number), f"bafy{number}", manifest, b"\x00k", status, 0, made)


async def test_a_draft_comes_back_as_it_was(store: VersionStore) -> None:
    await store.add_draft(draft())
    assert await store.draft("d1", NOW) == draft()


async def test_a_draft_ends_at_its_expiry(store: VersionStore) -> None:
    await store.add_draft(draft())
    assert await store.draft("d1", NOW + timedelta(hours=1)) is None


async def test_a_dropped_draft_is_gone_and_dropping_again_is_no_error(store: VersionStore) -> None:
    await store.add_draft(draft())
    await store.drop_draft("d1")
    await store.drop_draft("d1")
    assert await store.draft("d1", NOW) is None


async def test_a_filename_that_no_database_takes_is_made_storable(store: VersionStore) -> None:
    await store.add_draft(draft(filename="a\x00b\ud800.csv"))
    kept = await store.draft("d1", NOW)
    assert kept is not None
    assert kept.filename == "a\ufffdb\ufffd.csv"


async def test_a_version_comes_back_with_its_manifest(store: VersionStore) -> None:
    await store.add_version(row(7))
    assert await store.version(digest(7)) == row(7)
    assert await store.version(digest(8)) is None


async def test_a_manifest_is_stored_once(store: VersionStore) -> None:
    await store.add_version(row(7))
    with pytest.raises(Conflict):
        await store.add_version(replace(row(7), wrapped_key=b"another"))
    assert await store.version(digest(7)) == row(7)


async def test_versions_of_a_datanet_come_newest_first(store: VersionStore) -> None:
    for made in (row(1, 1), row(3, 2), row(2, 2), row(4, 1, DatanetId(2))):
        await store.add_version(made)
    assert [v.manifest_digest for v in await store.versions_of(CARDIO)] == [digest(3), digest(2), digest(1)]


async def test_a_published_version_awaits_its_index_until_it_has_one(store: VersionStore) -> None:
    await store.add_version(row(2))
    await store.add_version(row(1))
    await store.add_version(row(3))
    await store.set_status(digest(2), "published")
    await store.set_status(digest(1), "published")
    assert [v.manifest_digest for v in await store.awaiting_index()] == [digest(1), digest(2)]
    await store.set_status(digest(1), "indexed", 12)
    assert [v.manifest_digest for v in await store.awaiting_index()] == [digest(2)]
    assert await store.version(digest(1)) == replace(row(1), status="indexed", passages=12)


async def test_datanets_are_those_with_a_version(store: VersionStore) -> None:
    assert await store.datanets() == set()
    for number in (1, 2):
        await store.add_version(row(number))
    assert await store.datanets() == {row(1).datanet, row(2).datanet}


async def test_a_status_alone_leaves_the_passages(store: VersionStore) -> None:
    await store.add_version(row(1))
    await store.set_status(digest(1), "indexed", 12)
    await store.set_status(digest(1), "stale")
    assert await store.version(digest(1)) == replace(row(1), status="stale", passages=12)


async def test_a_problem_stays_until_the_next_status(store: VersionStore) -> None:
    await store.add_version(row(1))
    await store.set_status(digest(1), "published", problem="waiting: \x00 IPFS")
    assert await store.version(digest(1)) == replace(row(1), status="published", problem="waiting: \ufffd IPFS")
    assert [v.problem for v in await store.awaiting_index()] == ["waiting: \ufffd IPFS"]
    await store.set_status(digest(1), "indexed", 12)
    assert await store.version(digest(1)) == replace(row(1), status="indexed", passages=12)


async def test_the_status_of_nothing_cannot_be_set(store: VersionStore) -> None:
    with pytest.raises(NotFound):
        await store.set_status(digest(1), "published")
