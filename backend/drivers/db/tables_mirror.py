"""Tables of the chain mirror: what was seen, and below it what that adds up to."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index
from sqlmodel import Field, SQLModel

from backend.drivers.db.columns import big, document


class ChainStanding(SQLModel, table=True):
    """One row, once a step has ended: how firm what is below is."""

    __tablename__ = "chain_standing"
    __table_args__ = (CheckConstraint("singleton", name="chain_standing_is_one_row"),)

    singleton: bool = Field(primary_key=True)
    chain: str
    final_number: int = Field(sa_column=big())
    final_hash: str
    final_timestamp: int = Field(sa_column=big())
    problem: str | None


class ChainBlock(SQLModel, table=True):
    """A block with events of ours, or one that is not final and that an indexing step ended at."""

    __tablename__ = "chain_block"

    number: int = Field(sa_column=big(primary_key=True))
    hash: str
    timestamp: int = Field(sa_column=big())


class ChainEventRow(SQLModel, table=True):
    __tablename__ = "chain_event"
    __table_args__ = (
        Index("ix_chain_event_name", "name", "block_number", "log_index"),
        Index("ix_chain_event_args", "args", postgresql_using="gin", postgresql_ops={"args": "jsonb_path_ops"}),
    )

    block_number: int = Field(
        sa_column=Column(BigInteger, ForeignKey("chain_block.number", ondelete="CASCADE"), primary_key=True)
    )
    log_index: int = Field(primary_key=True)
    tx_hash: str
    contract: str
    name: str
    args: dict[str, Any] = Field(sa_column=document())
    datanet: int | None = Field(sa_column=big(nullable=True, index=True))  # whose fold it belongs to


def _of_datanet() -> "Column[int]":
    return Column(BigInteger, ForeignKey("datanet.datanet", ondelete="CASCADE"), primary_key=True)


class DatanetFold(SQLModel, table=True):
    __tablename__ = "datanet"

    datanet: int = Field(sa_column=big(primary_key=True))
    owner: str
    name: str
    version: int = Field(sa_column=big())
    manifest_digest: str | None
    publisher: str
    public_purposes: int = Field(sa_column=big())
    terms_version: int = Field(sa_column=big())
    terms: dict[str, Any] = Field(sa_column=document())
    licence_cid: str
    frozen: bool
    offered_to: str
    managers: list[str] = Field(sa_column=document())
    created_at: int = Field(sa_column=big())  # Unix seconds, as the chain has it
    block_number: int = Field(sa_column=big())


class GrantFold(SQLModel, table=True):
    __tablename__ = "datanet_grant"

    datanet: int = Field(sa_column=_of_datanet())
    grantee: str = Field(primary_key=True, index=True)
    purposes: int = Field(sa_column=big())
    expires_at: int = Field(sa_column=big())
    granted_by: str
    terms_version: int = Field(sa_column=big())
    tx_hash: str
    block_number: int = Field(sa_column=big())


class RequestFold(SQLModel, table=True):
    __tablename__ = "datanet_request"

    datanet: int = Field(sa_column=_of_datanet())
    requester: str = Field(primary_key=True)
    purposes: int = Field(sa_column=big())
    expires_at: int = Field(sa_column=big())
    terms_version: int = Field(sa_column=big())
    message: str
    tx_hash: str
    block_number: int = Field(sa_column=big())
