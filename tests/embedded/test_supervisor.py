"""The supervisor over dummy programs: what it starts, keeps running, stops, and never leaves behind."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.embedded.parts import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Kept
from backend.embedded.processes import ProcessId, free_port, identify, is_alive, leftovers
from backend.embedded.run_file import read_run

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 120


class Up:
    """A running `tests.embedded.supervised`, and what it said."""

    def __init__(self, home: Path, port: int, *web: str) -> None:
        self.home, self.port = home, port
        self.output = home.with_suffix(".out")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.embedded.supervised", str(home), str(port), *web],
                cwd=ROOT, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.output.read_text()

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}; it said:\n{self.said()}"
            time.sleep(0.05)

    def until_up(self, times: int = 1) -> "Up":
        self.until("up", lambda: self.said().count("web: answers at") >= times)
        return self

    def pid_of(self, name: str) -> int:
        run = read_run(self.home)
        assert run is not None
        [pid] = [part.pid for part in run.parts if part.name == name]
        assert pid is not None
        return pid

    def family(self) -> list[ProcessId]:
        return leftovers(f"{self.home}#")

    def ends(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ends()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []
    port = free_port(None)

    def start_one(*web: str) -> Up:
        started.append(Up(tmp_path / "home", port, *web))
        return started[-1]

    yield start_one
    for up in started:
        if up.process.poll() is None:
            up.stop()


def test_everything_comes_up_in_order_and_children_know_the_services(start: Callable[..., Up]) -> None:
    up = start().until_up()
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/") as page:
        assert page.read() == b"thing://here"
    said = up.said()
    assert "preparation: prepared for thing://here" in said
    order = [said.index(f"{name}: ") for name in ("thing", "preparation", "web")]
    assert order == sorted(order)


def test_an_early_child_starts_before_the_services_and_is_told_where_they_are(start: Callable[..., Up]) -> None:
    up = start().until_up()
    log = up.home / "logs" / "worker.log"
    up.until("told", lambda: log.read_text() == "early, knows None\ntold thing://here\n")

    os.kill(up.pid_of("worker"), signal.SIGKILL)
    up.until("again", lambda: "worker: started again" in up.said())
    up.until("told again", lambda: log.read_text().count("told thing://here\n") == 2)


def test_the_run_file_tells_what_runs_and_only_the_owner_may_read_it(start: Callable[..., Up]) -> None:
    up = start().until_up()
    up.until("noted", lambda: (run := read_run(up.home)) is not None and run.state == "up")
    run = read_run(up.home)
    assert run is not None
    assert run.supervisor.pid == up.process.pid
    assert [part.name for part in run.parts if part.state == "up"] == ["thing", "other", "worker", "web"]
    assert run.environment["THING_URL"] == "thing://here"
    assert stat.S_IMODE((up.home / "run.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_stops_all_of_it_in_the_right_order(start: Callable[..., Up], number: signal.Signals) -> None:
    up = start().until_up()
    family = up.family()
    assert len(family) >= 5  # two services, worker, web and the web's own child
    up.process.send_signal(number)
    assert up.ends() == 0
    assert [p for p in family if is_alive(p)] == []
    stops = re.findall(r"^(\w+): stopping$", up.said(), re.MULTILINE)
    assert stops == ["web", "worker", "other", "thing"]
    assert not (up.home / "run.json").exists()


def test_an_impatient_second_signal_does_not_break_the_stop(start: Callable[..., Up]) -> None:
    up = start(sys.executable, "-c", STUBBORN_WEB).until_up()
    family = up.family()
    up.process.send_signal(signal.SIGINT)
    up.until("stopping", lambda: "stopping" in up.said())
    up.process.send_signal(signal.SIGINT)
    assert up.ends() == 0
    assert [p for p in family if is_alive(p)] == []


def test_kill_9_leaves_no_orphan_and_the_next_start_is_fine(start: Callable[..., Up]) -> None:
    up = start().until_up()
    family = up.family()
    up.process.kill()
    up.ends()
    up.until("all gone", lambda: not any(is_alive(p) for p in family))
    assert read_run(up.home) is None  # the file it left counts for nothing
    assert start().until_up(times=2).stop() == 0


def test_a_start_right_after_kill_9_ends_what_is_left_and_comes_up(start: Callable[..., Up]) -> None:
    up = start().until_up()
    up.process.kill()
    up.ends()
    again = start().until_up(times=2)
    family = again.family()
    assert all(is_alive(p) for p in family)  # the dead run's guard has nothing to say about this one
    assert again.stop() == 0


def test_a_second_start_in_one_home_is_refused_and_harms_nothing(start: Callable[..., Up]) -> None:
    up = start().until_up()
    assert start().ends() == 1
    assert f"Byline runs already in {up.home} (process {up.process.pid}, " in up.said()
    assert "`byline down` stops it" in up.said()
    assert urllib.request.urlopen(f"http://127.0.0.1:{up.port}/").status == 200


def test_a_child_that_dies_is_started_again_with_its_log_shown(start: Callable[..., Up]) -> None:
    up = start().until_up()
    first = up.pid_of("web")
    os.kill(first, signal.SIGKILL)
    up.until("again", lambda: "web: started again" in up.said())
    up.until("answers", lambda: _answers(up.port))
    assert up.pid_of("web") != first
    assert "web: ended with status -9; starting it again in 0.5 s. Its log:\nweb is up" in up.said()


def test_a_service_that_dies_is_started_again(start: Callable[..., Up]) -> None:
    up = start().until_up()
    for name in ("thing", "other"):
        first = int((up.home / f"{name}.pid").read_text())
        os.kill(first, signal.SIGKILL)
        up.until("again", lambda name=name: up.said().count(f"{name}: {name} 1.0") == 2)  # type: ignore[misc]
        assert int((up.home / f"{name}.pid").read_text()) != first


def test_a_web_child_that_cannot_start_ends_the_start_with_its_log(start: Callable[..., Up]) -> None:
    up = start(sys.executable, "-c", "raise SystemExit('no such database')")
    assert up.ends() == 1
    assert "web keeps ending" in up.said()
    assert "no such database" in up.said()
    assert up.family() == []


def test_a_port_that_is_taken_is_named_before_anything_starts(start: Callable[..., Up]) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        up = start()
        up.stop()
        taken = Up(up.home, other.getsockname()[1])
        assert taken.ends() == 1
    assert f"cannot listen on 127.0.0.1 port {taken.port}" in taken.said()
    assert "PORT" in taken.said()


def test_pauses_grow_to_a_limit_and_start_over_after_a_steady_run() -> None:
    kept = Kept("web")
    pauses = [kept.went_down() for _ in range(9)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    kept.came_up()
    kept.since -= STEADY_SECONDS
    assert kept.went_down() == 0.5


def test_a_number_given_to_another_process_is_not_the_old_process() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert is_alive(me)
    assert not is_alive(ProcessId(me.pid, me.started - 1))
    assert identify(2**22 + 1) is None


def test_a_damaged_run_file_is_no_run(tmp_path: Path) -> None:
    for text in ("", "{", "[]", json.dumps({"supervisor": {"pid": 1}})):
        (tmp_path / "run.json").write_text(text)
        assert read_run(tmp_path) is None


STUBBORN_WEB = """
import http.server, os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["WEB_PORT"])), Page).serve_forever()
"""


def _answers(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).status == 200)
    except OSError:
        return False
