"""Models to choose from: bases, methods and settings, and one's own tuned ones."""

import asyncio
from dataclasses import asdict
from typing import Any

from litestar import Controller, get
from litestar.params import FromPath

from backend.domain.errors import NotFound
from backend.domain.training import SETTINGS, TrainingRun
from backend.domain.types import Wallet
from backend.ports import AccessRegistry, ChainMirror, ModelCatalog, RunStore
from backend.routes.firmness import firmness
from backend.routes.given import Given


class ModelController(Controller):
    path = "/models"
    tags = ("Models",)

    @get(summary="Base models, methods and settings, and your tuned models")
    async def list_models(
        self,
        wallet: Given[Wallet],
        catalog: Given[ModelCatalog],
        runs: Given[RunStore],
        mirror: Given[ChainMirror],
    ) -> dict[str, Any]:
        standing = await mirror.standing()
        registered = {
            event.args["modelId"]: event.block.number
            for event in await mirror.events_named("ModelRegistered", trainer=wallet)
        }
        tuned = [run for run in await runs.finished_runs() if run.wallet == wallet]
        return {
            "bases": [asdict(base) for base in catalog.bases()],
            "methods": [
                {"name": name, "available": why_not is None, "why_not": why_not}
                for name, why_not in (await asyncio.to_thread(catalog.methods)).items()
            ],
            "settings": [asdict(setting) for setting in SETTINGS.values()],
            "tuned": [
                {
                    "run_id": run.run_id,
                    "title": _title(run),
                    "base": run.spec.base_model,
                    "adapter_digest": run.adapter_digest,
                    "rank": run.spec.rank,
                    "model_id": run.model_id,
                    "parent_model_id": run.order.parent_model_id or None,
                    "owner": run.wallet,
                    "datanet_ids": list(run.spec.datanets),
                    "created_at": run.created_at,
                    **firmness(standing, registered.get(run.model_id)),
                }
                for run in tuned
            ],
        }

    @get("/{model_id:int}", summary="A registered model's line: its data, its parent, what was derived from it")
    async def get_model(
        self, model_id: FromPath[int], mirror: Given[ChainMirror], access: Given[AccessRegistry]
    ) -> dict[str, Any]:
        registered = await mirror.events_named("ModelRegistered", modelId=model_id)
        if not registered:
            raise NotFound(f"model {model_id}")
        [event] = registered
        trained = await mirror.events_named("ModelTrainedOn", modelId=model_id)
        parents = await mirror.events_named("ModelDerived", modelId=model_id)
        children = await mirror.events_named("ModelDerived", parentModelId=model_id)
        return {
            "model_id": model_id,
            "trainer": event.args["trainer"],
            "base_model": event.args["baseModel"],
            "adapter_digest": event.args["adapterDigest"],
            "adapter_cid": event.args["adapterCid"],
            "config_digest": event.args["configDigest"],
            "provenance_digest": event.args["provenanceDigest"],
            "provenance_cid": event.args["provenanceCid"],
            "datanets": [
                {
                    "datanet_id": line.args["datanetId"],
                    "version": line.args["version"],
                    "terms_version": line.args["termsVersion"],
                }
                for line in reversed(trained)
            ],
            "parent_model_id": parents[0].args["parentModelId"] if parents else None,
            "child_model_ids": [line.args["modelId"] for line in reversed(children)],
            "may_serve": await access.may_serve(model_id),
            "tx_hash": event.tx_hash,
            **firmness(await mirror.standing(), event.block.number),
        }


def _title(run: TrainingRun) -> str:
    start = run.spec.base_model
    if run.order.parent_model_id:
        start += f", model {run.order.parent_model_id},"
    return f"{start} tuned on " + ", ".join(f"datanet {datanet}" for datanet in run.spec.datanets)
