"""Training in a process of its own: a crash, a full memory or a kill ends the run and nothing else."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from backend.domain.errors import InvalidValue, TrainingFailed
from backend.domain.training import Progress, TrainedAdapter, TrainingSpec
from backend.drivers.engine.adapters import check_parent
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.environment import engine_environment
from backend.drivers.engine.train_process import OUT_OF_MEMORY, job_line

POLL_SECONDS = 0.4
STDERR_LINES = 20
ROOT = Path(__file__).parents[3]
# All the child gets of our environment: it has no business with keys and database passwords.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")

log = logging.getLogger(__name__)


class SubprocessTrainer:
    """`Trainer` that runs train_process.py. Rows go through a pipe and are never on disk; the child dies
    with this process, and with the task that awaits `train`."""

    def __init__(
        self,
        catalog: LocalCatalog,
        *,
        python: str = sys.executable,
        threads: int | None = None,
        grace_seconds: float = 30.0,
    ) -> None:
        """`threads`: all CPUs when None. `grace_seconds`: for the step at hand, between asking the child to
        stop and killing it."""
        self._catalog = catalog
        self._python = python
        self._threads = threads
        self._grace_seconds = grace_seconds

    async def train(
        self,
        spec: TrainingSpec,
        rows: Iterable[dict[str, Any]],
        directory: Path,
        *,
        parent: Path | None = None,
        on_progress: Callable[[Progress], Awaitable[None]],
        should_stop: Callable[[], Awaitable[bool]],
    ) -> TrainedAdapter | None:
        """The adapter is `directory/adapter`, whole or not there. Also raises: ModelUnavailable; InvalidValue
        when this machine cannot run the method."""
        job = await asyncio.to_thread(self._job, spec, directory, parent)
        if await should_stop():
            return None
        child = await asyncio.create_subprocess_exec(
            self._python,
            "-m",
            "backend.drivers.engine.train_process",
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C in a terminal reaches us; what it means for the child, we say
        )
        stopping = asyncio.Event()
        helpers = (
            asyncio.create_task(_or_kill(child, _feed(child, job, rows))),
            asyncio.create_task(_or_kill(child, self._stop_when_asked(child, should_stop, stopping))),
        )
        said = asyncio.create_task(_tail(child))
        try:
            ending = await _follow(child, on_progress)
            code = await child.wait()
            for helper in helpers:
                if helper.done():
                    helper.result()  # the rows, or `should_stop`, failed: that is what went wrong
            return _result(ending, code, await said, stopping=stopping.is_set())
        finally:
            for task in (*helpers, said):
                task.cancel()
            _kill(child)
            await asyncio.gather(child.wait(), *helpers, said, return_exceptions=True)

    def _job(self, spec: TrainingSpec, directory: Path, parent: Path | None) -> dict[str, Any]:
        why_not = self._catalog.methods()[spec.method.value]
        if why_not is not None:
            raise InvalidValue("method", why_not)
        if parent is not None:
            check_parent(parent, spec)
        weights = self._catalog.weights(spec.base_model)
        directory.mkdir(parents=True, exist_ok=True)
        return job_line(spec, weights.absolute(), directory.absolute(), self._threads, parent and parent.absolute())

    async def _stop_when_asked(
        self, child: asyncio.subprocess.Process, should_stop: Callable[[], Awaitable[bool]], stopping: asyncio.Event
    ) -> None:
        while not await should_stop():  # noqa: ASYNC110 - the flag is in a database, not in this process
            await asyncio.sleep(POLL_SECONDS)
        stopping.set()
        if child.returncode is None:
            child.terminate()
            await asyncio.sleep(self._grace_seconds)
            _kill(child)


async def _feed(child: asyncio.subprocess.Process, job: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    assert child.stdin is not None  # noqa: S101 - a pipe was asked for
    try:
        child.stdin.write(json.dumps(job).encode() + b"\n")
        for row in rows:
            child.stdin.write(json.dumps(row).encode() + b"\n")
            await child.stdin.drain()
        child.stdin.close()
    except ConnectionError:
        pass  # the child is gone; how it ended says why


async def _follow(
    child: asyncio.subprocess.Process, on_progress: Callable[[Progress], Awaitable[None]]
) -> dict[str, Any] | None:
    """Progress as it comes; the last event, or None when the child ended without one."""
    assert child.stdout is not None  # noqa: S101 - a pipe was asked for
    ending = None
    async for line in child.stdout:
        fields = json.loads(line)
        event = fields.pop("event")
        if event == "progress":
            await on_progress(Progress(**fields))
        elif event == "rows":
            log.info("training on %(rows)s rows: %(dropped)s dropped as empty, %(cut)s cut short", fields)
        else:
            ending = {"event": event, **fields}
    return ending


async def _tail(child: asyncio.subprocess.Process) -> str:
    assert child.stderr is not None  # noqa: S101 - a pipe was asked for
    lines: deque[str] = deque(maxlen=STDERR_LINES)
    while chunk := await child.stderr.read(65_536):  # by chunk: a progress bar is one endless line
        lines.extend(chunk.decode(errors="replace").splitlines())
    return "\n".join(lines)


def _result(ending: dict[str, Any] | None, code: int, said: str, *, stopping: bool) -> TrainedAdapter | None:
    event = ending.pop("event") if ending else None
    if ending and event == "done":
        return TrainedAdapter(**ending)
    if ending and event == "invalid":
        raise InvalidValue(ending["field"], ending["problem"])
    if ending and event == "failed":
        raise TrainingFailed(ending["message"])
    if event == "stopped" or stopping:
        return None
    if code == -signal.SIGKILL:
        raise TrainingFailed(f"the trainer was killed, as happens when memory runs out: {OUT_OF_MEMORY}")
    log.error("the trainer ended with code %s:\n%s", code, said)
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    raise TrainingFailed(f"the trainer ended with code {code}: {last[0][:500]}")


async def _or_kill(child: asyncio.subprocess.Process, work: Awaitable[None]) -> None:
    """Without this work the child would wait, or run, for ever."""
    try:
        await work
    except Exception:
        _kill(child)
        raise


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
            os.killpg(child.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, **engine_environment(), "PYTHONPATH": str(ROOT)}
