"""The worker's loops: what is down is said once, and nothing ends a loop but being told to stop."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable, Conflict, ContentUnavailable
from backend.worker import repeat, work


async def said_of(
    outcomes: Sequence[Exception | None], caplog: pytest.LogCaptureFixture
) -> tuple[int, list[tuple[str, str]]]:
    """Steps taken and (level, message) pairs, when the steps end so, one after another."""
    stop, taken = asyncio.Event(), 0

    async def step() -> None:
        nonlocal taken
        outcome = outcomes[taken]
        taken += 1
        if taken == len(outcomes):
            stop.set()
        if outcome is not None:
            raise outcome

    with caplog.at_level(logging.INFO, "byline.worker"):
        async with asyncio.timeout(10):
            await repeat("following", step, 0, stop)
    return taken, [
        (record.levelname, record.getMessage()) for record in caplog.records if record.name == "byline.worker"
    ]


async def test_what_is_down_is_said_once_and_once_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    down = ChainUnavailable("eth_blockNumber")
    taken, said = await said_of([None, down, down, down, None, None], caplog)
    assert taken == 6
    assert said == [("WARNING", f"following: {down}"), ("INFO", "following: works again")]


async def test_going_down_again_is_said_again_and_so_is_another_reason(caplog: pytest.LogCaptureFixture) -> None:
    chain, ipfs = ChainUnavailable("head"), ContentUnavailable("reading")
    _, said = await said_of([chain, None, chain, ipfs, ipfs], caplog)
    warned = [message for level, message in said if level == "WARNING"]
    assert warned == [f"following: {chain}", f"following: {chain}", f"following: {ipfs}"]


async def test_a_conflict_is_an_error_said_once_and_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    older = Conflict("this database is older than the chain")
    taken, said = await said_of([older, older, None], caplog)
    assert taken == 3
    assert said[0] == ("ERROR", "following: this database is older than the chain")
    assert len(said) == 2


async def test_a_defect_does_not_end_the_loop_and_leaves_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    taken, said = await said_of([ZeroDivisionError("here"), None, None], caplog)
    assert taken == 3
    assert [level for level, _ in said] == ["ERROR"]
    assert "ZeroDivisionError: here" in caplog.text


async def test_told_to_stop_a_loop_ends_without_waiting_out_its_pause() -> None:
    stop = asyncio.Event()

    async def step() -> None:
        asyncio.get_running_loop().call_soon(stop.set)

    async with asyncio.timeout(10):
        await repeat("following", step, 3600, stop)


async def test_a_loop_that_is_cancelled_ends() -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()

    task = asyncio.create_task(repeat("following", step, 3600, asyncio.Event()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Duties:
    """A system whose duties only note that they were called; any part of it is this."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.working = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return self

    async def step(self) -> None:
        self.called.append("step")

    async def enqueue_lost(self) -> None:
        self.called.append("enqueue_lost")

    def clear_scratch(self) -> None:
        self.called.append("clear_scratch")

    async def run(self, *_: object) -> None:
        self.working.set()
        await asyncio.Event().wait()


async def test_told_to_stop_all_duties_end() -> None:
    duties, stop = Duties(), asyncio.Event()
    working = asyncio.create_task(work(duties, stop))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await duties.working.wait()
        stop.set()
        await working
    assert {"step", "enqueue_lost"} <= set(duties.called)
    assert duties.called[0] == "clear_scratch"  # before any run can begin


class Failing(Duties):
    async def run(self, *_: object) -> None:
        raise ZeroDivisionError("the queue's own defect")


class Ending(Duties):
    async def run(self, *_: object) -> None:
        return


@pytest.mark.parametrize("duties", [Failing, Ending])
async def test_a_duty_that_ends_by_itself_ends_the_worker_by_its_name(duties: type[Duties]) -> None:
    """So that the supervisor starts another: a worker that goes on without one of its duties looks well."""
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="training runs"):
            await work(duties(), asyncio.Event())  # type: ignore[arg-type]
