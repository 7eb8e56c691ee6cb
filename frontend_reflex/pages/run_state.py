"""What /runs/[run_id] knows: the run, and its events as they arrive."""

import asyncio
import itertools
import time
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.session import call, route_argument, secret, tab_is_open
from frontend_reflex.views import Point, Run
from frontend_reflex.words import duration

STEPS = (
    ("queued", "Queued"),
    ("preparing", "Data checked"),
    ("training", "Training"),
    ("storing", "Registered"),
    ("done", "Done"),
)
_ORDER = [name for name, _ in STEPS]
_ENDED = frozenset({"done", "cancelled", "refused", "failed"})
_BATCH_SECONDS = 0.25
MAX_POINTS = 400
# Between tries to take up a broken stream again: two minutes, in which a server restarts.
_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
_STEADY_SECONDS = 30.0  # a stream that lasted so long was well: what breaks it later counts anew
_pause = asyncio.sleep
_watches = itertools.count(1)


def thinned(points: list[Point]) -> list[Point]:
    """At most MAX_POINTS points: every second one goes when there are too many, the newest stays."""
    while len(points) > MAX_POINTS:
        points = points[:-1:2] + points[-1:]
    return points


def timeline(status: str, started: bool) -> list[dict[str, str]]:
    """The steps of a run, each past, now, ahead or (where a run ended early) stopped."""
    if status in _ORDER:
        at = _ORDER.index(status)
    else:
        at = _ORDER.index("training") if started else _ORDER.index("preparing")
    rows = []
    for index, (name, text) in enumerate(STEPS):
        state = "past" if index < at or status == "done" else "ahead"
        if index == at and status != "done":
            state = "now" if status in _ORDER else "stopped"
        rows.append({"name": name, "text": text, "state": state})
    return rows


class OneRun(rx.State):
    run: Run | None = None
    steps: list[dict[str, str]] = []
    points: list[Point] = []
    step: int = 0
    total_steps: int = 0
    speed: str = ""
    time_left: str = ""
    problem: str = ""
    reconnecting: bool = False
    action_problem: str = ""
    cancelling: bool = False
    _watch: int = 0

    @rx.var
    def done_percent(self) -> int:
        return min(100, round(100 * self.step / self.total_steps)) if self.total_steps else 0

    @rx.var
    def live(self) -> bool:
        return self.run is not None and self.run["status"] not in _ENDED

    @rx.var
    def losses(self) -> str:
        """Means over a fifth of the steps: a single small batch says more about its rows than about the model."""
        if not self.points:
            return ""
        fifth = max(1, len(self.points) // 5)
        first, last = self.points[:fifth], self.points[-fifth:]
        return " → ".join(f"{sum(point['loss'] for point in part) / len(part):.3f}" for part in (first, last))

    def _take(self, run: Run) -> None:
        self.run = run
        self.steps = timeline(run["status"], run["started_at"] is not None)

    def _progress(self, batch: list[dict[str, Any]]) -> None:
        fresh = [
            Point(step=one["step"], loss=round(one["loss"], 4), learning_rate=one["learning_rate"])
            for one in batch
            if one["step"] > self.step
        ]
        if not fresh:
            return
        last = batch[-1]
        self.points = thinned(self.points + fresh)
        self.step, self.total_steps = last["step"], last["total_steps"]
        self.speed = f"{last['tokens_per_second']:.0f}"
        self.time_left = duration(last["seconds_left"])

    def _open(self, run_id: str) -> None:
        """Another run starts with an empty page; the same one, after a reload, goes on from the last step drawn."""
        if self.run is None or self.run["run_id"] != run_id:
            self.run, self.steps, self.points = None, [], []
            self.step = self.total_steps = 0
        self.problem = self.action_problem = ""
        self.cancelling = self.reconnecting = False

    def _seen_by(self, watch: int) -> bool:
        return self._watch == watch and tab_is_open(self)

    @rx.event(background=True)
    async def watch(self) -> None:
        """Follow the run until it ends, or the page or the tab is left. A stream that breaks is taken up again after
        the last step seen; what the API refuses (a session that ended) is not asked for again.

        The page's one handler: Reflex may begin the next one before this has what it waits for.
        """
        async with self:
            mine = self._watch = next(_watches)
            session, run_id = secret(self), route_argument(self, "run_id")
            self._open(run_id)
        if not session:
            return
        pauses = iter(_PAUSES_SECONDS)
        while True:
            async with self:
                seen, opened = self.step, time.monotonic()
            try:
                await _follow(self, mine, session, f"/training-runs/{run_id}/events?after_step={seen}")
                return
            except api.ApiRefusal as refusal:
                broken = refusal
            async with self:
                if not self._seen_by(mine):
                    return
                if self.step > seen or time.monotonic() - opened > _STEADY_SECONDS:
                    pauses = iter(_PAUSES_SECONDS)
                pause = None if 400 <= broken.status < 500 else next(pauses, None)
                self.reconnecting = pause is not None
                if pause is None:
                    self.problem = "" if broken.status == 401 and self.run is None else _given_up(broken, self.run)
                    return
            await _pause(pause)

    @rx.event
    def stop(self) -> None:
        self._watch = 0

    @rx.event
    async def cancel(self) -> Any:
        self.cancelling, self.action_problem = True, ""
        yield
        try:
            self._take(await call(self, "POST", f"/training-runs/{route_argument(self, 'run_id')}/cancel"))
        except api.ApiRefusal as refusal:
            self.action_problem = refusal.detail
            self.cancelling = False


def _given_up(broken: api.ApiRefusal, run: Run | None) -> str:
    if run is None:
        return broken.detail
    return (
        f"The connection to this run broke and does not come back ({broken.detail.rstrip('.')}). "
        "The run does not depend on this page: reload it to follow the run again."
    )


async def _follow(state: OneRun, watch: int, session: str, path: str) -> None:
    """Take in the stream's events in batches, until the run ends or nobody looks. Raises: ApiRefusal when it breaks
    before; what it brought in the moment before that is not taken in, and comes again with the next stream."""
    async with api.stream(session, "GET", path) as events:
        batch: list[dict[str, Any]] = []
        flushed = time.monotonic()
        async for event in events:
            if event.name == "error":
                raise api.ApiRefusal(0, event.data["error"], event.data["detail"])
            if event.name == "progress":
                batch.append(event.data)
                if time.monotonic() - flushed < _BATCH_SECONDS:
                    continue
            async with state:
                if not state._seen_by(watch):
                    return
                state._progress(batch)
                if event.name == "run":
                    state._take(event.data)
                state.reconnecting, state.problem = False, ""
            batch, flushed = [], time.monotonic()
            if event.name == "end":
                return
    raise api.ApiRefusal(0, "StreamEnded", "the server closed it")
