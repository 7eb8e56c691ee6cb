"""Models to choose from: bases, methods and settings, and one's own tuned ones."""

import asyncio
from dataclasses import asdict
from typing import Any

from litestar import Controller, get

from backend.domain.training import SETTINGS
from backend.domain.types import Wallet
from backend.ports import ChainMirror, ModelCatalog, RunStore
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
                    "title": f"{run.spec.base_model} tuned on " + ", ".join(f"datanet {d}" for d in run.spec.datanets),
                    "base": run.spec.base_model,
                    "adapter_digest": run.adapter_digest,
                    "model_id": run.model_id,
                    "owner": run.wallet,
                    "datanet_ids": list(run.spec.datanets),
                    "created_at": run.created_at,
                    **firmness(standing, registered.get(run.model_id)),
                }
                for run in tuned
            ],
        }
