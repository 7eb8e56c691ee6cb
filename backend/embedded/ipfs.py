"""The embedded IPFS repo: a local, offline, Kubo-RPC-compatible block store in a process of its own.

    python -m backend.embedded.ipfs --home DIR [--port PORT]

It has no peers and publishes nothing; its directory is in Kubo's layout, so a real node can take it
over. `EmbeddedIpfs` starts it for as long as its own process lives.
"""

import argparse
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0


class EmbeddedIpfsFailed(RuntimeError):
    """The store did not start; the message ends with what it logged."""


class EmbeddedIpfs:
    """Starts and stops the store over `home`; `port` 0 takes a free one (it counts from the next start).

    After `start`: `api` is its URL, `token` its bearer token (also `home/token`, mode 0600), `version`
    what it answers. The process ends when this one does, even by SIGKILL.
    """

    def __init__(self, home: Path, port: int = 0) -> None:
        self._home = home
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.api = ""
        self.token = ""
        self.version = ""

    def start(self) -> None:
        """Returns once it answers. Raises: EmbeddedIpfsFailed."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._home / "api").unlink(missing_ok=True)
        command = [sys.executable, "-m", "backend.embedded.ipfs", "--home", str(self._home)]
        command += ["--port", str(self.port), "--parent", str(os.getpid())]
        root = Path(__file__).resolve().parents[2]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=root, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                code, self._process = self._process.returncode, None
                raise EmbeddedIpfsFailed(f"the embedded IPFS store ended with status {code}: {self._log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise EmbeddedIpfsFailed(f"the embedded IPFS store did not answer in time: {self._log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Idempotent. Whatever was answered is on disk already, so nothing can be lost here."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        try:
            self.api = (self._home / "api").read_text().strip()
            self.token = (self._home / "token").read_text().strip()
            self.version = str(_call(self.api, self.token, "version")["Version"])
        except (OSError, urllib.error.URLError, KeyError, ValueError):
            return False
        return True

    def _log_tail(self) -> str:
        lines = (self._home / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-12:]) or "it logged nothing"


def _call(api: str, token: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{api}/api/v0/{path}", method="POST", headers=headers)  # noqa: S310 our own URL
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy to loopback
    with direct.open(request, timeout=5) as response:
        answer = json.load(response)
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    return answer


def _die_with(parent: int) -> None:
    """End this process when `parent` does. The kernel signals at the end of the *thread* that started us,
    so the handler looks whether the process itself is gone."""

    def on_signal(_number: int, _frame: object) -> None:
        if os.getppid() != parent:
            os._exit(0)  # nothing to flush: an answer given is on disk

    signal.signal(signal.SIGUSR1, on_signal)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(0)


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _token(home: Path) -> str:
    path = home / "token"
    if not path.exists():
        _write_whole(path, secrets.token_urlsafe(32))
    path.chmod(0o600)
    return path.read_text().strip()


def main(arguments: list[str] | None = None) -> int:
    import uvicorn

    from backend.embedded.ipfs_blocks import BlockStore, RepoLocked
    from backend.embedded.ipfs_rpc import IpfsRpc

    parser = argparse.ArgumentParser(prog="python -m backend.embedded.ipfs", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent", type=int, help="end when this process ends")
    options = parser.parse_args(arguments)
    if options.parent:
        _die_with(options.parent)
    os.umask(0o077)
    home = options.home.resolve()
    try:
        store = BlockStore(home)
        listening = socket.create_server(("127.0.0.1", options.port))
    except (RepoLocked, OSError) as err:
        sys.stderr.write(f"cannot serve {home} on port {options.port}: {err}\n")
        return 1
    app = IpfsRpc(store, _token(home))
    # Connections queue from here on; a client that knows the URL is answered, if late.
    _write_whole(home / "api", f"http://127.0.0.1:{listening.getsockname()[1]}")
    config = uvicorn.Config(
        app,
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listening])
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
