"""`RunStore` in memory. Its queue is the list `queued`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from backend.domain.errors import Conflict, NotFound
from backend.domain.training import LIVE_STATUSES, Progress, RunStatus, TrainingRun
from backend.domain.types import RunId, Wallet

HEARTBEAT_SECONDS = 15.0


class MemoryRunStore:
    def __init__(self) -> None:
        self.queued: list[RunId] = []
        self._runs: dict[RunId, TrainingRun] = {}
        self._progress: dict[RunId, dict[int, Progress]] = {}
        self._watchers: dict[RunId, set[asyncio.Event]] = {}

    async def add(self, run: TrainingRun) -> bool:
        if run.run_id in self._runs:
            return False
        self._runs[run.run_id] = run
        self.queued.append(run.run_id)
        self._announce(run.run_id)
        return True

    async def get(self, run_id: RunId) -> TrainingRun | None:
        return self._runs.get(run_id)

    async def runs_of(self, wallet: Wallet) -> list[TrainingRun]:
        return [run for run in self._newest_first() if run.wallet == wallet]

    async def update(self, run_id: RunId, **fields: Any) -> TrainingRun:
        before = self._existing(run_id)
        run = replace(before, **fields)
        if before.status not in LIVE_STATUSES and run.status is not before.status:
            raise Conflict(f"run {run_id} has ended already ({before.status})")
        self._runs[run_id] = run
        self._announce(run_id)
        return run

    async def add_progress(self, run_id: RunId, progress: Progress) -> None:
        self._existing(run_id)
        self._progress.setdefault(run_id, {})[progress.step] = progress
        self._announce(run_id)

    async def progress(self, run_id: RunId, after_step: int = 0) -> list[Progress]:
        steps = self._progress.get(run_id, {})
        return [steps[step] for step in sorted(steps) if step > after_step]

    @asynccontextmanager
    async def watch(self, run_id: RunId) -> AsyncIterator[AsyncIterator[None]]:
        event = asyncio.Event()
        watchers = self._watchers.setdefault(run_id, set())
        watchers.add(event)
        try:
            yield _changes(event)
        finally:
            watchers.discard(event)

    def is_watched(self, run_id: RunId) -> bool:
        return bool(self._watchers.get(run_id))

    async def finished_runs(self) -> list[TrainingRun]:
        return [run for run in self._newest_first() if run.status is RunStatus.DONE]

    async def live_runs(self) -> list[TrainingRun]:
        return [run for run in self._newest_first() if run.status in LIVE_STATUSES][::-1]

    def _newest_first(self) -> list[TrainingRun]:
        return sorted(self._runs.values(), key=lambda run: (run.created_at, run.run_id), reverse=True)

    def _existing(self, run_id: RunId) -> TrainingRun:
        if run_id not in self._runs:
            raise NotFound(f"training run {run_id}")
        return self._runs[run_id]

    def _announce(self, run_id: RunId) -> None:
        for event in self._watchers.get(run_id, ()):
            event.set()


async def _changes(event: asyncio.Event) -> AsyncIterator[None]:
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), HEARTBEAT_SECONDS)
        event.clear()
        yield
