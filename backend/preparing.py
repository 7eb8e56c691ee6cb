"""Before the first request: database migrated, contracts known, weights ready. Quick when nothing is to do."""

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from backend.deployments import load_contracts, remembered, save_contracts
from backend.domain.errors import BylineError, InvalidValue, ModelUnavailable, NotFound, UnknownCode
from backend.drivers.chain.connection import NOWHERE, ChainConnection, ContractAddresses
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import fund, local_test_key
from backend.drivers.db.engine import libpq_url, migrate
from backend.drivers.db.jobs import Jobs
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.bundled import bundled_weights
from backend.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[1]
ARTIFACTS = ROOT / "artifacts"
FUNDING_ACCOUNT = 9  # of the public test mnemonic
FUNDING_WEI = 1_000 * 10**18

log = logging.getLogger(__name__)


async def prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """Idempotent; `say` takes a line about what takes time. Raises: InvalidValue naming the setting that is
    wrong, the Unavailable of what is down, NotFound when contracts are needed on a chain of yours."""
    if settings.database_url is None or settings.rpc_url is None:
        raise InvalidValue("DATABASE_URL and RPC_URL", "are not both known; start Byline with `byline up`")

    async def database(url: str) -> None:
        await asyncio.to_thread(migrate, url)
        await Jobs(libpq_url(url)).apply_schema()

    await asyncio.gather(
        database(settings.database_url),
        ensure_contracts(settings, settings.rpc_url),
        asyncio.to_thread(unpack_bundled_model, settings.models_dir, say),
    )


def unpack_bundled_model(models_dir: Path, say: Callable[[str], None]) -> None:
    """Here rather than in the web process, where it would hold up the first pages. A model that is missing is
    no reason not to start: the pages say what to do about it."""
    if not (models_dir / BUNDLED).is_dir():
        say(f"unpacking the weights of {BUNDLED}, this once")
    try:
        bundled_weights(models_dir)
    except ModelUnavailable as missing:
        say(str(missing))


async def ensure_contracts(settings: Settings, rpc_url: str) -> ContractAddresses:
    """The contracts, deployed when the chain is the embedded one and new. Those of another release are not replaced:
    what people did on them would be gone."""
    try:
        contracts = load_contracts(settings)
        await check_contracts(rpc_url, settings.chain_id, contracts)
    except UnknownCode:
        raise
    except (NotFound, InvalidValue):
        if not settings.embeds("chain"):
            raise
        return await deploy_contracts(settings, rpc_url, funded=False)
    return contracts


async def check_contracts(rpc_url: str, chain_id: int, contracts: ContractAddresses) -> None:
    """Raises: as `ChainConnection.check`."""
    chain = ChainConnection(rpc_url, chain_id, contracts, ARTIFACTS)
    try:
        await chain.check()
    finally:
        await chain.close()


async def deploy_contracts(
    settings: Settings, rpc_url: str, *, funded: bool, say: Callable[[str], None] = lambda _: None
) -> ContractAddresses:
    """Deploy with the server's key and remember the addresses. Unless it is funded, the embedded chain's public
    test account pays for it first. Raises: as `deploy`."""
    key = settings.read_server_key()
    if not funded:
        chain = ChainConnection(rpc_url, settings.chain_id, NOWHERE, ARTIFACTS)
        try:
            await fund(chain, local_test_key(FUNDING_ACCOUNT), KeyedSigner(chain, key).address, FUNDING_WEI)
        finally:
            await chain.close()
    contracts = remembered(settings, await deploy(rpc_url, settings.chain_id, key, ARTIFACTS, say=say))
    save_contracts(settings, contracts)
    log.info("contracts deployed on chain %d: %s", settings.chain_id, contracts)
    return contracts


async def main() -> None:
    """What `byline up` runs between services and children; its lines are shown as progress."""
    try:
        await prepare(load_settings(), _out)
    except (BylineError, SettingsError) as error:
        sys.exit(str(error))


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
