"""What every `PassageIndex` does: finds the best inside the named datanets, and nothing outside them."""

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from backend.domain.datanet import Membership, Passage
from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.db.engine import Database
from backend.drivers.db.passages import PgPassageIndex
from backend.drivers.memory.passages import MemoryPassageIndex
from backend.ports import PassageIndex

ALICE = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
CARDIO, SOIL, EMPTY = DatanetId(1), DatanetId(2), DatanetId(3)
ANY_VECTOR = np.eye(384, dtype=np.float32)[0]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("exact", marks=pytest.mark.integration),
        pytest.param("hnsw", marks=pytest.mark.integration),
    ]
)
def index(request: pytest.FixtureRequest) -> PassageIndex:
    if request.param == "memory":
        return MemoryPassageIndex()
    database: Database = request.getfixturevalue("database")
    return PgPassageIndex(database) if request.param == "exact" else PgPassageIndex(database, exact_up_to=0)


def digest(high: int, low: int) -> Digest:
    return Digest(f"0x{high:032x}{low:032x}")


def membership(datanet: DatanetId, number: int) -> Membership:
    """With a path of 0 to 4 siblings."""
    return Membership(digest(7, number), 9, tuple(digest(datanet, place) for place in range(number % 5)))


def passages(datanet: DatanetId, texts: Sequence[str], version: int = 1) -> list[Passage]:
    return [
        Passage(0, datanet, version, number, digest(datanet, number), membership(datanet, number), ALICE, text)
        for number, text in enumerate(texts)
    ]


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, 384)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def filler(count: int) -> list[str]:
    return [f"paragraph number {number}" for number in range(count)]


async def test_the_nearest_vector_is_found_whole(index: PassageIndex) -> None:
    [*given] = passages(CARDIO, filler(300))
    embedded = vectors(300)
    await index.replace(CARDIO, 4, given, embedded)
    [best, *_] = await index.search([CARDIO], "something else", embedded[217], limit=3)
    expected = given[217]
    assert (best.passage.datanet, best.passage.version, best.passage.record_index) == (CARDIO, 4, 217)
    assert best.passage.text == expected.text
    assert best.passage.contributor == expected.contributor
    assert best.passage.record_digest == expected.record_digest
    assert best.passage.membership == expected.membership
    assert best.passage.passage_id > 0
    assert best.similarity == pytest.approx(1.0, abs=1e-2)


async def test_words_find_what_the_vector_does_not(index: PassageIndex) -> None:
    texts = [*filler(200), "Warfarin thins blood by blocking vitamin K."]
    await index.replace(CARDIO, 1, passages(CARDIO, texts), vectors(201))
    found = await index.search([CARDIO], "Please tell me: which drug is called warfarin?", ANY_VECTOR, limit=2)
    assert 200 in {each.passage.record_index for each in found}


async def test_a_passage_that_words_and_vector_agree_on_comes_first(index: PassageIndex) -> None:
    texts = ["Warfarin thins blood.", "Warfarin is a drug.", "Blood is red.", *filler(50)]
    embedded = vectors(53)
    await index.replace(CARDIO, 1, passages(CARDIO, texts), embedded)
    found = await index.search([CARDIO], "warfarin blood", embedded[0], limit=5)
    assert found[0].passage.record_index == 0
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


async def test_no_passage_of_a_datanet_that_was_not_named(index: PassageIndex) -> None:
    embedded = vectors(40)
    await index.replace(CARDIO, 1, passages(CARDIO, ["warfarin"] * 40), embedded)
    await index.replace(SOIL, 1, passages(SOIL, filler(40)), vectors(40, seed=1))
    for question in ("warfarin", "soil", ""):
        found = await index.search([SOIL, EMPTY], question, embedded[3], limit=100)
        assert len(found) == 40
        assert {each.passage.datanet for each in found} == {SOIL}


async def test_without_a_datanet_nothing_is_found(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, filler(5)), vectors(5))
    assert await index.search([], "paragraph", ANY_VECTOR, limit=5) == []
    assert await index.search([EMPTY, DatanetId(2**200), DatanetId(-1)], "paragraph", ANY_VECTOR, limit=5) == []


async def test_the_limit_is_kept(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, filler(90)), vectors(90))
    assert len(await index.search([CARDIO, CARDIO], "paragraph", ANY_VECTOR, limit=7)) == 7
    assert await index.search([CARDIO], "paragraph", ANY_VECTOR, limit=0) == []


@pytest.mark.parametrize(
    "question",
    [
        "", "   ", "?!", "'", "''", '"', "\\", "a\\'b", "& | ! <-> ( ) :*", "'; DROP TABLE passage; --", "the of and",
        "it's the cat's", "nul\0byte", "half a pair \ud800", "x" * 3_000, "wort " * 5_000, "日本語 العربية 🫀",
        "http://example.org/a?b=1&c=2 a@b.org /usr/lib C:\\temp\\new 1e400 -5", "%s %(x)s {} $1", "a:*b <2> c",
    ],
)  # fmt: skip
async def test_any_question_is_answered(index: PassageIndex, question: str) -> None:
    await index.replace(
        CARDIO, 1, passages(CARDIO, ["it's a cat at http://example.org/a?b=1&c=2", "a dog"]), vectors(2)
    )
    assert len(await index.search([CARDIO], question, ANY_VECTOR, limit=5)) == 2


async def test_a_passage_may_hold_any_text(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, ["nul\0byte", "half \ud800 pair", "\\N\t\n", ""]), vectors(4))
    found = await index.search([CARDIO], "byte", ANY_VECTOR, limit=5)
    assert {each.passage.record_index for each in found} == {0, 1, 2, 3}


async def test_a_vector_without_direction_finds_by_words(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, [*filler(9), "warfarin"]), vectors(10))
    [best, *_] = await index.search([CARDIO], "warfarin", np.zeros(384, dtype=np.float32), limit=3)
    assert best.passage.text == "warfarin"
    assert best.similarity == 0.0


async def test_replacing_leaves_nothing_of_before(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, filler(30)), vectors(30))
    await index.replace(SOIL, 1, passages(SOIL, filler(2)), vectors(2))
    await index.replace(CARDIO, 2, passages(CARDIO, filler(3), 2), vectors(3))
    found = await index.search([CARDIO], "paragraph number", ANY_VECTOR, limit=50)
    assert [each.passage.version for each in found] == [2, 2, 2]
    assert [await index.count(datanet) for datanet in (CARDIO, SOIL, EMPTY)] == [3, 2, 0]
    await index.replace(CARDIO, 3, [], np.empty((0, 384), dtype=np.float32))
    assert await index.search([CARDIO], "paragraph number", ANY_VECTOR, limit=50) == []
    assert await index.count(CARDIO) == 0


async def test_a_reader_sees_the_old_or_the_new(index: PassageIndex) -> None:
    async def publish() -> None:
        for version in range(2, 8):
            await index.replace(CARDIO, version, passages(CARDIO, filler(20), version), vectors(20, version))

    await index.replace(CARDIO, 1, passages(CARDIO, filler(20)), vectors(20))
    publishing = asyncio.create_task(publish())
    while not publishing.done():
        found = await index.search([CARDIO], "paragraph", ANY_VECTOR, limit=50)
        assert len(found) == 20
        assert len({each.passage.version for each in found}) == 1
        await asyncio.sleep(0)
    await publishing


async def test_a_failed_replacement_changes_nothing(index: PassageIndex) -> None:
    await index.replace(CARDIO, 1, passages(CARDIO, filler(6)), vectors(6))
    broken = vectors(6)
    broken[5, 7] = np.nan
    with pytest.raises(ValueError, match="finite"):
        await index.replace(CARDIO, 2, passages(CARDIO, filler(6), 2), broken)
    with pytest.raises(ValueError, match="as many"):
        await index.replace(CARDIO, 2, passages(CARDIO, filler(6), 2), vectors(5))
    found = await index.search([CARDIO], "paragraph", ANY_VECTOR, limit=50)
    assert [each.passage.version for each in found] == [1] * 6


# --- the second lock --------------------------------------------------------------------------------


@pytest.fixture
def reader(database_url: str) -> Iterator[psycopg.Connection]:
    """In a transaction as the role that searches, before it has said which datanets."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET LOCAL ROLE byline_reader")
        yield connection
        connection.rollback()


def rows(connection: psycopg.Connection, statement: str) -> int:
    return len(connection.execute(statement.encode()).fetchall())


VISIBLE = "SELECT * FROM passage"
CANDIDATES = "SELECT * FROM lexical_candidates('warfarin', ARRAY[1, 2]::bigint[], 1000, 50)"


@pytest.mark.integration
async def test_the_reader_sees_only_what_the_setting_names(database: Database, reader: psycopg.Connection) -> None:
    index = PgPassageIndex(database)
    await index.replace(CARDIO, 1, passages(CARDIO, ["warfarin"] * 3), vectors(3))
    await index.replace(SOIL, 1, passages(SOIL, ["warfarin"] * 5), vectors(5))
    assert (rows(reader, VISIBLE), rows(reader, CANDIDATES)) == (0, 0)
    for setting, seen in (("", 0), ("2", 5), ("1,2", 8), ("3", 0)):
        reader.execute("SELECT set_config('app.datanets', %s, true)", [setting])
        assert (rows(reader, VISIBLE), rows(reader, CANDIDATES)) == (seen, seen)


@pytest.mark.integration
@pytest.mark.parametrize(
    "statement", ["DELETE FROM passage", "SELECT * FROM receipt", "SELECT * FROM wallet_session", "TRUNCATE passage"]
)
def test_the_reader_may_read_passages_and_nothing_else(reader: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


@pytest.mark.integration
async def test_a_connection_is_no_reader_after_its_search(database: Database) -> None:
    index = PgPassageIndex(database)
    await index.replace(CARDIO, 1, passages(CARDIO, ["warfarin"]), vectors(1))
    await index.search([CARDIO], "warfarin", ANY_VECTOR, limit=5)
    await index.replace(CARDIO, 2, passages(CARDIO, ["aspirin"], 2), vectors(1))  # on the same pooled connection
    [found] = await index.search([CARDIO], "warfarin", ANY_VECTOR, limit=5)
    assert found.passage.text == "aspirin"
