"""The three contracts' rules in memory: what each function changes and emits, or its named refusal.

One `MemoryContracts` is the state after one block. The chain copies it, applies a call to the copy, and keeps
the copy only when nothing was refused.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attribution.log import verify_consistency
from backend.domain.errors import TransactionReverted
from backend.domain.training import TrainingOrder
from backend.domain.types import ALL_PURPOSES, NO_WALLET, Digest, Wallet, digest_bytes, digest_of

NO_DIGEST = Digest("0x" + "00" * 32)
EMITTED = tuple[str, str, dict[str, Any]]  # contract, event, args


def as_digest(value: bytes | str) -> Digest:
    return digest_of(value) if isinstance(value, bytes) else Digest(value)


def order_signature(order: TrainingOrder) -> bytes:
    """What stands for the trainer's signature: 65 bytes that nobody makes by accident."""
    return (hashlib.sha512(f"order:{order!r}".encode()).digest() + b"\x1b")[:65]


@dataclass
class Held:
    purposes: int = 0
    expires_at: int = 0


@dataclass
class DatanetState:
    owner: Wallet
    terms_digest: Digest
    public: int
    versions: list[tuple[Digest, Digest, int]] = field(default_factory=list)  # manifest, root, published at
    grants: dict[Wallet, Held] = field(default_factory=dict)
    requests: dict[Wallet, int] = field(default_factory=dict)


class MemoryContracts:
    def __init__(self) -> None:
        self.datanets: dict[int, DatanetState] = {}
        self.checkpoints: dict[Wallet, tuple[int, Digest]] = {}
        self.used_nonces: set[tuple[Wallet, int]] = set()
        self.models = 0
        self.emitted: list[EMITTED] = []
        self.sender = NO_WALLET
        self.now = 0

    def call(self, sender: Wallet, now: int, contract: str, function: str, args: Sequence[Any]) -> list[EMITTED]:
        """Run one transaction and return its events. Raises: TransactionReverted, with the state half changed."""
        self.emitted, self.sender, self.now = [], sender, now
        known: dict[str, dict[str, Callable[..., None]]] = {
            "DatanetRegistry": {
                "createDatanet": self._create,
                "publishVersion": self._publish,
                "setPublicPurposes": self._set_public,
                "requestAccess": self._request,
                "withdrawRequest": self._withdraw,
                "approveRequest": self._approve,
                "denyRequest": self._deny,
                "grant": self._grant,
                "revoke": self._revoke,
                "transferFrom": self._transfer,
            },
            "ModelRegistry": {"register": self._register},
            "ReceiptLedger": {"anchor": self._anchor},
        }
        known[contract][function](*args)
        return self.emitted

    def may_use(self, wallet: Wallet, datanet: int, purposes: int, now: int) -> bool:
        found = self.datanets.get(datanet)
        if found is None or not is_valid(purposes):
            return False
        held = found.grants.get(wallet, Held())
        live = held.purposes if held.expires_at == 0 or held.expires_at > now else 0
        return found.owner == wallet or purposes & ~(found.public | live) == 0

    # --- DatanetRegistry ----------------------------------------------------------------------

    def _create(self, name: str, terms_digest: bytes | str, terms_cid: str, public: int) -> None:
        if not 0 < len(name.encode()) <= 80:
            raise TransactionReverted("DatanetRegistryInvalidName", f"lengthBytes {len(name.encode())}")
        if public & ~int(ALL_PURPOSES):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {public}")
        datanet = len(self.datanets) + 1
        terms = as_digest(terms_digest)
        self.datanets[datanet] = DatanetState(self.sender, terms, public)
        about = {"datanetId": datanet, "owner": self.sender, "name": name, "termsDigest": terms, "termsCid": terms_cid}
        self._emit("DatanetCreated", **about)
        self._emit("Transfer", **{"from": NO_WALLET, "to": self.sender, "tokenId": datanet})
        if public:
            self._emit("PublicPurposesSet", datanetId=datanet, purposes=public)

    def _publish(self, datanet: int, version: int, manifest: bytes | str, root: bytes | str, cid: str) -> None:
        found = self._own(datanet)
        if NO_DIGEST in (as_digest(manifest), as_digest(root)):
            raise TransactionReverted("DatanetRegistryZeroDigest", f"datanetId {datanet}")
        if version != len(found.versions) + 1:
            detail = f"datanetId {datanet}, version {version}, expected {len(found.versions) + 1}"
            raise TransactionReverted("DatanetRegistryInvalidVersion", detail)
        found.versions.append((as_digest(manifest), as_digest(root), self.now))
        digests = {"manifestDigest": as_digest(manifest), "recordsRoot": as_digest(root)}
        self._emit("VersionPublished", datanetId=datanet, version=version, **digests, manifestCid=cid)

    def _set_public(self, datanet: int, purposes: int) -> None:
        found = self._own(datanet)
        if purposes & ~int(ALL_PURPOSES):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {purposes}")
        found.public = int(purposes)
        self._emit("PublicPurposesSet", datanetId=datanet, purposes=int(purposes))

    def _request(self, datanet: int, purposes: int, expires_at: int, message: str) -> None:
        found = self._existing(datanet)
        self._check_terms(purposes, expires_at)
        if len(message.encode()) > 280:
            raise TransactionReverted("DatanetRegistryMessageTooLong", f"lengthBytes {len(message.encode())}")
        found.requests[self.sender] = int(purposes)
        asked = {"purposes": int(purposes), "expiresAt": expires_at, "message": message}
        self._emit("AccessRequested", datanetId=datanet, requester=self.sender, **asked)

    def _withdraw(self, datanet: int) -> None:
        self._take_request(datanet, self.sender)
        self._emit("RequestWithdrawn", datanetId=datanet, requester=self.sender)

    def _approve(self, datanet: int, requester: Wallet, purposes: int, expires_at: int) -> None:
        self._own(datanet)
        requested = self._take_request(datanet, requester)
        if purposes & ~requested:
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        self._emit("RequestApproved", datanetId=datanet, requester=requester, by=self.sender)
        self._grant(datanet, requester, purposes, expires_at)

    def _deny(self, datanet: int, requester: Wallet) -> None:
        self._own(datanet)
        self._take_request(datanet, requester)
        self._emit("RequestDenied", datanetId=datanet, requester=requester, by=self.sender)

    def _grant(self, datanet: int, grantee: Wallet, purposes: int, expires_at: int) -> None:
        found = self._own(datanet)
        if grantee == NO_WALLET:
            raise TransactionReverted("DatanetRegistryInvalidGrantee", f"grantee {grantee}")
        self._check_terms(purposes, expires_at)
        found.grants[grantee] = Held(int(purposes), expires_at)
        given = {"purposes": int(purposes), "expiresAt": expires_at}
        self._emit("AccessGranted", datanetId=datanet, grantee=grantee, by=self.sender, **given)

    def _revoke(self, datanet: int, grantee: Wallet, purposes: int) -> None:
        found = self._own(datanet)
        if not is_valid(purposes):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        held = found.grants.setdefault(grantee, Held())
        held.purposes &= ~int(purposes)
        taken = {"purposes": int(purposes), "remaining": held.purposes}
        self._emit("AccessRevoked", datanetId=datanet, grantee=grantee, by=self.sender, **taken)

    def _transfer(self, sender: Wallet, to: Wallet, datanet: int) -> None:
        found = self._own(datanet)
        found.owner = to
        found.grants.clear()  # the contract's `ownerEpoch` makes them void where they lie
        found.requests.clear()
        self._emit("Transfer", **{"from": sender, "to": to, "tokenId": datanet})

    def _existing(self, datanet: int) -> DatanetState:
        if datanet not in self.datanets:
            raise TransactionReverted("DatanetRegistryUnknownDatanet", f"datanetId {datanet}")
        return self.datanets[datanet]

    def _own(self, datanet: int) -> DatanetState:
        found = self._existing(datanet)
        if found.owner != self.sender:
            raise TransactionReverted("DatanetRegistryNotOwner", f"datanetId {datanet}, caller {self.sender}")
        return found

    def _take_request(self, datanet: int, requester: Wallet) -> int:
        found = self.datanets.get(datanet)
        if found is None or requester not in found.requests:
            raise TransactionReverted("DatanetRegistryNoRequest", f"datanetId {datanet}, requester {requester}")
        return found.requests.pop(requester)

    def _check_terms(self, purposes: int, expires_at: int) -> None:
        if not is_valid(purposes):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        if expires_at and expires_at <= self.now:
            raise TransactionReverted("DatanetRegistryInvalidExpiry", f"expiresAt {expires_at}")

    # --- ModelRegistry and ReceiptLedger ------------------------------------------------------

    def _register(
        self, given: Any, signature: bytes, adapter: bytes | str, cid: str, base: str, provenance: bytes | str
    ) -> None:
        order = given if isinstance(given, TrainingOrder) else order_of(*given)
        if self.now > order.deadline:
            raise TransactionReverted("ModelRegistryOrderExpired", f"deadline {order.deadline}")
        if (order.trainer, order.nonce) in self.used_nonces:
            raise TransactionReverted("ModelRegistryNonceUsed", f"trainer {order.trainer}, nonce {order.nonce}")
        if not order.datanets or len(order.datanets) != len(order.versions):
            raise TransactionReverted("ModelRegistryInvalidOrder")
        if signature != order_signature(order):
            raise TransactionReverted("ModelRegistryInvalidSignature", f"trainer {order.trainer}")
        for datanet, version in zip(order.datanets, order.versions, strict=True):
            if not self.may_use(order.trainer, datanet, 1, self.now):
                detail = f"trainer {order.trainer}, datanetId {datanet}"
                raise TransactionReverted("ModelRegistryTrainingNotPermitted", detail)
            if not 1 <= version <= len(self.datanets[datanet].versions):
                detail = f"datanetId {datanet}, version {version}"
                raise TransactionReverted("ModelRegistryUnknownVersion", detail)
        self.used_nonces.add((order.trainer, order.nonce))
        self.models += 1
        about = {"baseModel": base, "adapterCid": cid, "configDigest": order.config_digest}
        about |= {"provenanceDigest": as_digest(provenance)}
        made = {"modelId": self.models, "trainer": order.trainer, "adapterDigest": as_digest(adapter)}
        self._emit("ModelRegistered", "ModelRegistry", **made, **about)
        for datanet, version in zip(order.datanets, order.versions, strict=True):
            self._emit("ModelTrainedOn", "ModelRegistry", modelId=self.models, datanetId=datanet, version=version)

    def _anchor(self, size: int, root: bytes | str, proof: Sequence[bytes | str], credits: Sequence[Any]) -> None:
        held_size, held_root = self.checkpoints.get(self.sender, (0, NO_DIGEST))
        if size <= held_size:
            raise TransactionReverted("ReceiptLedgerNotGrowing", f"size {held_size}, newSize {size}")
        path = [digest_bytes(as_digest(step)) for step in proof]
        new_root = digest_bytes(as_digest(root))
        extends = (
            verify_consistency(held_size, digest_bytes(held_root), size, new_root, path) if held_size else not path
        )
        if not extends:
            raise TransactionReverted("ReceiptLedgerInconsistent", f"size {held_size}, newSize {size}")
        self.checkpoints[self.sender] = (size, as_digest(root))
        anchored = {"publisher": self.sender, "size": size, "root": as_digest(root)}
        self._emit("CheckpointAnchored", "ReceiptLedger", **anchored)
        for contributor, datanet, receipt, share_bps in credits:
            credit = {"contributor": contributor, "datanetId": datanet, "receipt": as_digest(receipt)}
            self._emit("Credited", "ReceiptLedger", **credit, shareBps=share_bps)

    def _emit(self, event: str, contract: str = "DatanetRegistry", /, **args: Any) -> None:
        self.emitted.append((contract, event, args))


def is_valid(purposes: int) -> bool:
    return bool(purposes) and not purposes & ~int(ALL_PURPOSES)


def order_of(
    trainer: Wallet, datanets: Any, versions: Any, config_digest: bytes | str, nonce: int, deadline: int
) -> TrainingOrder:
    return TrainingOrder(trainer, tuple(datanets), tuple(versions), as_digest(config_digest), nonce, deadline)
