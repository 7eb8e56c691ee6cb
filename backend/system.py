"""What app, worker and cli compose alike: the drivers for these settings, and the services over them.

Nothing here starts a server or a loop. `open_system` holds connections and closes them at the end.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from backend.deployments import load_contracts
from backend.domain.chunking import index_passages
from backend.domain.errors import BylineError, Conflict, InvalidValue, Unavailable
from backend.domain.types import Wallet
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.evidence import ChainEvidence
from backend.drivers.chain.explorer import RpcChainExplorer
from backend.drivers.chain.gateway import HttpRpcGateway
from backend.drivers.chain.ledger import ContractReceiptLedger
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.signatures import Web3SignatureVerifier
from backend.drivers.content_crypto import StreamCipher
from backend.drivers.db.answers import PgAnswerLog
from backend.drivers.db.engine import Database, open_database
from backend.drivers.db.jobs import Jobs
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.outbox import PgOutbox
from backend.drivers.db.passages import PgPassageIndex
from backend.drivers.db.runs import PgRunStore
from backend.drivers.db.sessions import PgSessionStore
from backend.drivers.db.versions import PgVersionStore
from backend.drivers.engine.archive import pack, unpack
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.embedder import MiniLmEmbedder
from backend.drivers.engine.lora import SubprocessTrainer
from backend.drivers.engine.model import TransformersLanguageModel
from backend.drivers.ipfs.kubo import KuboContentStore
from backend.drivers.tables import ParquetTables
from backend.preparing import ARTIFACTS
from backend.routes.network import Network
from backend.services.adapters import AdapterShelf
from backend.services.anchoring import Anchoring
from backend.services.answering import Answering
from backend.services.auditing import Auditing
from backend.services.consenting import Consenting
from backend.services.exploring import Exploring
from backend.services.fetching import Fetching
from backend.services.indexing import ChainIndexing
from backend.services.licensing import Licensing
from backend.services.ordering import Ordering
from backend.services.passage_indexing import PassageIndexing
from backend.services.publishing import Publishing
from backend.services.registering import Registering
from backend.services.sealing import LedgerIdentity
from backend.services.searching import Searching
from backend.services.sending import Sending
from backend.services.signing_in import SigningIn
from backend.services.training import Training
from backend.settings import Settings

IPFS_SECONDS = 60.0
# Read whole for one page of an address's transactions: our own node is near, and its blocks are small.
EXPLORED_BLOCKS, EXPLORED_BLOCKS_ELSEWHERE = 500, 20

Probe = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class System:
    settings: Settings
    publisher: Wallet
    network: Network
    database: Database
    chain: ChainConnection
    gateway: HttpRpcGateway
    events: Web3ChainEvents
    content: KuboContentStore
    mirror: PgChainMirror
    versions: PgVersionStore
    runs: PgRunStore
    answer_log: PgAnswerLog
    jobs: Jobs
    catalog: LocalCatalog
    model: TransformersLanguageModel
    embedder: MiniLmEmbedder
    signatures: Web3SignatureVerifier
    signing_in: SigningIn
    access: ContractAccessRegistry
    publishing: Publishing
    consenting: Consenting
    licensing: Licensing
    ordering: Ordering
    training: Training
    registering: Registering
    answering: Answering
    auditing: Auditing
    exploring: Exploring
    searching: Searching
    chain_indexing: ChainIndexing
    passage_indexing: PassageIndexing
    anchoring: Anchoring
    sending: Sending

    def dependencies(self, clock: Callable[[], int]) -> dict[str, Any]:
        """What the routes ask for, by the names they ask with."""
        return {
            "clock": clock,
            "public_origin": self.settings.public_origin,
            "max_upload_bytes": self.settings.max_upload_bytes,
            "network": self.network,
            "gateway": self.gateway,
            "events": self.events,
            "mirror": self.mirror,
            "versions": self.versions,
            "runs": self.runs,
            "answer_log": self.answer_log,
            "catalog": self.catalog,
            "signatures": self.signatures,
            "signing_in": self.signing_in,
            "publishing": self.publishing,
            "access": self.access,
            "consenting": self.consenting,
            "licensing": self.licensing,
            "ordering": self.ordering,
            "answering": self.answering,
            "auditing": self.auditing,
            "exploring": self.exploring,
            "searching": self.searching,
            "probes": self.probes(),
        }

    def probes(self) -> list[Probe]:
        """One question to each component: does it answer?"""

        async def chain() -> str:
            head = await self.events.head()
            with suppress(Unavailable):  # the database has a probe of its own
                if problem := (await self.mirror.standing()).problem:
                    raise Conflict(problem)
            await self.chain.trust()
            return f"chain {self.settings.chain_id}, block {head.number}"

        async def database() -> str:
            await self.database.ping()
            return "PostgreSQL"

        async def ipfs() -> str:
            return await self.content.version()

        async def model() -> str:
            return f"torch {version('torch')}, transformers {version('transformers')}"

        embeds = self.settings.embeds
        return [
            _probe("chain", "embedded" if embeds("chain") else "RPC_URL", chain),
            _probe("database", "embedded" if embeds("postgres") else "DATABASE_URL", database),
            _probe("ipfs", "embedded, offline repo" if embeds("ipfs") else "IPFS_API", ipfs),
            _probe("models", str(len([b for b in self.catalog.bases() if b.available])) + " available", model),
        ]

    async def warm_up(self) -> None:
        """Load what the first question would otherwise wait for. Raises: ModelUnavailable."""
        await self.embedder.embed(["warm up"])
        available = [base.name for base in self.catalog.bases() if base.available]
        await asyncio.to_thread(self.catalog.methods)
        if available:
            reference = await asyncio.to_thread(self.catalog.resolve, available[0])
            await self.model.count_tokens(reference, "warm up")
            stream = self.model.stream(reference, [{"role": "user", "content": "Hi"}], max_tokens=1, seed=0)
            async for _ in stream:
                pass


def _probe(name: str, used: str, ask: Callable[[], Awaitable[str]]) -> Probe:
    async def probe() -> dict[str, Any]:
        try:
            return {"name": name, "used": used, "version": await ask(), "ok": True, "problem": None}
        except BylineError as error:
            return {"name": name, "used": used, "version": None, "ok": False, "problem": str(error)}

    return probe


def _now() -> datetime:
    return datetime.now(UTC)


def _required(value: str | None, key: str) -> str:
    if value is None:
        raise InvalidValue(key, "is not set, and nothing embedded runs; start Byline with `make up`")
    return value


@asynccontextmanager
async def open_system(settings: Settings) -> AsyncIterator[System]:
    """Raises: InvalidValue for a setting that is missing, NotFound without contracts. Nothing is asked of the
    components yet: one that is down shows where it is used."""
    # web3 brings a library that raises this to 100,000 for the whole process: nested JSON then ends in a crash
    sys.setrecursionlimit(1_000)
    contracts = load_contracts(settings)
    rpc_url = _required(settings.rpc_url, "RPC_URL")
    async with AsyncExitStack() as stack:
        limit = settings.head_age_limit_seconds
        chain = ChainConnection(rpc_url, settings.chain_id, contracts, ARTIFACTS, max_head_age_seconds=limit)
        stack.push_async_callback(chain.close)
        gateway = HttpRpcGateway(rpc_url)
        stack.push_async_callback(gateway.close)
        database = open_database(_required(settings.database_url, "DATABASE_URL"))
        stack.push_async_callback(database.close)
        yield _compose(settings, chain, gateway, database)


def _compose(settings: Settings, chain: ChainConnection, gateway: HttpRpcGateway, database: Database) -> System:
    signer = KeyedSigner(chain, settings.read_server_key(), max_fee_wei=settings.max_fee_gwei * 10**9)
    confirmations = 0 if settings.embeds("chain") else settings.confirmations  # the embedded one never reorganises
    contracts = chain.contracts
    publisher = settings.publisher(signer.address)
    identity = LedgerIdentity(settings.chain_id, contracts.datanet_registry, contracts.receipt_ledger, publisher)
    access = ContractAccessRegistry(chain)
    events = Web3ChainEvents(chain)
    explorer = RpcChainExplorer(chain, ARTIFACTS)
    signatures = Web3SignatureVerifier(chain)
    ledger = ContractReceiptLedger(chain, publisher)
    content = KuboContentStore(_required(settings.ipfs_api, "IPFS_API"), settings.ipfs_token, IPFS_SECONDS)
    cipher = StreamCipher(settings.read_key_encryption_key())
    jobs = Jobs(database.url)
    sessions, mirror, versions = PgSessionStore(database), PgChainMirror(database), PgVersionStore(database)
    outbox, index = PgOutbox(database), PgPassageIndex(database)
    runs, answer_log = PgRunStore(database, jobs), PgAnswerLog(database)
    catalog = LocalCatalog(settings.models_dir, settings.extra_models)
    shelf = AdapterShelf(content, cipher, unpack, settings.home / "adapters")
    model = TransformersLanguageModel(catalog, shelf.path_of)
    embedder = MiniLmEmbedder()
    fetching = Fetching(versions, content, cipher, settings.chain_id, contracts.datanet_registry)
    return System(
        settings=settings,
        publisher=publisher,
        network=Network(
            settings.chain_id,
            settings.embeds("chain"),
            settings.explorer_url,
            {
                "DatanetRegistry": contracts.datanet_registry,
                "ModelRegistry": contracts.model_registry,
                "ReceiptLedger": contracts.receipt_ledger,
            },
            publisher,
        ),
        database=database,
        chain=chain,
        gateway=gateway,
        events=events,
        content=content,
        mirror=mirror,
        versions=versions,
        runs=runs,
        answer_log=answer_log,
        jobs=jobs,
        catalog=catalog,
        model=model,
        embedder=embedder,
        signatures=signatures,
        signing_in=SigningIn(
            sessions,
            signatures,
            settings.chain_id,
            settings.origins,
            settings.session_hours * 3600,
            _now,
            secrets.token_bytes,
        ),
        access=access,
        publishing=Publishing(
            access,
            versions,
            content,
            cipher,
            ParquetTables(),
            settings.chain_id,
            contracts.datanet_registry,
            settings.max_upload_bytes,
        ),
        consenting=Consenting(access, signatures, outbox),
        licensing=Licensing(content, mirror),
        ordering=Ordering(access, catalog, signatures, runs),
        training=Training(
            access,
            fetching,
            catalog,
            SubprocessTrainer(catalog),
            content,
            cipher,
            runs,
            shelf,
            pack,
            settings.home / "scratch",
        ),
        registering=Registering(runs, outbox, mirror),
        answering=Answering(access, index, embedder, model, catalog, runs, versions, answer_log, identity),
        auditing=Auditing(answer_log, ledger, mirror, ChainEvidence(chain), identity),
        exploring=Exploring(
            explorer,
            publisher,
            EXPLORED_BLOCKS if settings.embeds("chain") else EXPLORED_BLOCKS_ELSEWHERE,
        ),
        searching=Searching(explorer),
        chain_indexing=ChainIndexing(events, mirror, versions),
        passage_indexing=PassageIndexing(access, versions, fetching, embedder, index, index_passages),
        anchoring=Anchoring(answer_log, ledger, outbox, publisher),
        sending=Sending(outbox, signer, confirmations),
    )
