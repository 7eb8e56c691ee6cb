"""`byline rotate-key`: the receipt log goes on under a new key, and the old one has no power over it any more.

The log keeps its publisher: the address that it began under, which every receipt names. Killed at any moment, the
command goes on from there when it is called again.
"""

import asyncio
from collections.abc import Callable

from backend.deployments import load_contracts
from backend.domain.errors import Conflict, InvalidValue, Unavailable
from backend.domain.types import Wallet
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import fund
from backend.drivers.db.engine import Database, open_database
from backend.drivers.db.outbox import PgOutbox
from backend.ports import ContractCall
from backend.preparing import ARTIFACTS
from backend.secret_files import read_or_create_secret, write_private
from backend.setting_values import new_private_key, private_key
from backend.settings import Settings

NEXT_KEY = "server.key.next"
GAS_RESERVE_WEI = 10**16  # left with the old key, for its offer
PATIENCE_SECONDS = 600  # what is mined has to be buried, too

LEDGER = "ReceiptLedger"


async def rotate_key(settings: Settings, say: Callable[[str], None]) -> Wallet:
    """Returns: the new key's address. Raises: InvalidValue, Conflict when transactions of the old key do not end,
    TransactionReverted, the Unavailable of what is down."""
    if settings.server_key is not None:
        raise InvalidValue("SERVER_KEY", "is given from outside, so Byline cannot replace it; rotate where it is kept")
    if settings.rpc_url is None or settings.database_url is None:
        raise InvalidValue("RPC_URL and DATABASE_URL", "are not both known; start Byline with `byline up` first")
    chain = ChainConnection(settings.rpc_url, settings.chain_id, load_contracts(settings), ARTIFACTS)
    database = open_database(settings.database_url)
    try:
        return await _rotate(settings, chain, database, say)
    finally:
        await database.close()
        await chain.close()


async def _rotate(settings: Settings, chain: ChainConnection, database: Database, say: Callable[[str], None]) -> Wallet:
    old_key = settings.read_server_key()
    new_key = private_key(read_or_create_secret(settings.home / NEXT_KEY, new_private_key))
    old, new = KeyedSigner(chain, old_key), KeyedSigner(chain, new_key)
    publisher = settings.publisher(old.address)
    say(f"the log of {publisher} goes from key {old.address} to {new.address}")
    outbox = PgOutbox(database)
    for _ in range(PATIENCE_SECONDS):
        async with outbox.lead() as leading:  # the worker signs nothing meanwhile
            if leading and all(t.status == "queued" for t in await outbox.unfinished()):
                await _hand_over(settings, chain, old_key, new_key, publisher, say)
                return new.address
        await asyncio.sleep(1)
    raise Conflict(f"transactions of {old.address} are still on their way; try again when they are mined")


async def _hand_over(
    settings: Settings,
    chain: ChainConnection,
    old_key: str,
    new_key: str,
    publisher: Wallet,
    say: Callable[[str], None],
) -> None:
    old, new = KeyedSigner(chain, old_key), KeyedSigner(chain, new_key)
    _, (holder,) = await chain.call_at_head(LEDGER, "keyOf", publisher)
    if holder not in (old.address, new.address):
        raise Conflict(f"the log of {publisher} is under key {holder}, which is not this server's")
    if holder == old.address:
        spare = int(await chain.rpc("eth_getBalance", old.address, "latest"), 16) - GAS_RESERVE_WEI
        if spare > 0 and await _is_poor(chain, new.address):
            await fund(chain, old_key, new.address, spare)
            say(f"{spare / 10**18:.4f} of the chain's coin went with it, to pay for gas")
        await _send(old, ContractCall(LEDGER, "offerKey", (publisher, new.address)))
        say("offered on chain")
        await _send(new, ContractCall(LEDGER, "acceptKey", (publisher,)))
        say("accepted on chain: the old key extends this log no more")
    write_private(settings.publisher_file, publisher + "\n")
    if old.address != new.address:
        write_private(settings.home / f"server.key.of-{old.address}", old_key + "\n")
        write_private(settings.home / "server.key", new_key + "\n")  # at once: at no moment is there none
    (settings.home / NEXT_KEY).unlink()


async def _is_poor(chain: ChainConnection, wallet: Wallet) -> bool:
    return int(await chain.rpc("eth_getBalance", wallet, "latest"), 16) < GAS_RESERVE_WEI


async def _send(signer: KeyedSigner, call: ContractCall) -> None:
    signed = await signer.sign(call, await signer.next_nonce())
    await signer.broadcast(signed.raw)
    for _ in range(PATIENCE_SECONDS):
        mined = await signer.mined(signed.hash)
        if mined is not None and mined.succeeded:
            return
        if mined is not None:
            raise Conflict(f"{call.function} reverted in {signed.hash}; call `byline rotate-key` again")
        await asyncio.sleep(1)
    raise Unavailable(f"{call.function} ({signed.hash}) was not mined in time; call `byline rotate-key` again")
