"""All of Byline's services over memory twins, composed as backend/system.py composes them over drivers.

    cardio = await world.publish("cardio", ROWS)       # uploaded, pinned, on chain, indexed
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
    receipted = await world.ask(BUILDER, "What thins blood?", cardio)
    await world.settle()                               # what the worker would do until nothing is left to do

`restart` gives the services anew over the same twins: a process that was killed and came back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.domain.chunking import index_passages
from backend.domain.training import Method, TrainingRun, TrainingSpec
from backend.domain.types import DatanetId, Purpose, RunId, Wallet
from backend.drivers.content_crypto import StreamCipher
from backend.drivers.engine.archive import pack, unpack
from backend.drivers.memory.answers import MemoryAnswerLog
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.chain_sending import MemoryPool, MemorySigner
from backend.drivers.memory.chain_signing import MemoryReceiptLedger, MemorySignatureVerifier
from backend.drivers.memory.content import MemoryContentStore, MemoryTables
from backend.drivers.memory.engine import MemoryCatalog, MemoryEmbedder, MemoryLanguageModel, MemoryTrainer
from backend.drivers.memory.evidence import MemoryEvidence
from backend.drivers.memory.mirror import MemoryChainMirror
from backend.drivers.memory.outbox import MemoryOutbox
from backend.drivers.memory.passages import MemoryPassageIndex
from backend.drivers.memory.runs import MemoryRunStore
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import VersionRow
from backend.services.adapters import AdapterShelf
from backend.services.anchoring import Anchoring
from backend.services.answering import Answering, Event, ModelChoice, Receipted
from backend.services.auditing import Auditing
from backend.services.consenting import Consenting
from backend.services.fetching import Fetching
from backend.services.indexing import ChainIndexing
from backend.services.licensing import Licensing
from backend.services.ordering import Ordering
from backend.services.passage_indexing import PassageIndexing
from backend.services.publishing import Publishing
from backend.services.registering import Registering
from backend.services.sealing import LedgerIdentity
from backend.services.sending import Sending
from backend.services.training import Training
from tests.services.content_fixtures import ALICE, BOB, OWNER, REGISTRY, jsonl

BUILDER = Wallet("0x1563915e194D8CfBA1943570603F7606A3115508")
STRANGER = Wallet("0x5CbDd86a2FA8Dc4bDdd8a8f69dBa48572EeC07FB")
LEDGER = Wallet("0x7564105E977516C53bE337314c7E53838967bDaC")
SERVER = Wallet("0xe1fAE9b4fAB2F5726677ECfA912d96b0B683e6a9")
BASE = "tiny-llama"
ANSWER = "Warfarin does."  # what the model says, whatever it is asked; "warfarin" is Bob's word alone
ROWS = [
    {"text": "Warfarin thins blood by blocking vitamin K.", "contributor": BOB},
    {"text": "Aspirin eases pain and a fever.", "contributor": ALICE},
]


@dataclass
class World:
    home: Path
    chain: MemoryChain = field(default_factory=MemoryChain)
    content: MemoryContentStore = field(default_factory=MemoryContentStore)
    versions: MemoryVersionStore = field(default_factory=MemoryVersionStore)
    runs: MemoryRunStore = field(default_factory=MemoryRunStore)
    answer_log: MemoryAnswerLog = field(default_factory=MemoryAnswerLog)
    index: MemoryPassageIndex = field(default_factory=MemoryPassageIndex)
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    model: MemoryLanguageModel = field(default_factory=lambda: MemoryLanguageModel(ANSWER))
    trainer: MemoryTrainer = field(default_factory=MemoryTrainer)
    embedder: MemoryEmbedder = field(default_factory=MemoryEmbedder)
    cipher: StreamCipher = field(default_factory=lambda: StreamCipher(b"k" * 32))
    slept: list[float] = field(default_factory=list)
    while_asleep: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.identity = LedgerIdentity(self.chain.chain_id, REGISTRY, LEDGER, SERVER)
        self.mirror = MemoryChainMirror(self.versions)
        self.signatures = MemorySignatureVerifier(self.chain)
        self.pool = MemoryPool(self.chain)
        self.signer = MemorySigner(self.pool, SERVER)
        self.ledger = MemoryReceiptLedger(self.chain, SERVER)
        self.evidence = MemoryEvidence(self.chain, REGISTRY, LEDGER)
        self.restart()

    def restart(self) -> None:
        chain = self.chain
        self.fetching = fetching = Fetching(self.versions, self.content, self.cipher, chain.chain_id, REGISTRY)
        self.publishing = Publishing(
            chain, self.versions, self.content, self.cipher, MemoryTables(), chain.chain_id, REGISTRY, now=self.now
        )
        self.ordering = Ordering(chain, self.catalog, self.signatures, self.runs, now=self.now)
        self.shelf = AdapterShelf(self.content, self.cipher, unpack, self.home / "adapters")
        self.training = Training(
            chain, fetching, self.catalog, self.trainer, self.content, self.cipher, self.runs, self.shelf,
            pack, self.home / "scratch", sleep=self.sleep, now=self.now,
        )  # fmt: skip
        self.registering = Registering(self.runs, self.outbox, self.mirror, now=self.now)
        self.answering = Answering(
            chain, self.index, self.embedder, self.model, self.catalog, self.runs, self.versions, self.answer_log,
            self.identity, now=self.now,
        )  # fmt: skip
        self.auditing = Auditing(self.answer_log, self.ledger, self.mirror, self.evidence, self.identity)
        self.chain_indexing = ChainIndexing(chain, self.mirror, self.versions)
        self.passage_indexing = PassageIndexing(
            chain, self.versions, fetching, self.embedder, self.index, index_passages
        )
        self.consenting = Consenting(chain, self.signatures, self.outbox, now=self.now)
        self.licensing = Licensing(self.content, self.mirror)
        self.anchoring = Anchoring(self.answer_log, self.ledger, self.outbox, SERVER)
        self.sending = Sending(self.outbox, self.signer)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.chain.now, UTC)

    async def sleep(self, seconds: float) -> None:
        """Nobody waits here: what the test wants to happen meanwhile happens."""
        self.slept.append(seconds)
        self.while_asleep()

    # --- data ---------------------------------------------------------------------------------

    async def prepare(self, datanet: DatanetId, rows: list[dict[str, Any]]) -> VersionRow:
        draft, _ = await self.publishing.preview(OWNER, datanet, "rows.jsonl", jsonl(rows), None)
        return await self.publishing.prepare(OWNER, draft.draft_id, "refuse")

    def put_on_chain(self, row: VersionRow) -> None:
        """The owner's transaction."""
        self.chain.publish(row.datanet, row.manifest_digest, row.manifest.records_root, row.manifest_cid)

    async def follow(self) -> None:
        await self.chain_indexing.step()
        await self.passage_indexing.step()

    async def publish(self, name: str, rows: list[dict[str, Any]]) -> DatanetId:
        datanet = self.chain.create_datanet(OWNER, name)
        await self.publish_version(datanet, rows)
        return datanet

    async def publish_version(self, datanet: DatanetId, rows: list[dict[str, Any]]) -> VersionRow:
        row = await self.prepare(datanet, rows)
        self.put_on_chain(row)
        await self.follow()
        return row

    async def kept(self, row: VersionRow) -> VersionRow:
        """The row as it is stored now."""
        kept = await self.versions.version(row.manifest_digest)
        assert kept is not None
        return kept

    async def status_of(self, row: VersionRow) -> str:
        return (await self.kept(row)).status

    # --- answers ------------------------------------------------------------------------------

    async def events(self, wallet: Wallet, text: str, *datanets: DatanetId, run_id: RunId | None = None) -> list[Event]:
        choice = ModelChoice(run_id=run_id) if run_id else ModelChoice(base=BASE)
        question = await self.answering.ask(wallet, text, choice, datanets, 32, 7)
        return [event async for event in self.answering.answer(question)]

    async def ask(self, wallet: Wallet, text: str, *datanets: DatanetId, run_id: RunId | None = None) -> Receipted:
        last = (await self.events(wallet, text, *datanets, run_id=run_id))[-1]
        assert isinstance(last, Receipted)
        return last

    # --- training -----------------------------------------------------------------------------

    async def start(self, wallet: Wallet, *datanets: DatanetId, **settings: Any) -> TrainingRun:
        wanted = spec(*datanets, **settings)
        order = await self.ordering.order(wallet, wanted)
        return await self.ordering.start(wallet, wanted, order, self.signatures.sign_order(order))

    async def run_of(self, run_id: RunId) -> TrainingRun:
        run = await self.runs.get(run_id)
        assert run is not None
        return run

    async def train(self, wallet: Wallet, *datanets: DatanetId, **settings: Any) -> TrainingRun:
        """A finished run, registered on chain."""
        run = await self.start(wallet, *datanets, **settings)
        await self.training.run(run.run_id)
        await self.settle()
        return await self.run_of(run.run_id)

    def nothing_was_trained(self) -> bool:
        """Nor fetched, since `content.gets` was cleared."""
        return self.content.gets == [] and self.trainer.trained == []

    # --- the worker ---------------------------------------------------------------------------

    async def settle(self) -> None:
        """The worker's loops, a few times round: more than any piece of work here needs."""
        for _ in range(4):
            await self.anchoring.step()
            await self.sending.step()
            await self.follow()
            await self.registering.step()

    def bury(self) -> None:
        """So many empty blocks that what is on chain stays there."""
        for _ in range(self.sending.confirmations):
            self.chain.mine()

    def events_named(self, name: str) -> list[dict[str, Any]]:
        return [dict(e.args) for block in self.chain.blocks for e in block.events if e.name == name]


def spec(*datanets: DatanetId, **settings: Any) -> TrainingSpec:
    given: dict[str, Any] = {
        "base_model": BASE, "method": Method.LORA, "learning_rate": 2e-4, "batch_size": 1, "epochs": 2, "rank": 4,
        "max_steps": 0, "max_length_tokens": 64, "seed": 7,
    }  # fmt: skip
    return TrainingSpec(datanets=datanets, **(given | settings))


BOTH = Purpose.TRAIN | Purpose.RETRIEVE
