"""The three contracts' rules in memory: what each function changes and emits, or its named refusal.

One `MemoryContracts` is the state after one block. The chain copies it, applies a call to the copy, and keeps
the copy only when nothing was refused.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attribution.log import verify_consistency
from backend.domain.errors import TransactionReverted
from backend.domain.training import TrainingOrder
from backend.domain.types import NO_WALLET, Digest, Wallet, digest_bytes
from backend.drivers.memory.chain_registry import NO_DIGEST, DatanetState, MemoryRegistry, as_digest

EMITTED = tuple[str, str, dict[str, Any]]  # contract, event, args
MAX_GENERATION = 8


def order_signature(order: TrainingOrder) -> bytes:
    """What stands for the trainer's signature: 65 bytes that nobody makes by accident."""
    return (hashlib.sha512(f"order:{order!r}".encode()).digest() + b"\x1b")[:65]


@dataclass(frozen=True)
class ModelState:
    trainer: Wallet
    datanets: tuple[int, ...]
    terms_versions: tuple[int, ...]
    parent: int
    generation: int


class MemoryContracts:
    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        self.checkpoints: dict[Wallet, tuple[int, Digest]] = {}
        self.keys: dict[Wallet, Wallet] = {}
        self.offered_keys: dict[Wallet, Wallet] = {}
        self.used_nonces: set[tuple[Wallet, int]] = set()
        self.models: list[ModelState] = []
        self.emitted: list[EMITTED] = []

    @property
    def datanets(self) -> dict[int, DatanetState]:
        return self.registry.datanets

    def call(self, sender: Wallet, now: int, contract: str, function: str, args: Sequence[Any]) -> list[EMITTED]:
        """Run one transaction and return its events. Raises: TransactionReverted, with the state half changed."""
        self.emitted, self.sender, self.now = [], sender, now
        self.registry.sender, self.registry.now = sender, now
        known: dict[str, dict[str, Callable[..., None]]] = {
            "DatanetRegistry": self.registry.functions(lambda event, **a: self._emit(event, "DatanetRegistry", **a)),
            "ModelRegistry": {"register": self._register},
            "ReceiptLedger": {"anchor": self._anchor, "offerKey": self._offer_key, "acceptKey": self._accept_key},
        }
        known[contract][function](*args)
        return self.emitted

    def may_use(self, wallet: Wallet, datanet: int, purposes: int, now: int) -> bool:
        return self.registry.may_use(wallet, datanet, purposes, now)

    # --- ModelRegistry ------------------------------------------------------------------------

    def may_serve(self, model_id: int, now: int) -> bool:
        if not 1 <= model_id <= len(self.models):
            return False
        while model_id:
            model = self.models[model_id - 1]
            for datanet, version in zip(model.datanets, model.terms_versions, strict=True):
                *_, keeps = self.datanets[datanet].terms[version - 1]
                if not keeps and not self.may_use(model.trainer, datanet, 1, now):
                    return False
            model_id = model.parent
        return True

    def _register(self, given: Any, signature: bytes, result: Sequence[Any]) -> None:
        order = given if isinstance(given, TrainingOrder) else order_of(*given)
        adapter, adapter_cid, base_model, provenance, provenance_cid = result
        if as_digest(adapter) == NO_DIGEST:
            raise TransactionReverted("ModelRegistryZeroAdapterDigest", f"trainer {order.trainer}")
        self._check_order(order, signature)
        parent = self.models[order.parent_model_id - 1] if order.parent_model_id else None
        generation = parent.generation + 1 if parent else 0
        if generation > MAX_GENERATION:
            raise TransactionReverted("ModelRegistryLineTooLong", f"parentModelId {order.parent_model_id}")
        terms = tuple(len(self.datanets[datanet].terms) for datanet in order.datanets)
        self.used_nonces.add((order.trainer, order.nonce))
        self.models.append(ModelState(order.trainer, order.datanets, terms, order.parent_model_id, generation))
        model_id = len(self.models)
        self._emit(
            "ModelRegistered",
            "ModelRegistry",
            modelId=model_id,
            trainer=order.trainer,
            adapterDigest=as_digest(adapter),
            baseModel=base_model,
            adapterCid=adapter_cid,
            configDigest=order.config_digest,
            provenanceDigest=as_digest(provenance),
            provenanceCid=provenance_cid,
        )
        if parent:
            self._emit("ModelDerived", "ModelRegistry", modelId=model_id, parentModelId=order.parent_model_id)
        for datanet, version, of_terms in zip(order.datanets, order.versions, terms, strict=True):
            trained = {"modelId": model_id, "datanetId": datanet, "version": version, "termsVersion": of_terms}
            self._emit("ModelTrainedOn", "ModelRegistry", **trained)

    def _check_order(self, order: TrainingOrder, signature: bytes) -> None:
        if self.now > order.deadline:
            raise TransactionReverted("ModelRegistryOrderExpired", f"deadline {order.deadline}")
        if (order.trainer, order.nonce) in self.used_nonces:
            raise TransactionReverted("ModelRegistryNonceUsed", f"trainer {order.trainer}, nonce {order.nonce}")
        if not order.datanets or len(order.datanets) != len(order.versions):
            raise TransactionReverted("ModelRegistryInvalidOrder")
        if bytes(signature) != order_signature(order):
            raise TransactionReverted("ModelRegistryInvalidSignature", f"trainer {order.trainer}")
        for datanet, version in zip(order.datanets, order.versions, strict=True):
            self._check_training(order.trainer, datanet)
            if not 1 <= version <= len(self.datanets[datanet].versions):
                detail = f"datanetId {datanet}, version {version}"
                raise TransactionReverted("ModelRegistryUnknownVersion", detail)
        if order.parent_model_id > len(self.models):
            raise TransactionReverted("ModelRegistryUnknownModel", f"modelId {order.parent_model_id}")
        ancestor: int = order.parent_model_id
        while ancestor:
            for inherited in self.models[ancestor - 1].datanets:
                self._check_training(order.trainer, inherited)
            ancestor = self.models[ancestor - 1].parent

    def _check_training(self, trainer: Wallet, datanet: int) -> None:
        if not self.may_use(trainer, datanet, 1, self.now):
            detail = f"trainer {trainer}, datanetId {datanet}"
            raise TransactionReverted("ModelRegistryTrainingNotPermitted", detail)

    # --- ReceiptLedger ------------------------------------------------------------------------

    def _anchor(
        self, publisher: Wallet, size: int, root: bytes | str, proof: Sequence[bytes | str], credits: Sequence[Any]
    ) -> None:
        if self.sender != self.key_of(publisher):
            raise TransactionReverted("ReceiptLedgerNotKey", f"publisher {publisher}, caller {self.sender}")
        held_size, held_root = self.checkpoints.get(publisher, (0, NO_DIGEST))
        if size <= held_size:
            raise TransactionReverted("ReceiptLedgerNotGrowing", f"size {held_size}, newSize {size}")
        path = [digest_bytes(as_digest(step)) for step in proof]
        new_root = digest_bytes(as_digest(root))
        extends = (
            verify_consistency(held_size, digest_bytes(held_root), size, new_root, path) if held_size else not path
        )
        if not extends:
            raise TransactionReverted("ReceiptLedgerInconsistent", f"size {held_size}, newSize {size}")
        self.checkpoints[publisher] = (size, as_digest(root))
        anchored = {"publisher": publisher, "size": size, "root": as_digest(root)}
        self._emit("CheckpointAnchored", "ReceiptLedger", **anchored)
        self._credit(credits, held_size, size)

    def _credit(self, credits: Sequence[Any], first: int, end: int) -> None:
        sums: dict[int, int] = {}
        receipts: dict[int, Digest] = {}
        for contributor, datanet, receipt, index, share_bps in credits:
            digest = as_digest(receipt)
            rises = first <= index < end and index >= max(sums, default=first)
            if not rises or receipts.setdefault(index, digest) != digest:
                raise TransactionReverted("ReceiptLedgerMisplacedCredit", f"receipt {digest}, index {index}")
            sums[index] = sums.get(index, 0) + share_bps
            if sums[index] > 10_000:
                raise TransactionReverted("ReceiptLedgerTooManyShares", f"receipt {digest}, sumBps {sums[index]}")
            credit = {"contributor": contributor, "datanetId": datanet, "receipt": digest}
            self._emit("Credited", "ReceiptLedger", **credit, shareBps=share_bps)

    def key_of(self, publisher: Wallet) -> Wallet:
        return self.keys.get(publisher, publisher)

    def _offer_key(self, publisher: Wallet, key: Wallet) -> None:
        if self.sender != self.key_of(publisher):
            raise TransactionReverted("ReceiptLedgerNotKey", f"publisher {publisher}, caller {self.sender}")
        self.offered_keys[publisher] = key
        self._emit("KeyOffered", "ReceiptLedger", publisher=publisher, key=key)

    def _accept_key(self, publisher: Wallet) -> None:
        if self.sender != self.offered_keys.get(publisher, NO_WALLET):
            raise TransactionReverted("ReceiptLedgerNotOffered", f"publisher {publisher}, caller {self.sender}")
        del self.offered_keys[publisher]
        previous, self.keys[publisher] = self.key_of(publisher), self.sender
        self._emit("KeyRotated", "ReceiptLedger", publisher=publisher, key=self.sender, previous=previous)

    def _emit(self, event: str, contract: str, /, **args: Any) -> None:
        self.emitted.append((contract, event, args))


def order_of(
    trainer: Wallet, datanets: Any, versions: Any, parent: int, config_digest: bytes | str, nonce: int, deadline: int
) -> TrainingOrder:
    digest = as_digest(config_digest)
    return TrainingOrder(trainer, tuple(datanets), tuple(versions), parent, digest, nonce, deadline)
