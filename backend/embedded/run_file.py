"""What runs in a home: `run.json`, kept by its supervisor, and the lock that allows only one."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.embedded.processes import ProcessId, is_alive
from backend.secret_files import write_private


@dataclass(frozen=True, slots=True)
class Part:
    """A service or a process under the supervisor."""

    name: str
    state: str  # "starting", "up", "waiting" (to be started again)
    pid: int | None = None
    started_at: str | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """`environment` is what the children got: with it another command reaches the same services. It
    holds passwords, which is why the file is 0600."""

    supervisor: ProcessId
    state: str  # "starting", "up", "stopping"
    url: str
    started_at: str
    parts: tuple[Part, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class AlreadyRunning(Exception):
    """Another supervisor holds this home."""


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_run(home: Path, run: Run) -> None:
    write_private(home / "run.json", json.dumps(asdict(run), indent=2) + "\n")


def forget_run(home: Path) -> None:
    (home / "run.json").unlink(missing_ok=True)


def read_run(home: Path) -> Run | None:
    """The run whose supervisor is alive now. A file that a killed one left counts for nothing."""
    try:
        raw: dict[str, Any] = json.loads((home / "run.json").read_text())
        run = Run(
            supervisor=ProcessId(**raw.pop("supervisor")),
            parts=tuple(Part(**part) for part in raw.pop("parts")),
            **raw,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return run if is_alive(run.supervisor) else None


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold this home's lock; the kernel gives it up when we end, however that is. Raises: AlreadyRunning."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            run = read_run(home)
            where = f" (process {run.supervisor.pid}, {run.url})" if run else ""
            raise AlreadyRunning(f"Byline runs already in {home}{where}; `byline down` stops it") from None
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)
