"""`SessionStore` in Postgres."""

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from backend.domain.types import Wallet
from backend.drivers.db.engine import Database
from backend.drivers.db.tables_sessions import SignInNonce, WalletSession
from backend.ports import Session

_KEPT_AFTER_EXPIRY = timedelta(days=1)  # long enough to say "expired" rather than "unknown"


class PgSessionStore:
    """What expired is deleted a day later, when the next of its kind is added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_nonce(self, nonce: str, origin: str, expires_at: datetime) -> None:
        async with self._database.transaction("sign-in nonce") as session:
            await session.exec(delete(SignInNonce).where(col(SignInNonce.expires_at) < func.now() - _KEPT_AFTER_EXPIRY))
            session.add(SignInNonce(nonce=nonce, origin=origin, expires_at=expires_at))

    async def take_nonce(self, nonce: str) -> tuple[str, datetime] | None:
        """One DELETE … RETURNING: of two takers at once, Postgres lets one see the row."""
        statement = (
            delete(SignInNonce)
            .where(col(SignInNonce.nonce) == nonce)
            .returning(col(SignInNonce.origin), col(SignInNonce.expires_at))
        )
        async with self._database.transaction("sign-in nonce") as session:
            row = (await session.exec(statement)).one_or_none()
            return None if row is None else (row[0], row[1])

    async def add_session(self, token_hash: bytes, session: Session) -> None:
        async with self._database.transaction("sessions") as db:
            await db.exec(delete(WalletSession).where(col(WalletSession.expires_at) < func.now() - _KEPT_AFTER_EXPIRY))
            db.add(WalletSession(token_hash=token_hash, **asdict(session)))

    async def find_session(self, token_hash: bytes, now: datetime) -> Session | None:
        statement = (
            update(WalletSession)
            .where(col(WalletSession.token_hash) == token_hash, col(WalletSession.expires_at) > now)
            .values(last_seen_at=now)
            .returning(WalletSession)
        )
        async with self._database.transaction("sessions") as db:
            row = (await db.exec(statement)).scalar_one_or_none()
            return None if row is None else _session(row)

    async def sessions_of(self, wallet: Wallet, now: datetime) -> list[Session]:
        """Live ones, newest first."""
        statement = (
            select(WalletSession)
            .where(col(WalletSession.wallet) == wallet, col(WalletSession.expires_at) > now)
            .order_by(col(WalletSession.created_at).desc(), col(WalletSession.session_id))
        )
        async with self._database.transaction("sessions") as db:
            return [_session(row) for row in await db.exec(statement)]

    async def end_session(self, wallet: Wallet, session_id: str) -> bool:
        """Only one's own: False when that wallet has no such session."""
        statement = (
            delete(WalletSession)
            .where(col(WalletSession.wallet) == wallet, col(WalletSession.session_id) == session_id)
            .returning(col(WalletSession.session_id))
        )
        async with self._database.transaction("sessions") as db:
            return (await db.exec(statement)).first() is not None


def _session(row: WalletSession) -> Session:
    return Session(
        session_id=row.session_id,
        wallet=Wallet(row.wallet),
        chain_id=row.chain_id,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
        user_agent=row.user_agent,
    )
