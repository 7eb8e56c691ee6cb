"""Processes as Linux sees them: tied to their parent, told apart from later ones with the same number."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_LIMIT_BYTES = 10_000_000
RUN_MARK = "BYLINE_RUN"  # in the environment of all that a supervisor starts, and of all that those start


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process number and when it began (clock ticks since boot): numbers come again, pairs do not."""

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """None when there is no such process, or it is a zombie: it does nothing any more."""
    fields = _stat(pid)
    return None if fields[0] in "ZX" else ProcessId(pid, int(fields[19]))


def _stat(pid: int) -> list[str]:
    """Of /proc/<pid>/stat what follows the command: state, parent, …; as of a dead process when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def die_with_parent(number: int, parent: int | None = None) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends this signal to the child when its parent ends, even by SIGKILL. With `parent`
    it is for a child that asks for itself, once it runs.

    "Parent" is the thread that calls Popen, so MUST be one that stays (the main thread).
    """
    parent = parent or os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask


def start_child(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    directory: Path,
    *,
    piped: bool = False,
    fed: bool = False,
) -> "subprocess.Popen[bytes]":
    """A child in a session of its own (Ctrl-C is for its parent), logging to `log`, killed with its parent.

    `piped`: its standard output comes to the caller instead; `fed`: its standard input comes from the caller.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=dict(environment), cwd=directory, stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output, stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 one prctl call
        )  # fmt: skip


def stop_child(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM, and SIGKILL to what is left of its session after `seconds`. Idempotent."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # its children too
    process.wait()


def leftovers(mark: str) -> list[ProcessId]:
    """Processes, other than this one, that a supervisor whose mark begins so started, directly or not."""
    wanted = f"{RUN_MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            marked = any(variable.startswith(wanted) for variable in entry.read_bytes().split(b"\0"))
            if marked and int(entry.parent.name) != os.getpid():
                found.append(identify(int(entry.parent.name)))
    return [process for process in found if process is not None]


def end_leftovers(mark: str, seconds: float = 10.0) -> int:
    """Ask, then force, what an earlier run left; how many there were. The caller holds that run's lock.

    A child is asked once its parent is gone, who may need it to end in order: the chain's last snapshot is anvil's.
    """
    first = left = leftovers(mark)
    asked: set[ProcessId] = set()
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        pids = {process.pid for process in left}
        heads = {process for process in left if int(_stat(process.pid)[1]) not in pids}
        _signal_all(heads - asked, signal.SIGTERM)
        asked |= heads
        time.sleep(0.05)
        left = [process for process in first if is_alive(process)]
    _signal_all(left, signal.SIGKILL)
    return len(first)


def _signal_all(processes: Iterable[ProcessId], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def free_port(preferred: int | None) -> int:
    """`preferred` if it can be had on loopback, else one the kernel picks."""
    for port in (preferred or 0, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def tail(log: Path, lines: int = 12) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8_000))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(it logged nothing)"
    return "\n".join(text.splitlines()[-lines:]) or "(it logged nothing)"
