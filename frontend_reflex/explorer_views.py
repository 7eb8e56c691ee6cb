"""The shapes of the explorer's documents as its pages read them (wei are decimal text, times Unix seconds)."""

from typing import TypedDict


class Argument(TypedDict):
    name: str
    type: str
    kind: str
    value: str
    text: str
    notice: str


class Decoded(TypedDict):
    contract: str
    name: str
    signature: str
    notice: str
    arguments: list[Argument]


class EventSeen(TypedDict):
    log_index: int
    address: str
    decoded: Decoded | None
    topics: list[str]
    data: str


class Failure(TypedDict):
    decoded: Decoded | None
    message: str
    replayed_at: int | None
    exact: bool


class BlockRef(TypedDict):
    number: int
    hash: str
    timestamp: int


class TransactionLine(TypedDict):
    hash: str
    block_number: int
    timestamp: int
    sender: str
    to: str | None
    contract: str | None
    method: str
    value_wei: str
    succeeded: bool | None


class Block(TypedDict):
    number: int
    hash: str
    timestamp: int
    parent_hash: str
    miner: str
    gas_used: int
    gas_limit: int
    base_fee_wei: str
    size_bytes: int
    transaction_count: int
    transactions: list[TransactionLine]


class Transaction(TypedDict):
    hash: str
    status: str
    block: BlockRef | None
    confirmations: int
    sender: str
    to: str | None
    created: str | None
    contract: str | None
    method: str
    value_wei: str
    fee_wei: str | None
    gas_price_wei: str | None
    gas_used: int | None
    gas_limit: int
    nonce: int
    input: str
    call: Decoded | None
    events: list[EventSeen]
    failure: Failure | None


class Account(TypedDict):
    address: str
    kind: str
    contract: str | None
    balance_wei: str
    transactions_sent: int
    code_bytes: int
    code_hash: str | None
    matches_build: bool | None


class AbiEntry(TypedDict):
    kind: str
    name: str
    signature: str
    notice: str
    mutability: str
    parameters: list[Argument]


class About(TypedDict):
    name: str
    title: str
    notice: str
    entries: list[AbiEntry]


class EventLine(TypedDict):
    contract: str
    name: str
    arguments: list[Argument]
    tx_hash: str
    block_number: int
    timestamp: int


class OwnedDatanet(TypedDict):
    datanet_id: int
    name: str | None
    since_block: int
    tx_hash: str


class GrantLine(TypedDict):
    datanet_id: int
    grantee: str
    granted_by: str
    purposes: list[str]
    expires_at: int | None
    live: bool
    tx_hash: str
    block_number: int


class CreditTotal(TypedDict):
    datanet_id: int
    ours: bool
    answers: int
    share_bps: int


class ModelLine(TypedDict):
    model_id: int
    trainer: str
    adapter_digest: str
    base_model: str | None
    tx_hash: str
    block_number: int


class TransactionsPage(TypedDict):
    rows: list[TransactionLine]
    first_block: int
    last_block: int
    next_before: int | None


class Address(TypedDict):
    account: Account
    about: About | None
    datanets: list[OwnedDatanet]
    grants_held: list[GrantLine]
    grants_given: list[GrantLine]
    credits: list[EventLine]
    credit_totals: list[CreditTotal]
    models: list[EventLine]
    checkpoints: list[EventLine]
    transactions: TransactionsPage


class Datanet(TypedDict):
    datanet_id: int
    name: str | None
    owner: str
    now: list[Argument]
    terms: list[Argument]
    versions: list[EventLine]
    grants: list[GrantLine]
    models: list[ModelLine]
    activity: list[EventLine]


class Found(TypedDict):
    kind: str
    key: str
    label: str
