"""What a builder asks for, what a run is while it runs, and what is left of it afterwards."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from backend.domain.errors import InvalidValue
from backend.domain.types import DatanetId, Digest, Permission, RunId, Wallet


class Method(StrEnum):
    LORA = "lora"
    QLORA = "qlora"


@dataclass(frozen=True, slots=True)
class Setting:
    """A number a builder may set: its range, its default and what it does, in one line."""

    name: str
    default: float
    minimum: float
    maximum: float
    explanation: str


SETTINGS = {
    s.name: s
    for s in (
        Setting("learning_rate", 2e-4, 1e-6, 1e-1, "How far each step moves the weights; too high diverges."),
        Setting("batch_size", 4, 1, 256, "Rows per optimizer step; more is steadier and needs more memory."),
        Setting("epochs", 1, 1, 100, "How often every row is seen."),
        Setting("rank", 16, 1, 256, "Width of the LoRA matrices; more can learn more and costs memory."),
        Setting("max_steps", 0, 0, 1_000_000, "Stop after so many optimizer steps; 0 leaves it to the epochs."),
        Setting("max_length_tokens", 512, 32, 32_768, "Longer rows are cut here."),
        Setting("seed", 7, 0, 2**31 - 1, "The same seed on the same machine gives the same adapter."),
    )
}


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Everything that decides a run's result, besides the data itself."""

    base_model: str
    datanets: tuple[DatanetId, ...]
    method: Method
    learning_rate: float
    batch_size: int
    epochs: int
    rank: int
    max_steps: int
    max_length_tokens: int
    seed: int
    parent_run: RunId | None = None  # the run whose adapter it goes on from; None: from the base model itself

    def __post_init__(self) -> None:
        """Raises: InvalidValue naming the setting, its value and its range."""
        if not self.datanets:
            raise InvalidValue("datanet_ids", "choose at least one datanet to train on")
        if len(set(self.datanets)) != len(self.datanets):
            raise InvalidValue("datanet_ids", "a datanet is named twice")
        for setting in SETTINGS.values():
            value = getattr(self, setting.name)
            if not setting.minimum <= value <= setting.maximum:  # a NaN fails this too
                raise InvalidValue(setting.name, f"{value} is not between {setting.minimum:g} and {setting.maximum:g}")


class RunStatus(StrEnum):
    QUEUED = "queued"
    PREPARING = "preparing"  # permission, fetching, verifying, decrypting
    TRAINING = "training"
    STORING = "storing"  # adapter pinned, registration sent
    DONE = "done"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the chain said no
    FAILED = "failed"


LIVE_STATUSES = frozenset({RunStatus.QUEUED, RunStatus.PREPARING, RunStatus.TRAINING, RunStatus.STORING})


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """The EIP-712 message a builder signs when starting a run; `ModelRegistry.register` checks it."""

    trainer: Wallet
    datanets: tuple[DatanetId, ...]
    versions: tuple[int, ...]
    parent_model_id: int  # the registered model it goes on from; 0: from the base model itself
    config_digest: Digest  # SHA-256 of the spec's canonical JSON
    nonce: int
    deadline: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimizer step, as the trainer reports it."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds_left: float
    seconds: float  # since training began


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    directory: str  # PEFT safetensors: adapter_model.safetensors + adapter_config.json
    steps: int
    loss_first: float  # mean over the first fifth of the steps, nats
    loss_last: float  # mean over the last fifth
    tokens_per_second: float
    seconds: float
    trainable_parameters: int


@dataclass(frozen=True, slots=True)
class TrainingRun:
    run_id: RunId
    wallet: Wallet
    spec: TrainingSpec
    order: TrainingOrder
    signature: str
    status: RunStatus
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    problem: str | None = None
    cancel_requested: bool = False
    permissions: tuple[Permission, ...] = ()  # for its data, then its line's; read again by the worker before training
    base_revision: str | None = None  # the weights it was trained on, once they were
    provenance: dict[str, Any] | None = None
    provenance_digest: Digest | None = None
    provenance_cid: str | None = None
    adapter_digest: Digest | None = None  # SHA-256 of the pinned adapter archive
    adapter_cid: str | None = None
    model_id: int | None = None  # in ModelRegistry, once registered
    registration_tx: Digest | None = None
    loss_first: float | None = None
    loss_last: float | None = None
