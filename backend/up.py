"""What `byline up` consists of: which services are embedded under these settings, and which children run."""

import contextlib
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from backend.drivers.engine.environment import engine_environment
from backend.embedded.chain import EmbeddedChain
from backend.embedded.ipfs import EmbeddedIpfs
from backend.embedded.parts import Child, Service
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.processes import end_leftovers, free_port, is_alive
from backend.embedded.run_file import AlreadyRunning, only_one, read_run
from backend.embedded.supervisor import Supervisor
from backend.secret_files import write_private
from backend.settings import Settings

ROOT = Path(__file__).parents[1]
ANVIL = ROOT / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
ADDRESSES = {"postgres": ("database_url",), "chain": ("rpc_url",), "ipfs": ("ipfs_api", "ipfs_token")}


def supervisor_of(settings: Settings, say: Callable[[str, str], None]) -> Supervisor:
    services = embedded_services(settings)
    python = sys.executable
    return Supervisor(
        home=settings.home,
        url=settings.public_origin,
        address=(settings.host, settings.port),
        services=services,
        # what the first page needs imports while the services start; the worker can wait until then
        prepare=[Child("preparation", [python, "-m", "backend.embedded.early", "backend.preparing"], early=True)],
        children=[
            # longer than it takes to cut the answers at work and seal their receipts
            Child("web", [python, "-m", "backend.embedded.early", "backend.app"], stop_seconds=20, early=True),
            Child("worker", [python, "-m", "backend.worker"], stop_seconds=10),
        ],
        environment={
            **engine_environment(),
            "BYLINE_HOME": str(settings.home),
            "BYLINE_EMBEDDED": ",".join(service.name for service in services),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        },
        page_answers=lambda: page_answers(settings),
        say=say,
    )


def embedded_services(settings: Settings) -> list[Service]:
    """One for each of Postgres, chain and IPFS that no setting points elsewhere."""
    services = []
    if settings.database_url is None:
        services.append(_postgres(EmbeddedPostgres(settings.home)))
    if settings.rpc_url is None:
        chain = EmbeddedChain(settings.home / "chain", ANVIL, chain_id=settings.chain_id)
        services.append(_chain(chain, settings.home / "chain.port"))
    if settings.ipfs_api is None:
        services.append(_ipfs(EmbeddedIpfs(settings.home / "ipfs"), settings.home / "ipfs.port"))
    return services


def _postgres(server: EmbeddedPostgres) -> Service:
    def start() -> tuple[Mapping[str, str], str]:
        url = server.start()
        return {"DATABASE_URL": url}, f"PostgreSQL {server.version}"

    return Service("postgres", start, server.stop, lambda: server.running, in_main_thread=True)


def _chain(chain: EmbeddedChain, port: Path) -> Service:
    def start() -> tuple[Mapping[str, str], str]:
        chain.stop()  # reaps one that ended by itself
        chain.port = _kept_port(port)
        chain.start()
        return {"RPC_URL": chain.url, "CHAIN_ID": str(chain.chain_id)}, f"anvil, chain id {chain.chain_id}"

    def is_running() -> bool:
        return chain.process is not None and chain.process.poll() is None

    return Service("chain", start, chain.stop, is_running)


def _ipfs(store: EmbeddedIpfs, port: Path) -> Service:
    def start() -> tuple[Mapping[str, str], str]:
        store.stop()
        store.port = _kept_port(port)
        store.start()
        return {"IPFS_API": store.api, "IPFS_TOKEN": store.token}, "local, offline IPFS repo"

    return Service("ipfs", start, store.stop, store.is_running)


def _kept_port(file: Path) -> int:
    """The port of the last time if it is free: a service that starts again stays where its users know it.
    MUST be asked by who holds the home's lock: to anyone else the port of what runs seems taken."""
    try:
        last = int(file.read_text())
    except (FileNotFoundError, ValueError):
        last = None
    port = free_port(last)
    if port != last:
        write_private(file, str(port))
    return port


def settings_of_running(settings: Settings) -> Settings:
    """These settings, with the addresses of what `byline up` embeds in this home now, where they name no other:
    an auditor's own RPC_URL is the chain that is asked. Unchanged when nothing runs."""
    run = read_run(settings.home)
    if run is None:
        return settings
    given = run.environment
    embedded = given.get("BYLINE_EMBEDDED", "").split(",")
    update: dict[str, object] = {}
    for component, names in ADDRESSES.items():
        if component in embedded and getattr(settings, names[0]) is None:
            update |= {name: given[name.upper()] for name in names if name.upper() in given}
    ours = tuple(component for component, names in ADDRESSES.items() if names[0] in update)
    return settings.model_copy(update={**update, "byline_embedded": ours})


def stop_running(home: Path, seconds: float = 90.0) -> int | None:
    """Ask this home's supervisor to stop and wait for it; its process number, None when none runs.

    What a killed supervisor left, if anything, is ended too. Raises: TimeoutError.
    """
    run = read_run(home)
    if run is None:
        with contextlib.suppress(AlreadyRunning), only_one(home):  # one that is just starting is not ours to end
            end_leftovers(f"{home}#")
        return None
    os.kill(run.supervisor.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_alive(run.supervisor):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {run.supervisor.pid} has not stopped in {seconds:g} s")
        time.sleep(0.1)
    return run.supervisor.pid


def page_answers(settings: Settings, seconds: float = 2.0) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy to ourselves
    try:
        with direct.open(f"http://{shown}:{settings.port}/", timeout=seconds) as response:
            return int(response.status) == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False
