"""Tables of publishing: drafts that wait, versions and their wrapped keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.drivers.db.columns import big, document, moment


class DraftRow(SQLModel, table=True):
    __tablename__ = "draft"

    draft_id: str = Field(primary_key=True)
    datanet: int = Field(sa_column=big())
    owner: str
    filename: str
    contributor_column: str | None
    sealed: bytes
    wrapped_key: bytes
    expires_at: datetime = Field(sa_column=moment(index=True))


class DatanetVersion(SQLModel, table=True):
    __tablename__ = "datanet_version"
    __table_args__ = (Index("ix_datanet_version_datanet", "datanet", "version"),)

    manifest_digest: str = Field(primary_key=True)
    datanet: int = Field(sa_column=big())
    version: int = Field(sa_column=big())
    owner: str
    manifest_cid: str
    manifest: dict[str, Any] = Field(sa_column=document())
    records: int = Field(sa_column=big())  # of the manifest, where lists can join it
    wrapped_key: bytes
    status: str = Field(index=True)
    passages: int = Field(sa_column=big())
    created_at: datetime = Field(sa_column=moment())
    problem: str | None
