"""Auditing: the asker can prove all of it, a contributor their own part, and nobody sees more than that."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from attribution.receipt import Receipt
from attribution.verdict import Check, Verdict
from backend import audit_command
from backend.cli import app
from backend.domain.answers import ModelRef
from backend.domain.errors import InvalidValue, NotFound
from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.memory.engine import MemoryCatalog
from backend.services.answering import Receipted
from backend.services.auditing import Audit, audit_file
from backend.settings import Settings, load_settings
from tests.services.content_fixtures import ALICE, BOB, REGISTRY
from tests.services.world import ANSWER, BOTH, BUILDER, LEDGER, ROWS, SERVER, STRANGER, World

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
        "schema", "counts", "chain", "answered_at", "asker", "model", "prompt_template", "question", "answer",
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
        assert {tag for tag, _ in shown(file)} == {"schema", "counts", "chain", "answered_at", "prompt_template"}
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


async def test_a_model_of_another_base_than_was_registered_is_refuted(world: World, cardio: DatanetId) -> None:
    """A server that answers from a smaller model, and says that it was the tuned one."""
    world.chain.grant(cardio, BUILDER, BOTH)
    run = await world.train(BUILDER, cardio)

    class Smaller(MemoryCatalog):
        def resolve(self, name: str) -> ModelRef:
            return replace(super().resolve(name), base="a-smaller-one")

    world.answering = replace(world.answering, catalog=Smaller())
    receipted = await world.ask(BUILDER, QUESTION, cardio, run_id=run.run_id)
    await world.settle()
    audit = await world.auditing.audit(receipted.receipt.digest, BUILDER)
    assert [check.name for check in audit.checks if check.verdict is Verdict.REFUTED] == ["model registered"]


# --- byline audit FILE ----------------------------------------------------------------------------


@pytest.fixture
def auditor(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Someone who looks at the world's chain, from a home without a key."""
    monkeypatch.setattr(audit_command, "ChainEvidence", lambda chain: world.evidence)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERVER_KEY", raising=False)
    monkeypatch.setenv("BYLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RPC_URL", "http://127.0.0.1:9")
    for contract, address in (("REGISTRY", REGISTRY), ("MODEL_REGISTRY", REGISTRY), ("LEDGER", LEDGER)):
        monkeypatch.setenv(f"{contract}_ADDRESS", address)
    return load_settings()


@pytest.fixture
async def path(world: World, receipted: Receipted, tmp_path: Path) -> str:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(await world.auditing.file(receipted.receipt.digest, BUILDER)))
    return str(path)


def publisher_check(audit: Audit) -> Check:
    [check] = [check for check in audit.checks if check.name == "publisher"]
    return check


async def test_a_log_that_somebody_else_anchored_is_refuted(auditor: Settings, path: str) -> None:
    assert (await audit_command.audit(auditor, path, SERVER.lower())).verdict is Verdict.VERIFIED
    audit = await audit_command.audit(auditor, path, STRANGER)
    assert audit.verdict is Verdict.REFUTED
    assert publisher_check(audit).detail == f"anchored by {SERVER}, not by {STRANGER}"
    with pytest.raises(InvalidValue, match="not a 0x"):
        await audit_command.audit(auditor, path, "me")


async def test_a_home_expects_the_log_of_its_own_key(auditor: Settings, path: str) -> None:
    key = local_test_key(0)
    auditor.home.mkdir()
    (auditor.home / "server.key").write_text(key)
    in_the_home = await audit_command.audit(auditor, path)
    (auditor.home / "server.key").unlink()
    in_a_setting = await audit_command.audit(auditor.model_copy(update={"server_key": key}), path)
    for audit in (in_the_home, in_a_setting):
        assert audit.verdict is Verdict.REFUTED
        assert publisher_check(audit).detail == f"anchored by {SERVER}, not by {account_of(key).address}"


async def test_without_a_key_any_log_counts_and_the_audit_says_so_and_makes_no_key(
    auditor: Settings, path: str
) -> None:
    audit = await audit_command.audit(auditor, path)
    assert audit.verdict is Verdict.VERIFIED
    assert SERVER in publisher_check(audit).detail
    assert "--publisher" in publisher_check(audit).detail
    assert not auditor.home.exists()


async def test_a_key_that_cannot_be_read_is_not_taken_for_none(auditor: Settings, path: str) -> None:
    auditor.home.mkdir()
    (auditor.home / "server.key").write_text("damaged")
    with pytest.raises(InvalidValue, match="--publisher"):
        await audit_command.audit(auditor, path)


async def test_a_malformed_file_is_refuted_whoever_published_it(auditor: Settings) -> None:
    audit = await audit_command.check_file(auditor, {"publisher": STRANGER}, SERVER)
    assert [(check.name, check.verdict) for check in audit.checks] == [("file", Verdict.REFUTED)]


@pytest.mark.usefixtures("auditor")
def test_the_command_line_passes_the_publisher_on(path: str) -> None:
    for publisher, status, word in ((SERVER, 0, "verified"), (STRANGER, 1, "REFUTED"), ("me", 2, "wallet")):
        result = CliRunner().invoke(app, ["audit", path, "--publisher", publisher])
        assert (result.exit_code, word in result.output) == (status, True)


def test_what_a_forged_receipt_says_is_printed_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    forged = Check("field \x1b]0;x\x07", Verdict.REFUTED, "\x1b[2J\x1b[1;1Hverified\r\x9b2J\u202e")
    for as_json in (False, True):
        assert audit_command.show(Audit(Verdict.REFUTED, (forged,)), as_json=as_json) == 1
        printed = capsys.readouterr().out
        assert [c for c in printed if c != "\n" and not c.isprintable()] == []
        assert "2J" in printed


async def test_a_receipt_that_was_never_logged_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.auditing.file(Digest("0x" + "11" * 32), None)


async def test_two_contributors_share_in_the_answer_these_tests_are_about(receipted: Receipted) -> None:
    assert {credit.contributor for credit in receipted.receipt.credits} == {ALICE, BOB}
    assert len(ROWS) == 2
