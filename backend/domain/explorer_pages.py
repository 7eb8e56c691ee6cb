"""What the explorer says of one address and of one datanet."""

from dataclasses import dataclass

from backend.domain.explorer import AccountSeen, Argument, ContractAbout, TransactionLine
from backend.domain.types import Digest, Wallet


@dataclass(frozen=True, slots=True)
class EventLine:
    contract: str
    name: str
    arguments: tuple[Argument, ...]
    tx_hash: Digest
    block_number: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class OwnedDatanet:
    datanet_id: int
    name: str | None  # None when another wallet created it: its name is in that event
    since_block: int
    tx_hash: Digest


@dataclass(frozen=True, slots=True)
class GrantLine:
    datanet_id: int
    grantee: Wallet
    granted_by: Wallet
    purposes: tuple[str, ...]  # what `mayUse` allows of them now
    expires_at: int | None  # Unix seconds; None is never
    live: bool
    tx_hash: Digest
    block_number: int


@dataclass(frozen=True, slots=True)
class CreditTotal:
    datanet_id: int
    ours: bool  # said by this server's publisher; anybody may say such a thing
    answers: int
    share_bps: int


@dataclass(frozen=True, slots=True)
class ModelLine:
    model_id: int
    trainer: Wallet
    adapter_digest: Digest
    base_model: str | None
    tx_hash: Digest
    block_number: int


@dataclass(frozen=True, slots=True)
class TransactionsPage:
    rows: tuple[TransactionLine, ...]  # newest first
    first_block: int  # every block from here
    last_block: int  # to here was read
    next_before: int | None  # where older ones go on; None at the end


@dataclass(frozen=True, slots=True)
class AddressPage:
    account: AccountSeen
    about: ContractAbout | None
    datanets: tuple[OwnedDatanet, ...]
    grants_held: tuple[GrantLine, ...]
    grants_given: tuple[GrantLine, ...]
    credits: tuple[EventLine, ...]
    credit_totals: tuple[CreditTotal, ...]
    models: tuple[EventLine, ...]
    checkpoints: tuple[EventLine, ...]
    transactions: TransactionsPage


@dataclass(frozen=True, slots=True)
class DatanetPage:
    datanet_id: int
    name: str | None
    owner: Wallet
    now: tuple[Argument, ...]  # the registry's `datanetOf`, whatever it has
    terms: tuple[Argument, ...]
    versions: tuple[EventLine, ...]
    grants: tuple[GrantLine, ...]
    models: tuple[ModelLine, ...]
    activity: tuple[EventLine, ...]
