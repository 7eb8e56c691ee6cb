"""Indexing: the mirror says what the chain says, through any reorganisation; only current passages are found."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable, ContentUnavailable, DatabaseUnavailable
from backend.domain.finality import FINAL_DEPTH
from backend.domain.types import BlockRef, DatanetId, Purpose
from backend.drivers.memory.chain import MemoryChain
from backend.ports import ChainEvent
from backend.services.indexing import PATIENCE_STEPS, ChainIndexing
from tests.services.content_fixtures import ALICE, BOB, OWNER
from tests.services.world import BUILDER, ROWS, World

NEW_ROWS = [{"text": "Heparin thins blood at once.", "contributor": BOB}]


async def mirror_is_the_chain(world: World, chain: MemoryChain | None = None) -> bool:
    chain = chain or world.chain
    seen: list[ChainEvent] = []
    for name in {event.name for block in chain.blocks for event in block.events}:
        seen += await world.mirror.events_named(name, limit=10_000)
    held = sorted(seen, key=lambda e: (e.block.number, e.log_index))
    canonical = [event for block in chain.blocks for event in block.events]
    return [(e.block, e.name) for e in held] == [(e.block, e.name) for e in canonical] and (
        await world.mirror.tip() == chain.blocks[-1].ref
    )


async def step_patiently(indexing: ChainIndexing) -> None:
    """Until it no longer takes the chain for that of a node that lags."""
    for _ in range(PATIENCE_STEPS + 1):
        with suppress(ChainUnavailable):
            await indexing.step()
            return
    await indexing.step()


async def found(world: World, *datanets: DatanetId) -> set[str]:
    vector = (await world.embedder.embed(["blood"]))[0]
    return {hit.passage.text for hit in await world.index.search(datanets, "blood", vector, limit=10)}


async def test_the_mirror_follows_the_chain(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    assert await world.chain_indexing.step() > 0
    world.chain.grant(datanet, BUILDER, Purpose.TRAIN)
    world.chain.transfer(datanet, ALICE)
    world.chain.mine()
    await world.chain_indexing.step()
    assert await mirror_is_the_chain(world)
    row = await world.mirror.datanet(datanet)
    assert row is not None
    assert (row.owner, row.name) == (ALICE, "cardio")
    assert await world.chain_indexing.step() == 0


@pytest.mark.parametrize("depth", [1, 2, 5, 9])
async def test_a_reorganisation_of_any_depth_is_walked_back(world: World, depth: int) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    for wallet in (ALICE, BOB, BUILDER):
        world.chain.grant(datanet, wallet, Purpose.TRAIN)
        world.chain.mine()
        await world.chain_indexing.step()
    world.chain.create_datanet(ALICE, "neuro")
    world.chain.mine()
    await world.chain_indexing.step()
    assert len(world.chain.blocks) == 10
    world.chain.reorg(depth)
    world.chain.create_datanet(BOB, "other")
    await world.chain_indexing.step()
    assert await mirror_is_the_chain(world)


async def test_a_reorganisation_to_a_shorter_chain_is_walked_back_at_once(world: World) -> None:
    for name in ("a", "b", "c"):
        world.chain.create_datanet(OWNER, name)
    await world.chain_indexing.step()
    del world.chain.blocks[1:]
    world.chain._branch = 99
    for name in ("d", "e"):
        world.chain.create_datanet(OWNER, name)
    await world.chain_indexing.step()
    assert await mirror_is_the_chain(world)
    assert [row.name for row in await world.mirror.datanets()] == ["d", "e"]


async def test_a_node_that_lags_takes_nothing_back(world: World) -> None:
    for name in ("a", "b", "c"):
        world.chain.create_datanet(OWNER, name)
    await world.chain_indexing.step()
    blocks = world.chain.blocks
    for height in (1, 2, 3):  # it catches up, however slowly
        world.chain.blocks = blocks[:height]
        for _ in range(PATIENCE_STEPS - 1):
            with pytest.raises(ChainUnavailable, match=f"newest block is {height - 1}, and block 3 was indexed"):
                await world.chain_indexing.step()
    assert [row.name for row in await world.mirror.datanets()] == ["a", "b", "c"]
    world.chain.blocks = blocks
    assert await world.chain_indexing.step() == 0
    assert await mirror_is_the_chain(world)


async def test_a_chain_that_was_set_back_and_rests_there_is_followed_in_the_end(world: World) -> None:
    for name in ("a", "b", "c"):
        world.chain.create_datanet(OWNER, name)
    await world.chain_indexing.step()
    del world.chain.blocks[2:]
    await step_patiently(world.chain_indexing)
    assert await mirror_is_the_chain(world)
    assert [row.name for row in await world.mirror.datanets()] == ["a"]


async def test_a_reorganisation_below_finality_is_followed_and_said(world: World) -> None:
    for number in range(FINAL_DEPTH + 6):
        world.chain.create_datanet(OWNER, f"n{number}")
    await world.chain_indexing.step()
    final = world.chain.blocks[-1 - FINAL_DEPTH].ref
    standing = await world.mirror.standing()
    assert standing.finality is not None
    assert (standing.finality.block, standing.problem) == (final, None)

    world.chain.reorg(FINAL_DEPTH)  # the deepest that may happen
    await world.chain_indexing.step()
    assert await mirror_is_the_chain(world)
    assert (await world.mirror.standing()).problem is None

    world.chain.reorg(FINAL_DEPTH + 1)
    world.chain.create_datanet(ALICE, "fresh")
    await world.chain_indexing.step()
    assert await mirror_is_the_chain(world)
    assert f"replaced block {final.number}, which it had called final" in str((await world.mirror.standing()).problem)

    world.chain.mine()
    await world.chain_indexing.step()
    assert (await world.mirror.standing()).problem is not None  # until somebody has looked
    await world.chain_indexing.reindex()
    assert (await world.mirror.standing()).problem is None
    assert await mirror_is_the_chain(world)


async def test_readers_see_the_old_tables_until_the_new_ones_are_whole(world: World) -> None:
    for name in ("a", "b", "c"):
        world.chain.create_datanet(OWNER, name)
    world.chain.blocks_at_once = 1
    await world.chain_indexing.step()
    before, heard = await world.mirror.standing(), []

    def said(block: BlockRef, events: int) -> None:
        heard.append((block.number, events))
        if block.number == 2:
            world.chain.down = True

    with pytest.raises(ChainUnavailable):
        await world.chain_indexing.reindex(said)
    assert heard == [(0, 0), (1, 3), (2, 6)]  # DatanetCreated, Transfer and TermsSet a block
    assert await world.mirror.standing() == before
    world.chain.down = False
    assert await mirror_is_the_chain(world)
    assert await world.chain_indexing.reindex() == 9
    assert await world.mirror.standing() == before
    assert await mirror_is_the_chain(world)


async def test_a_node_that_comes_back_with_another_chain_is_followed_from_its_beginning(world: World) -> None:
    for name in ("a", "b", "c"):
        world.chain.create_datanet(OWNER, name)
    await world.chain_indexing.step()
    other = MemoryChain(now=1_900_000_000)
    other._branch = 77  # a genesis block of its own
    other.blocks[0].ref = BlockRef(0, other._hash("genesis"), other.now)
    other.create_datanet(ALICE, "fresh")
    await ChainIndexing(other, world.mirror, world.versions).step()
    assert await mirror_is_the_chain(world, other)
    assert [row.name for row in await world.mirror.datanets()] == ["fresh"]


class MovingEvents:
    """A chain on which something happens between two of the indexer's reads."""

    def __init__(self, chain: MemoryChain, method: str, happening: Callable[[], None]) -> None:
        self._chain, self._method, self._happening = chain, method, happening
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        if name == self._method and not self.happened:
            self.happened = True
            self._happening()
        return getattr(self._chain, name)


@pytest.mark.parametrize("method", ["block", "head", "events"])
@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("replacement", [0, 1, 3])
async def test_a_chain_that_changes_while_it_is_read_loses_nothing(
    world: World, method: str, kept: int, replacement: int
) -> None:
    """`kept` blocks stay: with one, even the block that the mirror had reached is another."""
    world.chain.create_datanet(OWNER, "a")
    await world.chain_indexing.step()
    for name in ("b", "c"):
        world.chain.create_datanet(OWNER, name)

    def reorganise() -> None:
        del world.chain.blocks[kept:]
        world.chain._branch = 99
        for number in range(replacement):
            world.chain.create_datanet(ALICE, f"new {number}")

    moving = MovingEvents(world.chain, method, reorganise)
    indexing = ChainIndexing(moving, world.mirror, world.versions)
    with suppress(ChainUnavailable):
        await indexing.step()
    assert moving.happened
    await step_patiently(indexing)
    assert await mirror_is_the_chain(world)


async def test_a_silent_chain_leaves_the_mirror_as_it_was(world: World) -> None:
    world.chain.create_datanet(OWNER, "a")
    await world.chain_indexing.step()
    before = await world.mirror.tip()
    world.chain.mine()
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await world.chain_indexing.step()
    assert await world.mirror.tip() == before


async def test_a_version_goes_from_prepared_over_published_to_indexed(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    row = await world.prepare(datanet, ROWS)
    await world.follow()
    assert await world.status_of(row) == "prepared"
    world.put_on_chain(row)
    assert await world.passage_indexing.step() == 0
    await world.chain_indexing.step()
    assert await world.status_of(row) == "published"
    assert await world.passage_indexing.step() == 1
    kept = await world.versions.version(row.manifest_digest)
    assert kept is not None
    assert (kept.status, kept.passages) == ("indexed", 2)
    assert await found(world, datanet) == {str(r["text"]) for r in ROWS}


async def test_a_published_version_that_is_reorganised_away_is_not_indexed(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    row = await world.prepare(datanet, ROWS)
    world.put_on_chain(row)
    await world.chain_indexing.step()
    world.chain.reorg(1)
    assert await world.passage_indexing.step() == 0
    assert await found(world, datanet) == set()
    assert await world.status_of(row) == "stale"


@pytest.mark.parametrize("indexer_saw_it_gone", [False, True])
async def test_a_version_that_comes_back_after_a_reorganisation_is_indexed(
    world: World, indexer_saw_it_gone: bool
) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    row = await world.prepare(datanet, ROWS)
    world.put_on_chain(row)
    await world.chain_indexing.step()
    world.chain.reorg(1)
    if indexer_saw_it_gone:
        await world.passage_indexing.step()
    await world.follow()
    world.put_on_chain(row)
    await world.follow()
    assert await world.status_of(row) == "indexed"
    assert len(await found(world, datanet)) == 2


async def test_only_the_newest_version_stays_searchable(world: World, cardio: DatanetId) -> None:
    await world.publish_version(cardio, NEW_ROWS)
    assert await found(world, cardio) == {"Heparin thins blood at once."}


async def test_of_two_versions_published_at_once_the_newer_is_searchable(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    first = await world.prepare(datanet, ROWS)
    world.put_on_chain(first)
    await world.chain_indexing.step()
    second = await world.prepare(datanet, NEW_ROWS)
    world.put_on_chain(second)
    await world.passage_indexing.step()
    await world.follow()
    assert await world.status_of(second) == "indexed"
    assert await found(world, datanet) == {"Heparin thins blood at once."}


async def test_when_the_newest_version_is_reorganised_away_the_one_before_is_searchable_again(
    world: World, cardio: DatanetId
) -> None:
    newer = await world.publish_version(cardio, NEW_ROWS)
    world.chain.reorg(1)
    await world.follow()
    assert await world.status_of(newer) == "prepared"
    assert await found(world, cardio) == {str(r["text"]) for r in ROWS}
    world.put_on_chain(newer)
    await world.follow()
    assert await found(world, cardio) == {"Heparin thins blood at once."}


async def test_ipfs_being_down_leaves_a_version_waiting(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    row = await world.prepare(datanet, ROWS)
    world.put_on_chain(row)
    await world.chain_indexing.step()
    world.content.down = True
    with pytest.raises(ContentUnavailable) as down:
        await world.passage_indexing.step()
    waiting = await world.kept(row)
    assert (waiting.status, waiting.problem) == ("published", f"waiting: {down.value}")
    world.content.down = False
    assert await world.passage_indexing.step() == 1
    assert (await world.kept(row)).problem is None


async def test_why_a_version_waits_is_written_once_and_anew_when_it_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await world.prepare(world.chain.create_datanet(OWNER, "cardio"), ROWS)
    world.put_on_chain(row)
    await world.chain_indexing.step()
    written: list[str | None] = []
    set_status = world.versions.set_status

    async def counted(*args: Any, problem: str | None = None) -> None:
        written.append(problem)
        await set_status(*args, problem=problem)

    monkeypatch.setattr(world.versions, "set_status", counted)
    for broken, error in ((world.content, ContentUnavailable), (world.chain, ChainUnavailable)):
        monkeypatch.setattr(broken, "down", True)
        for _ in range(3):
            with pytest.raises(error):
                await world.passage_indexing.step()
    assert [problem.split("(")[0] for problem in written if problem] == [
        "waiting: IPFS does not deliver ",
        "waiting: the chain does not answer ",
    ]


async def test_a_database_that_is_down_is_not_written_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error would hide the one there was first, and keep the other versions from their turn."""
    rows = [await world.prepare(world.chain.create_datanet(OWNER, name), ROWS) for name in "ab"]
    for row in rows:
        world.put_on_chain(row)
    await world.chain_indexing.step()
    replace, down = world.index.replace, DatabaseUnavailable("passages")

    async def failing(datanet: DatanetId, *args: Any) -> None:
        if datanet == rows[0].datanet:
            raise down
        await replace(datanet, *args)

    monkeypatch.setattr(world.index, "replace", failing)
    with pytest.raises(DatabaseUnavailable):
        await world.passage_indexing.step()
    assert [(kept.status, kept.problem) for kept in [await world.kept(row) for row in rows]] == [
        ("published", None),
        ("indexed", None),
    ]


async def test_a_version_whose_content_is_lost_holds_up_no_other(world: World) -> None:
    lost = await world.prepare(world.chain.create_datanet(OWNER, "lost"), ROWS)
    well = await world.prepare(world.chain.create_datanet(OWNER, "well"), NEW_ROWS)
    for row in (lost, well):
        world.put_on_chain(row)
    world.content.missing.add(lost.manifest_cid)
    await world.chain_indexing.step()
    with pytest.raises(ContentUnavailable):
        await world.passage_indexing.step()
    assert (await world.status_of(lost), await world.status_of(well)) == ("published", "indexed")
    assert lost.manifest_cid in str((await world.kept(lost)).problem)


async def test_corrupt_content_is_not_indexed(world: World) -> None:
    datanet = world.chain.create_datanet(OWNER, "cardio")
    row = await world.prepare(datanet, ROWS)
    world.put_on_chain(row)
    world.content.corrupt.add(row.manifest.shards[1].cid)
    await world.follow()
    refused = await world.kept(row)
    assert refused.status == "corrupt"
    assert "not what was pinned" in str(refused.problem)
    assert await found(world, datanet) == set()
