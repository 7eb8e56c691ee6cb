"""How an adapter came to be, as an in-toto statement (v1) with a SLSA provenance predicate (v1).

The statement is pinned on IPFS in the clear and its SHA-256 stands in `ModelRegistry`: anyone can follow a model to
its data. It holds digests, settings and figures; no record, and not the order's signature.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from backend.domain.answers import ModelRef
from backend.domain.training import TrainedAdapter, TrainingRun
from backend.domain.types import DatanetId, Digest, Permission, PublishedVersion, Wallet

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:byline:fine-tuning:1"


def model_name(base: str, revision: str) -> str:
    """As `ModelRegistry` has it: which weights, not just which name."""
    return f"{base}@{revision}"


def provenance_statement(
    run: TrainingRun,
    settings: dict[str, Any],
    base: ModelRef,
    line: Sequence[TrainingRun],
    versions: Sequence[PublishedVersion],
    permissions: Sequence[Permission],
    records: int,
    adapter: TrainedAdapter,
    adapter_digest: Digest,
    adapter_cid: str,
    chain_id: int,
    registry: Wallet,
    finished_at: datetime,
) -> dict[str, Any]:
    """JSON values only; canonical JSON of it is what is pinned and digested. `line`: the runs it goes on from, its
    parent first. `versions`: of the run's own datanets. `permissions`: one for each datanet of the run and its line."""
    permitted = {permission.datanet: permission for permission in permissions}
    # Without its signature: until `register` has spent the nonce, whoever holds that can register with it.
    order = {**asdict(run.order), "nonce": str(run.order.nonce)}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "adapter.tar", "uri": f"ipfs://{adapter_cid}", "digest": _sha256(adapter_digest)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"settings": settings, "order": order},
                "internalParameters": {"records": records},
                "resolvedDependencies": [
                    {"name": "base model", "uri": f"pkg:huggingface/{model_name(base.base, base.revision)}"},
                    *(_datanet(version, permitted[version.datanet], chain_id, registry) for version in versions),
                    *(_parent(parent) for parent in line[:1]),
                    *(
                        _inherited(ancestor, datanet, version, permitted[datanet], chain_id, registry)
                        for ancestor in line
                        for datanet, version in zip(ancestor.order.datanets, ancestor.order.versions, strict=True)
                    ),
                ],
            },
            "runDetails": {
                "builder": {"id": f"eip155:{chain_id}:{run.wallet}"},
                "metadata": {
                    "invocationId": run.run_id,
                    "startedOn": _time(run.started_at or run.created_at),
                    "finishedOn": _time(finished_at),
                },
                "byproducts": [
                    {
                        "name": "training",
                        "annotations": {
                            "steps": adapter.steps,
                            "loss_first": _number(adapter.loss_first),
                            "loss_last": _number(adapter.loss_last),
                            "trainable_parameters": adapter.trainable_parameters,
                        },
                    }
                ],
            },
        },
    }


def _datanet(version: PublishedVersion, permission: Permission, chain_id: int, registry: Wallet) -> dict[str, Any]:
    return {
        "name": f"datanet {version.datanet} version {version.version}",
        "uri": f"eip155:{chain_id}/erc721:{registry}/{version.datanet}",
        "digest": _sha256(version.manifest_digest),
        "annotations": {
            "datanet_id": version.datanet,
            "version": version.version,
            "records_root": version.records_root,
            "licence_digest": version.licence_digest,
            "permission_block": permission.block.number,
            "permission_block_hash": permission.block.hash,
        },
    }


def _parent(parent: TrainingRun) -> dict[str, Any]:
    assert parent.adapter_digest is not None  # noqa: S101 - what being registered means
    return {
        "name": f"parent model {parent.model_id}",
        "uri": f"ipfs://{parent.adapter_cid}",
        "digest": _sha256(parent.adapter_digest),
        "annotations": {"model_id": parent.model_id, "provenance_digest": parent.provenance_digest},
    }


def _inherited(
    ancestor: TrainingRun, datanet: DatanetId, version: int, permission: Permission, chain_id: int, registry: Wallet
) -> dict[str, Any]:
    """Data that the parent brings along; the ancestor's own statement has its digests."""
    return {
        "name": f"datanet {datanet} version {version}, in model {ancestor.model_id}",
        "uri": f"eip155:{chain_id}/erc721:{registry}/{datanet}",
        "annotations": {
            "datanet_id": datanet,
            "version": version,
            "model_id": ancestor.model_id,
            "permission_block": permission.block.number,
            "permission_block_hash": permission.block.hash,
        },
    }


def _sha256(digest: Digest) -> dict[str, str]:
    """in-toto writes digests without 0x."""
    return {"sha256": digest[2:]}


def _number(value: float) -> float | str:
    """JSON has neither NaN nor infinity, and a diverged run has a loss all the same."""
    return value if abs(value) < float("inf") else str(value)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
