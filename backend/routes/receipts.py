"""Receipts: one's own, anybody's as far as it is anybody's business, and the file to audit them by."""

import json
import re
from collections.abc import Sequence
from typing import Any

from litestar import Controller, Response, get
from litestar.params import FromPath

from attribution.verdict import Check, overall
from backend.domain.answers import LoggedReceipt
from backend.domain.types import Wallet, parse_digest
from backend.ports import AnswerLog, ChainMirror
from backend.routes.firmness import firmness
from backend.routes.given import Given
from backend.services.auditing import Auditing

NOBODY = "nobody"


def _values(receipt: LoggedReceipt, tag: str) -> list[Any]:
    return [leaf["value"] for leaf in receipt.document["leaves"] if leaf.get("tag") == tag]


def _shares(receipt: LoggedReceipt, viewer: Wallet | None) -> dict[str, int] | None:
    """All of them for the asker, one's own for a contributor."""
    totals: dict[str, int] = {}
    for share in _values(receipt, "share"):
        totals[share["contributor"]] = totals.get(share["contributor"], 0) + share["share_bps"]
    if viewer == receipt.asker:
        return totals
    return {viewer: totals[viewer]} if viewer in totals and viewer != NOBODY else None


def _in_general(checks: Sequence[Check]) -> list[Check]:
    """What was checked and how it ended, but not which datanets were asked, when, and what was found there."""
    verdicts: dict[str, list[Check]] = {}
    for check in checks:
        verdicts.setdefault(re.split(r": datanet| of datanet", check.name)[0], []).append(check)
    return [Check(name, overall(found), "") for name, found in verdicts.items()]


class ReceiptController(Controller):
    path = "/receipts"
    tags = ("Receipts",)

    @get(summary="Receipts you asked for or are credited in, newest first")
    async def list_receipts(
        self,
        wallet: Given[Wallet],
        answer_log: Given[AnswerLog],
        auditing: Given[Auditing],
        mirror: Given[ChainMirror],
    ) -> list[dict[str, Any]]:
        standing = await mirror.standing()
        questions = {a.receipt_digest: a.question for a in await answer_log.answers_of(wallet)}
        found = {r.digest: r for r in await answer_log.receipts_crediting(wallet)}
        for digest in questions:
            receipt = await answer_log.receipt(digest)
            if receipt is not None:
                found[digest] = receipt
        rows = []
        for receipt in sorted(found.values(), key=lambda r: r.index, reverse=True):
            anchor = await auditing.anchor_of(receipt.index)
            rows.append(
                {
                    "digest": receipt.digest,
                    "index": receipt.index,
                    "role": "asker" if receipt.asker == wallet else "contributor",
                    "answered_at": receipt.appended_at,
                    "question": questions.get(receipt.digest),
                    "my_share_bps": sum(c.share_bps for c in receipt.credits if c.contributor == wallet),
                    "status": "anchored" if anchor else "pending",
                    "tx_hash": anchor.tx_hash if anchor else None,
                    **firmness(standing, anchor.block_number if anchor else None),
                }
            )
        return rows

    @get("/{digest:str}", summary="One receipt, as much as you may see, and what its audit says")
    async def get_receipt(
        self,
        digest: FromPath[str],
        viewer: Given[Wallet | None],
        auditing: Given[Auditing],
        mirror: Given[ChainMirror],
    ) -> dict[str, Any]:
        standing = await mirror.standing()
        receipt = await auditing.receipt(parse_digest(digest))
        file = await auditing.file(receipt.digest, viewer)
        anchored = file["anchored"]
        audit = await auditing.audit(receipt.digest, receipt.asker)  # the verdict is about all of it
        return {
            "digest": receipt.digest,
            "index": receipt.index,
            "status": "anchored" if anchored else "pending",
            "anchored": file["anchored"]
            and {**file["anchored"], **firmness(standing, file["anchored"]["block_number"])},
            "document": file["receipt"],
            "verdict": str(audit.verdict),
            "checks": [
                {"name": c.name, "verdict": str(c.verdict), "detail": c.detail}
                for c in (audit.checks if viewer == receipt.asker else _in_general(audit.checks))
            ],
            "shares_bps": _shares(receipt, viewer),
        }

    @get("/{digest:str}/inclusion", summary="What verifyInclusion takes; null while pending")
    async def get_inclusion(self, digest: FromPath[str], auditing: Given[Auditing]) -> dict[str, Any] | None:
        return await auditing.inclusion(parse_digest(digest))

    @get("/{digest:str}/file", summary="The file `byline audit` takes")
    async def get_file(
        self,
        digest: FromPath[str],
        viewer: Given[Wallet | None],
        auditing: Given[Auditing],
    ) -> Response[bytes]:
        known = parse_digest(digest)
        body = json.dumps(await auditing.file(known, viewer), indent=1, ensure_ascii=False).encode()
        return Response(
            body,
            media_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="byline-receipt-{known[2:14]}.json"'},
        )
