"""Tables of the work: passages, training runs, answers and the receipt log."""

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import JSON, BigInteger, Column, Computed, ForeignKey, Identity, Index, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field, SQLModel

from backend.drivers.db.columns import big, moment

DIMENSIONS = 384


def _json() -> "Column[Any]":
    return Column(JSON, nullable=False)


class IndexedDatanet(SQLModel, table=True):
    """How many passages a datanet has: what decides between exact and approximate search."""

    __tablename__ = "indexed_datanet"

    datanet_id: int = Field(sa_column=big(primary_key=True))
    version: int = Field(sa_column=big())
    passages: int = Field(sa_column=big())


class PassageRow(SQLModel, table=True):
    """Narrow columns first: an exact search reads them and the embedding of every permitted row.

    Row level security shows it to `byline_reader` only as far as `app.datanets` says.
    """

    __tablename__ = "passage"
    __table_args__ = (
        Index(
            "ix_passage_embedding", "embedding", postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 200}, postgresql_ops={"embedding": "halfvec_cosine_ops"},
        ),
        Index("ix_passage_tsv", "tsv", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    )  # fmt: skip

    passage_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    datanet_id: int = Field(sa_column=big(index=True))
    version: int = Field(sa_column=big())
    record_index: int = Field(sa_column=big())
    embedding: Any = Field(sa_column=Column(HALFVEC(DIMENSIONS), nullable=False))
    record_digest: str
    contributor: str
    text: str = Field(sa_column=Column(Text, nullable=False))
    record_content: str
    records: int = Field(sa_column=big())
    path: bytes  # 32 bytes a sibling
    tsv: Any = Field(sa_column=Column(TSVECTOR, Computed("to_tsvector('english'::regconfig, text)", persisted=True)))


class TrainingRunRow(SQLModel, table=True):
    __tablename__ = "training_run"

    run_id: str = Field(primary_key=True)
    wallet: str = Field(index=True)
    status: str = Field(index=True)
    created_at: datetime = Field(sa_column=moment(index=True))
    run: Any = Field(sa_column=_json())  # the whole TrainingRun


class TrainingProgressRow(SQLModel, table=True):
    __tablename__ = "training_progress"

    run_id: str = Field(
        sa_column=Column(ForeignKey("training_run.run_id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    step: int = Field(sa_column=big(primary_key=True))
    progress: Any = Field(sa_column=_json())


class ReceiptRow(SQLModel, table=True):
    __tablename__ = "receipt"

    index: int = Field(sa_column=big(primary_key=True))
    digest: str = Field(unique=True)
    asker: str
    document: Any = Field(sa_column=_json())
    appended_at: datetime = Field(sa_column=moment())


class UnfinishedRow(SQLModel, table=True):
    """Answers somebody has seen some of, until their receipt is in the log."""

    __tablename__ = "unfinished_answer"

    answer_id: str = Field(primary_key=True)
    begun_at: datetime = Field(sa_column=moment())
    unfinished: Any = Field(sa_column=_json())  # the whole Unfinished


class AnswerRow(SQLModel, table=True):
    __tablename__ = "answer"

    answer_id: str = Field(primary_key=True)
    receipt_index: int = Field(sa_column=Column(BigInteger, ForeignKey("receipt.index"), nullable=False, unique=True))
    asker: str = Field(index=True)
    answer: Any = Field(sa_column=_json())  # the whole Answer, passages and all


class CreditRow(SQLModel, table=True):
    __tablename__ = "credit"

    receipt_index: int = Field(sa_column=Column(BigInteger, ForeignKey("receipt.index"), primary_key=True))
    place: int = Field(sa_column=big(primary_key=True))
    contributor: str = Field(index=True)
    datanet: int = Field(sa_column=big())
    share_bps: int
