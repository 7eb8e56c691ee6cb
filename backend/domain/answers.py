"""An answer, what it was made from, and the receipt that says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.domain.datanet import FoundPassage
from backend.domain.types import Digest, Permission, PublishedVersion, RunId, Wallet


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A base model, with or without one adapter on it."""

    base: str  # catalogue name, e.g. "smollm2-135m-instruct"
    revision: str  # what pins the weights: a Hub commit or a SHA-256 of the weights file
    run_id: RunId | None = None
    adapter_digest: Digest | None = None
    adapter_cid: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One that may be asked: what was read on chain is part of it."""

    asker: Wallet
    text: str
    model: ModelRef
    permissions: tuple[Permission, ...]
    versions: tuple[PublishedVersion, ...]
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An answer that was begun. Decoding is greedy, so this is enough to say it again and end it."""

    answer_id: str
    question: Question
    passages: tuple[FoundPassage, ...]
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Generation:
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    answer_id: str
    asker: Wallet
    question: str
    text: str
    model: ModelRef
    passages: tuple[FoundPassage, ...]
    shares_bps: Mapping[str, int]  # wallet or "nobody" → basis points, sum 10,000
    receipt_digest: Digest
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """One contributor's share of one answer through one datanet: a `Credited` event to be."""

    contributor: Wallet
    datanet: int
    receipt: Digest
    share_bps: int


@dataclass(frozen=True, slots=True)
class LoggedReceipt:
    """A receipt at its place in the append-only log."""

    index: int  # 0-based, gapless
    digest: Digest
    document: dict[str, Any]  # attribution.receipt's JSON form, with every salt
    asker: Wallet
    credits: tuple[Credit, ...]
    appended_at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log size and root as anchored on chain."""

    size: int
    root: Digest
    tx_hash: Digest | None = None
    block_number: int | None = None
