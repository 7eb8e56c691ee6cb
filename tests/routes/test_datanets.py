"""Datanets over HTTP: what anyone may read, and the owner's way from a file to a version."""

import json
from typing import Any

from httpx import AsyncClient, Response

from backend.domain.finality import FINAL_DEPTH
from backend.domain.types import DatanetId, Purpose
from tests.routes.conftest import MAX_UPLOAD_BYTES, Site, error_of
from tests.services.content_fixtures import ALICE, BOB, OWNER, jsonl
from tests.services.world import BUILDER, ROWS

MIXED = jsonl(ROWS) + b"{broken\n" + json.dumps({"text": "", "contributor": BOB}).encode()


async def upload(client: AsyncClient, datanet: int, content: bytes, **form: str) -> Response:
    return await client.post(f"/api/datanets/{datanet}/drafts", files={"file": ("rows.jsonl", content)}, data=form)


async def test_anyone_may_read_the_list_and_sees_what_they_may_use(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE | Purpose.TRAIN, site.world.chain.now + 3600)
    await site.world.follow()
    expected = {None: ([], False), BUILDER: (["train", "retrieve"], False)}
    for wallet, (purposes, mine) in expected.items():
        async with site.visitor(wallet) as client:
            [row] = (await client.get("/api/datanets")).json()
            assert (row["name"], row["owner"], row["version"], row["records"]) == ("cardio", OWNER, 1, 2)
            assert (row["my_purposes"], row["mine"]) == (purposes, mine)
    async with site.visitor(OWNER) as client:
        [row] = (await client.get("/api/datanets")).json()
        assert row["mine"]
        assert row["my_purposes"] == ["train", "retrieve", "evaluate", "export"]


async def test_a_datanets_page_has_its_versions_grants_requests_and_models(site: Site, cardio: DatanetId) -> None:
    world = site.world
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    world.chain.request(cardio, ALICE, Purpose.RETRIEVE, 0, "for a study")
    run = await world.train(BUILDER, cardio)
    async with site.visitor() as client:
        page = (await client.get(f"/api/datanets/{cardio}")).json()
        [version] = page["versions"]
        assert (version["status"], version["passages"]) == ("indexed", 2)
        assert {c["wallet"]: c["records"] for c in version["contributors"]} == {BOB: 1, ALICE: 1}
        assert [(g["grantee"], g["purposes"], g["live"]) for g in page["grants"]] == [(BUILDER, ["train"], True)]
        assert [(r["requester"], r["message"]) for r in page["requests"]] == [(ALICE, "for a study")]
        assert [m["adapter_digest"] for m in page["models"]] == [run.adapter_digest]
        assert (await client.get(f"/api/datanets/{cardio}/versions/1")).json() == version
        assert error_of(await client.get(f"/api/datanets/{cardio}/versions/2")) == (404, "NotFound")
        assert error_of(await client.get(f"/api/datanets/{10**30}")) == (404, "NotFound")


async def test_what_the_chain_holds_says_how_firm_it_is(site: Site, cardio: DatanetId) -> None:
    world = site.world
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    world.chain.request(cardio, ALICE, Purpose.RETRIEVE, 0, "for a study")
    await world.train(BUILDER, cardio)
    await world.ask(OWNER, "What thins blood?", cardio)
    await world.settle()
    await world.prepare(cardio, ROWS)

    async def shown() -> dict[str, list[dict[str, Any]]]:
        async with site.visitor(OWNER) as client:
            page = (await client.get(f"/api/datanets/{cardio}")).json()
            [listed] = (await client.get("/api/datanets")).json()
            [receipt] = (await client.get("/api/receipts")).json()
            anchored = (await client.get(f"/api/receipts/{receipt['digest']}")).json()["anchored"]
        async with site.visitor(BUILDER) as client:
            tuned = (await client.get("/api/models")).json()["tuned"]
        return {"datanet": [page, listed], "version": page["versions"][1:], "grant": page["grants"],
                "request": page["requests"], "model": [*page["models"], *tuned],
                "receipt": [receipt, anchored]}  # fmt: skip

    held_in = {
        "datanet": "DatanetCreated", "version": "VersionPublished", "grant": "AccessGranted",
        "request": "AccessRequested", "model": "ModelRegistered", "receipt": "CheckpointAnchored",
    }  # fmt: skip
    for final in (False, True):
        blocks = {event.name: block.ref.number for block in world.chain.blocks for event in block.events}
        head = len(world.chain.blocks) - 1
        for kind, rows in (await shown()).items():
            number = blocks[held_in[kind]]
            firm = {"block_number": number, "confirmations": head - number + 1, "final": final}
            assert rows
            assert [{key: row[key] for key in firm} for row in rows] == [firm] * len(rows), kind
        for _ in range(FINAL_DEPTH):
            world.chain.mine()
        await world.follow()
    async with site.visitor(OWNER) as client:
        [prepared, _] = (await client.get(f"/api/datanets/{cardio}")).json()["versions"]
    assert (prepared["block_number"], prepared["confirmations"], prepared["final"]) == (None, 0, False)


async def test_a_version_that_is_only_prepared_is_its_owners_alone(site: Site, cardio: DatanetId) -> None:
    await site.world.prepare(cardio, ROWS)
    for wallet, numbers in ((None, [1]), (BUILDER, [1]), (OWNER, [2, 1])):
        async with site.visitor(wallet) as client:
            page = (await client.get(f"/api/datanets/{cardio}")).json()
            assert [version["version"] for version in page["versions"]] == numbers
            assert (await client.get(f"/api/datanets/{cardio}/versions/2")).is_success == (wallet == OWNER)


async def test_an_expired_grant_is_shown_as_dead(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, Purpose.TRAIN, site.world.chain.now + 60)
    site.world.chain.advance(60)
    await site.world.follow()
    async with site.visitor() as client:
        [grant] = (await client.get(f"/api/datanets/{cardio}")).json()["grants"]
    assert grant["live"] is False


async def test_a_file_with_bad_rows_is_shown_and_published_as_the_owner_decides(site: Site) -> None:
    datanet = site.world.chain.create_datanet(OWNER, "cardio")
    async with site.visitor(OWNER) as owner:
        uploaded = await upload(owner, datanet, MIXED)
        draft: dict[str, Any] = uploaded.json()
        assert uploaded.status_code == 201
        assert (draft["rows_total"], draft["rows_good"], draft["problems_total"]) == (4, 2, 2)
        assert [problem["row"] for problem in draft["problems"]] == [3, 4]
        assert [row["contributor"] for row in draft["preview"]] == [BOB, ALICE]
        path = f"/api/datanets/{datanet}/versions"
        refused = await owner.post(path, json={"draft_id": draft["draft_id"], "on_bad_row": "refuse"})
        assert error_of(refused) == (400, "RejectedRows")
        assert [problem["row"] for problem in refused.json()["problems"]] == [3, 4]
        assert site.world.content.pinned == set()
        wrong = await owner.post(path, json={"draft_id": draft["draft_id"], "on_bad_row": "guess"})
        assert (error_of(wrong), wrong.json()["field"]) == ((400, "InvalidValue"), "on_bad_row")
        kept = await owner.post(path, json={"draft_id": draft["draft_id"], "on_bad_row": "skip"})
        assert kept.status_code == 201
        assert (kept.json()["status"], kept.json()["records"], kept.json()["version"]) == ("prepared", 2, 1)
        again = await owner.post(path, json={"draft_id": draft["draft_id"], "on_bad_row": "skip"})
        assert error_of(again) == (404, "NotFound")


async def test_only_the_owner_uploads_and_only_to_what_is_there(site: Site, cardio: DatanetId) -> None:
    async with site.visitor(BUILDER) as builder:
        assert error_of(await upload(builder, cardio, jsonl(ROWS))) == (403, "AccessDenied")
        assert error_of(await upload(builder, 99, jsonl(ROWS))) == (404, "NotFound")
    async with site.visitor() as nobody:
        assert error_of(await upload(nobody, cardio, jsonl(ROWS))) == (401, "NotSignedIn")
    assert site.world.versions._drafts == {}


async def test_what_cannot_be_an_upload_is_named(site: Site, cardio: DatanetId) -> None:
    async with site.visitor(OWNER) as owner:
        assert error_of(await upload(owner, cardio, b"")) == (400, "UnreadableFile")
        large = await upload(owner, cardio, b"x" * (MAX_UPLOAD_BYTES + 1))
        assert error_of(large) == (413, "TooLarge")
        assert large.json()["detail"].startswith("the file has 20,001 bytes, the limit is 20,000; split it")
        named = await upload(owner, cardio, jsonl(ROWS), contributor_column="author")
        assert (error_of(named), named.json()["field"]) == ((400, "InvalidValue"), "contributor_column")
        without = await owner.post(f"/api/datanets/{cardio}/drafts", data={"contributor_column": "x"})
        assert without.status_code == 400


async def test_a_version_that_cannot_be_indexed_says_why(site: Site, cardio: DatanetId) -> None:
    world = site.world
    async with site.visitor() as client:
        assert (await client.get(f"/api/datanets/{cardio}/versions/1")).json()["problem"] is None
        row = await world.prepare(cardio, ROWS)
        world.content.corrupt.add(row.manifest.shards[0].cid)
        world.put_on_chain(row)
        await world.follow()
        version = (await client.get(f"/api/datanets/{cardio}/versions/2")).json()
        assert version["status"] == "corrupt"
        assert "not what was pinned" in version["problem"]
        assert (await client.get(f"/api/datanets/{cardio}")).json()["versions"][0] == version


async def test_of_a_version_prepared_twice_the_one_on_chain_is_shown(site: Site, cardio: DatanetId) -> None:
    chosen = await site.world.prepare(cardio, ROWS)
    site.world.chain.advance(60)
    other = await site.world.prepare(cardio, ROWS)
    async with site.visitor(OWNER) as client:
        for row, status in ((other, "prepared"), (chosen, "indexed")):
            version = (await client.get(f"/api/datanets/{cardio}/versions/2")).json()
            assert (version["manifest_digest"], version["status"]) == (row.manifest_digest, status)
            site.world.put_on_chain(chosen)
            await site.world.follow()


async def test_a_draft_is_not_published_to_another_datanet_and_not_used_up_by_the_try(
    site: Site, cardio: DatanetId
) -> None:
    other = site.world.chain.create_datanet(OWNER, "neuro")
    async with site.visitor(OWNER) as owner:
        draft_id = (await upload(owner, cardio, jsonl(ROWS))).json()["draft_id"]
        pinned = set(site.world.content.pinned)
        refused = await owner.post(f"/api/datanets/{other}/versions", json={"draft_id": draft_id})
        assert (error_of(refused), refused.json()["field"]) == ((400, "InvalidValue"), "draft_id")
        assert site.world.content.pinned == pinned
        assert (await owner.post(f"/api/datanets/{cardio}/versions", json={"draft_id": draft_id})).status_code == 201


async def test_ipfs_being_down_is_503_and_the_draft_stays(site: Site, cardio: DatanetId) -> None:
    async with site.visitor(OWNER) as owner:
        draft_id = (await upload(owner, cardio, jsonl(ROWS))).json()["draft_id"]
        site.world.content.down = True
        body = {"draft_id": draft_id}
        assert error_of(await owner.post(f"/api/datanets/{cardio}/versions", json=body)) == (503, "ContentUnavailable")
        site.world.content.down = False
        assert (await owner.post(f"/api/datanets/{cardio}/versions", json=body)).status_code == 201
