"""The table of transactions that must happen exactly once."""

from typing import Any

from sqlalchemy import BigInteger, Column, Identity
from sqlmodel import Field, SQLModel

from backend.drivers.db.columns import big, document


class OutgoingRow(SQLModel, table=True):
    __tablename__ = "outgoing_transaction"

    reference: str = Field(primary_key=True)
    place: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), unique=True))
    contract: str
    function: str
    args: list[Any] = Field(sa_column=document())
    status: str = Field(index=True)
    attempts: list[Any] = Field(sa_column=document())  # each a SignedTransaction, oldest first
    tx_hash: str | None = None  # of the attempt that was mined
    block_number: int | None = Field(default=None, sa_column=big(nullable=True))
    problem: str | None = None
