"""What a run stands on that goes on from another: the runs behind its parent's model, back to the first of the line.

Each of them was the same builder's, and left an adapter of the same shape over the same weights. The data of all of
them is in the new model, so TRAIN is needed on all of it (`ordering.permit`), as `ModelRegistry` has it too.
"""

import asyncio

from backend.domain.answers import ModelRef
from backend.domain.errors import InvalidValue
from backend.domain.training import RunStatus, TrainingRun, TrainingSpec
from backend.domain.types import RunId, Wallet
from backend.ports import ModelCatalog, RunStore

Line = tuple[TrainingRun, ...]  # the parent first; empty for a run that starts from the base model itself

MAX_GENERATION = 8  # of ModelRegistry: how many models may follow the first of a line
FIELD = "parent_run_id"


async def line_of(runs: RunStore, catalog: ModelCatalog, wallet: Wallet, spec: TrainingSpec) -> Line:
    """Raises: InvalidValue naming `parent_run_id` and what to do; ModelUnavailable, DatabaseUnavailable."""
    if spec.parent_run is None:
        return ()
    base = await asyncio.to_thread(catalog.resolve, spec.base_model)
    line: list[TrainingRun] = []
    wanted: RunId | None = spec.parent_run
    while wanted is not None:
        run = await runs.get(wanted)
        if run is None or run.wallet != wallet:
            raise InvalidValue(FIELD, f"{wanted} is not a run of yours; choose one of your own tuned models")
        _check(run, spec, base)
        line.append(run)
        if len(line) > MAX_GENERATION:
            raise InvalidValue(
                FIELD,
                f"model {line[0].model_id} ends its line, with {MAX_GENERATION} models before it; "
                "start from an earlier one",
            )
        wanted = run.spec.parent_run
    return tuple(line)


def parent_model_id(line: Line) -> int:
    """As a training order has it: 0 for a run that starts from the base model itself."""
    if not line:
        return 0
    assert line[0].model_id is not None  # noqa: S101 - `_check` saw it
    return line[0].model_id


def adapter_of(run: TrainingRun) -> ModelRef:
    """What the shelf finds the run's adapter by."""
    return ModelRef(run.spec.base_model, run.base_revision or "", run.run_id, run.adapter_digest, run.adapter_cid)


def _check(run: TrainingRun, spec: TrainingSpec, base: ModelRef) -> None:
    """Method may differ: LoRA and QLoRA leave the same kind of adapter."""
    if run.status is not RunStatus.DONE or run.model_id is None:
        raise InvalidValue(
            FIELD, f"run {run.run_id} is {run.status}, not a registered model; wait for its end, or choose another"
        )
    if run.spec.base_model != base.base:
        raise InvalidValue(
            FIELD,
            f"run {run.run_id} tuned {run.spec.base_model}, not {base.base}; set base_model to the same",
        )
    if run.base_revision is not None and run.base_revision != base.revision:
        raise InvalidValue(
            FIELD,
            f"run {run.run_id} tuned revision {run.base_revision[:12]} of {base.base}, and this server has "
            f"{base.revision[:12]} by now; start from the base model",
        )
    if run.spec.rank != spec.rank:
        raise InvalidValue(
            FIELD,
            f"run {run.run_id} has an adapter of rank {run.spec.rank}, not {spec.rank}; set rank to {run.spec.rank}",
        )
