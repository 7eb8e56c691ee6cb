"""`byline up`: start everything in order, keep it running, stop it in the reverse order.

    services (Postgres, chain, IPFS)  →  preparation (runs once, must succeed)  →  children (worker, web)

Whatever ends by itself is started again, after a pause that grows while it keeps ending. Nothing
outlives the supervisor, not even its SIGKILL: the kernel ends its children and the guard theirs.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend.embedded.parts import Child, Kept, Service, StartFailed
from backend.embedded.processes import (
    RUN_MARK,
    ProcessId,
    end_leftovers,
    identify,
    start_child,
    stop_child,
    tail,
)
from backend.embedded.run_file import Run, forget_run, now_text, only_one, write_run

LOOK_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EARLY_ENDS = 4  # so often a child may end before the page first answers


class _StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


@dataclass
class Supervisor:
    """One home's supervisor; `run` is called once, in the main thread.

    `page_answers` is asked until it first says yes; then `url` is shown. `prepare` are commands that
    run one after another once the services are up; their output is shown as progress.
    """

    home: Path
    url: str
    address: tuple[str, int]  # where the web child will listen; must be free
    services: Sequence[Service]
    prepare: Sequence[Child]
    children: Sequence[Child]
    environment: Mapping[str, str]
    page_answers: Callable[[], bool]
    say: Callable[[str, str], None]  # (part, what happened)
    directory: Path = field(default_factory=Path.cwd)  # where children run
    _kept: dict[str, Kept] = field(default_factory=dict)
    _threads: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    _given: dict[str, str] = field(default_factory=dict)
    _guard: "subprocess.Popen[bytes] | None" = None
    _guard_pipe: int = -1
    _steps: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)  # early ones, importing
    _state: str = "starting"
    _started_at: str = field(default_factory=now_text)

    def run(self) -> None:
        """Return after an orderly stop that a signal asked for.

        Raises: AlreadyRunning; StartFailed, with everything stopped again.
        """
        with only_one(self.home):
            if left := end_leftovers(f"{self.home}#"):
                self.say("byline", f"ended {left} processes that an earlier run had left")
            self._check_address()
            with self._signals(), contextlib.suppress(_StopRequested):
                try:
                    self._mark_and_guard()
                    for step in self.prepare:
                        if step.early:
                            self._steps[step.name] = self._launch_step(step)
                    for child in self.children:
                        if child.early:
                            self._launch(child)
                    self._start_services()
                    for step in self.prepare:
                        self._prepare(step)
                    for child in self.children:
                        self._start_child(child)
                    self._await_page()
                    self._watch()
                finally:
                    self._stop_everything()

    # --- starting --------------------------------------------------------------------------------

    def _check_address(self) -> None:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(self.address)
            except OSError as err:
                host, port = self.address
                raise StartFailed(
                    f"cannot listen on {host} port {port} ({err.strerror}); choose another with HOST and PORT"
                ) from err

    def _mark_and_guard(self) -> None:
        me = self._me()
        mark = f"{self.home}#{me.pid}.{me.started};"
        read, write = os.pipe()
        environment = {name: value for name, value in os.environ.items() if name != RUN_MARK}
        command = [sys.executable, "-m", "backend.embedded.guard", mark]
        root = Path(__file__).resolve().parents[2]
        with contextlib.closing(os.fdopen(read, "rb")) as end:
            # not tied to us: it must outlive us by a moment
            self._guard = subprocess.Popen(
                command, stdin=end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=root,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self._guard_pipe = write
        os.environ[RUN_MARK] = mark
        self._note("starting")

    def _start_services(self) -> None:
        """All at once, each in a thread of its own that stays as long as the service does: the kernel
        ties a process to the thread that made it."""
        coming: list[tuple[Service, Future[None]]] = []
        for service in self.services:
            self._kept[service.name] = Kept(service.name)
            if not service.in_main_thread:
                self._threads[service.name] = ThreadPoolExecutor(1, thread_name_prefix=service.name)
                coming.append((service, self._threads[service.name].submit(self._start_service, service)))
        for service in self.services:
            if service.in_main_thread:
                self._start_service(service)
        for _, future in coming:
            future.result()

    def _start_service(self, service: Service) -> None:
        began = time.monotonic()
        try:
            environment, words = service.start()
        except Exception as err:
            raise StartFailed(f"{service.name} did not start: {err}") from err
        self._given.update(environment)
        self._kept[service.name].came_up()
        self.say(service.name, f"{words} ({time.monotonic() - began:.1f} s)")

    def _prepare(self, step: Child) -> None:
        """Run to its end; each line it prints is progress, and its errors go to its log."""
        began = time.monotonic()
        log = self._log(step.name)
        with self._steps.pop(step.name, None) or self._launch_step(step) as child:
            try:
                self._feed(child)
                for line in child.stdout or ():
                    self.say(step.name, line.decode(errors="replace").rstrip())
                child.wait()
            except BaseException:
                stop_child(child, step.stop_seconds)
                raise
        if child.returncode:
            raise StartFailed(f"{step.name} failed; {log} ends with:\n{tail(log)}")
        self.say(step.name, f"done ({time.monotonic() - began:.1f} s)")

    def _launch_step(self, step: Child) -> "subprocess.Popen[bytes]":
        environment, log = self._child_environment(), self._log(step.name)
        return start_child(step.command, environment, log, self.directory, piped=True, fed=step.early)

    def _launch(self, child: Child) -> Kept:
        kept = self._kept.setdefault(child.name, Kept(child.name))
        kept.process = start_child(
            child.command, self._child_environment(), self._log(child.name), self.directory, fed=child.early
        )
        return kept

    def _start_child(self, child: Child) -> None:
        kept = self._kept.get(child.name)
        if kept is None or kept.process is None:
            kept = self._launch(child)
        if kept.process is not None:
            self._feed(kept.process)
        kept.came_up()
        self._note(self._state)

    def _feed(self, process: "subprocess.Popen[bytes]") -> None:
        """Tell an early one where the services are. One that ended meanwhile is seen to where it is watched."""
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin as its_input:
                its_input.write(json.dumps({**self.environment, **self._given}).encode() + b"\n")

    def _await_page(self) -> None:
        began = time.monotonic()
        while not self.page_answers():
            self._look()
            for child in self.children:
                if self._kept[child.name].ended >= EARLY_ENDS:
                    log = self._log(child.name)
                    raise StartFailed(f"{child.name} keeps ending; {log} ends with:\n{tail(log)}")
            time.sleep(LOOK_SECONDS)
        self.say("web", f"answers at {self.url} ({time.monotonic() - began:.1f} s)")
        self._note("up")

    # --- keeping ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        for service in self.services:
            kept = self._kept[service.name]
            if kept.up and not service.is_running():
                self.say(service.name, f"ended; starting it again in {kept.went_down():g} s")
                self._note(self._state)
            elif not kept.up and time.monotonic() >= kept.not_before:
                self._restart_service(service)
        for child in self.children:
            kept = self._kept[child.name]
            if kept.process is not None and kept.process.poll() is not None:
                stop_child(kept.process, 0)  # what it started goes too
                status, log = kept.process.returncode, self._log(child.name)
                pause = kept.went_down()
                self.say(
                    child.name, f"ended with status {status}; starting it again in {pause:g} s. Its log:\n{tail(log)}"
                )
                self._note(self._state)
            elif kept.process is None and time.monotonic() >= kept.not_before:
                self._start_child(child)
                self.say(child.name, "started again")

    def _restart_service(self, service: Service) -> None:
        before = dict(self._given)
        try:
            if service.in_main_thread:
                self._start_service(service)
            else:
                self._threads[service.name].submit(self._start_service, service).result()
        except StartFailed as err:
            self.say(service.name, f"{err}; trying again in {self._kept[service.name].went_down():g} s")
        else:
            if self._given != before:  # it has another address now, which running children do not know
                self._stop_children()
                for child in self.children:
                    self._start_child(child)
        self._note(self._state)

    # --- stopping --------------------------------------------------------------------------------

    def _stop_everything(self) -> None:
        for number in SIGNALS:  # from here on there is nothing left to interrupt
            signal.signal(number, signal.SIG_IGN)
        self._note("stopping")
        for step in self._steps.values():
            stop_child(step, 1.0)
        self._stop_children()
        for service in reversed(self.services):
            thread = self._threads.get(service.name)
            if service.name in self._kept:
                self.say(service.name, "stopping")
                with contextlib.suppress(Exception):  # the next part must be stopped whatever this one says
                    if thread is None:
                        service.stop()
                    else:
                        thread.submit(service.stop).result()
            if thread is not None:
                thread.shutdown()
        if self._guard is not None:
            os.close(self._guard_pipe)
            self._guard.wait()
        os.environ.pop(RUN_MARK, None)
        forget_run(self.home)
        self.say("byline", "stopped")

    def _stop_children(self) -> None:
        for child in reversed(self.children):
            kept = self._kept.get(child.name)
            if kept is not None and kept.process is not None:
                self.say(child.name, "stopping")
                stop_child(kept.process, child.stop_seconds)
                kept.process, kept.up = None, False

    # --- the rest --------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A signal interrupts whatever we wait for."""

        def on_signal(number: int, _frame: object) -> None:
            raise _StopRequested(number)

        before = {number: signal.signal(number, on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _me(self) -> ProcessId:
        me = identify(os.getpid())
        if me is None:
            raise StartFailed("/proc does not show this process; Byline's supervisor needs Linux")
        return me

    def _child_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, **self._given}

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _note(self, state: str) -> None:
        self._state = state
        names = [*(service.name for service in self.services), *(child.name for child in self.children)]
        parts = tuple(self._kept[name].part() for name in names if name in self._kept)
        environment = {**self.environment, **self._given}
        write_run(self.home, Run(self._me(), state, self.url, self._started_at, parts, environment))
