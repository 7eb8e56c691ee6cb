"""The shapes of the API's documents as the pages read them (JSON: times are ISO-8601 text, digests 0x…)."""

from typing import Any, TypedDict


class Component(TypedDict):
    name: str
    used: str
    version: str
    ok: bool
    problem: str | None


class Health(TypedDict):
    status: str
    components: list[Component]


class Head(TypedDict):
    number: int
    timestamp: int


class Network(TypedDict):
    chain_id: int
    embedded: bool
    explorer_url: str | None
    rpc_path: str | None
    contracts: dict[str, str]
    publisher: str
    test_wallets: bool
    head: Head
    indexed_block: int | None  # None until the mirror has read anything
    max_upload_bytes: int


class SessionRow(TypedDict):
    session_id: str
    created_at: str
    last_seen_at: str
    expires_at: str
    user_agent: str
    current: bool


class Contribution(TypedDict):
    wallet: str
    records: int


class Indexing(TypedDict):
    """How far a version is."""

    version: int
    status: str
    passages: int
    problem: str | None  # why it is no further


class Version(Indexing):
    datanet_id: int
    manifest_digest: str
    manifest_cid: str
    records: int
    records_root: str
    created_at: str
    contributors: list[Contribution]


class Terms(TypedDict):
    version: int
    licence_digest: str | None
    licence_cid: str | None
    purposes: list[str]
    price_per_1000_answers: float | None
    currency: str | None
    keeps_models: bool


class Grant(TypedDict):
    grantee: str
    purposes: list[str]
    expires_at: int | None  # Unix seconds; None is never
    granted_by: str
    tx_hash: str
    block_number: int
    confirmations: int
    final: bool
    terms_version: int
    resting: bool  # until its grantee accepts the terms of now
    live: bool


class AccessRequest(TypedDict):
    requester: str
    purposes: list[str]
    expires_at: int | None  # Unix seconds; None is never
    message: str
    terms_version: int
    tx_hash: str
    block_number: int
    confirmations: int
    final: bool


class TrainedModel(TypedDict):
    model_id: int
    trainer: str
    adapter_digest: str
    base_model: str
    version: int
    tx_hash: str
    block_number: int
    confirmations: int
    final: bool


class Datanet(TypedDict):
    datanet_id: int
    name: str
    owner: str
    version: int
    records: int
    passages: int
    public_purposes: list[str]
    created_at: int  # Unix seconds, the block's
    block_number: int
    confirmations: int
    final: bool
    terms: Terms
    frozen: bool
    my_purposes: list[str]
    my_resting_purposes: list[str]  # mine again once I accept the terms of now
    mine: bool
    managed_by_me: bool
    offered_to_me: bool


class DatanetDetail(Datanet):
    manifest_digest: str
    managers: list[str]
    offered_to: str | None
    versions: list[Version]
    grants: list[Grant]
    requests: list[AccessRequest]
    models: list[TrainedModel]


class RowProblem(TypedDict):
    row: int
    problem: str


class PreviewRow(TypedDict):
    row: int
    contributor: str
    text: str


class Draft(TypedDict):
    draft_id: str
    filename: str
    format: str
    columns: list[str]
    rows_total: int
    rows_good: int
    problems: list[RowProblem]
    problems_total: int
    contributors: list[Contribution]
    preview: list[PreviewRow]
    expires_at: str


class BaseModel(TypedDict):
    name: str
    title: str
    family: str
    parameters: int
    context_tokens: int
    licence: str
    available: bool
    why_not: str | None


class Method(TypedDict):
    name: str
    available: bool
    why_not: str | None


class Setting(TypedDict):
    name: str
    default: float
    minimum: float
    maximum: float
    explanation: str


class TunedModel(TypedDict):
    run_id: str
    title: str
    base: str
    adapter_digest: str
    rank: int
    model_id: int | None
    parent_model_id: int | None
    owner: str
    datanet_ids: list[int]
    created_at: str


class Catalog(TypedDict):
    bases: list[BaseModel]
    methods: list[Method]
    settings: list[Setting]
    tuned: list[TunedModel]


class PermissionRow(TypedDict):
    datanet_id: int
    purpose: str
    allowed: bool
    block_number: int
    block_hash: str


class Run(TypedDict):
    run_id: str
    wallet: str
    status: str
    base_model: str
    method: str
    datanet_ids: list[int]
    versions: list[int]
    parent_model_id: int | None
    spec: dict[str, Any]
    created_at: str
    started_at: str | None
    ended_at: str | None
    problem: str | None
    loss_first: float | None
    loss_last: float | None
    permissions: list[PermissionRow]
    adapter_digest: str | None
    adapter_cid: str | None
    model_id: int | None
    registration_tx: str | None
    provenance_digest: str | None
    queue_position: int | None


class Point(TypedDict):
    step: int
    loss: float
    learning_rate: float


class Passage(TypedDict):
    number: int
    datanet_id: int
    version: int
    record_index: int
    record_digest: str
    contributor: str
    text: str
    score: float
    similarity: float


class ReceiptRow(TypedDict):
    digest: str
    index: int
    role: str
    answered_at: str
    question: str | None
    my_share_bps: int
    status: str
    tx_hash: str | None
    block_number: int | None
    confirmations: int
    final: bool


class Anchor(TypedDict):
    size: int
    root: str
    tx_hash: str
    block_number: int
    confirmations: int
    final: bool


class Check(TypedDict):
    name: str
    verdict: str
    detail: str


class Receipt(TypedDict):
    digest: str
    index: int
    status: str
    anchored: Anchor | None
    verdict: str
    checks: list[Check]


class Share(TypedDict):
    """A contributor's part of one answer, ready to draw."""

    who: str  # a wallet, or "nobody"
    bps: int
    percent: str
