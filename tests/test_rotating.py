"""A log that goes on under another key, on the real chain and the real outbox."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from attribution.log import Tree
from backend import rotating
from backend.audit_command import publisher_of
from backend.deployments import save_contracts
from backend.domain.errors import Conflict, InvalidValue, TransactionReverted
from backend.domain.types import Wallet
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import fund, local_test_key
from backend.drivers.db.engine import Database
from backend.drivers.db.outbox import PgOutbox
from backend.ports import ContractCall
from backend.secret_files import write_private
from backend.settings import Settings
from tests.chain_fixtures import DEPLOYER

pytestmark = pytest.mark.integration


@dataclass
class Server:
    chain: ChainConnection
    database: Database
    settings: Settings
    said: list[str] = field(default_factory=list)

    def signer(self, key: str | None = None) -> KeyedSigner:
        return KeyedSigner(self.chain, key or self.settings.read_server_key())

    async def rotate(self) -> Wallet:
        return await rotating.rotate_key(self.settings, self.said.append)

    async def key_of(self, publisher: Wallet) -> str:
        return str((await self.chain.call_at_head("ReceiptLedger", "keyOf", publisher))[1][0])

    async def anchor(self, signer: KeyedSigner, publisher: Wallet, size: int) -> None:
        tree = Tree.of([bytes([n]) * 32 for n in range(size)])
        proof = tuple(tree.consistency_proof(size - 1)) if size > 1 else ()
        call = ContractCall("ReceiptLedger", "anchor", (publisher, size, tree.root(), proof, ()))
        await signer.broadcast((await signer.sign(call, await signer.next_nonce())).raw)


@pytest.fixture
async def server(
    tmp_path: Path, chain_connection: ChainConnection, contract_addresses: ContractAddresses, database: Database
) -> Server:
    places: dict[str, Any] = {"rpc_url": chain_connection.rpc_url, "database_url": database.url}
    settings = Settings(byline_home=tmp_path, chain_id=chain_connection.chain_id, **places)
    save_contracts(settings, contract_addresses)
    made = Server(chain_connection, database, settings)
    await fund(chain_connection, local_test_key(DEPLOYER), made.signer().address, 10**18)
    return made


async def test_the_log_goes_on_under_the_new_key_and_the_old_one_is_refused(server: Server) -> None:
    old_key, publisher = server.settings.read_server_key(), server.signer().address
    await server.anchor(server.signer(), publisher, 1)
    new = await server.rotate()
    assert (new, await server.key_of(publisher)) == (server.signer().address, new)
    assert new != publisher
    assert server.settings.publisher(new) == publisher_of(server.settings) == publisher
    await server.anchor(server.signer(), publisher, 2)  # it has the means for gas, too
    with pytest.raises(TransactionReverted, match="ReceiptLedgerNotKey"):
        await server.anchor(server.signer(old_key), publisher, 3)
    newer = await server.rotate()
    assert await server.key_of(publisher) == newer
    assert server.settings.publisher(newer) == publisher


@pytest.mark.parametrize("moment", ["offered", "accepted", "written"])
async def test_killed_on_the_way_it_goes_on_where_it_was(
    server: Server, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = server.signer().address

    class Killed(BaseException):
        pass

    def die_at(said: str) -> None:
        if said.startswith(moment):
            raise Killed

    def die_writing(path: Path, text: str) -> None:
        write_private(path, text)
        if moment == "written" and path.name == "server.key":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rotating, "write_private", die_writing)
        with pytest.raises(Killed):
            await rotating.rotate_key(server.settings, die_at)
    new = await server.rotate()
    assert await server.key_of(publisher) == new == server.signer().address
    assert server.settings.publisher(new) == publisher
    await server.anchor(server.signer(), publisher, 1)


async def test_what_the_old_key_has_on_its_way_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, signer = PgOutbox(server.database), server.signer()
    root = Tree.of([bytes(32)]).root()
    call = ContractCall("ReceiptLedger", "anchor", (signer.address, 1, root, (), ()))
    await outbox.add("anchor:1:0", call)
    [queued] = await outbox.unfinished()
    await outbox.mark_signed(queued, await signer.sign(call, 0))
    monkeypatch.setattr(rotating, "PATIENCE_SECONDS", 1)
    with pytest.raises(Conflict, match="on their way"):
        await server.rotate()
    assert await server.key_of(signer.address) == signer.address


async def test_a_key_that_is_given_from_outside_is_not_replaced(server: Server) -> None:
    given = server.settings.model_copy(update={"server_key": "0x" + "17" * 32})
    with pytest.raises(InvalidValue, match="SERVER_KEY"):
        await rotating.rotate_key(given, server.said.append)
