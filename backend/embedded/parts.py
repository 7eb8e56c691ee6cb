"""What a supervisor looks after: services, children, and how often each of them ended."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backend.embedded.run_file import Part, now_text

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0  # after running so long, the next end counts as the first again


class StartFailed(Exception):
    """The message says what did not start, why, and where its log is."""


@dataclass(frozen=True)
class Service:
    """A server that `start` brings up (blocking until it answers) and `stop` ends cleanly.

    `start` returns the environment by which children reach it, and a few words for the progress line.
    """

    name: str
    start: Callable[[], tuple[Mapping[str, str], str]]
    stop: Callable[[], None]
    is_running: Callable[[], bool]
    in_main_thread: bool = False


@dataclass(frozen=True)
class Child:
    """`early`: started before the services; it MUST wait for a line of JSON on its standard input, the
    environment by which it reaches them (as `backend.embedded.early` does)."""

    name: str
    command: Sequence[str]
    stop_seconds: float = 5.0
    early: bool = False


@dataclass
class Kept:
    """A service or child under watch: how often it ended, and when it may start again."""

    name: str
    ended: int = 0
    restarts: int = 0
    since: float = 0.0
    not_before: float = 0.0
    process: "subprocess.Popen[bytes] | None" = None
    started_at: str | None = None
    up: bool = False

    def came_up(self) -> None:
        self.up, self.since, self.started_at = True, time.monotonic(), now_text()

    def went_down(self) -> float:
        """Note an end; the pause in seconds before the next start."""
        now = time.monotonic()
        self.ended = 1 if self.up and now - self.since >= STEADY_SECONDS else self.ended + 1
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (self.ended - 1), LONGEST_PAUSE_SECONDS)
        self.up, self.process, self.not_before = False, None, now + pause
        self.restarts += 1
        return pause

    def part(self) -> Part:
        state = "up" if self.up else "waiting" if self.ended else "starting"
        return Part(self.name, state, self.process.pid if self.process else None, self.started_at, self.restarts)
