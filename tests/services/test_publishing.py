"""Publishing: only the owner, bad rows by choice, everything pinned or nothing."""

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO

import pytest

from backend.domain.datanet import canonical_json
from backend.domain.errors import (
    AccessDenied,
    ChainUnavailable,
    ContentUnavailable,
    DatabaseUnavailable,
    InvalidValue,
    NotFound,
    RejectedRows,
    TooLarge,
    UnreadableFile,
)
from backend.domain.manifest import manifest_bytes, parse_manifest, shard_header
from backend.domain.types import DatanetId, digest_of
from backend.drivers.memory.content import MemoryContentStore
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import VersionRow
from tests.services.content_fixtures import ALICE, BOB, OWNER, REGISTRY, ROWS, House, jsonl

MIXED = jsonl(ROWS) + b"{broken\n"


@pytest.fixture
def house() -> House:
    return House()


def nothing_is_published(house: House) -> bool:
    return not house.content.pinned and not house.versions._versions


async def test_a_preview_shows_rows_and_problems_and_pins_nothing(house: House) -> None:
    draft, upload = await house.publishing.preview(OWNER, house.datanet, "rows.jsonl", MIXED, None)
    assert (len(upload.records), [p.row for p in upload.problems], upload.format) == (3, [4], "text")
    assert draft.expires_at == house.time + timedelta(hours=1)
    assert b"Warfarin" not in draft.sealed
    assert nothing_is_published(house)


async def test_only_the_owner_may_preview_and_nothing_is_read_for_another(house: House) -> None:
    with pytest.raises(AccessDenied, match="only the owner"):
        await house.publishing.preview(ALICE, house.datanet, "rows.jsonl", b"", None)
    assert not house.versions._drafts


async def test_who_sold_the_datanet_may_no_longer_prepare(house: House) -> None:
    draft_id = await house.draft()
    house.chain.transfer(house.datanet, ALICE)
    with pytest.raises(AccessDenied):
        await house.publishing.prepare(OWNER, draft_id, "skip")
    assert nothing_is_published(house)


async def test_a_datanet_that_does_not_exist_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        await house.publishing.preview(OWNER, DatanetId(99), "rows.jsonl", jsonl(ROWS), None)


async def test_without_the_chain_nothing_is_decided(house: House) -> None:
    draft_id = await house.draft()
    house.chain.down = True
    with pytest.raises(ChainUnavailable):
        await house.publishing.preview(OWNER, house.datanet, "rows.jsonl", jsonl(ROWS), None)
    with pytest.raises(ChainUnavailable):
        await house.publishing.prepare(OWNER, draft_id, "skip")
    assert nothing_is_published(house)


async def test_an_unreadable_file_leaves_no_draft(house: House) -> None:
    with pytest.raises(UnreadableFile):
        await house.draft(b"\0binary")
    house.publishing = replace(house.publishing, max_upload_bytes=10)
    with pytest.raises(TooLarge):
        await house.draft()
    assert not house.versions._drafts


async def test_a_prepared_version_has_a_shard_a_contributor_in_order_of_appearance(house: House) -> None:
    row = await house.prepare()
    manifest = row.manifest
    assert [(s.contributor, s.records) for s in manifest.shards] == [(BOB, 2), (ALICE, 1)]
    assert (row.status, row.version, manifest.records, manifest.format) == ("prepared", 1, 3, "text")
    assert (manifest.chain_id, manifest.registry, manifest.datanet) == (20931, REGISTRY, house.datanet)
    assert house.content.pinned == {row.manifest_cid, *(s.cid for s in manifest.shards)}
    for shard in manifest.shards:
        sealed = house.content.objects[shard.cid]
        assert (len(sealed), digest_of(hashlib.sha256(sealed).digest())) == (shard.bytes, shard.sha256)
        assert b"arfarin" not in sealed
    assert row.manifest_digest == digest_of(hashlib.sha256(house.content.objects[row.manifest_cid]).digest())
    assert await house.versions.version(row.manifest_digest) == row
    assert not house.versions._drafts


async def test_a_shards_lines_are_canonical_and_open_only_in_their_place(house: House) -> None:
    row = await house.prepare()
    key, sealed = house.cipher.unwrap(row.wrapped_key), house.content.objects[row.manifest.shards[0].cid]
    lines = house.cipher.decrypt(key, sealed, header=shard_header(20931, REGISTRY, house.datanet, 1, 0))
    values = [json.loads(line) for line in lines.splitlines()]
    assert [value["body"] for value in values] == [{"text": ROWS[0]["text"]}, {"text": ROWS[2]["text"]}]
    assert lines == b"".join(canonical_json(value) + b"\n" for value in values)
    assert len({value["salt"] for value in values}) == 2


async def test_the_next_version_follows_the_chains(house: House) -> None:
    await house.publish(await house.prepare())
    assert (await house.prepare()).version == 2


async def test_bad_rows_are_refused_all_together_or_skipped_as_the_owner_says(house: House) -> None:
    draft_id = await house.draft(MIXED)
    with pytest.raises(RejectedRows) as refused:
        await house.publishing.prepare(OWNER, draft_id, "refuse")
    assert [p.row for p in refused.value.problems] == [4]
    assert nothing_is_published(house)
    assert (await house.publishing.prepare(OWNER, draft_id, "skip")).manifest.records == 3


async def test_without_a_good_row_there_is_nothing_to_publish(house: House) -> None:
    draft_id = await house.draft(b"{broken\n")
    with pytest.raises(InvalidValue, match="none of its rows"):
        await house.publishing.prepare(OWNER, draft_id, "skip")
    assert nothing_is_published(house)


async def test_another_word_for_bad_rows_is_refused(house: House) -> None:
    with pytest.raises(InvalidValue, match="neither skip nor refuse"):
        await house.publishing.prepare(OWNER, await house.draft(), "ignore")


async def test_a_draft_is_its_owners_alone_and_runs_out(house: House) -> None:
    draft_id = await house.draft()
    with pytest.raises(NotFound):
        await house.publishing.prepare(ALICE, draft_id, "skip")
    with pytest.raises(NotFound):
        await house.publishing.prepare(OWNER, "no such draft", "skip")
    house.pass_time(timedelta(hours=1))
    with pytest.raises(NotFound, match="upload the file again"):
        await house.publishing.prepare(OWNER, draft_id, "skip")


@pytest.mark.parametrize("puts", [0, 1, 2])
async def test_when_ipfs_fails_midway_nothing_is_kept_but_the_draft(house: House, puts: int) -> None:
    class Flaky(MemoryContentStore):
        """Fails one put and is well again."""

        async def put(self, content: BinaryIO) -> str:
            if len(self.objects) == puts:
                raise ContentUnavailable("adding content")
            return await MemoryContentStore.put(self, content)

    draft_id, flaky = await house.draft(), Flaky()
    broken = House(house.chain, house.versions, flaky, house.cipher)
    with pytest.raises(ContentUnavailable):
        await broken.publishing.prepare(OWNER, draft_id, "skip")
    assert len(flaky.objects) == puts
    assert nothing_is_published(broken)
    assert (await house.publishing.prepare(OWNER, draft_id, "skip")).manifest.records == 3


async def test_an_ipfs_that_stays_down_is_said_and_the_draft_kept(house: House) -> None:
    draft_id = await house.draft()
    house.content.fail_after_puts = 1
    with pytest.raises(ContentUnavailable, match="cannot be reached"):
        await house.publishing.prepare(OWNER, draft_id, "skip")
    assert not house.versions._versions
    assert draft_id in house.versions._drafts


async def test_when_the_database_fails_what_was_pinned_is_unpinned() -> None:
    class Broken(MemoryVersionStore):
        async def add_version(self, row: VersionRow) -> None:
            raise DatabaseUnavailable("insert")

    house = House(versions=Broken())
    draft_id = await house.draft()
    with pytest.raises(DatabaseUnavailable):
        await house.publishing.prepare(OWNER, draft_id, "skip")
    assert nothing_is_published(house)
    assert draft_id in house.versions._drafts


async def test_a_draft_that_cannot_be_dropped_does_not_undo_the_version() -> None:
    class Broken(MemoryVersionStore):
        async def drop_draft(self, draft_id: str) -> None:
            raise DatabaseUnavailable("delete")

    house = House(versions=Broken())
    row = await house.prepare()
    assert await house.versions.version(row.manifest_digest) == row
    assert house.content.pinned


async def test_cancelled_midway_it_unpins(house: House) -> None:
    class Stuck(MemoryContentStore):
        async def put(self, content: BinaryIO) -> str:
            if self.objects:
                stuck.set()
                await asyncio.Event().wait()
            return await MemoryContentStore.put(self, content)

    stuck = asyncio.Event()
    stuck_house = House(house.chain, house.versions, Stuck(), house.cipher)
    task = asyncio.create_task(stuck_house.publishing.prepare(OWNER, await house.draft(), "skip"))
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stuck_house.content.objects
    assert nothing_is_published(stuck_house)


async def test_the_same_file_twice_shares_no_bytes(house: House) -> None:
    first, second = await house.prepare(), await house.prepare()
    assert {s.cid for s in first.manifest.shards}.isdisjoint(s.cid for s in second.manifest.shards)
    assert first.manifest.records_root != second.manifest.records_root


async def test_a_manifest_survives_its_round_trip(house: House) -> None:
    manifest = (await house.prepare()).manifest
    assert parse_manifest(manifest_bytes(manifest)) == manifest
