"""Fetching: what the chain vouches for comes back whole; anything else is refused by name."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backend.domain.datanet import Manifest, Record, canonical_json
from backend.domain.errors import ContentCorrupt, ContentUnavailable, NotFound, PublicationUnseen
from backend.domain.manifest import (
    manifest_bytes,
    manifest_value,
    parse_manifest,
    records_root,
    shard_header,
    shard_lines,
)
from backend.domain.types import Digest, PublishedVersion, digest_of
from backend.drivers.content_crypto import StreamCipher
from backend.ports import VersionRow
from tests.services.content_fixtures import ALICE, BOB, OWNER, REGISTRY, ROWS, House


@pytest.fixture
def house() -> House:
    return House()


def sha256(content: bytes) -> Digest:
    return digest_of(hashlib.sha256(content).digest())


async def replaced(house: House, row: VersionRow, manifest: Manifest | bytes) -> PublishedVersion:
    """What the chain would say had its owner published this manifest instead."""
    content = manifest if isinstance(manifest, bytes) else manifest_bytes(manifest)
    root = row.manifest.records_root if isinstance(manifest, bytes) else manifest.records_root
    cid = await house.content.put(io.BytesIO(content))
    published = replace(row, manifest_digest=sha256(content), manifest_cid=cid, status="published")
    await house.versions.add_version(published)
    house.chain.publish(row.datanet, sha256(content), root, cid)
    return await house.chain.current_version(row.datanet)


async def test_published_records_come_back_in_shard_order_with_their_contributors(house: House) -> None:
    row = await house.prepare()
    records = await house.fetching.fetch(await house.publish(row))
    assert [(r.body["text"], r.contributor) for r in records] == [
        (ROWS[0]["text"], BOB),
        (ROWS[2]["text"], BOB),
        (ROWS[1]["text"], ALICE),
    ]
    assert records_root(records) == row.manifest.records_root


async def test_what_was_never_published_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        await house.fetching.fetch(await house.chain.current_version(house.datanet))
    assert house.content.gets == []


async def test_another_registrys_data_is_not_opened_because_this_one_names_its_digest(house: House) -> None:
    version = await house.publish(await house.prepare())
    for elsewhere in ({"chain_id": 1}, {"registry": OWNER}):
        with pytest.raises(ContentCorrupt, match="another chain or registry"):
            await replace(house.fetching, **elsewhere).fetch(version)


async def test_what_the_indexer_has_not_seen_its_owner_publish_is_not_opened(house: House) -> None:
    row = await house.prepare()
    version = await house.publish(row)
    for status in ("prepared", "stale"):
        await house.versions.set_status(row.manifest_digest, status)
        house.content.gets.clear()
        with pytest.raises(PublicationUnseen, match="datanet 1 version 1"):
            await house.fetching.fetch(version)
        assert house.content.gets == []


async def test_a_version_prepared_elsewhere_has_no_key_here(house: House) -> None:
    version = await house.publish(await house.prepare())
    with pytest.raises(NotFound, match="data key"):
        await replace(house.fetching, versions=House().versions).fetch(version)


async def test_content_that_cannot_be_had_is_dont_know_not_no(house: House) -> None:
    row = await house.prepare()
    version = await house.publish(row)
    house.content.missing.add(row.manifest.shards[1].cid)
    with pytest.raises(ContentUnavailable):
        await house.fetching.fetch(version)
    house.content.down = True
    with pytest.raises(ContentUnavailable):
        await house.fetching.fetch(version)


async def test_damaged_content_is_refused(house: House) -> None:
    row = await house.prepare()
    version = await house.publish(row)
    for cid in (row.manifest_cid, row.manifest.shards[0].cid):
        house.content.corrupt = {cid}
        with pytest.raises(ContentCorrupt):
            await house.fetching.fetch(version)


async def test_a_manifest_other_than_the_chains_is_refused(house: House) -> None:
    row = await house.prepare()
    version = await house.publish(row)
    other = await house.prepare()
    house.versions._versions[row.manifest_digest] = replace(row, manifest_cid=other.manifest_cid, status="published")
    with pytest.raises(ContentCorrupt, match="digest that is on chain"):
        await house.fetching.fetch(version)


async def test_a_records_root_other_than_the_chains_is_refused(house: House) -> None:
    version = await house.publish(await house.prepare())
    with pytest.raises(ContentCorrupt, match="another records root"):
        await house.fetching.fetch(replace(version, records_root=Digest("0x" + "11" * 32)))


async def test_another_servers_key_opens_nothing(house: House) -> None:
    version = await house.publish(await house.prepare())
    with pytest.raises(ContentCorrupt, match="data key"):
        await replace(house.fetching, cipher=StreamCipher(bytes(32))).fetch(version)


def _shard(manifest: Manifest, **changes: Any) -> Manifest:
    return replace(manifest, shards=(replace(manifest.shards[0], **changes), *manifest.shards[1:]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: replace(m, version=2), "is of datanet 1 version 2"),
        (lambda m: replace(m, records_root=Digest("0x" + "22" * 32)), "records root that is on chain"),
        (lambda m: replace(m, shards=m.shards[::-1]), "does not open"),
        (lambda m: replace(m, chain_id=1), "another chain"),
        (lambda m: _shard(m, bytes=m.shards[0].bytes - 1), "longer than it may be"),
        (lambda m: _shard(m, bytes=m.shards[0].bytes + 1), "bytes, its manifest says"),
        (lambda m: _shard(m, sha256=m.shards[1].sha256), "SHA-256"),
        (lambda m: _shard(m, contributor=ALICE), "not a record of"),
        (lambda m: replace(_shard(m, records=3), records=4), "its manifest says 3"),
        (lambda m: _shard(m, cid="nonsense"), "CID"),
    ],
)
async def test_a_manifest_that_does_not_fit_its_shards_is_refused_by_name(
    house: House, change: Callable[[Manifest], Manifest], problem: str
) -> None:
    row = await house.prepare()
    version = await replaced(house, row, change(row.manifest))
    with pytest.raises(ContentCorrupt, match=problem):
        await house.fetching.fetch(version)


async def test_records_exchanged_by_who_holds_the_key_miss_the_root_on_chain(house: House) -> None:
    row = await house.prepare()
    forged = [Record({"text": "Warfarin is candy."}, BOB, "33" * 32)] * 2
    key = house.cipher.unwrap(row.wrapped_key)
    sealed = house.cipher.encrypt(key, shard_lines(forged), header=shard_header(20931, REGISTRY, house.datanet, 1, 0))
    cid = await house.content.put(io.BytesIO(sealed))
    version = await replaced(house, row, _shard(row.manifest, cid=cid, bytes=len(sealed), sha256=sha256(sealed)))
    with pytest.raises(ContentCorrupt, match="records root"):
        await house.fetching.fetch(version)


async def test_only_one_byte_string_is_a_manifest(house: House) -> None:
    manifest = (await house.prepare()).manifest
    value = manifest_value(manifest)
    shard = value["shards"][0]
    wrong: list[Any] = [
        b"", b"{}", b"[]", b"\xff", b"[" * 100_000,
        json.dumps(value).encode(),  # not canonical
        canonical_json({**value, "extra": 1}),
        canonical_json({k: v for k, v in value.items() if k != "format"}),
        canonical_json({**value, "schema": "byline.manifest/2"}),
        canonical_json({**value, "format": "xml"}),
        canonical_json({**value, "shards": []}),
        canonical_json({**value, "records": 4}),
        canonical_json({**value, "records": "3"}),
        canonical_json({**value, "version": True}),
        canonical_json({**value, "datanet": -1}),
        canonical_json({**value, "registry": manifest.registry.lower()}),
        canonical_json({**value, "records_root": "0x12"}),
        canonical_json({**value, "shards": [{**shard, "key": "x"}, *value["shards"][1:]]}),
        canonical_json({**value, "shards": [{**shard, "cid": ""}, *value["shards"][1:]]}),
        canonical_json({**value, "shards": ["x"]}),
    ]  # fmt: skip
    for content in wrong:
        with pytest.raises(ContentCorrupt):
            parse_manifest(content)


def test_the_records_root_is_that_of_rfc_9162() -> None:
    records = [Record({"text": str(i)}, BOB, f"{i:064x}") for i in range(3)]

    def node(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    a, b, c = (node(b"\0", record.leaf()) for record in records)
    assert records_root(records) == digest_of(node(b"\1", node(b"\1", a, b), c))
    with pytest.raises(ValueError, match="no root"):
        records_root([])
