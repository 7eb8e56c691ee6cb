"""The supervisor on the real embedded services: they come up together, and nothing outlives a kill -9."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.embedded.processes import ProcessId, free_port, identify, is_alive
from backend.settings import Settings
from backend.up import embedded_services

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 120


def descendants(pid: int) -> list[ProcessId]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        todo += children
        found += [each for child in children if (each := identify(child)) is not None]
    return found


class Up:
    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        self.output = home.with_suffix(f".{time.monotonic_ns()}.out")
        environment = {**os.environ, "BYLINE_HOME": str(home), "PORT": str(port)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.embedded.real_services"],
                cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}; it said:\n{self.output.read_text()}"
            time.sleep(0.1)

    def page(self) -> dict[str, Any]:
        self.until("up", lambda: "web: answers" in self.output.read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as page:
            return dict(json.load(page))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("DATABASE_URL", "RPC_URL", "IPFS_API", "IPFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "home"
    cluster = tmp_path / "home" / "postgres"
    if cluster.is_symlink():  # as root it lies where `nobody` can reach it
        shutil.rmtree(cluster.readlink(), ignore_errors=True)


def test_embedded_services_come_up_survive_kill_9_and_stop_in_order(home: Path) -> None:
    port = free_port(None)
    first = Up(home, port)
    given = first.page()
    assert given["DATABASE_URL"].startswith("postgresql://")
    assert given["BYLINE_EMBEDDED"] == "postgres,chain,ipfs"
    assert given["OMP_WAIT_POLICY"] == "PASSIVE"

    family = descendants(first.process.pid)
    assert len(family) >= 6  # guard, Postgres and its own, chain proxy, anvil, IPFS, page
    first.process.kill()
    first.process.wait()
    first.until("no orphan", lambda: not any(is_alive(process) for process in family))

    second = Up(home, port)
    assert second.page() == given  # the same addresses: whoever wrote them down still finds the services
    family = descendants(second.process.pid)
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(DEADLINE_SECONDS) == 0
    assert not any(is_alive(process) for process in family)
    said = second.output.read_text()
    stops = [line.split(":")[0] for line in said.splitlines() if line.endswith(": stopping")]
    assert stops == ["web", "ipfs", "chain", "postgres"]


@pytest.mark.parametrize(
    ("given", "embedded"),
    [
        ({}, ["postgres", "chain", "ipfs"]),
        ({"database_url": "postgresql://db/x"}, ["chain", "ipfs"]),
        ({"rpc_url": "https://rpc.example"}, ["postgres", "ipfs"]),
        ({"ipfs_api": "/dns4/ipfs/tcp/5001/http"}, ["postgres", "chain"]),
        ({"database_url": "postgresql://db/x", "rpc_url": "http://r", "ipfs_api": "http://i"}, []),
    ],
    ids=lambda v: "+".join(v) if isinstance(v, list) else "",
)
def test_what_a_setting_points_elsewhere_is_not_embedded(
    home: Path, given: dict[str, Any], embedded: list[str]
) -> None:
    settings = Settings(byline_home=home, **given)
    assert [service.name for service in embedded_services(settings)] == embedded
