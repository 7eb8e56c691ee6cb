"""A chain in memory: the twin of what drivers/chain talks to. Each transaction is a block of its own.

chain = MemoryChain()
cardio = chain.create_datanet(ALICE, "cardio")
chain.publish(cardio, manifest, root)
chain.grant(cardio, BOB, Purpose.RETRIEVE)
chain.down = True     # from here on every read and send raises ChainUnavailable
chain.reorg(2)        # the last two blocks, and all they held, never happened
"""

import copy
import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

from backend.domain.consent import PLAIN_TERMS, ConsentBasis, Terms
from backend.domain.errors import ChainUnavailable, NotFound, TransactionReverted
from backend.domain.finality import FINAL_DEPTH, Finality
from backend.domain.types import (
    BlockRef,
    DatanetId,
    Digest,
    Permission,
    PublishedVersion,
    Purpose,
    Wallet,
    digest_of,
)
from backend.drivers.memory.chain_contracts import MemoryContracts
from backend.drivers.memory.chain_registry import NO_DIGEST
from backend.ports import ChainEvent, ContractCall, MinedTransaction


@dataclass
class MemoryBlock:
    ref: BlockRef
    state: MemoryContracts
    events: list[ChainEvent] = field(default_factory=list)
    transactions: dict[Digest, bool] = field(default_factory=dict)  # hash → succeeded
    nonces: dict[Wallet, int] = field(default_factory=dict)  # transactions so far, by sender
    calls: dict[Digest, tuple[Wallet, ContractCall]] = field(default_factory=dict)


class MemoryChain:
    """`AccessRegistry` and `ChainEvents`, and the hand that moves the chain in tests."""

    blocks_at_once = 1_000

    def __init__(self, chain_id: int = 20931, now: int = 1_800_000_000) -> None:
        """`now`: the time of the first block, Unix seconds; `advance` moves it."""
        self.chain_id = chain_id
        self.now = now
        self.down = False
        self._branches = itertools.count()
        self._branch = 0
        self.blocks = [MemoryBlock(BlockRef(0, self._hash("genesis"), now), MemoryContracts())]
        self.refusals: dict[Digest, TransactionReverted] = {}  # of what was mined as a failure

    # --- moving it ----------------------------------------------------------------------------

    def advance(self, seconds: int) -> BlockRef:
        """Let time pass, and make an empty block so that the chain knows."""
        self.now += seconds
        return self.mine()

    def mine(self) -> BlockRef:
        return self._add_block(self.blocks[-1].state).ref

    def reorg(self, depth: int) -> None:
        """Replace the last `depth` blocks by as many empty ones with other hashes."""
        self._branch = next(self._branches) + 1
        del self.blocks[len(self.blocks) - depth :]
        for _ in range(depth):
            self.mine()

    def execute(self, sender: Wallet, contract: str, function: str, *args: Any) -> MinedTransaction:
        """Mine one call. Raises: TransactionReverted, and then there is no block."""
        return self._execute(sender, ContractCall(contract, function, args), None)

    def create_datanet(
        self, owner: Wallet, name: str, *, public: Purpose = Purpose.NONE, terms: Terms = PLAIN_TERMS
    ) -> DatanetId:
        self.execute(owner, "DatanetRegistry", "createDatanet", name, terms.struct(), "", int(public))
        return DatanetId(len(self._state.datanets))

    def publish(self, datanet: DatanetId, manifest_digest: Digest, records_root: Digest, manifest_cid: str = "") -> int:
        """By its owner. Returns: the version."""
        version = len(self._state.datanets[datanet].versions) + 1
        self._by_owner("publishVersion", datanet, version, manifest_digest, records_root, manifest_cid)
        return version

    def set_public(self, datanet: DatanetId, purposes: Purpose) -> None:
        self._by_owner("setPublicPurposes", datanet, int(purposes))

    def request(
        self, datanet: DatanetId, requester: Wallet, purposes: Purpose, expires_at: int = 0, message: str = ""
    ) -> None:
        terms = len(self._state.datanets[datanet].terms)
        self.execute(requester, "DatanetRegistry", "requestAccess", datanet, terms, int(purposes), expires_at, message)

    def approve(self, datanet: DatanetId, requester: Wallet, purposes: Purpose, expires_at: int = 0) -> None:
        self._by_owner("approveRequest", datanet, requester, int(purposes), expires_at)

    def deny(self, datanet: DatanetId, requester: Wallet) -> None:
        self._by_owner("denyRequest", datanet, requester)

    def grant(self, datanet: DatanetId, grantee: Wallet, purposes: Purpose, expires_at: int = 0) -> None:
        self._by_owner("grant", datanet, grantee, int(purposes), expires_at)

    def revoke(self, datanet: DatanetId, grantee: Wallet, purposes: Purpose) -> None:
        self._by_owner("revoke", datanet, grantee, int(purposes))

    def set_terms(self, datanet: DatanetId, terms: Terms, licence_cid: str = "") -> int:
        """By its owner. Returns: their version."""
        version = len(self._state.datanets[datanet].terms) + 1
        self._by_owner("setTerms", datanet, version, terms.struct(), licence_cid)
        return version

    def accept_terms(self, datanet: DatanetId, grantee: Wallet) -> None:
        version = len(self._state.datanets[datanet].terms)
        self.execute(grantee, "DatanetRegistry", "acceptTerms", datanet, version)

    def set_manager(self, datanet: DatanetId, manager: Wallet, allowed: bool = True) -> None:
        self._by_owner("setManager", datanet, manager, allowed)

    def freeze(self, datanet: DatanetId) -> None:
        self._by_owner("freeze", datanet)

    def unfreeze(self, datanet: DatanetId) -> None:
        self._by_owner("unfreeze", datanet)

    def transfer(self, datanet: DatanetId, to: Wallet) -> None:
        """Both steps: offered by its owner, taken by `to`."""
        owner = self._state.datanets[datanet].owner
        self.execute(owner, "DatanetRegistry", "approve", to, datanet)
        self.execute(to, "DatanetRegistry", "transferFrom", owner, to, datanet)

    # --- AccessRegistry -----------------------------------------------------------------------

    async def may_use(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose) -> Permission:
        return self._permission(self._at_head(), wallet, datanet, purpose)

    async def current_version(self, datanet: DatanetId) -> PublishedVersion:
        found = self._at_head().state.datanets.get(datanet)
        if found is None:
            raise NotFound(f"datanet {datanet}")
        manifest, root, _ = found.versions[-1] if found.versions else (NO_DIGEST, NO_DIGEST, 0)
        licence = found.terms[-1][0]
        return PublishedVersion(datanet, found.owner, len(found.versions), manifest, root, licence)

    async def consent_basis(self, datanet: DatanetId, grantee: Wallet, signer: Wallet) -> ConsentBasis:
        found = self._at_head().state.datanets.get(datanet)
        if found is None:
            raise NotFound(f"datanet {datanet}")
        may = signer == found.owner or signer in found.managers
        return ConsentBasis(may, found.nonce_of(grantee), len(found.terms), Purpose(found.offered))

    async def may_serve(self, model_id: int) -> bool:
        head = self._at_head()
        return head.state.may_serve(model_id, head.ref.timestamp)

    async def permission_at(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose, block: int) -> Permission:
        self.check_up()
        if not 0 <= block < len(self.blocks):
            raise NotFound(f"block {block}")
        return self._permission(self.blocks[block], wallet, datanet, purpose)

    # --- ChainEvents --------------------------------------------------------------------------

    async def head(self) -> BlockRef:
        return self._at_head().ref

    async def block(self, number: int) -> BlockRef | None:
        self.check_up()
        return self.blocks[number].ref if 0 <= number < len(self.blocks) else None

    async def finality(self) -> Finality:
        head = self._at_head().ref.number
        chain = digest_of(hashlib.sha256(f"{self.chain_id} {self.blocks[0].ref.hash}".encode()).digest())
        return Finality(chain, self.blocks[max(0, head - FINAL_DEPTH)].ref)

    async def events(self, first: int, last: int) -> list[ChainEvent]:
        self.check_up()
        return [event for block in self.blocks[max(first, 0) : last + 1] for event in block.events]

    # --- inside -------------------------------------------------------------------------------

    def check_up(self) -> None:
        """Raises: ChainUnavailable while `down`."""
        if self.down:
            raise ChainUnavailable("the memory chain was told to be down")

    def find_mined(self, tx_hash: Digest) -> MinedTransaction | None:
        for block in self.blocks:
            if tx_hash in block.transactions:
                return MinedTransaction(tx_hash, block.ref, block.transactions[tx_hash], 21_000)
        return None

    def simulate(self, sender: Wallet, call: ContractCall) -> tuple[MemoryContracts, list[tuple[str, str, Any]]]:
        """The state and events it would leave. Raises: TransactionReverted."""
        state = copy.deepcopy(self._state)
        return state, state.call(sender, self.now, call.contract, call.function, call.args)

    def run(self, sender: Wallet, call: ContractCall | None, tx_hash: Digest) -> None:
        """Mine what was signed, into a block of its own, as a failure when it is refused; None does nothing."""
        try:
            if call is not None:
                self._execute(sender, call, tx_hash)
                return
        except TransactionReverted as refused:
            self.refusals[tx_hash] = refused
        block = self._add_block(self.blocks[-1].state)
        block.transactions[tx_hash] = call is None
        if call is not None:
            block.calls[tx_hash] = (sender, call)
        block.nonces[sender] = block.nonces.get(sender, 0) + 1

    def nonce_of(self, sender: Wallet, confirmations: int = 0) -> int:
        return self.blocks[max(len(self.blocks) - 1 - confirmations, 0)].nonces.get(sender, 0)

    @property
    def _state(self) -> MemoryContracts:
        return self.blocks[-1].state

    def _at_head(self) -> MemoryBlock:
        self.check_up()
        return self.blocks[-1]

    def _permission(self, block: MemoryBlock, wallet: Wallet, datanet: DatanetId, purpose: Purpose) -> Permission:
        allowed = block.state.may_use(wallet, datanet, int(purpose), block.ref.timestamp)
        return Permission(wallet, datanet, purpose, allowed, block.ref)

    def _by_owner(self, function: str, *args: Any) -> None:
        datanet = args[0]
        if datanet not in self._state.datanets:
            raise TransactionReverted("DatanetRegistryUnknownDatanet", f"datanetId {datanet}")
        self.execute(self._state.datanets[datanet].owner, "DatanetRegistry", function, *args)

    def _execute(self, sender: Wallet, call: ContractCall, tx_hash: Digest | None) -> MinedTransaction:
        state, emitted = self.simulate(sender, call)
        block = self._add_block(state)
        used = tx_hash or self._hash("tx", len(self.blocks))
        block.transactions[used] = True
        block.calls[used] = (sender, call)
        block.nonces[sender] = block.nonces.get(sender, 0) + 1
        block.events += [
            ChainEvent(block.ref, used, index, contract, name, args)
            for index, (contract, name, args) in enumerate(emitted)
        ]
        return MinedTransaction(used, block.ref, True, 21_000)

    def _add_block(self, state: MemoryContracts) -> MemoryBlock:
        number = len(self.blocks)
        parent = self.blocks[-1]
        ref = BlockRef(number, self._hash("block", number, parent.ref.hash), self.now)
        block = MemoryBlock(ref, state, nonces=dict(parent.nonces))
        self.blocks.append(block)
        return block

    def _hash(self, *parts: Any) -> Digest:
        return digest_of(hashlib.sha256(repr((self._branch, parts)).encode()).digest())
