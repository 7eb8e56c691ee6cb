"""What a verifier needs to see on chain, and what was seen.

Three answers are kept apart everywhere: the thing as seen; `None`, looked for and not there; `Unseen`, could not
look. Only the last leaves a check open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Unseen:
    """Don't know. `reason` is a sentence for a person."""

    reason: str


class PermissionAsked(NamedTuple):
    """`mayUse(wallet, datanet, purpose)` at that block; exactly as the receipt states them."""

    wallet: str
    datanet_id: int
    purpose: str
    block_number: int


class VersionAsked(NamedTuple):
    datanet_id: int
    version: int


@dataclass(frozen=True, slots=True)
class Needed:
    """What to look up for one receipt, in the registry and the ledger that it names."""

    digest: str
    chain_id: int
    registry: str | None  # None when the receipt's chain field is withheld
    ledger: str
    publisher: str
    checkpoint_size: int | None  # the log's size in the proof; None when there is no proof yet
    permissions: tuple[PermissionAsked, ...]
    versions: tuple[VersionAsked, ...]
    adapter_digest: str | None
    adapter_cid: str | None
    base_model: str | None  # name@revision

    def model_meant(self, registered: "Sequence[ModelSeen]") -> "ModelSeen | None":
        """Of the lines with the adapter's digest, in chain order: whoever may train on the same data can register
        that again, so the CID and the base model say which is meant."""
        return max(
            registered,
            key=lambda seen: (seen.adapter_cid == self.adapter_cid, seen.base_model == self.base_model),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class CheckpointSeen:
    """The publisher's checkpoint of the size asked for (its `CheckpointAnchored` event), or else its current one."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class PermissionSeen:
    """`block_hash`: of the block now at that height. None when the chain does not reach it: then `allowed` means
    nothing."""

    allowed: bool
    block_hash: str | None


@dataclass(frozen=True, slots=True)
class VersionSeen:
    manifest_digest: str
    records_root: str


@dataclass(frozen=True, slots=True)
class CreditSeen:
    """One `Credited` event from a transaction of the receipt's publisher. The event does not name the sender and
    anybody may emit one, so the caller MUST leave out those of other senders."""

    contributor: str
    datanet_id: int
    share_bps: int


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """A `ModelRegistered` event with the adapter's digest; `Needed.model_meant`, if there are several."""

    model_id: int
    trainer: str
    adapter_cid: str
    base_model: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A missing key of `permissions` or `versions` counts as `Unseen`."""

    chain_id: int | Unseen
    checkpoint: CheckpointSeen | Unseen | None
    permissions: Mapping[PermissionAsked, PermissionSeen | Unseen]
    versions: Mapping[VersionAsked, VersionSeen | Unseen | None]
    credits: Sequence[CreditSeen] | Unseen
    model: ModelSeen | Unseen | None

    @classmethod
    def none(cls, reason: str) -> "Evidence":
        """Nothing could be looked up, for one reason."""
        unseen = Unseen(reason)
        return cls(unseen, unseen, {}, {}, unseen, unseen)
