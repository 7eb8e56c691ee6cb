"""Secrets that Byline makes for itself: one file each, readable by its owner alone."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a 0600 file, whole or not at all, durable on return."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read_or_create_secret(path: Path, make: Callable[[], str]) -> str:
    """The secret in `path`, made by `make()` if there is none yet.

    Two processes that come at once get the same secret: the file appears by link(2), which one of
    them wins. A secret that others on this machine could have read is closed to them from now on.
    """
    while True:
        try:
            text = path.read_text().strip()
        except FileNotFoundError:
            _create(path, make())
            continue
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return text


def _create(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_private(aside, text + "\n")
    try:
        os.link(aside, path)
    except FileExistsError:
        pass  # the other process's secret counts
    finally:
        aside.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
