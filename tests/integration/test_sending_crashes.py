"""The sender on a real chain and a real Postgres, killed everywhere: each call that was queued happens once."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.db.engine import Database
from backend.drivers.db.outbox import PgOutbox
from backend.services.sending import Sending
from tests.chain_fixtures import ROOT
from tests.faults import Fuse, Fused, Killed
from tests.slow_chain_fixtures import SlowNode, create

pytestmark = pytest.mark.integration

DEPTH = PATIENCE = 2
KEY = local_test_key(3)
Run = Callable[[int], Awaitable[None]]  # so many steps of the sender
Play = Callable[[SlowNode, Run], Awaitable[None]]


async def plain(node: SlowNode, run: Run) -> None:
    await run(2)
    await node.mine()
    await run(2)


async def bumped(node: SlowNode, run: Run) -> None:
    await run(2)
    await node.mine_nothing(PATIENCE)
    await run(2)
    await node.mine()
    await run(2)


class Stage:
    def __init__(self, node: SlowNode, connection: ChainConnection, database: Database) -> None:
        self.node, self.connection, self.database = node, connection, database
        self.outbox, self.signer = PgOutbox(database), KeyedSigner(connection, KEY)

    def sending(self, fuse: Fuse | None = None) -> Sending:
        if fuse is None:
            return Sending(self.outbox, self.signer, DEPTH, PATIENCE)
        return Sending(Fused(self.outbox, fuse), Fused(self.signer, fuse), DEPTH, PATIENCE)

    async def settle(self) -> None:
        """A lock may outlive by a moment the process that held it."""
        for _ in range(200):
            await self.sending().step()
            if not await self.outbox.unfinished():
                return
            await self.node.mine()
        raise AssertionError(f"not settled: {await self.outbox.unfinished()}")

    async def created(self) -> Counter[str]:
        events = Web3ChainEvents(self.connection)
        found = await events.events(0, (await events.head()).number)
        return Counter(str(event.args["name"]) for event in found if event.name == "DatanetCreated")

    async def attempts(self, reference: str) -> int:
        row = await self.outbox.get(reference)
        assert row is not None
        assert row.status == "final"
        return len(row.attempts)


@pytest.fixture
async def stage(slow_node: SlowNode, slow_connection: ChainConnection, database: Database) -> Stage:
    return Stage(slow_node, slow_connection, database)


@pytest.mark.parametrize("play", [plain, bumped])
async def test_killed_before_any_call_each_transaction_happens_once(stage: Stage, play: Play) -> None:
    expected: Counter[str] = Counter()
    for moment in range(1_000):
        fuse = Fuse(moment, after=False)
        names = [f"{moment} {letter}" for letter in "ab"]
        for name in names:
            await stage.outbox.add(name, create(name))
        sending = stage.sending(fuse)

        async def run(steps: int, sending: Sending = sending, fuse: Fuse = fuse) -> None:
            for _ in range(steps):
                try:
                    await (stage.sending() if fuse.blown else sending).step()
                except Killed:
                    continue

        await play(stage.node, run)
        await stage.settle()
        expected.update(names)
        assert await stage.created() == expected, moment
        if not fuse.blown:
            assert moment > 20
            assert [await stage.attempts(name) for name in names] == ([1, 1] if play is plain else [2, 1])
            return


class DyingProcesses:
    """See tests/integration/dying_sender.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.killed = False

    async def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        return (await self._process.stdout.readline()).decode().strip()

    async def step(self) -> bool:
        """False once it is dead."""
        if not self.killed:
            self.killed = await self._ask("step") == "killed"
        return not self.killed

    def start(self, moment: int, *, after: bool) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{moment} {after}\n".encode())
        self.killed = False

    async def end(self) -> None:
        if not self.killed:
            assert await self._ask("end") == "ended"


@pytest.fixture
async def processes(stage: Stage) -> AsyncIterator[DyingProcesses]:
    contracts = stage.connection.contracts
    given = {
        "database_url": stage.database.url, "rpc_url": stage.node.url, "key": KEY, "settings": [DEPTH, PATIENCE],
        "contracts": [contracts.datanet_registry, contracts.model_registry, contracts.receipt_ledger],
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.dying_sender", json.dumps(given), cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield DyingProcesses(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_process_killed_at_any_commit_point_loses_and_doubles_nothing(
    stage: Stage, processes: DyingProcesses
) -> None:
    expected: Counter[str] = Counter()
    for turn in range(1_000):
        name = f"process {turn}"
        await stage.outbox.add(name, create(name))
        processes.start(turn // 2, after=bool(turn % 2))

        async def run(steps: int) -> None:
            for _ in range(steps):
                if not await processes.step():
                    await stage.sending().step()

        await bumped(stage.node, run)
        await stage.node.mine(DEPTH)
        await run(1)
        await processes.end()
        await stage.settle()
        expected[name] += 1
        assert await stage.created() == expected, turn
        if not processes.killed:
            assert turn > 10
            return
