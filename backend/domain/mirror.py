"""What the registry's events add up to: the pure half of `ChainMirror`, shared by its driver and its twin.

A datanet is always folded from all of its events, never patched, so a mirror that was rewound and
followed another branch equals one that only ever saw that branch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from backend.domain.consent import PLAIN_TERMS, Terms
from backend.domain.errors import Conflict
from backend.domain.types import NO_WALLET, BlockRef, DatanetId, Digest, Purpose, Wallet

REGISTRY = "DatanetRegistry"


class MirroredEvent(Protocol):
    """`ports.ChainEvent`, seen from a floor below it."""

    @property
    def block(self) -> BlockRef: ...
    @property
    def tx_hash(self) -> Digest: ...
    @property
    def contract(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def args(self) -> Mapping[str, Any]: ...


AnyEvent = TypeVar("AnyEvent", bound=MirroredEvent)


@dataclass(frozen=True, slots=True)
class Held:
    """A grant somebody holds, or a request that waits; `by` is who granted, or who asks."""

    wallet: Wallet
    purposes: Purpose
    expires_at: int  # Unix seconds; 0 = never
    by: Wallet
    terms_version: int  # that its holder accepted
    message: str
    tx_hash: Digest
    block_number: int


@dataclass(slots=True)
class FoldedDatanet:
    """One datanet as of the last event folded."""

    datanet: DatanetId
    owner: Wallet = NO_WALLET
    name: str = ""
    version: int = 0
    manifest_digest: Digest | None = None
    publisher: Wallet = NO_WALLET  # who owned it when that version was published
    public_purposes: Purpose = Purpose.NONE
    terms_version: int = 0
    terms: Terms = PLAIN_TERMS
    licence_cid: str = ""
    frozen: bool = False
    offered_to: Wallet = NO_WALLET  # who may take the datanet over
    managers: list[Wallet] = field(default_factory=list)
    created_at: int = 0  # Unix seconds
    block_number: int = 0  # of its creation
    grants: dict[Wallet, Held] = field(default_factory=dict)
    requests: dict[Wallet, Held] = field(default_factory=dict)


def datanet_of(event: MirroredEvent) -> DatanetId | None:
    """The datanet whose fold this event belongs to; None when it belongs to none."""
    if event.contract != REGISTRY:
        return None
    number = event.args.get("datanetId", event.args.get("tokenId"))  # ERC-721's own events say tokenId
    return None if number is None else DatanetId(number)


def above_tip(events: Sequence[AnyEvent], boundary: BlockRef, tip: BlockRef | None) -> list[AnyEvent]:
    """The events an append has to store: those another indexer stored meanwhile are passed over.

    Raises: Conflict when the append is of another branch than `tip`; ValueError for an event above `boundary`.
    """
    if any(event.block.number > boundary.number for event in events):
        raise ValueError("an event lies above the boundary it is appended with")
    if tip is None:
        return list(events)
    for block in (boundary, *(event.block for event in events)):
        if block.number == tip.number and block.hash != tip.hash:
            raise Conflict(f"block {tip.number} was indexed as {tip.hash}, not {block.hash}; rewind first")
    return [event for event in events if event.block.number > tip.number]


def fold(datanet: DatanetId, events: Sequence[MirroredEvent]) -> FoldedDatanet | None:  # noqa: PLR0912 - one an event
    """Fold one datanet's events, given in chain order. None when it was never created."""
    state = FoldedDatanet(datanet)
    created = False
    for event in events:
        args = event.args
        match event.name:
            case "DatanetCreated":
                created = True
                state.owner, state.name = args["owner"], args["name"]
                state.created_at, state.block_number = event.block.timestamp, event.block.number
            case "Transfer":  # a sold datanet takes nobody along; a mint finds nothing to leave behind
                state.owner, state.offered_to = args["to"], NO_WALLET
                state.managers.clear()
                state.grants.clear()
                state.requests.clear()
            case "Approval":
                state.offered_to = args["approved"]
            case "ManagerSet":
                state.managers = [m for m in state.managers if m != args["manager"]]
                state.managers += [args["manager"]] if args["allowed"] else []
            case "DatanetFrozen" | "DatanetUnfrozen":
                state.frozen = event.name == "DatanetFrozen"
            case "TermsSet":  # grants rest until they are accepted; who asked under the old ones has to ask again
                state.terms_version, state.licence_cid = args["termsVersion"], args["licenceCid"]
                state.terms = Terms.of_event(args)
                state.requests.clear()
            case "TermsAccepted":
                _accept(state.grants, args["grantee"], Purpose(args["purposes"]), args["termsVersion"])
            case "VersionPublished":
                state.version, state.manifest_digest = args["version"], args["manifestDigest"]
                state.publisher = state.owner
            case "PublicPurposesSet":
                state.public_purposes = Purpose(args["purposes"])
            case "AccessRequested":
                state.requests[args["requester"]] = _held(event, args["requester"], args["requester"], args["message"])
            case "RequestApproved" | "RequestDenied" | "RequestWithdrawn":
                state.requests.pop(args["requester"], None)
            case "AccessGranted":  # replaces what the grantee held, and answers what it asked for
                _keep(state.grants, _held(event, args["grantee"], args["by"]))
                state.requests.pop(args["grantee"], None)
            case "AccessRevoked":
                _narrow(state.grants, args["grantee"], Purpose(args["remaining"]))
                state.requests.pop(args["grantee"], None)
    return state if created else None


def _held(event: MirroredEvent, wallet: Wallet, by: Wallet, message: str = "") -> Held:
    purposes, expires_at = Purpose(event.args["purposes"]), int(event.args["expiresAt"])
    terms_version = int(event.args["termsVersion"])
    return Held(wallet, purposes, expires_at, by, terms_version, message, event.tx_hash, event.block.number)


def _keep(grants: dict[Wallet, Held], grant: Held) -> None:
    grants.pop(grant.wallet, None)
    if grant.purposes:
        grants[grant.wallet] = grant


def _narrow(grants: dict[Wallet, Held], grantee: Wallet, remaining: Purpose) -> None:
    """What is left keeps pointing at the transaction that granted it."""
    before = grants.pop(grantee, None)
    if before is not None and remaining:
        grants[grantee] = replace(before, purposes=remaining)


def _accept(grants: dict[Wallet, Held], grantee: Wallet, purposes: Purpose, terms_version: int) -> None:
    before = grants.get(grantee)
    if before is not None:
        grants[grantee] = replace(before, purposes=purposes, terms_version=terms_version)


def storable(value: Any) -> Any:
    """The same value with every text fit for Postgres: U+FFFD for NUL and lone surrogates.

    Anybody may write such a text on chain; it must not stop the indexer for everybody.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if value.isascii() and "\x00" not in value:
            return value
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value
