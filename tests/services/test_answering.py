"""Answering: no grant, no answer; no receipt, no record of an answer."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest

from backend.domain.answers import Answer, Credit, LoggedReceipt, ModelRef, Unfinished
from backend.domain.consent import PLAIN_TERMS
from backend.domain.errors import (
    AccessDenied,
    ChainUnavailable,
    DatabaseUnavailable,
    InvalidValue,
    ModelUnavailable,
    NotFound,
    PublicationUnseen,
)
from backend.domain.training import RunStatus
from backend.domain.types import DatanetId, Purpose, RunId
from backend.drivers.memory.answers import MemoryAnswerLog
from backend.services.answering import Answered, Event, ModelChoice, Receipted, Retrieved, Scoring, Token
from tests.services.content_fixtures import ALICE, BOB, OWNER
from tests.services.world import ANSWER, BASE, BOTH, BUILDER, ROWS, STRANGER, World

QUESTION = "What thins blood?"


class ForgetfulLog(MemoryAnswerLog):
    """A database that stops answering the moment something is to be stored."""

    async def append(self, answer: Answer, document: dict[str, Any], credits: Any) -> LoggedReceipt:
        raise DatabaseUnavailable("answers")


def nothing_happened(world: World) -> bool:
    return (world.model.generated, world.model.scored, len(world.answer_log._answers)) == (0, 0, 0)


async def test_without_a_grant_the_model_never_runs(world: World, cardio: DatanetId) -> None:
    fetched = list(world.content.gets)
    with pytest.raises(AccessDenied, match="may not retrieve with datanet 1"):
        await world.ask(BUILDER, QUESTION, cardio)
    assert nothing_happened(world)
    assert await world.answer_log.size() == 0
    assert world.content.gets == fetched


async def test_a_grant_for_another_purpose_does_not_do(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN | Purpose.EVALUATE | Purpose.EXPORT)
    with pytest.raises(AccessDenied):
        await world.ask(BUILDER, QUESTION, cardio)
    assert nothing_happened(world)


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_tuned_model_answers_after_a_revocation_only_where_the_terms_keep_models(
    world: World, cardio: DatanetId, keeps: bool
) -> None:
    world.chain.set_terms(cardio, replace(PLAIN_TERMS, keeps_models=keeps))
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    run = await world.train(BUILDER, cardio)
    asked = (BUILDER, "Who knows?", ModelChoice(run_id=run.run_id), (), 32, 7)
    await world.answering.ask(*asked)
    world.chain.revoke(cardio, BUILDER, Purpose.TRAIN)
    if keeps:
        assert (await world.answering.ask(*asked)).model.run_id == run.run_id
    else:
        with pytest.raises(AccessDenied, match="stop serving"):
            await world.answering.ask(*asked)


async def test_a_silent_chain_is_dont_know_and_the_model_never_runs(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await world.ask(BUILDER, QUESTION, cardio)
    assert nothing_happened(world)


async def test_a_revoked_grant_is_refused_at_the_next_question(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
    await world.ask(BUILDER, QUESTION, cardio)
    world.chain.revoke(cardio, BUILDER, Purpose.RETRIEVE)
    with pytest.raises(AccessDenied):
        await world.ask(BUILDER, QUESTION, cardio)
    assert (world.model.generated, await world.answer_log.size()) == (1, 1)


async def test_an_expired_grant_is_refused_at_the_next_question(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE, world.chain.now + 60)
    await world.ask(BUILDER, QUESTION, cardio)
    world.chain.advance(60)
    with pytest.raises(AccessDenied):
        await world.ask(BUILDER, QUESTION, cardio)
    assert world.model.generated == 1


async def test_the_mirror_does_not_decide(world: World, cardio: DatanetId) -> None:
    """The indexer has not seen the revocation yet; the chain has."""
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
    await world.follow()
    world.chain.revoke(cardio, BUILDER, Purpose.RETRIEVE)
    assert [grant.purposes for grant in await world.mirror.grants_to(BUILDER)] == [Purpose.RETRIEVE]
    with pytest.raises(AccessDenied):
        await world.ask(BUILDER, QUESTION, cardio)


async def test_one_denied_datanet_of_two_refuses_all(world: World, cardio: DatanetId) -> None:
    other = await world.publish("neuro", ROWS)
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
    with pytest.raises(AccessDenied, match="datanet 2"):
        await world.ask(BUILDER, QUESTION, cardio, other)
    assert nothing_happened(world)


async def test_a_datanet_that_does_not_exist_is_denied(world: World, cardio: DatanetId) -> None:
    with pytest.raises(AccessDenied):
        await world.ask(OWNER, QUESTION, cardio, DatanetId(99))
    assert nothing_happened(world)


async def test_events_come_in_order_and_the_text_is_what_the_tokens_were(world: World, cardio: DatanetId) -> None:
    events = await world.events(OWNER, QUESTION, cardio)
    kinds = [type(event) for event in events]
    assert kinds == [Retrieved, Token, Token, Answered, Scoring, Receipted]
    assert "".join(event.text for event in events if isinstance(event, Token)) == ANSWER
    assert events[3] == Answered(ANSWER, cut=False)
    assert events[4] == Scoring(2)


async def test_an_answer_that_had_no_room_to_end_says_so(world: World, cardio: DatanetId) -> None:
    world.model.reply = "word " * 99
    assert Answered("word " * 31 + "word", cut=True) in await world.events(OWNER, QUESTION, cardio)


async def test_the_shares_sum_to_all_and_go_to_whose_passage_holds_the_answer(world: World, cardio: DatanetId) -> None:
    answer = (await world.ask(OWNER, QUESTION, cardio)).answer
    assert sum(answer.shares_bps.values()) == 10_000
    assert set(answer.shares_bps) == {BOB, ALICE, "nobody"}
    assert answer.shares_bps[BOB] >= 1_000
    assert answer.shares_bps[ALICE] == 0


async def test_an_answer_that_no_passage_explains_is_nobodys(world: World, cardio: DatanetId) -> None:
    world.model.reply = "Quux zyzzy."
    receipted = await world.ask(OWNER, QUESTION, cardio)
    assert receipted.answer.shares_bps == {BOB: 0, ALICE: 0, "nobody": 10_000}
    assert receipted.receipt.credits == ()


async def test_answer_and_receipt_are_stored_together(world: World, cardio: DatanetId) -> None:
    answer, receipt = (stored := await world.ask(OWNER, QUESTION, cardio)).answer, stored.receipt
    assert await world.answer_log.answers_of(OWNER) == [answer]
    assert await world.answer_log.receipt(answer.receipt_digest) == receipt
    assert (receipt.index, receipt.asker, receipt.digest) == (0, OWNER, answer.receipt_digest)
    assert receipt.credits == (Credit(BOB, cardio, receipt.digest, answer.shares_bps[BOB]),)
    assert receipt.document["digest"] == receipt.digest


async def test_a_receipt_says_what_was_read_on_chain_and_when(world: World, cardio: DatanetId) -> None:
    head = (await world.chain.head()).number
    document = (await world.ask(OWNER, QUESTION, cardio)).receipt.document
    said = {leaf["tag"]: leaf["value"] for leaf in document["leaves"]}
    version = await world.chain.current_version(cardio)
    assert said["permission"]["block_number"] == head
    assert said["permission"]["block_hash"] == world.chain.blocks[head].ref.hash
    assert said["permission"]["manifest_digest"] == version.manifest_digest
    assert (said["question"], said["answer"], said["asker"]) == (QUESTION, ANSWER, OWNER)


async def test_a_log_that_fails_leaves_neither_answer_nor_receipt(world: World, cardio: DatanetId) -> None:
    world.answer_log = ForgetfulLog()
    world.restart()
    with pytest.raises(DatabaseUnavailable):
        await world.ask(OWNER, QUESTION, cardio)
    assert await world.answer_log.size() == 0
    assert await world.answer_log.answers_of(OWNER) == []


@pytest.mark.parametrize("heard", [Retrieved, Token, Answered, Scoring])
async def test_who_leaves_gets_a_receipt_for_what_was_said(world: World, cardio: DatanetId, heard: type) -> None:
    world.model.reply = ANSWER + " And so it goes on." * 20
    question = await world.answering.ask(OWNER, QUESTION, ModelChoice(BASE), [cardio], 64, 7)
    stream = cast(AsyncGenerator[Event, None], world.answering.answer(question))
    async for event in stream:
        if isinstance(event, heard):
            break
    await stream.aclose()
    await world.answering.finish(10)
    [answer] = await world.answer_log.answers_of(OWNER)
    receipt = await world.answer_log.receipt(answer.receipt_digest)
    assert receipt is not None
    assert (len(answer.text) < 100) == (heard in (Retrieved, Token))  # the text ends soon after its reader left
    assert sum(answer.shares_bps.values()) == 10_000


async def test_an_answer_that_a_process_died_over_is_ended_by_the_next(world: World, cardio: DatanetId) -> None:
    question = await world.answering.ask(OWNER, QUESTION, ModelChoice(BASE), [cardio], 64, 7)
    stream = cast(AsyncGenerator[Event, None], world.answering.answer(question))
    async for event in stream:
        if isinstance(event, Token):
            break
    for task in [*world.answering._at_work]:  # kill -9
        task.cancel()
    await stream.aclose()
    assert await world.answer_log.size() == 0
    [begun] = await world.answer_log.unfinished()
    world.restart()
    assert await world.answering.take_up(begun.begun_at) == 0  # one of this process's own is not touched
    world.chain.advance(60)
    assert await world.answering.take_up(world.now()) == 1
    [answer] = await world.answer_log.answers_of(OWNER)
    assert (answer.answer_id, answer.text, answer.passages) == (begun.answer_id, ANSWER, begun.passages)
    assert answer.shares_bps[BOB] >= 1_000
    assert await world.answering.take_up(world.now()) == 0


async def test_what_cannot_be_ended_now_waits_and_what_cannot_at_all_is_given_up(
    world: World, cardio: DatanetId, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answer_log = ForgetfulLog()
    world.restart()
    with pytest.raises(DatabaseUnavailable):
        await world.ask(OWNER, QUESTION, cardio)
    world.chain.advance(60)
    with pytest.raises(DatabaseUnavailable):
        await world.answering.take_up(world.now())
    assert len(await world.answer_log.unfinished()) == 1
    monkeypatch.setattr(world.model, "_context_tokens", 1)
    assert await world.answering.take_up(world.now()) == 0
    assert await world.answer_log.unfinished() == []


async def test_one_answer_that_waits_for_its_model_holds_up_no_other(
    world: World, cardio: DatanetId, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = await world.answering.ask(OWNER, QUESTION, ModelChoice(BASE), [cardio], 64, 7)
    for number, base in enumerate(("a model that is gone", BASE)):
        mine = replace(question, model=replace(question.model, base=base))
        await world.answer_log.begin(Unfinished(f"a{number}", mine, (), world.now()))
    stream = world.model.stream

    def only_what_is_here(model: ModelRef, *args: Any, **kwargs: Any) -> Any:
        if model.base != BASE:
            raise ModelUnavailable(model.base)
        return stream(model, *args, **kwargs)

    monkeypatch.setattr(world.model, "stream", only_what_is_here)
    world.chain.advance(60)
    with pytest.raises(ModelUnavailable):
        await world.answering.take_up(world.now())
    assert [begun.answer_id for begun in await world.answer_log.unfinished()] == ["a0"]
    assert [answer.answer_id for answer in await world.answer_log.answers_of(OWNER)] == ["a1"]


async def test_an_answer_that_fails_unheard_is_logged(
    world: World, cardio: DatanetId, caplog: pytest.LogCaptureFixture
) -> None:
    world.answer_log = ForgetfulLog()
    world.restart()
    question = await world.answering.ask(OWNER, QUESTION, ModelChoice(BASE), [cardio], 64, 7)
    stream = cast(AsyncGenerator[Event, None], world.answering.answer(question))
    await anext(stream)
    await stream.aclose()
    await world.answering.finish(10)
    assert "who had left" in caplog.text


async def test_only_permitted_datanets_are_searched(world: World, cardio: DatanetId) -> None:
    await world.publish("secret", [{"text": "Blood is thinned by leeches.", "contributor": ALICE}])
    first = (await world.events(OWNER, QUESTION, cardio))[0]
    assert isinstance(first, Retrieved)
    assert {found.passage.datanet for found in first.passages} == {cardio}


async def test_passages_of_a_version_the_chain_no_longer_calls_current_do_not_count(
    world: World, cardio: DatanetId
) -> None:
    newer = await world.prepare(cardio, [{"text": "Heparin thins blood at once.", "contributor": BOB}])
    world.put_on_chain(newer)  # the index is a step behind
    behind = (await world.events(OWNER, QUESTION, cardio))[0]
    assert behind == Retrieved(())
    await world.follow()
    caught_up = (await world.events(OWNER, QUESTION, cardio))[0]
    assert isinstance(caught_up, Retrieved)
    assert [found.passage.text for found in caught_up.passages] == ["Heparin thins blood at once."]


async def test_a_stranger_with_the_same_number_and_digest_on_another_branch_gets_none_of_it(
    world: World, cardio: DatanetId
) -> None:
    """Digests are public, and after a reorganisation whoever comes first has the number."""
    published = await world.chain.current_version(cardio)
    world.chain.reorg(len(world.chain.blocks) - 1)
    assert world.chain.create_datanet(STRANGER, "mine now") == cardio
    world.chain.publish(cardio, published.manifest_digest, published.records_root)
    await world.follow()
    assert (await world.events(STRANGER, QUESTION, cardio))[0] == Retrieved(())
    with pytest.raises(PublicationUnseen):
        await world.fetching.fetch(await world.chain.current_version(cardio))


async def test_without_datanets_everything_is_nobodys(world: World) -> None:
    events = await world.events(STRANGER, QUESTION)
    assert events[0] == Retrieved(())
    last = events[-1]
    assert isinstance(last, Receipted)
    assert last.answer.shares_bps == {"nobody": 10_000}
    assert last.receipt.credits == ()
    assert world.model.scored == 0


async def test_a_model_that_says_nothing_credits_nobody(world: World, cardio: DatanetId) -> None:
    world.model.reply = ""
    assert (await world.ask(OWNER, QUESTION, cardio)).answer.shares_bps["nobody"] == 10_000


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"text": ""}, "question"),
        ({"text": " \n\t "}, "question"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 513}, "max_tokens"),
        ({"datanets": [DatanetId(1), DatanetId(1)]}, "datanet_ids"),
        ({"choice": ModelChoice()}, "model"),
        ({"choice": ModelChoice("no-such-model")}, "base_model"),
    ],
)
async def test_what_is_wrong_with_a_question_is_named(
    world: World, cardio: DatanetId, changed: dict[str, Any], field: str
) -> None:
    asked: dict[str, Any] = {"text": QUESTION, "choice": ModelChoice(BASE), "datanets": [cardio], "max_tokens": 32}
    with pytest.raises(InvalidValue) as refused:
        await world.answering.ask(OWNER, seed=7, **(asked | changed))
    assert refused.value.field == field
    assert nothing_happened(world)


async def test_a_model_whose_weights_are_not_here_is_unavailable(world: World, cardio: DatanetId) -> None:
    with pytest.raises(ModelUnavailable):
        await world.answering.ask(OWNER, QUESTION, ModelChoice("huge-llama"), [cardio], 32, 7)


async def test_ones_own_tuned_model_answers_with_its_adapter(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, BOTH)
    run = await world.train(BUILDER, cardio)
    answer = (await world.ask(BUILDER, QUESTION, cardio, run_id=run.run_id)).answer
    assert (answer.model.run_id, answer.model.adapter_digest) == (run.run_id, run.adapter_digest)
    assert answer.model.adapter_cid == run.adapter_cid is not None


async def test_somebody_elses_tuned_model_is_not_found(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, BOTH)
    run = await world.train(BUILDER, cardio)
    for run_id in (run.run_id, RunId("no such run")):
        with pytest.raises(NotFound):
            await world.ask(OWNER, QUESTION, cardio, run_id=run_id)
    assert world.model.generated == 0


async def test_an_unfinished_run_is_no_model(world: World, cardio: DatanetId) -> None:
    run = await world.start(OWNER, cardio)
    for status in RunStatus:
        if status is not RunStatus.DONE:
            world.runs._runs[run.run_id] = replace(run, status=status)
            with pytest.raises(InvalidValue, match=f"is {status}, not done"):
                await world.ask(OWNER, QUESTION, cardio, run_id=run.run_id)
    assert world.model.generated == 0
