"""The explorer over HTTP: open to everyone, from the chain alone."""

from typing import Any

import pytest
from httpx import AsyncClient

from backend.domain.types import DatanetId, Purpose
from backend.services.answering import Receipted
from tests.routes.conftest import EXPLORED_BLOCKS, Site, error_of
from tests.services.content_fixtures import ALICE, BOB, OWNER, REGISTRY
from tests.services.world import BOTH, BUILDER, LEDGER, SERVER, STRANGER

NOWHERE = "0x" + "ab" * 32


async def read(client: AsyncClient, path: str) -> Any:
    answer = await client.get(f"/api/explorer{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def receipted(site: Site, cardio: DatanetId) -> Receipted:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    answered = await site.world.ask(BUILDER, "What thins blood?", cardio)
    await site.world.settle()
    return answered


async def test_blocks_are_paged_from_the_newest(site: Site, cardio: DatanetId) -> None:
    for _ in range(6):
        site.world.chain.mine()
    head = len(site.world.chain.blocks) - 1
    async with site.visitor() as client:
        first = await read(client, "/blocks?limit=3")
        assert first["head"] == head
        assert [b["number"] for b in first["blocks"]] == [head, head - 1, head - 2]
        older = await read(client, f"/blocks?limit=3&before={head - 2}")
        assert [b["number"] for b in older["blocks"]] == [head - 3, head - 4, head - 5]
        assert [b["number"] for b in (await read(client, "/blocks?before=2"))["blocks"]] == [1, 0]


async def test_a_block_is_found_by_number_and_by_hash(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    ref = site.world.chain.blocks[-1].ref
    async with site.visitor() as client:
        by_number = await read(client, f"/blocks/{ref.number}")
        assert by_number == await read(client, f"/blocks/{ref.hash}")
    [line] = by_number["transactions"]
    assert (line["method"], line["sender"], line["to"], line["succeeded"]) == ("grant", OWNER, REGISTRY, True)


async def test_a_transaction_is_decoded(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    [tx_hash] = site.world.chain.blocks[-1].calls
    async with site.visitor() as client:
        seen = await read(client, f"/transactions/{tx_hash}")
    assert (seen["status"], seen["contract"], seen["confirmations"]) == ("success", "DatanetRegistry", 1)
    words = {a["name"]: a["text"] for a in seen["call"]["arguments"]}
    assert words == {"datanetId": f"#{cardio}", "grantee": BUILDER, "purposes": "train, retrieve", "expiresAt": "never"}
    assert [e["decoded"]["name"] for e in seen["events"]] == ["AccessGranted"]


async def test_an_address_shows_what_it_owns_holds_gave_and_did(site: Site, receipted: Receipted) -> None:
    async with site.visitor() as client:
        owner, builder, bob = [await read(client, f"/addresses/{who.lower()}") for who in (OWNER, BUILDER, BOB)]
        server = await read(client, f"/addresses/{SERVER}")
    assert [d["name"] for d in owner["datanets"]] == ["cardio"]
    assert [g["grantee"] for g in owner["grants_given"]] == [BUILDER]
    assert [t["method"] for t in owner["transactions"]["rows"]] == ["grant", "publishVersion", "createDatanet"]
    [held] = builder["grants_held"]
    assert (held["datanet_id"], held["purposes"], held["live"]) == (1, ["train", "retrieve"], True)
    share = receipted.answer.shares_bps[BOB]
    assert bob["credit_totals"] == [{"datanet_id": 1, "ours": True, "answers": 1, "share_bps": share}]
    assert [c["name"] for c in bob["credits"]] == ["Credited"]
    assert [t["method"] for t in bob["transactions"]["rows"]] == ["anchor"]  # named by an event, not by the transaction
    assert [c["name"] for c in server["checkpoints"]] == ["CheckpointAnchored"]
    assert (owner["account"]["kind"], owner["about"]) == ("wallet", None)


async def test_a_credit_that_somebody_else_says_is_counted_apart(site: Site, receipted: Receipted) -> None:
    chain = site.world.chain
    chain.execute(
        STRANGER, "ReceiptLedger", "anchor", STRANGER, 1, "0x" + "cd" * 32, [], [(BOB, 1, NOWHERE, 0, 10_000)]
    )
    async with site.visitor() as client:
        totals = (await read(client, f"/addresses/{BOB}"))["credit_totals"]
    assert [(t["ours"], t["answers"]) for t in totals] == [(False, 1), (True, 1)]


async def test_a_datanet_is_its_new_owners_and_old_grants_are_over(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    site.world.chain.transfer(cardio, ALICE)
    async with site.visitor() as client:
        before, after = [await read(client, f"/addresses/{who}") for who in (OWNER, ALICE)]
        datanet = await read(client, f"/datanets/{cardio}")
    assert (before["datanets"], [d["datanet_id"] for d in after["datanets"]]) == ([], [cardio])
    assert datanet["owner"] == ALICE
    assert [g["live"] for g in datanet["grants"]] == [False]


async def test_an_expired_grant_is_not_live_even_where_its_purpose_is_open(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE, site.world.chain.now + 10)
    site.world.chain.set_public(cardio, Purpose.RETRIEVE)
    async with site.visitor() as client:
        assert [g["live"] for g in (await read(client, f"/addresses/{BUILDER}"))["grants_held"]] == [True]
        site.world.chain.advance(11)
        assert [g["live"] for g in (await read(client, f"/addresses/{BUILDER}"))["grants_held"]] == [False]


async def test_a_contract_of_ours_shows_what_it_can_do_and_who_called_it(site: Site, cardio: DatanetId) -> None:
    async with site.visitor() as client:
        page = await read(client, f"/addresses/{REGISTRY}")
    assert (page["account"]["contract"], page["account"]["matches_build"]) == ("DatanetRegistry", True)
    assert {e["name"] for e in page["about"]["entries"]} >= {"grant"}
    assert [t["method"] for t in page["transactions"]["rows"]] == ["publishVersion", "createDatanet"]


async def test_transactions_go_on_where_the_last_page_ended(site: Site, cardio: DatanetId) -> None:
    for _ in range(EXPLORED_BLOCKS):
        site.world.chain.grant(cardio, BUILDER, BOTH)
    for _ in range(3 * EXPLORED_BLOCKS):
        site.world.chain.mine()
    methods, before = [], ""
    async with site.visitor() as client:
        for _ in range(10):
            page = (await read(client, f"/addresses/{OWNER}{before}"))["transactions"]
            assert page["last_block"] - page["first_block"] < EXPLORED_BLOCKS
            assert page["rows"]  # what events name is where to look next
            methods += [t["method"] for t in page["rows"]]
            if page["next_before"] is None:
                break
            before = f"?before={page['next_before']}"
    # the empty blocks in between are passed over; each transaction is on one page
    assert methods == ["grant"] * EXPLORED_BLOCKS + ["publishVersion", "createDatanet"]


async def test_a_datanet_is_read_from_the_contracts(site: Site, receipted: Receipted, cardio: DatanetId) -> None:
    await site.world.train(BUILDER, cardio)
    async with site.visitor() as client:
        page = await read(client, f"/datanets/{cardio}")
    assert (page["name"], page["owner"]) == ("cardio", OWNER)
    assert [v["name"] for v in page["versions"]] == ["VersionPublished"]
    assert [(g["grantee"], g["live"]) for g in page["grants"]] == [(BUILDER, True)]
    assert [(m["model_id"], m["trainer"]) for m in page["models"]] == [(1, BUILDER)]
    activity = {e["name"] for e in page["activity"]}
    assert {"Credited", "ModelTrainedOn", "DatanetCreated"} <= activity
    assert not {"ModelRegistered", "CheckpointAnchored"} & activity  # model 1 and size 1 are not datanet 1


async def test_a_search_says_where_to_go(site: Site, receipted: Receipted, cardio: DatanetId) -> None:
    block = site.world.chain.blocks[1]
    [tx_hash] = block.calls
    [published] = site.world.events_named("VersionPublished")
    [anchor] = [e.tx_hash for b in site.world.chain.blocks for e in b.events if e.name == "Credited"]
    [publication] = [e.tx_hash for b in site.world.chain.blocks for e in b.events if e.name == "VersionPublished"]
    expected = {
        tx_hash: [("transaction", tx_hash)],
        tx_hash[2:].upper(): [("transaction", tx_hash)],
        block.ref.hash: [("block", "1")],
        OWNER.lower(): [("address", OWNER)],
        "1": [("block", "1"), ("datanet", "1")],
        "#1": [("datanet", "1")],
        " Datanet 1 ": [("datanet", "1")],
        "#99": [],
        "9999": [],
        NOWHERE: [],
        receipted.receipt.digest: [("transaction", anchor)],
        published["manifestDigest"]: [("transaction", publication)],
    }
    async with site.visitor() as client:
        for asked, places in expected.items():
            found = (await client.get("/api/explorer/search", params={"q": asked})).json()["results"]
            assert [(f["kind"], f["key"]) for f in found] == places, asked
        for wrong in ("", "cardio", "0x12", "-1", "9" * 30, "datanet"):
            assert error_of(await client.get("/api/explorer/search", params={"q": wrong})) == (400, "InvalidValue")


async def test_what_is_not_there_and_what_is_nothing_are_told_apart(site: Site) -> None:
    missing = [f"/blocks/{NOWHERE}", "/blocks/99", f"/transactions/{NOWHERE}", "/datanets/99"]
    wrong = [
        "/blocks/latest", "/blocks/-1", "/transactions/0x12", "/addresses/0x12", "/datanets/0", "/datanets/x",
        "/blocks?limit=0", "/blocks?limit=51", "/blocks?before=0", f"/addresses/{LEDGER}?before=-3", "/search",
    ]  # fmt: skip
    async with site.visitor() as client:
        for path in missing:
            assert error_of(await client.get(f"/api/explorer{path}")) == (404, "NotFound"), path
        for path in wrong:
            answer = await client.get(f"/api/explorer{path}")
            assert answer.status_code in (400, 404), path
            assert error_of(answer)[1] in ("InvalidValue", "NotFound")


async def test_a_silent_chain_is_503(site: Site) -> None:
    site.world.chain.down = True
    paths = ["/blocks", "/blocks/1", f"/transactions/{NOWHERE}", f"/addresses/{LEDGER}", "/datanets/1", "/search?q=1"]
    async with site.visitor() as client:
        for path in paths:
            assert error_of(await client.get(f"/api/explorer{path}")) == (503, "ChainUnavailable"), path


async def test_our_database_has_no_part_in_it(site: Site, receipted: Receipted, cardio: DatanetId) -> None:
    async with site.visitor() as client:
        paths = [f"/addresses/{BOB}", f"/datanets/{cardio}", "/blocks", f"/addresses/{OWNER}"]
        before = [await read(client, path) for path in paths]
        await site.world.mirror.rewind(None)
        assert [await read(client, path) for path in paths] == before
