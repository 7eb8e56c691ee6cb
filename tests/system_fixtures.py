"""The whole of Byline, as `byline up` runs it, in a home of its own on a port of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from backend.drivers.engine.catalog import LocalCatalog
from tests.model_fixtures import MODELS_DIR

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 300.0  # patience, not a measurement
UP_SECONDS = 600.0  # the first start unpacks the bundled model


@dataclass(slots=True)
class RunningByline:
    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return byline_environment(self.home, self.port)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def byline_environment(home: Path, port: int) -> dict[str, str]:
    """This process's environment without any setting of the machine's own, plus a private home."""
    settings = ("DATABASE_URL", "RPC_URL", "IPFS_API", "IPFS_TOKEN", "PUBLIC_ORIGIN", "BYLINE_CONFIG", "MODELS_DIR")
    kept = {key: value for key, value in os.environ.items() if key not in settings}
    return {**kept, "BYLINE_HOME": str(home), "PORT": str(port), "OMP_WAIT_POLICY": "PASSIVE"}


def start_byline(home: Path, port: int, **settings: str) -> RunningByline:
    """With these settings in its environment. Raises: AssertionError with the log's tail when no page comes up."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "up"],
            cwd=ROOT,
            env={**byline_environment(home, port), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    running = RunningByline(home, port, process)
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"byline up ended:\n{_tail(home)}")
        try:
            if httpx.get(f"{running.url}/api/health", timeout=5).status_code == 200:
                return running
        except httpx.HTTPError:
            time.sleep(0.2)
    stop_byline(running)
    raise AssertionError(f"byline up gave no page:\n{_tail(home)}")


def stop_byline(running: RunningByline) -> None:
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(STOP_SECONDS)


def _tail(home: Path) -> str:
    logs = [home / "up.log", *sorted((home / "logs").glob("*.log"))]
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs if log.exists())


@pytest.fixture(scope="module")
def byline(smollm2_catalog: LocalCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningByline]:
    """One running Byline for all that only uses it; what kills things starts its own."""
    home = tmp_path_factory.mktemp("byline") / "home"
    home.mkdir()
    (home / "models").symlink_to(MODELS_DIR)  # unpacked once for all tests
    running = start_byline(home, free_port())
    try:
        yield running
    finally:
        stop_byline(running)
