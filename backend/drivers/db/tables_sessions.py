"""Tables of signing in: nonces that wait, sessions that live."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from backend.drivers.db.columns import big, moment


class SignInNonce(SQLModel, table=True):
    __tablename__ = "sign_in_nonce"

    nonce: str = Field(primary_key=True)
    origin: str
    expires_at: datetime = Field(sa_column=moment())


class WalletSession(SQLModel, table=True):
    """The token itself is only ever in the browser's cookie."""

    __tablename__ = "wallet_session"

    token_hash: bytes = Field(primary_key=True)
    session_id: str = Field(unique=True)
    wallet: str = Field(index=True)
    chain_id: int = Field(sa_column=big())
    created_at: datetime = Field(sa_column=moment())
    last_seen_at: datetime = Field(sa_column=moment())
    expires_at: datetime = Field(sa_column=moment())
    user_agent: str
