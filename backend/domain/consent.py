"""Terms that a datanet's users agree to, and the consents that its owner signs instead of sending.

`DatanetRegistry` holds the rules: a signed consent is good for one (grantee, datanet), once, until its deadline,
and void as soon as the owner's side has changed anything about that grant.
"""

import re
from dataclasses import dataclass
from typing import Any

from backend.domain.errors import InvalidValue
from backend.domain.types import ALL_PURPOSES, DatanetId, Digest, Purpose, Wallet

NO_DIGEST = Digest("0x" + "00" * 32)
NO_CURRENCY = "0x000000"


@dataclass(frozen=True, slots=True)
class Terms:
    """One version of a datanet's terms. The price is information: nothing is charged on chain."""

    licence_digest: Digest  # SHA-256 of the licence's text; zero for none
    purposes: Purpose  # what may be asked for and granted at all
    price_per_1000_answers: int  # in hundredths of `currency`
    currency: str  # ISO 4217, such as "EUR"; empty where there is no price
    keeps_models: bool  # whether models trained under these terms may be served once TRAIN has ended

    def __post_init__(self) -> None:
        """Raises: InvalidValue naming what is wrong."""
        if not self.purposes or self.purposes & ~ALL_PURPOSES:
            raise InvalidValue("purposes", "offer at least one of train, retrieve, evaluate, export")
        if not 0 <= self.price_per_1000_answers < 2**64:
            raise InvalidValue("price_per_1000_answers", f"{self.price_per_1000_answers} is no amount")
        if bool(self.price_per_1000_answers) != bool(self.currency):
            raise InvalidValue("currency", "a price has a currency, and a currency a price")
        if self.currency and not re.fullmatch(r"[A-Z]{3}", self.currency):
            raise InvalidValue("currency", f"{self.currency[:20]!r} is no code of three capitals, such as EUR")

    @classmethod
    def of_event(cls, args: Any) -> "Terms":
        """From `TermsSet`, whatever a stranger wrote there: a currency that is no code reads as none."""
        return cls.of_chain(
            args["licenceDigest"],
            args["purposes"],
            args["pricePer1000Answers"],
            args["currency"],
            args["keepsModels"],
        )

    @classmethod
    def of_chain(cls, licence: Digest, purposes: int, price: int, currency: str, keeps_models: bool) -> "Terms":
        """From the fields of the contract's struct; `currency` as 0x and 6 hex digits."""
        code = bytes.fromhex(currency[2:]).decode("ascii", "replace")
        priced = bool(price) and re.fullmatch(r"[A-Z]{3}", code) is not None
        return cls(licence, Purpose(purposes), price if priced else 0, code if priced else "", keeps_models)

    def struct(self) -> tuple[Digest, int, int, str, bool]:
        """As the contract takes it."""
        currency = "0x" + self.currency.encode().hex() if self.currency else NO_CURRENCY
        return self.licence_digest, int(self.purposes), self.price_per_1000_answers, currency, self.keeps_models


# Without a licence's text or a price, all purposes open to a grant; models stop with the permission they came from.
PLAIN_TERMS = Terms(NO_DIGEST, ALL_PURPOSES, 0, "", False)


@dataclass(frozen=True, slots=True)
class SignedGrant:
    """The EIP-712 type `Grant`: what an owner or manager signs to let a wallet in."""

    datanet: DatanetId
    grantee: Wallet
    purposes: Purpose
    expires_at: int  # Unix seconds; 0 = never
    terms_version: int
    nonce: int
    deadline: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class SignedRevocation:
    """The EIP-712 type `Revocation`: what an owner or manager signs to take purposes away."""

    datanet: DatanetId
    grantee: Wallet
    purposes: Purpose
    nonce: int
    deadline: int


Consent = SignedGrant | SignedRevocation


def consent_message(consent: Consent, chain_id: int, registry: str) -> dict[str, Any]:
    """`primaryType`, `domain` and `message` of the EIP-712 document; 256-bit numbers as text, since a browser's JSON
    would round them."""
    about: dict[str, Any] = {
        "datanetId": str(consent.datanet),
        "grantee": consent.grantee,
        "purposes": int(consent.purposes),
    }
    if isinstance(consent, SignedGrant):
        about |= {"expiresAt": consent.expires_at, "termsVersion": consent.terms_version}
    return {
        "primaryType": "Grant" if isinstance(consent, SignedGrant) else "Revocation",
        "domain": {
            "name": "Byline DatanetRegistry",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": registry,
        },
        "message": about | {"nonce": str(consent.nonce), "deadline": str(consent.deadline)},
    }


@dataclass(frozen=True, slots=True)
class ConsentBasis:
    """What a consent signed now must name, and whether this signer's counts, all read at one block."""

    signer_may_consent: bool  # the owner, or one of the owner's managers
    nonce: int
    terms_version: int
    offered: Purpose
