"""Every touch with the outside, on one screen. Each port has a driver and a memory twin, and one
contract suite that both pass (tests/contract/).

Unless said otherwise a method raises the `Unavailable` of its component when that does not answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from attribution.evidence import Evidence, Needed
from backend.domain.answers import Answer, Checkpoint, Credit, Generation, LoggedReceipt, ModelRef, Unfinished
from backend.domain.consent import Consent, ConsentBasis, Terms
from backend.domain.datanet import FoundPassage, Manifest, Passage
from backend.domain.errors import TransactionReverted
from backend.domain.explorer import AccountSeen, BlockSeen, ContractAbout, TransactionSeen
from backend.domain.finality import Finality, Standing
from backend.domain.training import Progress, TrainedAdapter, TrainingOrder, TrainingRun, TrainingSpec
from backend.domain.types import BlockRef, DatanetId, Digest, Permission, PublishedVersion, Purpose, RunId, Wallet

# --- chain --------------------------------------------------------------------------------------


class AccessRegistry(Protocol):
    """`DatanetRegistry` as a decision-maker reads it: always the chain, never a copy, never cached."""

    async def may_use(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose) -> Permission:
        """`mayUse` at the latest block, with that block as evidence. A datanet that does not exist: not allowed."""
        ...

    async def current_version(self, datanet: DatanetId) -> PublishedVersion:
        """Raises: NotFound when there is no such datanet."""
        ...

    async def consent_basis(self, datanet: DatanetId, grantee: Wallet, signer: Wallet) -> ConsentBasis:
        """What `signer` has to sign about `grantee` now. Raises: NotFound when there is no such datanet."""
        ...

    async def may_serve(self, model_id: int) -> bool:
        """`ModelRegistry.mayServe` at the latest block: whether the terms of all its data still let it answer. A model
        that does not exist: not."""
        ...

    async def permission_at(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose, block: int) -> Permission:
        """What `mayUse` said at an earlier block, re-computed from the events up to it (no archive node needed)."""
        ...


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """A decoded log. Integers stay integers, bytes32 are `Digest`s, addresses are `Wallet`s."""

    block: BlockRef
    tx_hash: Digest
    log_index: int
    contract: str  # "DatanetRegistry", "ModelRegistry" or "ReceiptLedger"
    name: str
    args: Mapping[str, Any]


class ChainEvents(Protocol):
    @property
    def blocks_at_once(self) -> int:
        """How long a range `events` is best asked for; it changes with what the node allows."""
        ...

    async def head(self) -> BlockRef: ...
    async def block(self, number: int) -> BlockRef | None:
        """None when the chain has no such block (any more)."""
        ...

    async def finality(self) -> Finality: ...
    async def events(self, first: int, last: int) -> list[ChainEvent]:
        """All events of our three contracts in blocks first..last, in chain order, each once."""
        ...


class SignatureVerifier(Protocol):
    async def is_valid(self, wallet: Wallet, message: str, signature: bytes) -> bool:
        """An EIP-191 personal message: EOA signatures locally, else EIP-1271/6492 by one deployless call."""
        ...

    async def is_valid_order(self, order: TrainingOrder, signature: bytes) -> bool: ...
    def order_typed_data(self, order: TrainingOrder) -> dict[str, Any]:
        """The EIP-712 document for `eth_signTypedData_v4`."""
        ...

    async def is_valid_consent(self, consent: Consent, signer: Wallet, signature: bytes) -> bool: ...
    def consent_typed_data(self, consent: Consent) -> dict[str, Any]:
        """The EIP-712 document for `eth_signTypedData_v4`."""
        ...


@dataclass(frozen=True, slots=True)
class ContractCall:
    contract: str
    function: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """One attempt at a call. Attempts with the same nonce exclude each other: the chain mines one at most."""

    hash: Digest
    raw: bytes
    nonce: int
    max_fee_wei: int = 0  # a gas, as is the tip; 0 in what was signed before fees were kept
    tip_wei: int = 0
    block: int = 0  # the chain's newest when this was signed
    cancels: bool = False  # does nothing but take up the nonce, in place of a call that no node takes


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    hash: Digest
    block: BlockRef
    succeeded: bool
    gas_used: int


class TransactionSigner(Protocol):
    """The server's one key: it anchors and relays, it never consents. No state of its own: the
    outbox (services/sending.py) decides nonces and survives crashes."""

    @property
    def address(self) -> Wallet: ...
    async def head(self) -> int:
        """The newest block's number."""
        ...

    async def next_nonce(self, confirmations: int = 0) -> int:
        """Transactions of ours mined up to the block that has `confirmations` on top of it."""
        ...

    async def sign(self, call: ContractCall | None, nonce: int) -> SignedTransaction:
        """None pays nothing to ourselves: it fills a gap in the nonces. Raises: InvalidValue;
        TransactionReverted with the contract's named error when it would fail; FeeTooHigh."""
        ...

    async def outbid(self, signed: SignedTransaction, *, cancel: bool = False) -> SignedTransaction:
        """The same nonce, call and gas, with both fees an eighth (12.5 %) higher or more, and no lower than a new
        transaction's. `cancel` takes up the nonce and drops the call. Raises: FeeTooHigh."""
        ...

    async def broadcast(self, raw: bytes) -> None:
        """Idempotent: a transaction the node already has, or has mined, is no error. Raises: TransactionReverted
        "NonceTooLow" when another with its nonce was mined, "Underpriced" when the node wants a higher fee (for
        another with its nonce is waiting, or at all), "RejectedByNode" when the node will never take it."""
        ...

    async def mined(self, tx_hash: Digest) -> MinedTransaction | None: ...
    async def why_reverted(self, mined: MinedTransaction) -> TransactionReverted:
        """The contract's named error, from a replay; "OutOfGas"; "Reverted" when the replay cannot tell."""
        ...


class ReceiptLedger(Protocol):
    async def checkpoint(self) -> Checkpoint:
        """Our publisher's latest on chain; size 0 before the first."""
        ...

    async def anchoring_of(self, receipt: Digest, size: int) -> MinedTransaction | None:
        """The transaction that anchored the checkpoint of that size, if the chain has it."""
        ...


class ChainExplorer(Protocol):
    """The chain as any stranger may read it, from the node alone. Bounded: who asks for a span gives it."""

    async def head(self) -> int:
        """The latest block's number; makes the embedded chain add none."""
        ...

    async def blocks(self, numbers: Sequence[int], *, transactions: bool) -> list[BlockSeen]:
        """Those the chain has, in the order asked for; with their transactions only if wanted."""
        ...

    async def block_named(self, block_hash: Digest) -> BlockSeen | None: ...
    async def succeeded(self, hashes: Sequence[Digest]) -> dict[Digest, bool]:
        """Of mined transactions."""
        ...

    async def transaction(self, tx_hash: Digest) -> TransactionSeen | None: ...
    async def account(self, address: Wallet) -> AccountSeen: ...
    def about(self, contract: str) -> ContractAbout: ...
    async def events_naming(self, value: Wallet | Digest | int) -> list[ChainEvent]:
        """Of our contracts, with that value as an indexed argument of any name; in chain order."""
        ...

    async def events_of(self, contract: str) -> list[ChainEvent]: ...
    async def views(self, calls: Sequence[ContractCall]) -> list[dict[str, Any] | None]:
        """Outputs by name, all at one block; None for a call that the contract refused."""
        ...


class EvidenceSource(Protocol):
    """What an auditor sees on chain."""

    async def gather(self, needed: Needed) -> Evidence:
        """Never raises for what could not be seen: that part is `Unseen`, with the reason."""
        ...


# --- content ------------------------------------------------------------------------------------


class ContentStore(Protocol):
    """IPFS. What is put is pinned; what is got has been checked against its CID."""

    async def put(self, content: BinaryIO) -> str:
        """Pin and return the CID (v1, raw leaves, 256 KiB chunks, base32)."""
        ...

    async def get(self, cid: str, *, max_bytes: int) -> bytes:
        """Raises: ContentUnavailable, ContentCorrupt, TooLarge."""
        ...

    async def unpin(self, cid: str) -> None:
        """Idempotent."""
        ...


class ContentCipher(Protocol):
    """AES-256-GCM STREAM. A data key belongs to one version and is stored wrapped."""

    def new_key(self) -> bytes: ...
    def wrap(self, key: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes) -> bytes: ...
    def encrypt(self, key: bytes, plain: bytes, *, header: bytes) -> bytes:
        """`header` is authenticated, not hidden: it ties the ciphertext to its datanet, version and shard."""
        ...

    def decrypt(self, key: bytes, sealed: bytes, *, header: bytes) -> bytes:
        """Raises: ContentCorrupt."""
        ...


# --- models -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BaseModel:
    name: str
    title: str
    family: str
    parameters: int
    context_tokens: int
    licence: str
    available: bool
    why_not: str | None  # what to do to make it available


class ModelCatalog(Protocol):
    def bases(self) -> list[BaseModel]: ...
    def resolve(self, name: str) -> ModelRef:
        """Raises: InvalidValue for an unknown name, ModelUnavailable when its weights are not here."""
        ...

    def methods(self) -> dict[str, str | None]:
        """Method → None when this machine can run it, else why not."""
        ...


Message = Mapping[str, str]  # {"role": "system"|"user"|"assistant", "content": …}


class LanguageModel(Protocol):
    def stream(
        self,
        model: ModelRef,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        seed: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[str | Generation]:
        """Yields text pieces as they come, then one `Generation`. Greedy, so a seed makes it repeatable.
        `enough`, asked before each token and from any thread, ends the text there: its `Generation` still comes."""
        ...

    async def log_probs(self, model: ModelRef, prompts: Sequence[Sequence[Message]], answer: Generation) -> list[float]:
        """[n_prompts] ln P(answer tokens | prompt), nats, summed over tokens, <= 0."""
        ...

    async def count_tokens(self, model: ModelRef, text: str) -> int: ...


class Embedder(Protocol):
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n_texts, dimensions], rows of unit length."""
        ...


class Trainer(Protocol):
    async def train(
        self,
        spec: TrainingSpec,
        rows: Iterable[dict[str, Any]],
        directory: Path,
        *,
        parent: Path | None = None,
        on_progress: Callable[[Progress], Awaitable[None]],
        should_stop: Callable[[], Awaitable[bool]],
    ) -> TrainedAdapter | None:
        """Train in a process of its own; rows are record bodies. None when `should_stop` said so.
        `parent`: the folder of an adapter to go on from, left as it is; None: start from the base model itself.
        Raises: TrainingFailed with what the trainer said; InvalidValue when no row has anything to learn, or
        (`parent_run_id`) when the parent is for another base model or of another rank."""
        ...


# --- what Postgres remembers --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    session_id: str
    wallet: Wallet
    chain_id: int
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    user_agent: str


class SessionStore(Protocol):
    async def add_nonce(self, nonce: str, origin: str, expires_at: datetime) -> None: ...
    async def take_nonce(self, nonce: str) -> tuple[str, datetime] | None:
        """(origin, expires_at), once: the second taker of a nonce gets None. Atomic."""
        ...

    async def add_session(self, token_hash: bytes, session: Session) -> None: ...
    async def find_session(self, token_hash: bytes, now: datetime) -> Session | None:
        """Only a live one; notes `now` as last seen."""
        ...

    async def sessions_of(self, wallet: Wallet, now: datetime) -> list[Session]: ...
    async def end_session(self, wallet: Wallet, session_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class DatanetRow:
    """The mirror of one datanet: for listing, never for deciding."""

    datanet: DatanetId
    owner: Wallet
    name: str
    version: int
    manifest_digest: Digest | None
    publisher: Wallet  # who owned it when this version was published; none without a version
    public_purposes: Purpose
    terms_version: int
    terms: Terms
    licence_cid: str
    frozen: bool
    offered_to: Wallet  # who may take the datanet over; none when nobody was offered it
    managers: tuple[Wallet, ...]
    created_at: datetime
    block_number: int
    records: int
    passages: int


@dataclass(frozen=True, slots=True)
class GrantRow:
    datanet: DatanetId
    grantee: Wallet
    purposes: Purpose
    expires_at: int  # Unix seconds; 0 = never
    granted_by: Wallet
    terms_version: int  # the grant rests unless these are the terms of now
    tx_hash: Digest
    block_number: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    datanet: DatanetId
    requester: Wallet
    purposes: Purpose
    expires_at: int
    terms_version: int
    message: str
    tx_hash: Digest
    block_number: int


class ChainMirror(Protocol):
    """The indexer's tables: raw events, and what they add up to."""

    async def tip(self) -> BlockRef | None:
        """The last block indexed."""
        ...

    async def blocks_before(self, number: int, limit: int) -> list[BlockRef]:
        """Indexed blocks with events or boundaries below `number`, highest first: the walk back of a reorg."""
        ...

    async def standing(self) -> Standing: ...
    async def append(self, events: Sequence[ChainEvent], boundary: BlockRef, finality: Finality | None = None) -> None:
        """Store events and fold them, with `boundary` as the new tip, in one transaction. Blocks without events that
        lie below what is final are forgotten: no walk back comes there."""
        ...

    async def rewind(self, to: BlockRef | None) -> None:
        """Forget all above `to` (everything when None, finality and problem too) and fold again what is left."""
        ...

    async def rebuild(
        self,
        history: AsyncIterator[tuple[Sequence[ChainEvent], BlockRef]],
        finality: Finality,
        problem: str | None = None,
    ) -> None:
        """Replace everything by `history` (events and boundary, as for `append`) at once: a reader sees the old or
        the new. When `history` raises, all stays as it was."""
        ...

    async def datanets(self) -> list[DatanetRow]: ...
    async def datanet(self, datanet: DatanetId) -> DatanetRow | None: ...
    async def grants_of(self, datanet: DatanetId) -> list[GrantRow]: ...
    async def requests_of(self, datanet: DatanetId) -> list[RequestRow]: ...
    async def grants_to(self, wallet: Wallet) -> list[GrantRow]: ...
    async def events_named(self, name: str, limit: int = 1000, **args: Any) -> list[ChainEvent]:
        """Mirrored events of that name whose args contain `args`, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """An upload that was looked at and not yet decided on. `sealed` is encrypted under the KEK."""

    draft_id: str
    datanet: DatanetId
    owner: Wallet
    filename: str
    contributor_column: str | None
    sealed: bytes
    wrapped_key: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version from being pinned to being searchable."""

    datanet: DatanetId
    version: int
    owner: Wallet  # who prepared it: somebody else's publication of its digest is not its own
    manifest_digest: Digest
    manifest_cid: str
    manifest: Manifest
    wrapped_key: bytes
    # "prepared" → "published" (its transaction was seen) → "indexed"; or "stale" (the chain has another one), or
    # "corrupt" (what came back is not what was pinned: it will never be indexed)
    status: str
    passages: int
    created_at: datetime
    problem: str | None = None  # why it is no further, fit to show its owner


class VersionStore(Protocol):
    async def add_draft(self, draft: Draft) -> None: ...
    async def draft(self, draft_id: str, now: datetime) -> Draft | None: ...
    async def drop_draft(self, draft_id: str) -> None: ...
    async def add_version(self, row: VersionRow) -> None: ...
    async def version(self, manifest_digest: Digest) -> VersionRow | None: ...
    async def versions_of(self, datanet: DatanetId) -> list[VersionRow]:
        """Newest first."""
        ...

    async def datanets(self) -> set[DatanetId]:
        """Those with a version prepared here."""
        ...

    async def set_status(
        self, manifest_digest: Digest, status: str, passages: int | None = None, *, problem: str | None = None
    ) -> None:
        """A problem belongs to one status: the next clears it. Raises: NotFound."""
        ...

    async def awaiting_index(self) -> list[VersionRow]:
        """Rows in status "published"."""
        ...


class PassageIndex(Protocol):
    async def replace(
        self, datanet: DatanetId, version: int, passages: Sequence[Passage], vectors: NDArray[np.float32]
    ) -> None:
        """Make exactly these the datanet's passages, at once: a reader sees the old or the new."""
        ...

    async def search(
        self, datanets: Sequence[DatanetId], question: str, vector: NDArray[np.float32], *, limit: int
    ) -> list[FoundPassage]:
        """Hybrid search inside the named datanets only, best first. None named: nothing found."""
        ...

    async def count(self, datanet: DatanetId) -> int: ...


class RunStore(Protocol):
    async def add(self, run: TrainingRun) -> bool:
        """Store the run and enqueue its job in one transaction. False, and nothing changed, when it is there."""
        ...

    async def get(self, run_id: RunId) -> TrainingRun | None: ...
    async def runs_of(self, wallet: Wallet) -> list[TrainingRun]: ...
    async def update(self, run_id: RunId, **fields: Any) -> TrainingRun:
        """Set the named fields of TrainingRun and notify watchers. Raises: NotFound."""
        ...

    async def add_progress(self, run_id: RunId, progress: Progress) -> None:
        """One row per step (a repeated step replaces it) and a notification."""
        ...

    async def progress(self, run_id: RunId, after_step: int = 0) -> list[Progress]: ...
    def watch(self, run_id: RunId) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Wakes at every change of the run, from any process; and at least every 15 s."""
        ...

    async def finished_runs(self) -> list[TrainingRun]:
        """Status DONE, newest first: the tuned models."""
        ...

    async def live_runs(self) -> list[TrainingRun]:
        """Not ended: what a restarted worker takes up again, oldest first."""
        ...


class AnswerLog(Protocol):
    """Answers and the receipt log: append-only, index gapless from 0."""

    async def begin(self, unfinished: Unfinished) -> None:
        """Before anyone sees any of it: a process that dies then leaves what another needs to end the answer."""
        ...

    async def unfinished(self) -> list[Unfinished]:
        """Begun and neither appended nor abandoned, oldest first."""
        ...

    async def abandon(self, answer_id: str) -> None:
        """Idempotent."""
        ...

    async def append(self, answer: Answer, document: dict[str, Any], credits: Sequence[Credit]) -> LoggedReceipt:
        """Answer and receipt in one transaction, or neither; with it the answer is finished."""
        ...

    async def receipt(self, digest: Digest) -> LoggedReceipt | None: ...
    async def answers_of(self, wallet: Wallet, limit: int = 100) -> list[Answer]: ...
    async def receipts_crediting(self, wallet: Wallet, limit: int = 100) -> list[LoggedReceipt]: ...
    async def size(self) -> int: ...
    async def digests(self, size: int) -> list[Digest]:
        """The first `size` receipts' digests, in log order."""
        ...

    async def credits(self, first: int, end: int) -> list[Credit]:
        """Of receipts first..end-1, in log order."""
        ...


@dataclass(frozen=True, slots=True)
class OutgoingTransaction:
    """A transaction that must happen exactly once, from before it is signed until no reorganisation takes it back."""

    reference: str  # unique: "anchor:128", "register:<run id>"
    call: ContractCall
    status: str  # "queued" → "signed" → "mined" → "final", or "failed"; "mined" → "signed" after a reorganisation
    attempts: tuple[SignedTransaction, ...] = ()  # oldest first, none ever dropped: any of them may be mined
    tx_hash: Digest | None = None  # of the attempt that was mined
    block_number: int | None = None
    problem: str | None = None  # why it failed, or what it waits for

    @property
    def nonce(self) -> int | None:
        return self.attempts[-1].nonce if self.attempts else None

    @property
    def is_mined(self) -> bool:
        return self.status in ("mined", "final")

    @property
    def version(self) -> tuple[str, int, Digest | None, int | None]:
        """What tells one state of it from the next."""
        return self.status, len(self.attempts), self.tx_hash, self.block_number


class Outbox(Protocol):
    """The `mark_` methods take the transaction as the caller read it. Raises: Conflict when it has moved on since, so
    that of two who act on the same state one wins; NotFound."""

    async def add(self, reference: str, call: ContractCall) -> bool:
        """False, and nothing changed, when that reference is there already."""
        ...

    async def get(self, reference: str) -> OutgoingTransaction | None: ...
    async def unfinished(self) -> list[OutgoingTransaction]:
        """Neither final nor failed, oldest first."""
        ...

    async def latest(self, prefix: str) -> OutgoingTransaction | None:
        """The newest whose reference starts so."""
        ...

    async def mark_signed(self, seen: OutgoingTransaction, signed: SignedTransaction) -> None:
        """Adds an attempt; one that is there already is not added twice (a reorganisation un-mined it)."""
        ...

    async def mark_mined(self, seen: OutgoingTransaction, mined: MinedTransaction, *, final: bool) -> None: ...
    async def mark_failed(self, seen: OutgoingTransaction, problem: str) -> None: ...
    async def mark_waiting(self, seen: OutgoingTransaction, problem: str) -> None:
        """Says what it waits for, and nothing else; the next mark but a cancelling attempt's clears it."""
        ...

    def lead(self) -> AbstractAsyncContextManager[bool]:
        """True for one process at a time (advisory lock): one writer per key."""
        ...


# --- what this node says of itself ---------------------------------------------------------------

ComponentProbe = Callable[[], Awaitable[dict[str, Any]]]  # {"name", "used", "version", "ok", "problem"}


class RpcGateway(Protocol):
    """JSON-RPC bytes to the chain and back, as they are; the route decides which methods may pass."""

    async def forward(self, body: bytes) -> bytes:
        """Raises: ChainUnavailable."""
        ...


# --- uploads ------------------------------------------------------------------------------------


class TableReader(Protocol):
    def read(self, content: bytes, *, max_rows: int, max_bytes: int) -> tuple[list[str], list[dict[str, Any]]]:
        """A Parquet file → (columns, rows); values as Python has them.
        Raises: UnreadableFile; TooLarge over `max_rows`, or over `max_bytes` once unpacked (it is a compressed
        format, so a small file may be a very large table)."""
        ...
