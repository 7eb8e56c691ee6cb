"""An owner's yes and no by signature: what to sign, and the relaying of what was signed.

The owner pays no gas and sends nothing; the server's key pays, and can neither make nor change a consent: the
registry checks the signature, the nonce and the deadline again.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime

from backend.domain.consent import Consent, ConsentBasis, SignedGrant, SignedRevocation
from backend.domain.errors import AccessDenied, Conflict, InvalidValue, LimitReached, NotFound
from backend.domain.types import ALL_PURPOSES, DatanetId, Purpose, Wallet, purpose_names
from backend.ports import AccessRegistry, ContractCall, Outbox, OutgoingTransaction, SignatureVerifier

CONSENT_SECONDS = 3600  # from being shown to the last block it may be in
RELAYS_PER_HOUR = 60  # each costs the server gas, and anybody may own a datanet


@dataclass(frozen=True, slots=True)
class Consenting:
    access: AccessRegistry
    signatures: SignatureVerifier
    outbox: Outbox
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _relayed: dict[Wallet, deque[int]] = field(default_factory=lambda: defaultdict(deque))

    async def grant(
        self, signer: Wallet, datanet: DatanetId, grantee: Wallet, purposes: Purpose, expires_at: int
    ) -> SignedGrant:
        """What the signer has to sign. Raises: AccessDenied when they may not consent, InvalidValue, NotFound,
        ChainUnavailable."""
        basis = await self._basis(signer, datanet, grantee)
        now = self._now()
        if not purposes or purposes & ~basis.offered:
            offered = ", ".join(purpose_names(basis.offered))
            raise InvalidValue("purposes", f"choose at least one of what the terms offer: {offered}")
        if expires_at and expires_at <= now:
            raise InvalidValue("expires_at", "lies in the past")
        deadline = now + CONSENT_SECONDS
        return SignedGrant(datanet, grantee, purposes, expires_at, basis.terms_version, basis.nonce, deadline)

    async def revocation(
        self, signer: Wallet, datanet: DatanetId, grantee: Wallet, purposes: Purpose
    ) -> SignedRevocation:
        """What the signer has to sign. Raises: as `grant`."""
        basis = await self._basis(signer, datanet, grantee)
        if not purposes or purposes & ~ALL_PURPOSES:
            raise InvalidValue("purposes", "choose at least one to take away")
        return SignedRevocation(datanet, grantee, purposes, basis.nonce, self._now() + CONSENT_SECONDS)

    async def submit(self, signer: Wallet, consent: Consent, signature: bytes) -> str:
        """Queue it for the chain; the same one sent twice is relayed once. Returns: the reference to ask after.
        Raises: AccessDenied, Conflict when something changed since it was made, InvalidValue, LimitReached,
        ChainUnavailable."""
        reference = _reference(signer, consent)
        if await self.outbox.get(reference) is not None:
            return reference
        basis = await self._basis(signer, consent.datanet, consent.grantee)
        now = self._now()
        if not now < consent.deadline <= now + CONSENT_SECONDS:
            raise InvalidValue("deadline", "has passed, or lies too far ahead; ask for a new one to sign")
        stale_terms = isinstance(consent, SignedGrant) and consent.terms_version != basis.terms_version
        if consent.nonce != basis.nonce or stale_terms:
            raise Conflict("this grant or the terms have changed since you were asked to sign; look again, then sign")
        if not await self.signatures.is_valid_consent(consent, signer, signature):
            raise InvalidValue("signature", f"is not {signer}'s signature of this consent")
        self._count(signer, now)
        function = "grantBySignature" if isinstance(consent, SignedGrant) else "revokeBySignature"
        await self.outbox.add(
            reference, ContractCall("DatanetRegistry", function, (astuple(consent), signer, signature))
        )
        return reference

    async def state(self, reference: str) -> OutgoingTransaction:
        """How far it is. Raises: NotFound."""
        found = await self.outbox.get(reference) if reference.startswith("consent:") else None
        if found is None:
            raise NotFound(f"consent {reference}")
        return found

    async def _basis(self, signer: Wallet, datanet: DatanetId, grantee: Wallet) -> ConsentBasis:
        basis = await self.access.consent_basis(datanet, grantee, signer)
        if not basis.signer_may_consent:
            raise AccessDenied(f"{signer} is neither the owner of datanet {datanet} nor one of the owner's managers")
        return basis

    def _count(self, signer: Wallet, now: int) -> None:
        recent = self._relayed[signer]
        while recent and recent[0] <= now - 3600:
            recent.popleft()
        if len(recent) >= RELAYS_PER_HOUR:
            raise LimitReached(
                f"{RELAYS_PER_HOUR} consents of yours were relayed within the hour; wait, or send the next yourself"
            )
        recent.append(now)

    def _now(self) -> int:
        return int(self.now().timestamp())


def _reference(signer: Wallet, consent: Consent) -> str:
    return "consent:" + hashlib.sha256(f"{signer} {consent!r}".encode()).hexdigest()[:32]
