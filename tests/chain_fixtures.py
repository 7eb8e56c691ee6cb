"""One embedded chain with Byline's contracts for the test session, and one pair of hands for it and its twin.

def test_something(embedded_chain: EmbeddedChain) -> None: ...           # the server: never stop this one
async def test_something(contract_addresses: ContractAddresses) -> None: ...
async def test_something(chain_connection: ChainConnection) -> None: ...
async def test_something(chain: ChainHand) -> None: ...                  # runs on the twin and on the real one
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import ClientSession, web

from backend.domain.consent import PLAIN_TERMS, Consent
from backend.domain.training import TrainingOrder
from backend.domain.types import DatanetId, Purpose, Wallet
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.ledger import ContractReceiptLedger
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.signatures import Web3SignatureVerifier
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key, sign_message, sign_typed_data
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.chain_sending import MemoryPool, MemorySigner
from backend.drivers.memory.chain_signing import MemoryReceiptLedger, MemorySignatureVerifier
from backend.embedded.chain import LOCAL_CHAIN_ID, EmbeddedChain
from backend.ports import (
    AccessRegistry,
    ChainEvents,
    ContractCall,
    MinedTransaction,
    ReceiptLedger,
    SignatureVerifier,
    TransactionSigner,
)

ROOT = Path(__file__).parents[1]
ANVIL = ROOT / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
ARTIFACTS = ROOT / "artifacts"
DEPLOYER = 9  # of the local test wallets; tests act as 0..8
NO_TERMS = PLAIN_TERMS.struct()


@pytest.fixture(scope="session")
def embedded_chain() -> Iterator[EmbeddedChain]:
    with tempfile.TemporaryDirectory(prefix="byline-chain-") as home:
        server = EmbeddedChain(Path(home), ANVIL)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
async def contract_addresses(embedded_chain: EmbeddedChain) -> ContractAddresses:
    return await deploy(embedded_chain.url, LOCAL_CHAIN_ID, local_test_key(DEPLOYER), ARTIFACTS)


@pytest.fixture(scope="session")
async def chain_connection(
    embedded_chain: EmbeddedChain, contract_addresses: ContractAddresses
) -> AsyncIterator[ChainConnection]:
    connection = ChainConnection(embedded_chain.url, LOCAL_CHAIN_ID, contract_addresses, ARTIFACTS)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def dead_connection(contract_addresses: ContractAddresses) -> AsyncIterator[ChainConnection]:
    """To a port where nobody listens."""
    connection = ChainConnection("http://127.0.0.1:9", LOCAL_CHAIN_ID, contract_addresses, ARTIFACTS, 2.0)
    yield connection
    await connection.close()


class FickleNode:
    """A node between a driver and the real chain, whose every answer a test may bend."""

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self.bend: Callable[[str, list[Any], Any], Any] = lambda method, params, answer: answer
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        document = await request.json()
        async with ClientSession() as session, session.post(self._behind, json=document) as response:
            answers = await response.json()
        if isinstance(document, list):
            bent = [self._bent(call, answer) for call, answer in zip(document, answers, strict=True)]
            return web.json_response(bent)
        return web.json_response(self._bent(document, answers))

    def _bent(self, call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(call["method"])
        bent: dict[str, Any] = self.bend(call["method"], call["params"], answer)
        return {"id": call["id"], "jsonrpc": "2.0"} | bent


@pytest.fixture
async def fickle_node(embedded_chain: EmbeddedChain) -> AsyncIterator[FickleNode]:
    node = FickleNode(embedded_chain.url)
    app = web.Application()
    app.router.add_post("/", node.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield node
    await runner.cleanup()


@pytest.fixture
async def fickle_connection(
    fickle_node: FickleNode, contract_addresses: ContractAddresses
) -> AsyncIterator[ChainConnection]:
    connection = ChainConnection(fickle_node.url, LOCAL_CHAIN_ID, contract_addresses, ARTIFACTS)
    yield connection
    await connection.close()


class ChainHand(Protocol):
    """What a chain test needs: the ports, and a way to act as one of nine people."""

    wallets: list[Wallet]
    access: AccessRegistry
    events: ChainEvents
    verifier: SignatureVerifier

    def signer(self, who: int, max_fee_wei: int | None = None) -> TransactionSigner: ...
    def ledger(self, who: int) -> ReceiptLedger: ...
    def sign_message(self, who: int, text: str) -> bytes: ...
    def sign_order(self, who: int, order: TrainingOrder) -> bytes: ...
    def sign_consent(self, who: int, consent: Consent) -> bytes: ...
    async def send(self, who: int, contract: str, function: str, *args: Any) -> MinedTransaction:
        """Sign, send and wait. Raises: TransactionReverted."""
        ...

    async def pass_seconds(self, seconds: int) -> None:
        """Until a block says so."""
        ...

    async def cut(self) -> None:
        """From here on the ports' chain does not answer."""
        ...


class MemoryHand:
    def __init__(self) -> None:
        self.chain = MemoryChain()
        self.pool = MemoryPool(self.chain)
        self.wallets = [Wallet(account_of(local_test_key(i)).address) for i in range(9)]
        self.access: AccessRegistry = self.chain
        self.events: ChainEvents = self.chain
        self._verifier = MemorySignatureVerifier(self.chain)
        self.verifier: SignatureVerifier = self._verifier

    def signer(self, who: int, max_fee_wei: int | None = None) -> TransactionSigner:
        return MemorySigner(self.pool, self.wallets[who], max_fee_wei=max_fee_wei)

    def ledger(self, who: int) -> ReceiptLedger:
        return MemoryReceiptLedger(self.chain, self.wallets[who])

    def sign_message(self, who: int, text: str) -> bytes:
        return self._verifier.sign_message(self.wallets[who], text)

    def sign_order(self, who: int, order: TrainingOrder) -> bytes:
        return self._verifier.sign_order(order) if order.trainer == self.wallets[who] else b"\x01" * 65

    def sign_consent(self, who: int, consent: Consent) -> bytes:
        return self._verifier.sign_consent(self.wallets[who], consent)

    async def send(self, who: int, contract: str, function: str, *args: Any) -> MinedTransaction:
        return self.chain.execute(self.wallets[who], contract, function, *args)

    async def pass_seconds(self, seconds: int) -> None:
        self.chain.advance(seconds)

    async def cut(self) -> None:
        self.chain.down = True


class LocalHand:
    def __init__(self, connection: ChainConnection, dead: ChainConnection) -> None:
        self._connection = connection
        self._dead = dead
        self._read_from = connection
        self._keys = [local_test_key(i) for i in range(9)]
        self.wallets = [Wallet(account_of(key).address) for key in self._keys]
        self._point_at(connection)

    def _point_at(self, connection: ChainConnection) -> None:
        self._read_from = connection
        self.access: AccessRegistry = ContractAccessRegistry(connection)
        self.events: ChainEvents = Web3ChainEvents(connection)
        self.verifier: SignatureVerifier = Web3SignatureVerifier(connection)

    def signer(self, who: int, max_fee_wei: int | None = None) -> TransactionSigner:
        return KeyedSigner(self._read_from, self._keys[who], max_fee_wei=max_fee_wei)

    def ledger(self, who: int) -> ReceiptLedger:
        return ContractReceiptLedger(self._read_from, self.wallets[who])

    def sign_message(self, who: int, text: str) -> bytes:
        return bytes.fromhex(sign_message(self._keys[who], text)[2:])

    def sign_order(self, who: int, order: TrainingOrder) -> bytes:
        document = Web3SignatureVerifier(self._connection).order_typed_data(order)
        return bytes.fromhex(sign_typed_data(self._keys[who], document)[2:])

    def sign_consent(self, who: int, consent: Consent) -> bytes:
        document = Web3SignatureVerifier(self._connection).consent_typed_data(consent)
        return bytes.fromhex(sign_typed_data(self._keys[who], document)[2:])

    async def send(self, who: int, contract: str, function: str, *args: Any) -> MinedTransaction:
        signer = KeyedSigner(self._connection, self._keys[who])
        signed = await signer.sign(ContractCall(contract, function, args), await signer.next_nonce())
        await signer.broadcast(signed.raw)
        mined = await signer.mined(signed.hash)
        assert mined is not None
        assert mined.succeeded
        return mined

    async def pass_seconds(self, seconds: int) -> None:
        until = (await self._connection.head()).timestamp + seconds
        while (await self._connection.head()).timestamp < until:
            await asyncio.sleep(0.5)
            await self.send(8, "DatanetRegistry", "createDatanet", "a block", NO_TERMS, "", 0)

    async def cut(self) -> None:
        self._point_at(self._dead)


@pytest.fixture(params=["memory", pytest.param("anvil", marks=pytest.mark.integration)])
def chain(request: pytest.FixtureRequest) -> ChainHand:
    if request.param == "memory":
        return MemoryHand()
    return LocalHand(request.getfixturevalue("chain_connection"), request.getfixturevalue("dead_connection"))


async def create_datanet(chain: ChainHand, owner: int, public: Purpose = Purpose.NONE) -> DatanetId:
    mined = await chain.send(owner, "DatanetRegistry", "createDatanet", "cardio", NO_TERMS, "", int(public))
    events = await chain.events.events(mined.block.number, mined.block.number)
    (made,) = [e for e in events if e.tx_hash == mined.hash and e.name == "DatanetCreated"]
    return DatanetId(made.args["datanetId"])
