"""Whatever chain and node do, the mirror that followed them equals one that was made from block 0."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend.domain.errors import ChainUnavailable, TransactionReverted
from backend.domain.types import BlockRef, DatanetId, Purpose, Wallet
from backend.drivers.chain import logs
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.db.engine import Database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.mirror import MemoryChainMirror
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import ChainMirror
from backend.services.indexing import PATIENCE_STEPS, ChainIndexing
from tests.memory_node import FAULTS, MemoryNode

WALLETS = [Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"), Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")]
TABLES = ("chain_standing", "chain_block", "chain_event", "datanet", "datanet_grant", "datanet_request")
LONGEST_LAG = 4

numbers = st.integers(0, 7)
transactions = st.tuples(st.just("transact"), numbers, numbers)
faults = st.tuples(st.just("fault"), st.sampled_from(FAULTS), st.integers(1, LONGEST_LAG), st.integers(0, 20))
moves = st.one_of(
    transactions,
    transactions,
    st.tuples(st.just("mine"), st.integers(1, 5)),
    st.tuples(st.just("mine"), st.integers(60, 70)),
    st.tuples(st.just("reorg"), st.integers(1, 12)),
    st.tuples(st.just("reorg"), st.integers(60, 75)),
    st.tuples(st.just("set back"), st.integers(1, 8), st.integers(0, 3)),
    st.tuples(st.just("replace")),
    st.tuples(st.just("restart")),
    faults,
    faults,
    st.tuples(st.just("step")),
    st.tuples(st.just("step")),
)
schedules = st.lists(moves, min_size=5, max_size=40)


class Stage:
    """A chain, a node that serves it, and an indexer that follows it into a mirror."""

    def __init__(self, mirror: ChainMirror) -> None:
        self.mirror, self.versions = mirror, MemoryVersionStore()
        self.chain = MemoryChain()
        self.node = MemoryNode(self.chain)
        self.branches = 1_000
        self.restart()

    def restart(self) -> None:
        self.indexing = ChainIndexing(Web3ChainEvents(self.node.connect()), self.mirror, self.versions)

    async def act(self, move: tuple[Any, ...]) -> None:
        match move:
            case ("transact", what, who):
                with suppress(TransactionReverted, KeyError):  # e.g. of a datanet that is not there
                    self._transact(what, WALLETS[who % 2], DatanetId(1 + who // 2 % 3))
            case ("mine", count):
                for _ in range(count):
                    self.chain.mine()
            case ("reorg", depth):
                self.chain.reorg(min(depth, len(self.chain.blocks) - 1))
            case ("set back", depth, more):
                del self.chain.blocks[max(1, len(self.chain.blocks) - depth) :]
                self.branches += 1
                self.chain._branch = self.branches
                for _ in range(more):
                    self.chain.mine()
            case ("replace",):
                self.chain.blocks = MemoryChain(now=self.chain.now + len(self.chain.blocks)).blocks
                self.chain.blocks[0].ref = BlockRef(0, self.chain._hash("genesis", self.branches), self.chain.now)
                self.branches += 1
            case ("restart",):
                self.restart()
            case ("fault", kind, size, after):
                self.node.faults += [("fine", 0)] * after + [(kind, size)]
            case ("step",):
                with suppress(ChainUnavailable):
                    await self.indexing.step()

    def _transact(self, what: int, who: Wallet, datanet: DatanetId) -> None:
        chain = self.chain
        kinds: list[Callable[[], Any]] = [
            lambda: chain.create_datanet(who, "cardio"),
            lambda: chain.grant(datanet, who, Purpose.TRAIN | Purpose.RETRIEVE),
            lambda: chain.revoke(datanet, who, Purpose.TRAIN),
            lambda: chain.request(datanet, who, Purpose.EVALUATE, 0, "please"),
            lambda: chain.approve(datanet, who, Purpose.EVALUATE),
            lambda: chain.transfer(datanet, who),
            lambda: chain.set_public(datanet, Purpose.EXPORT),
            lambda: chain.create_datanet(who, "neuro"),
        ]
        kinds[what]()

    async def settle(self) -> None:
        """No more faults, and patience."""
        self.node.faults.clear()
        for _ in range(PATIENCE_STEPS + 5):
            with suppress(ChainUnavailable):
                await self.indexing.step()
                if (await self.mirror.standing()).tip == self.chain.blocks[-1].ref:
                    break
        self.chain.mine()
        await self.indexing.step()

    async def follow(self, schedule: list[tuple[Any, ...]]) -> None:
        for move in schedule:
            await self.act(move)
        await self.settle()

    async def scratch(self) -> MemoryChainMirror:
        made = MemoryChainMirror(self.versions)
        events = [event for block in self.chain.blocks for event in block.events]
        await made.append(events, self.chain.blocks[-1].ref, await self.chain.finality())
        return made


async def contents(mirror: ChainMirror) -> dict[str, Any]:
    datanets = await mirror.datanets()
    names = ("DatanetCreated", "Transfer", "AccessGranted", "AccessRevoked", "AccessRequested", "RequestApproved",
             "PublicPurposesSet")  # fmt: skip
    standing = await mirror.standing()
    return {
        "tip": standing.tip,
        "final": standing.finality and standing.finality.block,
        "datanets": datanets,
        "grants": [await mirror.grants_of(row.datanet) for row in datanets],
        "requests": [await mirror.requests_of(row.datanet) for row in datanets],
        "events": [await mirror.events_named(name, limit=10_000) for name in names],
    }


@pytest.fixture(autouse=True)
def short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short chain has blocks of both kinds: those read by ranges, and those read one by one."""
    monkeypatch.setattr(logs, "TAIL_BLOCKS", LONGEST_LAG + 1)
    monkeypatch.setattr(logs, "PAUSE_SECONDS", 0)


@pytest.mark.parametrize(("kind", "size"), [*((kind, 1) for kind in FAULTS), ("lag", 3), ("reorg", 3)])
async def test_no_fault_at_any_question_of_a_step_leaves_a_trace(kind: str, size: int) -> None:
    for question in range(200):
        stage = Stage(MemoryChainMirror(MemoryVersionStore()))
        for number in range(10):
            stage.chain.create_datanet(WALLETS[number % 2], f"n{number}")
        await stage.indexing.step()
        stage.chain.reorg(3)
        for number in range(12):
            stage.chain.create_datanet(WALLETS[number % 2], f"m{number}")
        await stage.act(("fault", kind, size, question))
        with suppress(ChainUnavailable):
            await stage.indexing.step()
        if stage.node.faults:  # the step has fewer questions
            break
        await stage.settle()
        assert await contents(stage.mirror) == await contents(await stage.scratch()), f"at question {question}"
    assert question > 20


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules)
async def test_a_mirror_in_memory_equals_one_made_from_block_0(schedule: list[tuple[Any, ...]]) -> None:
    stage = Stage(MemoryChainMirror(MemoryVersionStore()))
    await stage.follow(schedule)
    assert await contents(stage.mirror) == await contents(await stage.scratch())


@pytest.mark.integration
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules)
@example([("transact", 0, 0), ("transact", 1, 1), ("mine", 70), ("transact", 3, 1), ("step",), ("reorg", 66)])
async def test_a_mirror_in_postgres_equals_one_made_from_block_0_and_its_tables_are_made_again_byte_for_byte(
    database: Database, database_url: str, schedule: list[tuple[Any, ...]]
) -> None:
    mirror = PgChainMirror(database)
    await mirror.rewind(None)  # of the example before
    stage = Stage(mirror)
    await stage.follow(schedule)
    assert await contents(mirror) == await contents(await stage.scratch())
    problem = (await mirror.standing()).problem
    before = dump(database_url)
    await stage.indexing.reindex()
    assert (await mirror.standing()).problem is None
    if problem is None:
        assert dump(database_url) == before
    else:  # the one thing that is to change
        assert {t: d for t, d in dump(database_url).items() if t != "chain_standing"} == {
            t: d for t, d in before.items() if t != "chain_standing"
        }


def dump(url: str) -> dict[str, bytes]:
    """Each table as Postgres writes it out, in the order of its primary key."""
    found = {}
    with psycopg.connect(url) as connection:
        for table in TABLES:
            keys = connection.execute(
                "SELECT string_agg(format('%%I', attname), ', ' ORDER BY attnum) FROM pg_index JOIN pg_attribute "
                "ON attrelid = indrelid AND attnum = ANY (indkey) WHERE indisprimary AND indrelid = %s::regclass",
                [table],
            ).fetchone()
            assert keys is not None
            with connection.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY {keys[0]}) TO STDOUT") as copy:  # noqa: S608
                found[table] = b"".join(bytes(part) for part in copy)
    return found
