"""Orders to sign, runs to watch."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage
from msgspec import Meta, Struct

from backend.domain.errors import BylineError, InvalidValue
from backend.domain.training import (
    LIVE_STATUSES,
    SETTINGS,
    Method,
    RunStatus,
    TrainingOrder,
    TrainingRun,
    TrainingSpec,
)
from backend.domain.types import DatanetId, RunId, Wallet, parse_digest, parse_wallet, purpose_names
from backend.ports import ChainMirror, RunStore, SignatureVerifier
from backend.routes.errors import INTERNAL_ERROR, error_body
from backend.routes.given import Given
from backend.services.ordering import Ordering, spec_json

log = logging.getLogger(__name__)

DatanetNumber = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class SpecRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges are checked in the domain, so that the error names the setting and its range."""

    base_model: Annotated[str, Meta(min_length=1, max_length=200)]
    datanet_ids: Annotated[list[DatanetNumber], Meta(min_length=1, max_length=64)]
    method: str = "lora"
    learning_rate: float = SETTINGS["learning_rate"].default
    batch_size: int = int(SETTINGS["batch_size"].default)
    epochs: int = int(SETTINGS["epochs"].default)
    rank: int = int(SETTINGS["rank"].default)
    max_steps: int = int(SETTINGS["max_steps"].default)
    max_length_tokens: int = int(SETTINGS["max_length_tokens"].default)
    seed: int = int(SETTINGS["seed"].default)
    parent_run_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")] | None = None  # go on from this run's adapter

    def to_spec(self) -> TrainingSpec:
        try:
            method = Method(self.method)
        except ValueError:
            raise InvalidValue("method", f"{self.method!r} is neither lora nor qlora") from None
        return TrainingSpec(
            base_model=self.base_model,
            datanets=tuple(DatanetId(d) for d in self.datanet_ids),
            method=method,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            rank=self.rank,
            max_steps=self.max_steps,
            max_length_tokens=self.max_length_tokens,
            seed=self.seed,
            parent_run=None if self.parent_run_id is None else RunId(self.parent_run_id),
        )


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    trainer: str
    datanet_ids: list[DatanetNumber]
    versions: list[Annotated[int, Meta(ge=1)]]
    parent_model_id: Annotated[int, Meta(ge=0)]
    config_digest: str
    nonce: Annotated[str, Meta(pattern=r"^[0-9]{1,78}$")]  # a uint256 does not survive JSON numbers
    deadline: int

    @classmethod
    def of(cls, order: TrainingOrder) -> "OrderBody":
        return cls(
            order.trainer,
            [int(d) for d in order.datanets],
            list(order.versions),
            order.parent_model_id,
            order.config_digest,
            str(order.nonce),
            order.deadline,
        )

    def to_order(self) -> TrainingOrder:
        return TrainingOrder(
            trainer=parse_wallet(self.trainer),
            datanets=tuple(DatanetId(d) for d in self.datanet_ids),
            versions=tuple(self.versions),
            parent_model_id=self.parent_model_id,
            config_digest=parse_digest(self.config_digest),
            nonce=int(self.nonce),
            deadline=self.deadline,
        )


class OrderView(Struct, frozen=True):
    order: OrderBody
    typed_data: dict[str, Any]
    records: int  # in the ordered versions, as the mirror counts them


class RunRequest(Struct, frozen=True, forbid_unknown_fields=True):
    spec: SpecRequest
    order: OrderBody
    signature: Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{2})+$", max_length=20_000)]


def run_view(run: TrainingRun, queue_position: int | None = None) -> dict[str, Any]:
    spec = spec_json(run.spec)
    spec["datanet_ids"], spec["parent_run_id"] = spec.pop("datanets"), spec.pop("parent_run")
    return {
        "run_id": run.run_id,
        "wallet": run.wallet,
        "status": str(run.status),
        "base_model": run.spec.base_model,
        "method": str(run.spec.method),
        "datanet_ids": list(run.spec.datanets),
        "versions": list(run.order.versions),
        "parent_model_id": run.order.parent_model_id or None,
        "spec": spec,
        "created_at": run.created_at.isoformat(),
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "problem": run.problem,
        "loss_first": run.loss_first,
        "loss_last": run.loss_last,
        "cancel_requested": run.cancel_requested,
        "permissions": [
            {
                "datanet_id": p.datanet,
                "purpose": purpose_names(p.purpose)[0],
                "allowed": p.allowed,
                "block_number": p.block.number,
                "block_hash": p.block.hash,
            }
            for p in run.permissions
        ],
        "adapter_digest": run.adapter_digest,
        "adapter_cid": run.adapter_cid,
        "model_id": run.model_id,
        "registration_tx": run.registration_tx,
        "provenance_digest": run.provenance_digest,
        "provenance_cid": run.provenance_cid,
        "queue_position": queue_position,
    }


async def _queue_position(runs: RunStore, run: TrainingRun) -> int | None:
    """How many runs go first; None once it has begun."""
    if run.status is not RunStatus.QUEUED:
        return None
    waiting = [r.run_id for r in await runs.live_runs()]
    return waiting.index(run.run_id) if run.run_id in waiting else None


async def _events(runs: RunStore, run: TrainingRun, after_step: int) -> AsyncIterator[ServerSentEventMessage]:
    """All stored steps after `after_step`, then what comes; the run at each change; `end` at its end. Without `end`
    the run goes on, and a reader may come back with the last step it has seen: so it is after an `error`."""
    last: TrainingRun | None = None
    try:
        async with runs.watch(run.run_id) as changes:
            while True:
                now = await runs.get(run.run_id)
                if now is None:
                    break
                for progress in await runs.progress(run.run_id, after_step):
                    after_step = progress.step
                    data = json.dumps(asdict(progress))
                    yield ServerSentEventMessage(event="progress", id=str(progress.step), data=data)
                if last is None or replace(now, provenance=None) != replace(last, provenance=None):
                    last = now
                    view = run_view(now, await _queue_position(runs, now))
                    yield ServerSentEventMessage(event="run", data=json.dumps(view))
                if now.status not in LIVE_STATUSES:
                    break
                await anext(changes)
    except BylineError as error:
        yield ServerSentEventMessage(event="error", data=json.dumps(error_body(error)))
        return
    except Exception:  # the status was sent long ago: the stream itself has to say it
        log.exception("the events of run %s", run.run_id)
        yield ServerSentEventMessage(event="error", data=json.dumps(INTERNAL_ERROR))
        return
    yield ServerSentEventMessage(event="end", data="{}")


class TrainingController(Controller):
    path = "/"
    tags = ("Training",)

    @post("/training-orders", summary="What to sign to start a training run", status_code=200)
    async def create_order(
        self,
        data: JSONBody[SpecRequest],
        wallet: Given[Wallet],
        ordering: Given[Ordering],
        signatures: Given[SignatureVerifier],
        mirror: Given[ChainMirror],
    ) -> OrderView:
        order = await ordering.order(wallet, data.to_spec())
        rows = [await mirror.datanet(datanet) for datanet in order.datanets]
        records = sum(row.records for row in rows if row is not None)
        return OrderView(OrderBody.of(order), signatures.order_typed_data(order), records)

    @post("/training-runs", summary="Start the run you signed for", status_code=202)
    async def create_run(
        self, data: JSONBody[RunRequest], wallet: Given[Wallet], ordering: Given[Ordering]
    ) -> dict[str, str]:
        signature = bytes.fromhex(data.signature[2:])
        run = await ordering.start(wallet, data.spec.to_spec(), data.order.to_order(), signature)
        return {"run_id": run.run_id}

    @get("/training-runs", summary="Your runs, newest first")
    async def list_runs(self, wallet: Given[Wallet], runs: Given[RunStore]) -> list[dict[str, Any]]:
        return [run_view(run, await _queue_position(runs, run)) for run in await runs.runs_of(wallet)]

    @get("/training-runs/{run_id:str}", summary="One of your runs")
    async def get_run(
        self,
        run_id: FromPath[str],
        wallet: Given[Wallet],
        ordering: Given[Ordering],
        runs: Given[RunStore],
    ) -> dict[str, Any]:
        run = await ordering.run_of(wallet, RunId(run_id))
        return run_view(run, await _queue_position(runs, run))

    @get("/training-runs/{run_id:str}/events", summary="A run's steps and changes as they happen (an event stream)")
    async def run_events(
        self,
        run_id: FromPath[str],
        wallet: Given[Wallet],
        ordering: Given[Ordering],
        runs: Given[RunStore],
        after_step: FromQuery[int] = 0,
    ) -> ServerSentEvent:
        run = await ordering.run_of(wallet, RunId(run_id))
        return ServerSentEvent(_events(runs, run, after_step))

    @post("/training-runs/{run_id:str}/cancel", summary="Stop a run", status_code=202)
    async def cancel_run(
        self, run_id: FromPath[str], wallet: Given[Wallet], ordering: Given[Ordering]
    ) -> dict[str, Any]:
        return run_view(await ordering.cancel(wallet, RunId(run_id)))
