"""Consent by signature, and the licences that it is about. The owner signs; the server relays and pays."""

from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from backend.domain.consent import Consent, SignedGrant, SignedRevocation
from backend.domain.errors import InvalidValue
from backend.domain.types import DatanetId, Wallet, parse_purposes, parse_wallet, purpose_names
from backend.ports import SignatureVerifier
from backend.routes.given import Given
from backend.services.consenting import Consenting
from backend.services.licensing import MAX_LICENCE_BYTES, Licensing

Uint256 = Annotated[str, Meta(pattern=r"^[0-9]{1,78}$")]  # does not survive JSON numbers
Time = Annotated[int, Meta(ge=0, lt=2**48)]


class ConsentRequest(Struct, frozen=True, forbid_unknown_fields=True):
    kind: str  # "grant" or "revocation"
    grantee: str
    purposes: list[str]
    expires_at: Time | None = None


class ConsentBody(Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    grantee: str
    purposes: list[str]
    nonce: Uint256
    deadline: Time
    expires_at: Time | None = None
    terms_version: Annotated[int, Meta(ge=0, lt=2**32)] | None = None

    @classmethod
    def of(cls, consent: Consent) -> "ConsentBody":
        named = purpose_names(consent.purposes)
        if isinstance(consent, SignedRevocation):
            return cls("revocation", consent.grantee, named, str(consent.nonce), consent.deadline)
        return cls(
            "grant",
            consent.grantee,
            named,
            str(consent.nonce),
            consent.deadline,
            consent.expires_at or None,
            consent.terms_version,
        )

    def to_consent(self, datanet: DatanetId) -> Consent:
        """Raises: InvalidValue."""
        grantee, purposes, nonce = parse_wallet(self.grantee), parse_purposes(self.purposes), int(self.nonce)
        if nonce >= 2**256:
            raise InvalidValue("nonce", "is no uint256")
        if _is_grant(self.kind):
            if self.terms_version is None:
                raise InvalidValue("terms_version", "is missing")
            expires_at = self.expires_at or 0
            return SignedGrant(datanet, grantee, purposes, expires_at, self.terms_version, nonce, self.deadline)
        return SignedRevocation(datanet, grantee, purposes, nonce, self.deadline)


class ConsentView(Struct, frozen=True):
    consent: ConsentBody
    typed_data: dict[str, Any]


class SignedConsent(Struct, frozen=True, forbid_unknown_fields=True):
    consent: ConsentBody
    signature: Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{2})+$", max_length=20_000)]


class LicenceRequest(Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(max_length=MAX_LICENCE_BYTES)]


def _is_grant(kind: str) -> bool:
    if kind not in ("grant", "revocation"):
        raise InvalidValue("kind", f"{kind[:20]!r} is neither grant nor revocation")
    return kind == "grant"


class ConsentController(Controller):
    path = "/"
    tags = ("Consent",)

    @post("/datanets/{datanet_id:int}/consents/draft", summary="What to sign to grant or revoke", status_code=200)
    async def draft_consent(
        self,
        datanet_id: FromPath[int],
        data: JSONBody[ConsentRequest],
        wallet: Given[Wallet],
        consenting: Given[Consenting],
        signatures: Given[SignatureVerifier],
    ) -> ConsentView:
        datanet, grantee, purposes = DatanetId(datanet_id), parse_wallet(data.grantee), parse_purposes(data.purposes)
        consent: Consent
        if _is_grant(data.kind):
            consent = await consenting.grant(wallet, datanet, grantee, purposes, data.expires_at or 0)
        else:
            consent = await consenting.revocation(wallet, datanet, grantee, purposes)
        return ConsentView(ConsentBody.of(consent), signatures.consent_typed_data(consent))

    @post("/datanets/{datanet_id:int}/consents", summary="Have a signed consent put on chain", status_code=202)
    async def relay_consent(
        self,
        datanet_id: FromPath[int],
        data: JSONBody[SignedConsent],
        wallet: Given[Wallet],
        consenting: Given[Consenting],
    ) -> dict[str, str]:
        consent = data.consent.to_consent(DatanetId(datanet_id))
        return {"reference": await consenting.submit(wallet, consent, bytes.fromhex(data.signature[2:]))}

    @get("/consents/{reference:str}", summary="How far a relayed consent is")
    async def get_consent(
        self, reference: FromPath[str], wallet: Given[Wallet], consenting: Given[Consenting]
    ) -> dict[str, Any]:
        sent = await consenting.state(reference)
        return {
            "status": "mined" if sent.status == "final" else sent.status,  # queued, signed (on its way), mined, failed
            "tx_hash": sent.tx_hash,
            "block_number": sent.block_number,
            "problem": sent.problem,
        }

    @post("/licences", summary="Pin a licence text, to name it in terms")
    async def pin_licence(
        self, data: JSONBody[LicenceRequest], wallet: Given[Wallet], licensing: Given[Licensing]
    ) -> dict[str, str]:
        digest, cid = await licensing.pin(data.text)
        return {"licence_digest": digest, "licence_cid": cid}

    @get("/datanets/{datanet_id:int}/terms/{terms_version:int}/licence", summary="The licence text of these terms")
    async def get_licence(
        self, datanet_id: FromPath[int], terms_version: FromPath[int], licensing: Given[Licensing]
    ) -> dict[str, str]:
        return {"text": await licensing.text(DatanetId(datanet_id), terms_version)}
