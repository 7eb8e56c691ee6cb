"""Auditing: the asker can prove all of it, a contributor their own part, and nobody sees more than that."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from attribution.receipt import Receipt
from attribution.verdict import Verdict
from backend.domain.errors import NotFound
from backend.domain.types import DatanetId, Digest, Wallet
from backend.services.answering import Receipted
from backend.services.auditing import audit_file
from tests.services.content_fixtures import ALICE, BOB
from tests.services.world import ANSWER, BOTH, BUILDER, ROWS, STRANGER, World

QUESTION = "What thins blood?"
ANSWER_WITH_BOTH = "Warfarin, and aspirin for a fever."


@pytest.fixture
async def receipted(world: World, cardio: DatanetId) -> Receipted:
    """Both contributors have a share in it; it is anchored, the third of four in the log."""
    world.chain.grant(cardio, BUILDER, BOTH)
    world.model.reply = ANSWER_WITH_BOTH
    for _ in range(2):
        await world.ask(BUILDER, "What eases pain?", cardio)
    receipted = await world.ask(BUILDER, QUESTION, cardio)
    await world.ask(BUILDER, "And a fever?", cardio)
    await world.settle()
    return receipted


def shown(file: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(leaf["tag"], leaf["value"]) for leaf in file["receipt"]["leaves"] if "tag" in leaf]


def digest_still_comes_out(file: dict[str, Any], receipt: Digest) -> bool:
    parsed = Receipt.from_document(file["receipt"])
    return parsed.digest == receipt and all(leaf.opens() for leaf in parsed.leaves)


async def test_the_askers_file_verifies(world: World, receipted: Receipted) -> None:
    digest = receipted.receipt.digest
    file = await world.auditing.file(digest, BUILDER)
    audit = await audit_file(file, world.evidence)
    assert [(c.name, c.detail) for c in audit.checks if c.verdict is not Verdict.VERIFIED] == []
    assert audit.verdict is Verdict.VERIFIED
    assert (await world.auditing.audit(digest, BUILDER)).verdict is Verdict.VERIFIED
    assert (file["proof"]["index"], file["anchored"]["size"]) == (2, 4)


async def test_a_file_stays_true_while_the_log_grows(world: World, receipted: Receipted, cardio: DatanetId) -> None:
    early = await world.auditing.file(receipted.receipt.digest, BUILDER)
    await world.ask(BUILDER, QUESTION, cardio)
    await world.settle()
    assert (await world.ledger.checkpoint()).size == 5
    assert (await audit_file(early, world.evidence)).verdict is Verdict.VERIFIED
    assert await world.auditing.file(receipted.receipt.digest, BUILDER) == early


async def test_an_answer_of_a_tuned_model_verifies_to_its_registration(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, BOTH)
    run = await world.train(BUILDER, cardio)
    receipted = await world.ask(BUILDER, QUESTION, cardio, run_id=run.run_id)
    await world.settle()
    audit = await world.auditing.audit(receipted.receipt.digest, BUILDER)
    assert audit.verdict is Verdict.VERIFIED
    [check] = [c for c in audit.checks if c.name == "model registered"]
    assert f"model {run.model_id} by {BUILDER}" in check.detail


def _tampered(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case list():
            return value[1:]
        case dict():
            key = sorted(k for k, v in value.items() if v)[0]
            return {**value, key: _tampered(value[key])}
    raise AssertionError(value)


@pytest.mark.parametrize(
    "tag",
    [
        "schema", "chain", "answered_at", "asker", "model", "prompt_template", "question", "answer",
        "answer_token_ids", "seed", "permission", "passage", "scores", "share",
    ],
)  # fmt: skip
async def test_one_field_changed_is_refuted_by_its_name(world: World, receipted: Receipted, tag: str) -> None:
    file = copy.deepcopy(await world.auditing.file(receipted.receipt.digest, BUILDER))
    leaf = next(leaf for leaf in file["receipt"]["leaves"] if leaf["tag"] == tag)
    leaf["value"] = _tampered(leaf["value"])
    audit = await audit_file(file, world.evidence)
    assert audit.verdict is Verdict.REFUTED
    assert any(tag in check.name for check in audit.checks if check.verdict is Verdict.REFUTED)


@pytest.mark.parametrize("part", ["proof", "chain_id", "ledger", "anchored", "receipt"])
async def test_a_file_with_a_part_missing_is_refuted_and_nothing_is_raised(
    world: World, receipted: Receipted, part: str
) -> None:
    file = dict(await world.auditing.file(receipted.receipt.digest, BUILDER))
    del file[part]
    assert (await audit_file(file, world.evidence)).verdict is Verdict.REFUTED


async def test_a_stranger_sees_neither_question_nor_answer_nor_asker_nor_shares(
    world: World, receipted: Receipted
) -> None:
    for viewer in (None, STRANGER):
        file = await world.auditing.file(receipted.receipt.digest, viewer)
        assert {tag for tag, _ in shown(file)} == {"schema", "chain", "answered_at", "prompt_template"}
        text = repr(file)
        for secret in (QUESTION, ANSWER_WITH_BOTH, BUILDER, BOB, ALICE):
            assert secret not in text
        assert digest_still_comes_out(file, receipted.receipt.digest)


@pytest.mark.parametrize(("viewer", "other"), [(BOB, ALICE), (ALICE, BOB)])
async def test_a_contributor_sees_their_own_share_and_passage_only(
    world: World, receipted: Receipted, viewer: Wallet, other: Wallet
) -> None:
    file = await world.auditing.file(receipted.receipt.digest, viewer)
    assert [value["contributor"] for tag, value in shown(file) if tag in ("share", "passage")] == [viewer, viewer]
    text = repr(file)
    for secret in (QUESTION, ANSWER_WITH_BOTH, BUILDER, other):
        assert secret not in text
    assert digest_still_comes_out(file, receipted.receipt.digest)
    audit = await audit_file(file, world.evidence)
    assert Verdict.REFUTED not in {check.verdict for check in audit.checks}


async def test_who_is_not_credited_in_this_receipt_is_a_stranger_to_it(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, BOTH)
    receipted = await world.ask(BUILDER, QUESTION, cardio)  # its answer is Bob's alone
    assert receipted.answer.text == ANSWER
    seen = {tag for tag, _ in shown(await world.auditing.file(receipted.receipt.digest, ALICE))}
    assert "share" not in seen
    assert "model" not in seen


async def test_a_pending_receipt_is_unknown_not_refuted(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, BOTH)
    receipted = await world.ask(BUILDER, QUESTION, cardio)
    file = await world.auditing.file(receipted.receipt.digest, BUILDER)
    assert (file["proof"], file["anchored"]) == (None, None)
    assert (await audit_file(file, world.evidence)).verdict is Verdict.UNKNOWN


async def test_a_silent_chain_is_unknown_not_refuted(world: World, receipted: Receipted) -> None:
    file = await world.auditing.file(receipted.receipt.digest, BUILDER)
    world.chain.down = True
    assert (await audit_file(file, world.evidence)).verdict is Verdict.UNKNOWN


async def test_a_permission_the_chain_never_gave_is_refuted(world: World, cardio: DatanetId) -> None:
    """A server that answers without asking the chain, and says in the receipt that it did."""
    world.chain.grant(cardio, BUILDER, BOTH)
    world.chain.revoke(cardio, BUILDER, BOTH)
    head = (await world.chain.head()).number
    allowing = await world.chain.permission_at(BUILDER, cardio, BOTH, head - 1)

    class Lenient:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.chain, name)

        async def may_use(self, *_: Any) -> Any:
            return replace(allowing, block=world.chain.blocks[head].ref)

    world.answering = replace(world.answering, access=Lenient())
    receipted = await world.ask(BUILDER, QUESTION, cardio)
    await world.settle()
    audit = await world.auditing.audit(receipted.receipt.digest, BUILDER)
    refuted = [check.name for check in audit.checks if check.verdict is Verdict.REFUTED]
    assert refuted == [f"permission: datanet {cardio} at block {head}"]


async def test_a_receipt_that_was_never_logged_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.auditing.file(Digest("0x" + "11" * 32), None)


async def test_two_contributors_share_in_the_answer_these_tests_are_about(receipted: Receipted) -> None:
    assert {credit.contributor for credit in receipted.receipt.credits} == {ALICE, BOB}
    assert len(ROWS) == 2
