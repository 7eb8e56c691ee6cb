"""What every `AnswerLog` does: answer and receipt together, at gapless places."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backend.domain.answers import Answer, Credit, ModelRef, Question, Unfinished
from backend.domain.datanet import FoundPassage, Membership, Passage
from backend.domain.errors import Conflict
from backend.domain.types import BlockRef, DatanetId, Digest, Permission, PublishedVersion, Purpose, RunId, Wallet
from backend.drivers.db.answers import PgAnswerLog
from backend.drivers.db.engine import Database
from backend.drivers.memory.answers import MemoryAnswerLog
from backend.ports import AnswerLog

ALICE = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
CAROL = Wallet("0x90F79bf6EB2c4f870365E785982E1f101E93b906")
DOCUMENT = {"z": "ü\0“", "a": [1.0, 0.1, 2**70, None], "leaves": {"b": "0x00", "a": "salt"}}


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def log(request: pytest.FixtureRequest) -> AnswerLog:
    if request.param == "memory":
        return MemoryAnswerLog()
    return PgAnswerLog(request.getfixturevalue("database"))


def digest(number: int) -> Digest:
    return Digest(f"0x{number:064x}")


def answer(number: int, asker: Wallet = ALICE, **fields: Any) -> Answer:
    membership = Membership(digest(98), 30, (digest(97), digest(96)))
    passage = Passage(9, DatanetId(4), 2, 17, digest(99), membership, BOB, "Warfarin thins\0blood.")
    base = Answer(
        answer_id=f"a{number}",
        asker=asker,
        question=f"question {number}? \0 '\"",
        text="Warfarin.",
        model=ModelRef("smollm2", "sha", RunId("r1"), digest(5), "bafy"),
        passages=(FoundPassage(passage, 1 / 61 + 1 / 62, 0.8125), FoundPassage(passage, 0.1, -0.3)),
        shares_bps={BOB: 7_000, CAROL: 1_000, "nobody": 2_000},
        receipt_digest=digest(number),
        answered_at=datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=UTC),
    )
    return replace(base, **fields)


def credits(number: int) -> list[Credit]:
    return [Credit(CAROL, 4, digest(number), 1_000), Credit(BOB, 4, digest(number), 7_000)]


def unfinished(number: int) -> Unfinished:
    block = BlockRef(12, digest(7), 1_700_000_000)
    permission = Permission(ALICE, DatanetId(4), Purpose.RETRIEVE, True, block)
    version = PublishedVersion(DatanetId(4), BOB, 2, digest(8), digest(9), digest(10))
    question = Question(ALICE, "why? \0", answer(1).model, (permission,), (version,), 64, 7)
    return Unfinished(f"a{number}", question, answer(1).passages, answer(1).answered_at + timedelta(seconds=number))


async def append(log: AnswerLog, number: int, asker: Wallet = ALICE) -> int:
    return (await log.append(answer(number, asker), DOCUMENT, credits(number))).index


async def test_what_was_appended_comes_back_exactly(log: AnswerLog) -> None:
    assert await log.size() == 0
    appended = await log.append(answer(1), DOCUMENT, credits(1))
    assert (appended.index, appended.digest, appended.asker) == (0, digest(1), ALICE)
    assert appended.credits == tuple(credits(1))
    assert await log.receipt(digest(1)) == appended
    assert appended.document == DOCUMENT
    assert list(appended.document) == list(DOCUMENT)
    assert await log.receipt(digest(2)) is None
    assert await log.answers_of(ALICE) == [answer(1)]
    assert await log.size() == 1


async def test_an_answer_without_passages_or_credits_is_an_answer(log: AnswerLog) -> None:
    bare = answer(1, passages=(), shares_bps={"nobody": 10_000}, model=ModelRef("smollm2", "sha"))
    receipt = await log.append(bare, DOCUMENT, [])
    assert await log.answers_of(ALICE) == [bare]
    assert await log.receipt(digest(1)) == receipt
    assert await log.credits(0, 1) == []


async def test_history_is_ones_own_and_newest_first(log: AnswerLog) -> None:
    for number, asker in enumerate((ALICE, BOB, ALICE, ALICE), start=1):
        await append(log, number, asker)
    assert [each.answer_id for each in await log.answers_of(ALICE)] == ["a4", "a3", "a1"]
    assert [each.answer_id for each in await log.answers_of(ALICE, limit=2)] == ["a4", "a3"]
    assert await log.answers_of(CAROL) == []


async def test_a_contributor_finds_the_receipts_that_credit_them(log: AnswerLog) -> None:
    await append(log, 1)
    await log.append(answer(2), DOCUMENT, [Credit(BOB, 4, digest(2), 5_000), Credit(BOB, 6, digest(2), 100)])
    await append(log, 3)
    assert [each.index for each in await log.receipts_crediting(CAROL)] == [2, 0]
    assert [each.index for each in await log.receipts_crediting(BOB, limit=2)] == [2, 1]
    assert [credit.datanet for credit in (await log.receipts_crediting(BOB))[1].credits] == [4, 6]
    assert await log.receipts_crediting(ALICE) == []


async def test_digests_and_credits_are_in_log_order(log: AnswerLog) -> None:
    for number in (7, 3, 5):
        await append(log, number)
    assert await log.digests(0) == []
    assert await log.digests(2) == [digest(7), digest(3)]
    assert await log.digests(3) == [digest(7), digest(3), digest(5)]
    assert await log.credits(1, 3) == [*credits(3), *credits(5)]
    assert await log.credits(3, 3) == []


async def test_what_was_begun_is_unfinished_until_it_is_appended_or_abandoned(log: AnswerLog) -> None:
    for number in (3, 1, 2):
        await log.begin(unfinished(number))
    assert await log.unfinished() == [unfinished(1), unfinished(2), unfinished(3)]
    await append(log, 2)
    await log.abandon("a3")
    await log.abandon("a3")
    assert await log.unfinished() == [unfinished(1)]
    with pytest.raises(Conflict):
        await log.append(answer(1, receipt_digest=digest(2)), DOCUMENT, credits(1))
    assert await log.unfinished() == [unfinished(1)]


@pytest.mark.parametrize(
    "again", [answer(1), answer(1, receipt_digest=digest(9)), answer(9, receipt_digest=digest(1))],
    ids=["both", "the answer", "the receipt"],
)  # fmt: skip
async def test_nothing_is_logged_twice_and_a_refusal_leaves_no_trace(log: AnswerLog, again: Answer) -> None:
    await append(log, 1)
    with pytest.raises(Conflict):
        await log.append(again, DOCUMENT, credits(1))
    assert await log.size() == 1
    assert await log.receipt(digest(9)) is None
    assert len(await log.answers_of(ALICE)) == 1
    assert await append(log, 2) == 1


async def test_concurrent_appends_and_refusals_leave_no_gap(log: AnswerLog) -> None:
    await append(log, 0)
    tries = [append(log, number) for number in range(1, 13)]
    refused = [append(log, 0) for _ in range(6)]
    results = await asyncio.gather(*(each for pair in zip(tries, refused * 2, strict=False) for each in [pair[0]]))
    failures = await asyncio.gather(*refused, return_exceptions=True)
    assert sorted(results) == list(range(1, 13))
    assert all(isinstance(failure, Conflict) for failure in failures)
    assert await log.size() == 13
    logged = await log.digests(13)
    assert [logged[place] for place in results] == [digest(number) for number in range(1, 13)]


@pytest.mark.integration
@pytest.mark.parametrize("table", ["answer", "credit"])
async def test_a_failure_after_the_receipt_leaves_neither_receipt_nor_gap(database: Database, table: str) -> None:
    log = PgAnswerLog(database)
    await append(log, 1)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk on fire'; END $$;"
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()".encode()
        )
        try:
            with pytest.raises(Exception, match="disk on fire"):
                await append(log, 2)
        finally:
            connection.execute("DROP FUNCTION refuse CASCADE")
    assert await log.size() == 1
    assert await log.receipt(digest(2)) is None
    assert await log.answers_of(ALICE) == [answer(1)]
    assert await append(log, 2) == 1
