"""`SessionStore` in memory."""

from dataclasses import replace
from datetime import datetime

from backend.domain.types import Wallet
from backend.ports import Session


class MemorySessionStore:
    def __init__(self) -> None:
        self._nonces: dict[str, tuple[str, datetime]] = {}
        self._sessions: dict[bytes, Session] = {}

    async def add_nonce(self, nonce: str, origin: str, expires_at: datetime) -> None:
        self._nonces[nonce] = (origin, expires_at)

    async def take_nonce(self, nonce: str) -> tuple[str, datetime] | None:
        return self._nonces.pop(nonce, None)

    async def add_session(self, token_hash: bytes, session: Session) -> None:
        self._sessions[token_hash] = session

    async def find_session(self, token_hash: bytes, now: datetime) -> Session | None:
        session = self._sessions.get(token_hash)
        if session is None or session.expires_at <= now:
            return None
        seen = replace(session, last_seen_at=now)
        self._sessions[token_hash] = seen
        return seen

    async def sessions_of(self, wallet: Wallet, now: datetime) -> list[Session]:
        live = [s for s in self._sessions.values() if s.wallet == wallet and s.expires_at > now]
        return sorted(sorted(live, key=lambda s: s.session_id), key=lambda s: s.created_at, reverse=True)

    async def end_session(self, wallet: Wallet, session_id: str) -> bool:
        for token_hash, session in self._sessions.items():
            if (session.wallet, session.session_id) == (wallet, session_id):
                del self._sessions[token_hash]
                return True
        return False
