"""The DatanetRegistry's rules in memory: what each function changes and emits, or its named refusal."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.domain.consent import Consent, SignedGrant, SignedRevocation
from backend.domain.errors import TransactionReverted
from backend.domain.types import ALL_PURPOSES, NO_WALLET, Digest, Purpose, Wallet, digest_of

NO_DIGEST = Digest("0x" + "00" * 32)
Emit = Callable[..., None]  # (event, **args)


def as_digest(value: bytes | str) -> Digest:
    return digest_of(value) if isinstance(value, bytes) else Digest(value)


def is_valid(purposes: int, offered: int = int(ALL_PURPOSES)) -> bool:
    return bool(purposes) and not purposes & ~offered


def consent_signature(consent: Consent, signer: Wallet) -> bytes:
    """What stands for the signer's signature: 65 bytes that nobody makes by accident."""
    return (hashlib.sha512(f"consent:{signer}:{consent!r}".encode()).digest() + b"\x1b")[:65]


@dataclass
class Held:
    purposes: int = 0
    expires_at: int = 0
    terms_version: int = 0
    epoch: int = 0
    nonce: int = 0


@dataclass
class Asked:
    purposes: int
    terms_version: int
    epoch: int
    nonce: int


@dataclass
class DatanetState:
    owner: Wallet
    public: int = 0
    frozen: bool = False
    epoch: int = 0
    approved: Wallet = NO_WALLET
    versions: list[tuple[Digest, Digest, int]] = field(default_factory=list)  # manifest, root, published at
    terms: list[tuple[Digest, int, int, str, bool]] = field(default_factory=list)  # version 1 first
    managers: set[Wallet] = field(default_factory=set)
    grants: dict[Wallet, Held] = field(default_factory=dict)
    requests: dict[Wallet, Asked] = field(default_factory=dict)

    @property
    def offered(self) -> int:
        return self.terms[-1][1]

    def nonce_of(self, grantee: Wallet) -> int:
        return (self.epoch << 64) | self.grants.get(grantee, Held()).nonce

    def pending(self, requester: Wallet) -> int:
        """The purposes of the request that waits; 0 for none."""
        asked = self.requests.get(requester)
        now = (len(self.terms), self.epoch, self.grants.get(requester, Held()).nonce)
        return asked.purposes if asked and (asked.terms_version, asked.epoch, asked.nonce) == now else 0


class MemoryRegistry:
    """`sender` and `now` are the transaction's; a refusal leaves the state half changed."""

    def __init__(self) -> None:
        self.datanets: dict[int, DatanetState] = {}
        self.sender = NO_WALLET
        self.now = 0

    def functions(self, emit: Emit) -> dict[str, Callable[..., None]]:
        self._emit = emit
        return {
            "createDatanet": self._create,
            "publishVersion": self._publish,
            "setTerms": self._set_terms,
            "acceptTerms": self._accept_terms,
            "setPublicPurposes": self._set_public,
            "setManager": self._set_manager,
            "freeze": self._freeze,
            "unfreeze": self._unfreeze,
            "requestAccess": self._request,
            "withdrawRequest": self._withdraw,
            "approveRequest": self._approve,
            "denyRequest": self._deny,
            "grant": self._grant,
            "grantBySignature": self._grant_by_signature,
            "revoke": self._revoke,
            "revokeBySignature": self._revoke_by_signature,
            "approve": self._offer,
            "transferFrom": self._transfer,
        }

    def may_use(self, wallet: Wallet, datanet: int, purposes: int, now: int) -> bool:
        found = self.datanets.get(datanet)
        if found is None or found.frozen or not is_valid(purposes):
            return False
        held = found.grants.get(wallet, Held())
        live = (held.expires_at == 0 or held.expires_at > now) and (held.terms_version, held.epoch) == (
            len(found.terms),
            found.epoch,
        )
        return found.owner == wallet or purposes & ~(found.public | (held.purposes if live else 0)) == 0

    # --- the datanet itself -------------------------------------------------------------------

    def _create(self, name: str, terms: Sequence[Any], licence_cid: str, public: int) -> None:
        if not 0 < len(name.encode()) <= 80:
            raise TransactionReverted("DatanetRegistryInvalidName", f"lengthBytes {len(name.encode())}")
        datanet = len(self.datanets) + 1
        self.datanets[datanet] = DatanetState(self.sender)
        self._emit("DatanetCreated", datanetId=datanet, owner=self.sender, name=name)
        self._emit("Transfer", **{"from": NO_WALLET, "to": self.sender, "tokenId": datanet})
        self._put_terms(datanet, terms, licence_cid)
        if public:
            self._put_public(datanet, public)

    def _publish(self, datanet: int, version: int, manifest: bytes | str, root: bytes | str, cid: str) -> None:
        found = self._managed(datanet, self.sender)
        if NO_DIGEST in (as_digest(manifest), as_digest(root)):
            raise TransactionReverted("DatanetRegistryZeroDigest", f"datanetId {datanet}")
        if version != len(found.versions) + 1:
            detail = f"datanetId {datanet}, version {version}, expected {len(found.versions) + 1}"
            raise TransactionReverted("DatanetRegistryInvalidVersion", detail)
        found.versions.append((as_digest(manifest), as_digest(root), self.now))
        digests = {"manifestDigest": as_digest(manifest), "recordsRoot": as_digest(root)}
        self._emit("VersionPublished", datanetId=datanet, version=version, **digests, manifestCid=cid)

    def _set_terms(self, datanet: int, version: int, terms: Sequence[Any], licence_cid: str) -> None:
        found = self._own(datanet)
        if version != len(found.terms) + 1:
            raise _stale_terms(datanet, version, len(found.terms))
        self._put_terms(datanet, terms, licence_cid)
        if found.public & ~found.offered:
            self._put_public(datanet, found.public & found.offered)

    def _put_terms(self, datanet: int, terms: Sequence[Any], licence_cid: str) -> None:
        licence, purposes, price, currency, keeps = terms
        if not is_valid(purposes):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        if (price == 0) != (currency == "0x000000"):
            raise TransactionReverted("DatanetRegistryInvalidPrice", f"pricePer1000Answers {price}")
        found = self.datanets[datanet]
        found.terms.append((as_digest(licence), int(purposes), price, currency, keeps))
        self._emit(
            "TermsSet",
            datanetId=datanet,
            termsVersion=len(found.terms),
            licenceDigest=as_digest(licence),
            licenceCid=licence_cid,
            purposes=int(purposes),
            pricePer1000Answers=price,
            currency=currency,
            keepsModels=keeps,
        )

    def _accept_terms(self, datanet: int, version: int) -> None:
        found = self._existing(datanet)
        if version != len(found.terms):
            raise _stale_terms(datanet, version, len(found.terms))
        held = found.grants.get(self.sender, Held())
        purposes = held.purposes & found.offered if held.epoch == found.epoch else 0
        if not purposes:
            raise TransactionReverted("DatanetRegistryNoGrant", f"datanetId {datanet}, grantee {self.sender}")
        held.purposes, held.terms_version = purposes, version
        accepted = {"termsVersion": version, "purposes": purposes}
        self._emit("TermsAccepted", datanetId=datanet, grantee=self.sender, **accepted)

    def _set_public(self, datanet: int, purposes: int) -> None:
        self._own(datanet)
        self._put_public(datanet, int(purposes))

    def _put_public(self, datanet: int, purposes: int) -> None:
        if purposes & ~self.datanets[datanet].offered:
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {purposes}")
        self.datanets[datanet].public = purposes
        self._emit("PublicPurposesSet", datanetId=datanet, purposes=purposes)

    def _set_manager(self, datanet: int, manager: Wallet, allowed: bool) -> None:
        managers = self._own(datanet).managers
        (managers.add if allowed else managers.discard)(manager)
        self._emit("ManagerSet", datanetId=datanet, manager=manager, allowed=allowed)

    def _freeze(self, datanet: int) -> None:
        self._managed(datanet, self.sender).frozen = True
        self._emit("DatanetFrozen", datanetId=datanet, by=self.sender)

    def _unfreeze(self, datanet: int) -> None:
        self._own(datanet).frozen = False
        self._emit("DatanetUnfrozen", datanetId=datanet)

    def _offer(self, to: Wallet, datanet: int) -> None:
        found = self._own(datanet)
        found.approved = to
        self._emit("Approval", owner=found.owner, approved=to, tokenId=datanet)

    def _transfer(self, sender: Wallet, to: Wallet, datanet: int) -> None:
        found = self._existing(datanet)
        if self.sender not in (found.owner, found.approved):
            raise TransactionReverted("ERC721InsufficientApproval", f"operator {self.sender}, tokenId {datanet}")
        if self.sender != to:
            raise TransactionReverted("DatanetRegistryNotAccepted", f"datanetId {datanet}, to {to}")
        found.owner, found.approved, found.epoch = to, NO_WALLET, found.epoch + 1
        found.managers.clear()  # the contract's `ownerEpoch` makes all void where they lie
        self._emit("Transfer", **{"from": sender, "to": to, "tokenId": datanet})

    # --- who may use it -----------------------------------------------------------------------

    def _request(self, datanet: int, version: int, purposes: int, expires_at: int, message: str) -> None:
        found = self._existing(datanet)
        if version != len(found.terms):
            raise _stale_terms(datanet, version, len(found.terms))
        self._check(purposes, expires_at, found.offered)
        if len(message.encode()) > 280:
            raise TransactionReverted("DatanetRegistryMessageTooLong", f"lengthBytes {len(message.encode())}")
        nonce = found.grants.get(self.sender, Held()).nonce
        found.requests[self.sender] = Asked(int(purposes), version, found.epoch, nonce)
        asked = {"purposes": int(purposes), "expiresAt": expires_at, "termsVersion": version, "message": message}
        self._emit("AccessRequested", datanetId=datanet, requester=self.sender, **asked)

    def _withdraw(self, datanet: int) -> None:
        self._end_request(datanet, self.sender)
        self._emit("RequestWithdrawn", datanetId=datanet, requester=self.sender)

    def _approve(self, datanet: int, requester: Wallet, purposes: int, expires_at: int) -> None:
        requested = self._managed(datanet, self.sender).pending(requester)
        if not requested:
            raise TransactionReverted("DatanetRegistryNoRequest", f"datanetId {datanet}, requester {requester}")
        if purposes & ~requested:
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        self._emit("RequestApproved", datanetId=datanet, requester=requester, by=self.sender)
        self._put_grant(datanet, requester, self.sender, purposes, expires_at)

    def _deny(self, datanet: int, requester: Wallet) -> None:
        self._managed(datanet, self.sender)
        self._end_request(datanet, requester)
        self._emit("RequestDenied", datanetId=datanet, requester=requester, by=self.sender)

    def _grant(self, datanet: int, grantee: Wallet, purposes: int, expires_at: int) -> None:
        self._managed(datanet, self.sender)
        self._put_grant(datanet, grantee, self.sender, purposes, expires_at)

    def _grant_by_signature(self, given: Sequence[Any], signer: Wallet, signature: bytes) -> None:
        datanet, grantee, purposes, *rest = given
        consent = SignedGrant(datanet, grantee, Purpose(purposes), *rest)
        found = self._check_consent(consent, signer, signature)
        if consent.terms_version != len(found.terms):
            raise _stale_terms(consent.datanet, consent.terms_version, len(found.terms))
        self._put_grant(consent.datanet, consent.grantee, signer, consent.purposes, consent.expires_at)

    def _put_grant(self, datanet: int, grantee: Wallet, by: Wallet, purposes: int, expires_at: int) -> None:
        found = self.datanets[datanet]
        if grantee == NO_WALLET:
            raise TransactionReverted("DatanetRegistryInvalidGrantee", f"grantee {grantee}")
        self._check(purposes, expires_at, found.offered)
        nonce = found.grants.get(grantee, Held()).nonce + 1
        found.grants[grantee] = Held(int(purposes), expires_at, len(found.terms), found.epoch, nonce)
        given = {"purposes": int(purposes), "expiresAt": expires_at, "termsVersion": len(found.terms)}
        self._emit("AccessGranted", datanetId=datanet, grantee=grantee, by=by, **given)

    def _revoke(self, datanet: int, grantee: Wallet, purposes: int) -> None:
        self._managed(datanet, self.sender)
        self._take(datanet, grantee, self.sender, purposes)

    def _revoke_by_signature(self, given: Sequence[Any], signer: Wallet, signature: bytes) -> None:
        datanet, grantee, purposes, *rest = given
        consent = SignedRevocation(datanet, grantee, Purpose(purposes), *rest)
        self._check_consent(consent, signer, signature)
        self._take(consent.datanet, consent.grantee, signer, consent.purposes)

    def _take(self, datanet: int, grantee: Wallet, by: Wallet, purposes: int) -> None:
        if not is_valid(purposes):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        found = self.datanets[datanet]
        held = found.grants.setdefault(grantee, Held())
        held.purposes = held.purposes & ~int(purposes) if held.epoch == found.epoch else 0
        held.nonce += 1
        taken = {"purposes": int(purposes), "remaining": held.purposes}
        self._emit("AccessRevoked", datanetId=datanet, grantee=grantee, by=by, **taken)

    # --- what is checked ----------------------------------------------------------------------

    def _check_consent(self, consent: Consent, signer: Wallet, signature: bytes) -> DatanetState:
        found = self._managed(consent.datanet, signer)
        if self.now > consent.deadline:
            raise TransactionReverted("DatanetRegistrySignatureExpired", f"deadline {consent.deadline}")
        current = found.nonce_of(consent.grantee)
        if consent.nonce != current:
            raise TransactionReverted("DatanetRegistryStaleNonce", f"nonce {consent.nonce}, current {current}")
        if bytes(signature) != consent_signature(consent, signer):
            raise TransactionReverted("DatanetRegistryInvalidSignature", f"signer {signer}")
        return found

    def _existing(self, datanet: int) -> DatanetState:
        if datanet not in self.datanets:
            raise TransactionReverted("DatanetRegistryUnknownDatanet", f"datanetId {datanet}")
        return self.datanets[datanet]

    def _own(self, datanet: int) -> DatanetState:
        found = self._existing(datanet)
        if found.owner != self.sender:
            raise TransactionReverted("DatanetRegistryNotOwner", f"datanetId {datanet}, caller {self.sender}")
        return found

    def _managed(self, datanet: int, who: Wallet) -> DatanetState:
        found = self._existing(datanet)
        if who != found.owner and who not in found.managers:
            raise TransactionReverted("DatanetRegistryNotManager", f"datanetId {datanet}, caller {who}")
        return found

    def _end_request(self, datanet: int, requester: Wallet) -> None:
        found = self.datanets.get(datanet)
        if found is None or not found.pending(requester):
            raise TransactionReverted("DatanetRegistryNoRequest", f"datanetId {datanet}, requester {requester}")
        del found.requests[requester]

    def _check(self, purposes: int, expires_at: int, offered: int) -> None:
        if not is_valid(purposes, offered):
            raise TransactionReverted("DatanetRegistryInvalidPurposes", f"purposes {int(purposes)}")
        if expires_at and expires_at <= self.now:
            raise TransactionReverted("DatanetRegistryInvalidExpiry", f"expiresAt {expires_at}")


def _stale_terms(datanet: int, version: int, current: int) -> TransactionReverted:
    detail = f"datanetId {datanet}, termsVersion {version}, current {current}"
    return TransactionReverted("DatanetRegistryStaleTerms", detail)
