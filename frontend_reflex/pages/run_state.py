"""What /runs/[run_id] knows: the run, and its events as they arrive."""

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
        if not self.points:
            return ""
        return f"{self.points[0]['loss']:.3f} → {self.points[-1]['loss']:.3f}"

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

    @rx.event
    async def load(self) -> None:
        if self.run and self.run["run_id"] != route_argument(self, "run_id"):
            self.run = None
        self.points, self.step, self.total_steps = [], 0, 0
        self.action_problem, self.cancelling = "", False
        try:
            self._take(await call(self, "GET", f"/training-runs/{route_argument(self, 'run_id')}"))
            self.problem = ""
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail if refusal.status != 401 else ""

    @rx.event(background=True)
    async def watch(self) -> None:
        """Follow the run's events in batches; ends with the run, the page or the tab."""
        async with self:
            mine = self._watch = next(_watches)
            session, run_id = secret(self), route_argument(self, "run_id")
        if not session:
            return
        path = f"/training-runs/{run_id}/events?after_step=0"
        try:
            async with api.stream(session, "GET", path) as events:
                batch: list[dict[str, Any]] = []
                flushed = time.monotonic()
                async for event in events:
                    if event.name == "progress":
                        batch.append(event.data)
                    due = time.monotonic() - flushed >= _BATCH_SECONDS
                    if event.name == "progress" and not due:
                        continue
                    async with self:
                        if self._watch != mine or not tab_is_open(self):
                            return
                        self._progress(batch)
                        if event.name == "run":
                            self._take(event.data)
                    batch, flushed = [], time.monotonic()
                    if event.name == "end":
                        return
        except api.ApiRefusal as refusal:
            async with self:
                if self._watch == mine:
                    self.problem = refusal.detail

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
