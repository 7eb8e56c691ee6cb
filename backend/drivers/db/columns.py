"""Columns that SQLModel's annotations cannot say; a fresh one for each field."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB


def moment(*, index: bool = False) -> "Column[datetime]":
    """timestamptz: an aware datetime goes in, an aware UTC one comes out."""
    return Column(DateTime(timezone=True), nullable=False, index=index)


def big(*, nullable: bool = False, primary_key: bool = False, index: bool = False) -> "Column[int]":
    """bigint: chain ids, block numbers and uint32 bit masks do not fit an int4."""
    return Column(BigInteger, nullable=nullable, primary_key=primary_key, index=index, autoincrement=False)


def document() -> "Column[Any]":
    return Column(JSONB, nullable=False)
