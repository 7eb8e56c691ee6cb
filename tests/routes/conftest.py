"""The API over the twins of tests/services/world.py, and people who are signed in to it.

async def test_something(site: Site) -> None:
    cardio = await site.world.publish("cardio", ROWS)
    async with site.visitor(BUILDER) as builder:
        (await builder.get("/api/receipts")).json()
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from litestar import Litestar

from backend.domain.types import DatanetId, Wallet
from backend.drivers.memory.explorer import MemoryChainExplorer
from backend.drivers.memory.gateway import MemoryRpcGateway
from backend.drivers.memory.sessions import MemorySessionStore
from backend.routes.api import create_api
from backend.routes.network import Network
from backend.services.exploring import Exploring
from backend.services.searching import Searching
from backend.services.signing_in import SigningIn
from tests.services.content_fixtures import REGISTRY
from tests.services.world import LEDGER, ROWS, SERVER, World

ORIGIN = "http://localhost:8000"
MAX_UPLOAD_BYTES = 20_000
EXPLORED_BLOCKS = 8
EMBEDDED = Network(20931, True, None, {"DatanetRegistry": REGISTRY, "ReceiptLedger": LEDGER}, SERVER)


@dataclass
class Site:
    world: World
    network: Network = EMBEDDED
    public_origin: str = ORIGIN
    assets: Path | None = None
    instead: dict[str, Any] = field(default_factory=dict)  # dependencies a test replaces, by name
    probes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = MemoryRpcGateway(self.world.chain)
        self.explorer = MemoryChainExplorer(
            self.world.chain, {name: Wallet(held) for name, held in EMBEDDED.contracts.items()}
        )
        self.sessions = MemorySessionStore()
        self._random = 0

    def random(self, count: int) -> bytes:
        self._random += 1
        return self._random.to_bytes(count, "big")

    def api(self) -> Litestar:
        world = self.world
        origins = frozenset({self.public_origin})
        signing_in = SigningIn(
            self.sessions, world.signatures, world.chain.chain_id, origins, 3600, world.now, self.random
        )
        return create_api(
            {
                "clock": lambda: world.chain.now,
                "public_origin": self.public_origin,
                "max_upload_bytes": MAX_UPLOAD_BYTES,
                "network": self.network,
                "gateway": self.gateway,
                "events": world.chain,
                "mirror": world.mirror,
                "versions": world.versions,
                "runs": world.runs,
                "answer_log": world.answer_log,
                "catalog": world.catalog,
                "signatures": world.signatures,
                "signing_in": signing_in,
                "publishing": world.publishing,
                "access": world.chain,
                "consenting": world.consenting,
                "licensing": world.licensing,
                "ordering": world.ordering,
                "answering": world.answering,
                "auditing": world.auditing,
                "exploring": Exploring(self.explorer, SERVER, EXPLORED_BLOCKS),
                "searching": Searching(self.explorer),
                "probes": self.probes,
            }
            | self.instead,
            origins=origins,
            max_upload_bytes=MAX_UPLOAD_BYTES,
            assets=self.assets,
            lifespan=[],
        )

    @asynccontextmanager
    async def visitor(self, wallet: Wallet | None = None) -> AsyncIterator[AsyncClient]:
        """A browser; signed in, if a wallet is given. It shares the test's event loop, so that a run can go on
        while its stream is read (litestar's own test client would serve from another loop)."""
        api: Any = self.api()  # ASGI to httpx, whose type for that is another
        async with AsyncClient(transport=ASGITransport(api), base_url=self.public_origin) as client:
            if wallet is not None:
                assert (await self.sign_in(client, wallet)).status_code == 201
            yield client

    async def sign_in(self, client: AsyncClient, wallet: Wallet) -> Response:
        asked = await client.post("/api/sessions/challenges", json={"address": wallet})
        message = asked.json()["message"]
        signature = "0x" + self.world.signatures.sign_message(wallet, message).hex()
        return await client.post("/api/sessions", json={"message": message, "signature": signature})

    def pass_hours(self, hours: int) -> None:
        self.world.chain.advance(int(timedelta(hours=hours).total_seconds()))


def sse(response: Response) -> list[tuple[str, Any]]:
    """An event stream's (event, data) pairs."""
    found = []
    for block in response.text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["event"], json.loads(lines["data"])))
    return found


def error_of(response: Response) -> tuple[int, str]:
    """(status, error's name) of a refusal, which must have the one shape errors have."""
    body = response.json()
    assert {"error", "detail", "field"} <= set(body) <= {"error", "detail", "field", "problems"}
    assert isinstance(body["detail"], str)
    assert body["detail"]
    return response.status_code, body["error"]


@pytest.fixture(autouse=True)
def _quiet_client() -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(World(tmp_path))


@pytest.fixture
async def cardio(site: Site) -> DatanetId:
    return await site.world.publish("cardio", ROWS)
