"""A family of processes as /proc shows it, and waiting for what they do."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from backend.embedded.processes import ProcessId, identify, is_alive

PATIENCE_SECONDS = 300.0
SERVICES = {  # what stands in the command line of each
    "postgres": "/bin/postgres -D",
    "chain": "backend.embedded.chain --home",
    "ipfs": "backend.embedded.ipfs --home",
}

T = TypeVar("T")


async def until(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """The first answer that is not None. Others may be using the machine: patience, not a measurement."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := await look()) is None:
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.1)
    return found


async def until_gone(processes: list[ProcessId]) -> None:
    async def gone() -> bool | None:
        return None if any(is_alive(process) for process in processes) else True

    await until("all processes gone", gone)


def children() -> dict[int, list[int]]:
    """Parent → its children, of every process there is."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    return found


def family_of(pid: int) -> list[ProcessId]:
    """That process and everything below it."""
    below, found, todo = children(), list[ProcessId](), [pid]
    while todo:
        each = todo.pop()
        todo += below.get(each, [])
        if (process := identify(each)) is not None:
            found.append(process)
    return found


def child_running(parent: int, words: str) -> int:
    """The one child of `parent` with these words in its command line."""
    [pid] = [pid for pid in children().get(parent, []) if words in command_line(pid)]
    return pid


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
