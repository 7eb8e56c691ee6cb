"""From a stored adapter to a model on chain: the builder's order is spent, and the run is done or refused.

The builder signed when they started the run, so one that ends while they sleep is registered all the same.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from backend.domain.provenance import model_name
from backend.domain.training import RunStatus, TrainingRun
from backend.domain.types import BlockRef, digest_bytes
from backend.ports import ChainMirror, ContractCall, Outbox, OutgoingTransaction, RunStore, SignedTransaction

log = logging.getLogger(__name__)


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
            elif sent.status == "mined":
                closed += await self._close(run, sent)
        return closed

    async def _close(self, run: TrainingRun, sent: OutgoingTransaction) -> bool:
        tip = await self.mirror.tip()  # read before the events: it says how far they surely go
        lines = await self.mirror.events_named("ModelRegistered", adapterDigest=run.adapter_digest)
        mine = [line for line in lines if line.tx_hash == sent.tx_hash]
        if not mine:
            await self._send_again_if_lost(sent, tip)
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

    async def _send_again_if_lost(self, sent: OutgoingTransaction, tip: BlockRef | None) -> None:
        """A block that the mirror has, without the registration that was mined in it, is a reorganisation's. The same
        bytes go out again, so that the chain takes them once at most."""
        if tip is None or sent.block_number is None or tip.number < sent.block_number:
            return  # the indexer is a step behind
        assert sent.raw is not None  # noqa: S101 - what "mined" means
        assert sent.nonce is not None  # noqa: S101
        assert sent.tx_hash is not None  # noqa: S101
        log.warning("%s is no longer in block %d; it is sent again", sent.reference, sent.block_number)
        await self.outbox.mark_signed(sent, SignedTransaction(sent.tx_hash, sent.raw, sent.nonce))


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
