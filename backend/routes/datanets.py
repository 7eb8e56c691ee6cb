"""Datanets as a person browses them, and the owner's way to publish a version.

Lists come from the mirror and say how old they are; what may be done is decided elsewhere, on chain.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath, JSONBody, MultipartBody
from msgspec import Meta, Struct

from backend.domain.errors import InvalidValue, NotFound
from backend.domain.finality import Standing
from backend.domain.types import ALL_PURPOSES, NO_WALLET, DatanetId, Digest, Purpose, Wallet, purpose_names
from backend.domain.uploads import preview_text, refuse_oversized
from backend.ports import ChainMirror, DatanetRow, GrantRow, RequestRow, VersionRow, VersionStore
from backend.routes.firmness import firmness
from backend.routes.given import Given
from backend.services.publishing import Publishing

PROBLEMS_SHOWN = 200
ROWS_SHOWN = 20


class DraftForm(Struct, frozen=True):
    file: UploadFile
    contributor_column: str | None = None


class VersionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    draft_id: Annotated[str, Meta(pattern=r"^[^\x00]{1,100}$")]
    on_bad_row: str = "refuse"


def version_view(row: VersionRow, standing: Standing, published: Mapping[Digest, int]) -> dict[str, Any]:
    """`published`: block numbers by manifest digest."""
    contributors: Counter[str] = Counter()
    for shard in row.manifest.shards:
        contributors[shard.contributor] += shard.records
    return {
        "datanet_id": row.datanet,
        "version": row.version,
        "manifest_digest": row.manifest_digest,
        "manifest_cid": row.manifest_cid,
        "format": row.manifest.format,
        "records": row.manifest.records,
        "records_root": row.manifest.records_root,
        "status": row.status,
        "passages": row.passages,
        "problem": row.problem,
        "created_at": row.created_at,
        **firmness(standing, published.get(row.manifest_digest)),
        "contributors": [{"wallet": w, "records": n} for w, n in contributors.most_common()],
    }


async def _published_in(mirror: ChainMirror, datanet: DatanetId) -> dict[Digest, int]:
    """The block of each version's publication, by its manifest digest."""
    events = await mirror.events_named("VersionPublished", datanetId=int(datanet))
    return {event.args["manifestDigest"]: event.block.number for event in events}


async def _view(
    mirror: ChainMirror, standing: Standing, row: DatanetRow, viewer: Wallet | None, now: int
) -> dict[str, Any]:
    purposes, resting = Purpose(row.public_purposes), Purpose.NONE
    if viewer == row.owner:
        purposes = ALL_PURPOSES
    elif viewer is not None:
        for grant in await mirror.grants_to(viewer):
            if grant.datanet == row.datanet and _in_time(grant, now):
                if grant.terms_version == row.terms_version:
                    purposes |= grant.purposes
                else:
                    resting = grant.purposes & row.terms.purposes
    if row.frozen:
        purposes = Purpose.NONE
    return {
        "datanet_id": row.datanet,
        "name": row.name,
        "owner": row.owner,
        "version": row.version,
        "records": row.records,
        "passages": row.passages,
        "public_purposes": purpose_names(row.public_purposes),
        "created_at": row.created_at,
        **firmness(standing, row.block_number),
        "terms": terms_view(row),
        "frozen": row.frozen,
        "my_purposes": purpose_names(purposes),
        "my_resting_purposes": purpose_names(resting),  # mine again once I accept the terms of now
        "mine": viewer == row.owner,
        "managed_by_me": viewer in row.managers,
        "offered_to_me": viewer is not None and viewer == row.offered_to,
    }


def terms_view(row: DatanetRow) -> dict[str, Any]:
    return {
        "version": row.terms_version,
        "licence_digest": row.terms.licence_digest if row.licence_cid else None,
        "licence_cid": row.licence_cid or None,
        "purposes": purpose_names(row.terms.purposes),
        "price_per_1000_answers": row.terms.price_per_1000_answers / 100 if row.terms.currency else None,
        "currency": row.terms.currency or None,
        "keeps_models": row.terms.keeps_models,
    }


def _in_time(grant: GrantRow, now: int) -> bool:
    return bool(grant.purposes) and (grant.expires_at == 0 or grant.expires_at > now)


def _grant_view(standing: Standing, grant: GrantRow, row: DatanetRow, now: int) -> dict[str, Any]:
    accepted = grant.terms_version == row.terms_version
    return {
        "grantee": grant.grantee,
        "purposes": purpose_names(grant.purposes),
        "expires_at": grant.expires_at or None,
        "granted_by": grant.granted_by,
        "tx_hash": grant.tx_hash,
        **firmness(standing, grant.block_number),
        "terms_version": grant.terms_version,
        "resting": not accepted,  # until its grantee accepts the terms of now
        "live": accepted and not row.frozen and _in_time(grant, now),
    }


def _request_view(standing: Standing, request: RequestRow) -> dict[str, Any]:
    return {
        "requester": request.requester,
        "purposes": purpose_names(request.purposes),
        "expires_at": request.expires_at or None,
        "message": request.message,
        "terms_version": request.terms_version,
        "tx_hash": request.tx_hash,
        **firmness(standing, request.block_number),
    }


async def _models_of(mirror: ChainMirror, standing: Standing, datanet: DatanetId) -> list[dict[str, Any]]:
    models = []
    for used in await mirror.events_named("ModelTrainedOn", datanetId=int(datanet)):
        for model in await mirror.events_named("ModelRegistered", modelId=used.args["modelId"]):
            models.append(
                {
                    "model_id": model.args["modelId"],
                    "trainer": model.args["trainer"],
                    "adapter_digest": model.args["adapterDigest"],
                    "base_model": model.args["baseModel"],
                    "version": used.args["version"],
                    "tx_hash": model.tx_hash,
                    **firmness(standing, model.block.number),
                }
            )
    return models


async def _known(mirror: ChainMirror, datanet_id: int) -> DatanetRow:
    row = await mirror.datanet(DatanetId(datanet_id))
    if row is None:
        raise NotFound(f"datanet {datanet_id}")
    return row


def _shown(version: VersionRow, datanet: DatanetRow, viewer: Wallet | None) -> bool:
    """What is only prepared concerns nobody but the owner: it names contributors, and may never be published."""
    return version.status != "stale" and (version.status != "prepared" or viewer == datanet.owner)


class DatanetController(Controller):
    path = "/datanets"
    tags = ("Datanets",)

    @get(summary="Every datanet of the registry")
    async def list_datanets(
        self, mirror: Given[ChainMirror], viewer: Given[Wallet | None], now: Given[int]
    ) -> list[dict[str, Any]]:
        standing = await mirror.standing()
        return [await _view(mirror, standing, row, viewer, now) for row in await mirror.datanets()]

    @get("/{datanet_id:int}", summary="One datanet: versions, grants, requests, models trained on it")
    async def get_datanet(
        self,
        datanet_id: FromPath[int],
        mirror: Given[ChainMirror],
        versions: Given[VersionStore],
        viewer: Given[Wallet | None],
        now: Given[int],
    ) -> dict[str, Any]:
        row = await _known(mirror, datanet_id)
        standing = await mirror.standing()  # before what it is to measure: that may only be newer
        published = await _published_in(mirror, row.datanet)
        shown = [v for v in await versions.versions_of(row.datanet) if _shown(v, row, viewer)]
        return {
            **await _view(mirror, standing, row, viewer, now),
            "manifest_digest": row.manifest_digest,
            "managers": list(row.managers),
            "offered_to": row.offered_to if row.offered_to != NO_WALLET else None,
            "versions": [version_view(version, standing, published) for version in shown],
            "grants": [_grant_view(standing, grant, row, now) for grant in await mirror.grants_of(row.datanet)],
            "requests": [_request_view(standing, request) for request in await mirror.requests_of(row.datanet)],
            "models": await _models_of(mirror, standing, row.datanet),
        }

    @post("/{datanet_id:int}/versions", summary="Encrypt and pin a draft as the next version, ready to publish")
    async def create_version(
        self,
        datanet_id: FromPath[int],
        data: JSONBody[VersionRequest],
        wallet: Given[Wallet],
        publishing: Given[Publishing],
        versions: Given[VersionStore],
        now: Given[int],
    ) -> dict[str, Any]:
        if data.on_bad_row not in ("skip", "refuse"):
            raise InvalidValue("on_bad_row", f"{data.on_bad_row!r} is neither skip nor refuse")
        draft = await versions.draft(data.draft_id, datetime.fromtimestamp(now, UTC))
        if draft is not None and draft.owner == wallet and draft.datanet != datanet_id:
            raise InvalidValue("draft_id", f"belongs to datanet {draft.datanet}")
        prepared = await publishing.prepare(wallet, data.draft_id, data.on_bad_row)
        return version_view(prepared, Standing(), {})  # no block holds it yet

    @get("/{datanet_id:int}/versions/{version:int}", summary="How far a version is: prepared, published, indexed")
    async def get_version(
        self,
        datanet_id: FromPath[int],
        version: FromPath[int],
        mirror: Given[ChainMirror],
        versions: Given[VersionStore],
        viewer: Given[Wallet | None],
    ) -> dict[str, Any]:
        datanet = await _known(mirror, datanet_id)
        rows = await versions.versions_of(datanet.datanet)
        found = [row for row in rows if row.version == version and _shown(row, datanet, viewer)]
        if not found:
            raise NotFound(f"version {version} of datanet {datanet_id}")
        # It may have been prepared more than once; the chain took one of them at most, and that is the version.
        meant = next((row for row in found if row.status != "prepared"), found[0])
        return version_view(meant, await mirror.standing(), await _published_in(mirror, datanet.datanet))


class DraftController(Controller):
    """Apart from the rest, because it alone takes large bodies."""

    path = "/datanets/{datanet_id:int}/drafts"
    tags = ("Datanets",)

    @post(summary="Upload a file and see what Byline makes of it; nothing is published")
    async def create_draft(
        self,
        datanet_id: FromPath[int],
        data: MultipartBody[DraftForm],
        request: Request[Any, Any, Any],
        wallet: Given[Wallet],
        publishing: Given[Publishing],
        max_upload_bytes: Given[int],
    ) -> dict[str, Any]:
        content = await data.file.read()  # all there is: a body much over the limit was refused while it came
        refuse_oversized(len(content), max_upload_bytes)
        draft, upload = await publishing.preview(
            wallet, DatanetId(datanet_id), data.file.filename, content, data.contributor_column or None
        )
        contributors = Counter(record.contributor for record in upload.records)
        return {
            "draft_id": draft.draft_id,
            "filename": draft.filename,
            "format": upload.format,
            "columns": list(upload.columns),
            "rows_total": upload.rows_total,
            "rows_good": len(upload.records),
            "problems": [{"row": p.row, "problem": p.problem} for p in upload.problems[:PROBLEMS_SHOWN]],
            "problems_total": len(upload.problems),
            "contributors": [{"wallet": w, "records": n} for w, n in contributors.most_common()],
            "preview": [
                {"row": record.row, "contributor": record.contributor, "text": preview_text(record.body)}
                for record in upload.records[:ROWS_SHOWN]
            ],
            "expires_at": draft.expires_at,
        }
