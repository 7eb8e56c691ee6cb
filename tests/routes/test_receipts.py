"""Receipts over HTTP: all for the asker, their part for a contributor, the frame for anyone."""

import pytest

from attribution.log import verify_inclusion
from attribution.receipt import Receipt
from backend.domain.types import DatanetId, digest_bytes
from backend.services.answering import Receipted
from tests.routes.conftest import Site, error_of
from tests.services.content_fixtures import ALICE, BOB
from tests.services.world import BOTH, BUILDER, LEDGER, SERVER, STRANGER

QUESTION = "What thins blood?"


@pytest.fixture
async def receipted(site: Site, cardio: DatanetId) -> Receipted:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    return await site.world.ask(BUILDER, QUESTION, cardio)


async def test_a_receipt_goes_from_pending_to_anchored_and_verified(site: Site, receipted: Receipted) -> None:
    path = f"/api/receipts/{receipted.receipt.digest}"
    async with site.visitor(BUILDER) as client:
        pending = (await client.get(path)).json()
        assert (pending["status"], pending["anchored"], pending["verdict"]) == ("pending", None, "unknown")
        await site.world.settle()
        anchored = (await client.get(path)).json()
        assert (anchored["status"], anchored["verdict"]) == ("anchored", "verified")
        assert anchored["shares_bps"] == dict(receipted.answer.shares_bps)
        assert all(check["detail"] for check in anchored["checks"])
        [row] = (await client.get("/api/receipts")).json()
        assert (row["role"], row["question"], row["status"]) == ("asker", QUESTION, "anchored")
        assert row["tx_hash"] == anchored["anchored"]["tx_hash"]


async def test_what_the_ledger_itself_can_be_asked_follows_its_newest_checkpoint(
    site: Site, receipted: Receipted, cardio: DatanetId
) -> None:
    path = f"/api/receipts/{receipted.receipt.digest}/inclusion"
    async with site.visitor() as anybody:
        assert (await anybody.get(path)).json() is None
        for size in (1, 2, 3):
            await site.world.settle()
            asked = (await anybody.get(path)).json()
            checkpoint = await site.world.ledger.checkpoint()
            assert (asked["publisher"], asked["ledger"], asked["size"]) == (SERVER, LEDGER, size)
            leaf, root = digest_bytes(asked["receipt"]), digest_bytes(checkpoint.root)
            proof = [digest_bytes(sibling) for sibling in asked["proof"]]
            assert verify_inclusion(leaf, asked["index"], checkpoint.size, proof, root)
            await site.world.ask(BUILDER, QUESTION, cardio)


async def test_a_contributor_sees_that_they_are_credited_and_not_for_what(site: Site, receipted: Receipted) -> None:
    await site.world.settle()
    share = receipted.answer.shares_bps[BOB]
    async with site.visitor(BOB) as client:
        [row] = (await client.get("/api/receipts")).json()
        assert (row["role"], row["question"], row["my_share_bps"]) == ("contributor", None, share)
        page = await client.get(f"/api/receipts/{receipted.receipt.digest}")
        assert page.json()["shares_bps"] == {BOB: share}
        for answer in (page, await client.get(f"/api/receipts/{receipted.receipt.digest}/file")):
            assert not [secret for secret in (QUESTION, BUILDER, ALICE, receipted.answer.text) if secret in answer.text]


@pytest.mark.parametrize("viewer", [None, STRANGER])
async def test_a_stranger_sees_the_frame_only(site: Site, receipted: Receipted, viewer: str | None) -> None:
    await site.world.settle()
    async with site.visitor(STRANGER if viewer else None) as client:
        page = await client.get(f"/api/receipts/{receipted.receipt.digest}")
        file = await client.get(f"/api/receipts/{receipted.receipt.digest}/file")
    assert (page.json()["verdict"], page.json()["shares_bps"]) == ("verified", None)
    for answer in (page, file):
        secrets = (QUESTION, BUILDER, ALICE, BOB, receipted.answer.text)
        assert not [secret for secret in secrets if secret in answer.text]
    names = [check["name"] for check in page.json()["checks"]]
    assert len(names) == len(set(names)) > 10
    assert not [name for name in names if "datanet " in name]  # nor which datanets were asked, and when
    assert Receipt.from_document(file.json()["receipt"]).digest == receipted.receipt.digest


async def test_the_file_is_an_attachment_that_verifies(site: Site, receipted: Receipted) -> None:
    await site.world.settle()
    async with site.visitor(BUILDER) as client:
        file = await client.get(f"/api/receipts/{receipted.receipt.digest}/file")
    assert file.headers["content-disposition"].startswith("attachment; filename=")
    assert file.json() == await site.world.auditing.file(receipted.receipt.digest, BUILDER)


async def test_what_is_no_digest_is_named_and_what_is_not_there_is_not_found(site: Site) -> None:
    async with site.visitor() as client:
        for tail in ("", "/file"):
            assert error_of(await client.get(f"/api/receipts/nonsense{tail}")) == (400, "InvalidValue")
            assert error_of(await client.get(f"/api/receipts/0x{'11' * 32}{tail}")) == (404, "NotFound")
