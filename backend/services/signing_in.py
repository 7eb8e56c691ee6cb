"""Signing in with a wallet, and the sessions that come of it."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backend.domain.errors import NotFound, NotSignedIn
from backend.domain.siwe import (
    MAX_AGE,
    NonceExpired,
    NonceFromAnotherOrigin,
    OriginNotAllowed,
    SignatureMalformed,
    SiweMessage,
    UnknownNonce,
    WrongSignature,
    check,
)
from backend.domain.siwe_text import parse, render
from backend.domain.types import Wallet
from backend.ports import Session, SessionStore, SignatureVerifier

STATEMENT = "Sign in to Byline. This signature costs nothing and moves nothing."
NONCE_SECONDS = int(MAX_AGE.total_seconds())
TOKEN_BYTES = 32
MAX_SIGNATURE_BYTES = 16_384  # an EIP-6492 signature carries the wallet's deployment; an EOA's has 65 bytes
MAX_USER_AGENT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Challenge:
    message: str  # the EIP-4361 text to sign, byte for byte
    nonce: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SigningIn:
    """Who a request comes from.

    `origins` are the pages that may sign in, as browsers write them ("https://byline.example").
    `clock` gives an aware UTC time; `random(n)` gives n unguessable bytes (secrets.token_bytes).
    """

    store: SessionStore
    signatures: SignatureVerifier
    chain_id: int
    origins: frozenset[str]
    session_seconds: int
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]

    async def challenge(self, wallet: Wallet, origin: str) -> Challenge:
        """A text for `wallet` to sign, good once, from this origin, within NONCE_SECONDS. Raises: OriginNotAllowed."""
        self._allow(origin)
        now = self.clock()
        expires_at = now + timedelta(seconds=NONCE_SECONDS)
        nonce = self.random(16).hex()
        message = SiweMessage(
            domain=_domain_of(origin),
            wallet=wallet,
            uri=origin,
            chain_id=self.chain_id,
            nonce=nonce,
            issued_at=_rfc3339(now),
            statement=STATEMENT,
            expiration_time=_rfc3339(expires_at),
        )
        text = render(message)
        await self.store.add_nonce(nonce, origin, expires_at)
        return Challenge(text, nonce, expires_at)

    async def sign_in(
        self, message_text: str, signature_hex: str, origin: str, user_agent: str = ""
    ) -> tuple[str, Session]:
        """A new session and its token; only the token's hash is kept here.

        The nonce is used up before anything it protects is looked at, so one challenge allows one
        attempt, failed or not.
        Raises: a SignInRefused for each failed check; ChainUnavailable when a contract wallet's
        signature cannot be judged now.
        """
        self._allow(origin)
        message = parse(message_text)
        taken = await self.store.take_nonce(message.nonce)
        if taken is None:
            raise UnknownNonce
        nonce_origin, nonce_expires_at = taken
        now = self.clock()
        if nonce_expires_at <= now:
            raise NonceExpired
        if nonce_origin != origin:
            raise NonceFromAnotherOrigin(nonce_origin, origin)
        check(message, domain=_domain_of(origin), uri=origin, chain_id=self.chain_id, nonce=message.nonce, now=now)
        if not await self.signatures.is_valid(message.wallet, message_text, _signature_bytes(signature_hex)):
            raise WrongSignature(message.wallet)
        return await self._open_session(message.wallet, now, user_agent)

    async def authenticate(self, token: str) -> Session:
        """The live session a request's token stands for. Raises: NotSignedIn."""
        session = await self.store.find_session(_token_hash(token), self.clock()) if token else None
        if session is None:
            raise NotSignedIn("you are not signed in, or the session ended" if token else "you are not signed in")
        return session

    async def sessions(self, wallet: Wallet) -> list[Session]:
        return await self.store.sessions_of(wallet, self.clock())

    async def revoke(self, wallet: Wallet, session_id: str) -> None:
        """End one of the wallet's own sessions. Raises: NotFound."""
        if not await self.store.end_session(wallet, session_id):
            raise NotFound(f"session {session_id[:64]!r}")

    async def sign_out(self, token: str) -> None:
        """Idempotent: a session that ended already is no error."""
        session = await self.store.find_session(_token_hash(token), self.clock())
        if session is not None:
            await self.store.end_session(session.wallet, session.session_id)

    async def _open_session(self, wallet: Wallet, now: datetime, user_agent: str) -> tuple[str, Session]:
        token = base64.urlsafe_b64encode(self.random(TOKEN_BYTES)).rstrip(b"=").decode()
        printable = "".join(c for c in user_agent if c.isprintable())
        session = Session(
            session_id=self.random(16).hex(),
            wallet=wallet,
            chain_id=self.chain_id,
            created_at=now,
            last_seen_at=now,
            expires_at=now + timedelta(seconds=self.session_seconds),
            user_agent=printable[:MAX_USER_AGENT_CHARACTERS],
        )
        await self.store.add_session(_token_hash(token), session)
        return token, session

    def _allow(self, origin: str) -> None:
        if origin not in self.origins:
            raise OriginNotAllowed(origin)


def _domain_of(origin: str) -> str:
    return origin.partition("://")[2]


def _rfc3339(moment: datetime) -> str:
    """UTC, milliseconds, Z: the one form we write."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _signature_bytes(text: str) -> bytes:
    if not text.startswith("0x") or len(text) > 2 + 2 * MAX_SIGNATURE_BYTES or not text.isascii():
        raise SignatureMalformed
    try:
        signature = bytes.fromhex(text[2:])
    except ValueError as err:
        raise SignatureMalformed from err
    if not signature or len(text) != 2 + 2 * len(signature):  # fromhex skips spaces
        raise SignatureMalformed
    return signature


def _token_hash(token: str) -> bytes:
    """A token has 256 random bits, so one plain SHA-256 is enough to store it by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
