"""From a stored adapter to a model on chain: the builder's order is spent, and the run is done or refused.

The builder signed when they started the run, so one that ends while they sleep is registered all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from backend.domain.provenance import model_name
from backend.domain.training import RunStatus, TrainingRun
from backend.domain.types import digest_bytes
from backend.ports import ChainMirror, ContractCall, Outbox, OutgoingTransaction, RunStore


@dataclass(frozen=True, slots=True)
class Registering:
    runs: RunStore
    outbox: Outbox
    mirror: ChainMirror
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def step(self) -> int:
        """Queue what is stored and not yet sent; close the runs whose registration the chain has taken, or refused.
        Idempotent. Returns how many were closed."""
        closed = 0
        for run in await self.runs.live_runs():
            if run.status is not RunStatus.STORING or run.adapter_digest is None:
                continue
            reference = f"register:{run.run_id}"
            sent = await self.outbox.get(reference)
            if sent is None:
                await self.outbox.add(reference, _registration(run))
            elif sent.status == "failed":
                problem = f"the chain did not register this model: {sent.problem}"
                await self.runs.update(run.run_id, status=RunStatus.REFUSED, problem=problem, ended_at=self.now())
                closed += 1
            elif sent.is_mined:
                closed += await self._close(run, sent)
        return closed

    async def _close(self, run: TrainingRun, sent: OutgoingTransaction) -> bool:
        lines = await self.mirror.events_named("ModelRegistered", adapterDigest=run.adapter_digest)
        mine = [line for line in lines if line.tx_hash == sent.tx_hash]
        if not mine:  # the indexer is a step behind, or a reorganisation took it and `Sending` brings it back
            return False
        await self.runs.update(
            run.run_id,
            status=RunStatus.DONE,
            model_id=int(mine[0].args["modelId"]),
            registration_tx=sent.tx_hash,
            problem=None,
            ended_at=self.now(),
        )
        return True


def _registration(run: TrainingRun) -> ContractCall:
    """The same one, whoever makes it and however often."""
    assert run.adapter_digest is not None  # noqa: S101 - what having an adapter_cid means
    assert run.provenance_digest is not None  # noqa: S101
    assert run.base_revision is not None  # noqa: S101
    order = run.order
    signed = (
        order.trainer,
        order.datanets,
        order.versions,
        order.parent_model_id,
        digest_bytes(order.config_digest),
        order.nonce,
        order.deadline,
    )
    result = (
        digest_bytes(run.adapter_digest),
        run.adapter_cid,
        model_name(run.spec.base_model, run.base_revision),
        digest_bytes(run.provenance_digest),
        run.provenance_cid,
    )
    return ContractCall("ModelRegistry", "register", (signed, bytes.fromhex(run.signature[2:]), result))
