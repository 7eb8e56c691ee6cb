"""The builder's side of a run: an order to sign, the run it starts, and stopping it.

Permission is read on chain when the order is made and again when the run starts. What `require` and `permit` say
here every service asks before it touches anybody's data.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from backend.domain.datanet import canonical_json
from backend.domain.errors import AccessDenied, Conflict, InvalidValue, NotFound
from backend.domain.training import LIVE_STATUSES, RunStatus, TrainingOrder, TrainingRun, TrainingSpec
from backend.domain.types import DatanetId, Digest, Permission, PublishedVersion, Purpose, RunId, Wallet, digest_of
from backend.ports import AccessRegistry, ModelCatalog, RunStore, SignatureVerifier
from backend.services.deriving import Line, line_of, parent_model_id

ORDER_SECONDS = 7 * 24 * 3600


def spec_json(spec: TrainingSpec) -> dict[str, Any]:
    return {**asdict(spec), "datanets": list(spec.datanets), "method": str(spec.method)}


def config_digest(spec: TrainingSpec) -> Digest:
    """What the order commits to: SHA-256 of the spec's canonical JSON."""
    return digest_of(hashlib.sha256(canonical_json(spec_json(spec))).digest())


@dataclass(frozen=True, slots=True)
class Ordering:
    """The builder's side: prepare an order, start the run it belongs to, stop it."""

    access: AccessRegistry
    catalog: ModelCatalog
    signatures: SignatureVerifier
    runs: RunStore
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def order(self, wallet: Wallet, spec: TrainingSpec) -> TrainingOrder:
        """What the wallet has to sign. Raises: AccessDenied, InvalidValue, ModelUnavailable, ChainUnavailable."""
        await asyncio.to_thread(self._check_machine, spec)
        line = await line_of(self.runs, self.catalog, wallet, spec)
        versions = await self._permitted_versions(wallet, spec, line)
        return TrainingOrder(
            trainer=wallet,
            datanets=spec.datanets,
            versions=tuple(v.version for v in versions),
            parent_model_id=parent_model_id(line),
            config_digest=config_digest(spec),
            nonce=secrets.randbits(128),
            deadline=int(self.now().timestamp()) + ORDER_SECONDS,
        )

    async def start(self, wallet: Wallet, spec: TrainingSpec, order: TrainingOrder, signature: bytes) -> TrainingRun:
        """Queue the run; an order sent twice is the same run. Raises: InvalidValue naming what in the order is
        wrong, Conflict when a datanet has moved on since, AccessDenied, ChainUnavailable."""
        now = int(self.now().timestamp())
        if order.trainer != wallet:
            raise InvalidValue("order.trainer", f"is {order.trainer}, but you are signed in as {wallet}")
        if order.config_digest != config_digest(spec):
            raise InvalidValue("order.config_digest", "does not belong to these settings; ask for a new order")
        if order.datanets != spec.datanets:
            raise InvalidValue("order.datanet_ids", "are not the datanets of the settings; ask for a new order")
        if not now < order.deadline <= now + ORDER_SECONDS:
            raise InvalidValue("order.deadline", "has passed, or lies too far ahead; ask for a new order")
        await asyncio.to_thread(self._check_machine, spec)
        line = await line_of(self.runs, self.catalog, wallet, spec)
        if order.parent_model_id != parent_model_id(line):
            raise InvalidValue("order.parent_model_id", "is not the model of parent_run_id; ask for a new order")
        versions = await self._permitted_versions(wallet, spec, line)
        if tuple(v.version for v in versions) != order.versions:
            raise Conflict("a datanet has a new version since you asked for the order; ask for a new one")
        if not await self.signatures.is_valid_order(order, signature):
            raise InvalidValue("signature", f"is not {wallet}'s signature of this training order")
        run = TrainingRun(
            run_id=_run_of(order),
            wallet=wallet,
            spec=spec,
            order=order,
            signature="0x" + signature.hex(),
            status=RunStatus.QUEUED,
            created_at=self.now(),
        )
        if not await self.runs.add(run):
            return await self.run_of(wallet, run.run_id)
        return run

    async def cancel(self, wallet: Wallet, run_id: RunId) -> TrainingRun:
        """A queued run ends now, a running one at its next step. Raises: NotFound, Conflict when it has ended."""
        run = await self.run_of(wallet, run_id)
        if run.status not in LIVE_STATUSES:
            raise Conflict(f"run {run_id} has ended already ({run.status})")
        if run.status is RunStatus.STORING:
            raise Conflict(f"run {run_id} has finished training and is being registered")
        if run.status is RunStatus.QUEUED:
            return await self.runs.update(
                run_id, status=RunStatus.CANCELLED, cancel_requested=True, ended_at=self.now()
            )
        return await self.runs.update(run_id, cancel_requested=True)

    async def run_of(self, wallet: Wallet, run_id: RunId) -> TrainingRun:
        run = await self.runs.get(run_id)
        if run is None or run.wallet != wallet:
            raise NotFound(f"training run {run_id}")
        return run

    def _check_machine(self, spec: TrainingSpec) -> None:
        """Takes seconds the first time: it hashes weights and imports torch."""
        self.catalog.resolve(spec.base_model)
        why_not = self.catalog.methods().get(spec.method, "unknown method")
        if why_not is not None:
            raise InvalidValue("method", f"{spec.method} cannot run here: {why_not}")

    async def _permitted_versions(self, wallet: Wallet, spec: TrainingSpec, line: Line) -> list[PublishedVersion]:
        await permit(self.access, wallet, spec, line)
        versions = []
        for datanet in spec.datanets:
            version = await self.access.current_version(datanet)
            if version.version == 0:
                raise InvalidValue("datanet_ids", f"datanet {datanet} has no published version yet")
            versions.append(version)
        return versions


def _run_of(order: TrainingOrder) -> RunId:
    """The chain registers one model for an order, so an order has one run."""
    return RunId(hashlib.sha256(f"{order.trainer} {order.nonce}".encode()).hexdigest()[:16])


async def require(access: AccessRegistry, wallet: Wallet, datanet: DatanetId, purpose: Purpose) -> Permission:
    """The permission, or no further. Raises: AccessDenied; ChainUnavailable means nobody knows."""
    permission = await access.may_use(wallet, datanet, purpose)
    if not permission.allowed:
        raise AccessDenied.to_datanet(wallet, datanet, str(purpose.name).lower(), permission.block.number)
    return permission


async def permit(access: AccessRegistry, wallet: Wallet, spec: TrainingSpec, line: Line) -> tuple[Permission, ...]:
    """TRAIN on the run's datanets, then on those of its line that are not among them; and the parent may still be
    used. Raises: AccessDenied; ChainUnavailable means nobody knows."""
    inherited = (datanet for run in line for datanet in run.spec.datanets)
    datanets = dict.fromkeys((*spec.datanets, *inherited))
    permissions = tuple([await require(access, wallet, datanet, Purpose.TRAIN) for datanet in datanets])
    if line and not await access.may_serve(parent_model_id(line)):
        raise AccessDenied(
            f"model {parent_model_id(line)} may not be gone on from: the chain does not let it be used any more; "
            "start from another model"
        )
    return permissions
