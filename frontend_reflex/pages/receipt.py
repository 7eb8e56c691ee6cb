"""/receipts/[digest] : one receipt, checked again each time it is opened."""

import asyncio
import itertools
from contextlib import suppress
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.browser import copy_button, short
from frontend_reflex.frame import frame
from frontend_reflex.session import Session, call, route_argument, tab_is_open
from frontend_reflex.ui import (
    block_depth,
    card,
    digest_link,
    empty,
    fact,
    facts,
    note,
    share_bars,
    status_badge,
    title,
    tx_link,
    waiting,
    wallet_of,
)
from frontend_reflex.views import Receipt, Share
from frontend_reflex.words import label, shares

_LOOK_SECONDS, _LOOKS = 2.0, 60
_looks = itertools.count(1)
READ = ("question", "answer", "asker", "answered_at", "model", "seed", "prompt_template", "chain")


class OneReceipt(rx.State):
    receipt: Receipt | None = None
    shares: list[Share] = []
    facts: list[dict[str, str]] = []
    inclusion: list[dict[str, str]] = []  # what verifyInclusion takes
    ledger: str = ""
    problem: str = ""
    _look: int = 0

    @rx.event(background=True)
    async def follow(self) -> None:
        """Look, and look again until it is anchored, the page is left, or it takes too long."""
        async with self:
            mine = self._look = next(_looks)
            self.receipt, self.problem, self.inclusion = None, "", []
        for _ in range(_LOOKS):
            async with self:
                if self._look != mine or not tab_is_open(self):
                    return
                await self._read()
                if self.receipt is None or self.receipt["status"] == "anchored":
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    @rx.event
    def leave(self) -> None:
        self._look = 0

    async def _read(self) -> None:
        path = f"/receipts/{route_argument(self, 'digest')}"
        try:
            found: dict[str, Any] = await call(self, "GET", path)
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return
        self.shares = shares(found.pop("shares_bps", None))
        self.facts = readable(found.pop("document", None))
        if found["status"] == "anchored":
            with suppress(api.ApiRefusal):  # an extra: without it the receipt is shown all the same
                asked: dict[str, Any] = await call(self, "GET", f"{path}/inclusion") or {}
                self.inclusion, self.ledger = arguments(asked), asked.get("ledger", "")
        self.receipt = found  # type: ignore[assignment]  # a JSON document of that shape


def readable(document: Any) -> list[dict[str, str]]:
    """The receipt's sealed fields that are for reading, in their order; hashes alone are counted as withheld."""
    leaves = document.get("leaves", []) if isinstance(document, dict) else []
    opened = {leaf["tag"]: leaf["value"] for leaf in leaves if "tag" in leaf}
    rows = [{"name": label(tag), "value": said(opened[tag])} for tag in READ if tag in opened]
    withheld = sum("tag" not in leaf for leaf in leaves)
    if withheld:
        rows.append({"name": "Withheld from you", "value": f"{withheld} fields: sealed, and checked by their hashes"})
    return rows


def arguments(asked: dict[str, Any]) -> list[dict[str, str]]:
    """As an explorer's form wants them, an array in brackets."""
    names = ("publisher", "receipt", "index", "proof") if asked else ()
    values = {**asked, "proof": "[" + ",".join(asked.get("proof", [])) + "]"}
    return [{"name": name, "value": str(values[name])} for name in names]


def said(value: Any) -> str:
    """A sealed value in words: {"base": "x", "adapter": None} → "base: x"."""
    if isinstance(value, dict):
        return "\n".join(f"{label(str(key)).lower()}: {held}" for key, held in value.items() if held not in (None, ""))
    return str(value)


_RECEIPT = OneReceipt.receipt.to(Receipt)
_VERDICTS = (
    ("verified", "shield-check", "green", "Verified", "Every check that was made came out right."),
    ("refuted", "shield-x", "red", "Refuted", "At least one check failed: this receipt does not tell the truth."),
    (
        "unknown",
        "shield-question",
        "amber",
        "Could not tell",
        "Nothing speaks against it, but not everything could be checked.",
    ),
)


def _verdict() -> rx.Component:
    def banner(icon: str, color: str, name: str, meaning: str) -> rx.Component:
        return rx.hstack(
            rx.icon(icon, size=36, stroke_width=1.5, color=f"var(--{color}-9)"),
            rx.box(rx.heading(name, size="5", as_="h2"), rx.text(meaning, size="2", color_scheme="gray")),
            spacing="4",
            align="center",
        )

    return rx.box(
        rx.match(_RECEIPT["verdict"], *[(word, banner(*rest)) for word, *rest in _VERDICTS], banner(*_VERDICTS[2][1:])),
        class_name="by-card",
        custom_attrs={"data-testid": "verdict", "data-verdict": _RECEIPT["verdict"]},
    )


def _check(check: Any) -> rx.Component:
    icon = rx.match(
        check["verdict"],
        ("verified", rx.icon("circle-check", size=18, color="var(--green-9)")),
        ("refuted", rx.icon("circle-x", size=18, color="var(--red-9)")),
        rx.icon("circle-help", size=18, color="var(--amber-9)"),
    )
    return rx.flex(
        rx.box(icon, padding_top="2px"),
        rx.box(
            rx.text(check["name"], size="3", weight="medium"),
            rx.text(
                rx.cond(check["detail"] != "", check["detail"], "The asker sees the details."),
                size="2",
                color_scheme="gray",
                overflow_wrap="anywhere",
            ),
            min_width="0",
        ),
        rx.spacer(),
        status_badge(check["verdict"]),
        spacing="3",
        class_name="by-row",
        custom_attrs={"data-testid": "check", "data-name": check["name"], "data-verdict": check["verdict"]},
    )


def _anchor() -> rx.Component:
    anchored = _RECEIPT["anchored"]
    return card(
        rx.cond(
            anchored,
            facts(
                fact("Transaction", rx.box(tx_link(anchored["tx_hash"]), custom_attrs={"data-testid": "anchor-tx"})),
                fact("Block", block_depth(anchored)),
                fact(
                    "Place in the log", rx.text(_RECEIPT["index"] + 1, " of ", anchored["size"], class_name="by-number")
                ),
                fact("Root of the log", short(anchored["root"])),
                columns="2",
            ),
            rx.box(
                note(
                    "Not on chain yet. The worker anchors waiting receipts together; this page shows when it is there.",
                    icon="clock",
                    color="amber",
                ),
                rx.button(
                    "Look again",
                    variant="soft",
                    size="2",
                    on_click=OneReceipt.follow,
                    margin_top="12px",
                    custom_attrs={"data-testid": "again"},
                ),
            ),
        ),
        heading="Anchor on chain",
    )


def _ask_the_contract() -> rx.Component:
    def argument(one: Any) -> rx.Component:
        return rx.hstack(
            rx.text(one["name"], size="2", color_scheme="gray", min_width="76px"),
            rx.el.code(one["value"], class_name="by-command", overflow="hidden", text_overflow="ellipsis"),
            copy_button(value=one["value"], label="Copy"),
            align="center",
            spacing="3",
            min_width="0",
        )

    return rx.el.details(
        rx.el.summary("Or ask the contract, in any explorer"),
        rx.text(
            "On its Read tab, verifyInclusion says true for these: the receipt stands in the log as anchored last.",
            size="2",
            color_scheme="gray",
            margin_y="10px",
        ),
        rx.vstack(
            rx.foreach(OneReceipt.inclusion, argument),
            rx.hstack(rx.text("at", size="2", color_scheme="gray", min_width="76px"), wallet_of(OneReceipt.ledger)),
            spacing="2",
            align="stretch",
            min_width="0",
        ),
        class_name="by-details by-fold",
        margin_top="16px",
        custom_attrs={"data-testid": "inclusion"},
    )


def _audit() -> rx.Component:
    command = "byline audit " + _RECEIPT["digest"]
    return card(
        rx.text(
            "With the audit file, anyone can repeat these checks without this server.", size="2", color_scheme="gray"
        ),
        rx.hstack(
            rx.el.code(command, class_name="by-command", custom_attrs={"data-testid": "audit-command"}),
            copy_button(value=command, label="Copy the command"),
            align="center",
            spacing="3",
            margin_y="14px",
        ),
        rx.el.a(
            rx.button(rx.icon("download", size=16), "Download the audit file", variant="soft"),
            href="/api/receipts/" + _RECEIPT["digest"] + "/file",
            download=True,
            custom_attrs={"data-testid": "audit-file"},
        ),
        rx.cond(OneReceipt.inclusion.length() > 0, _ask_the_contract()),
        heading="Check it yourself",
    )


def _page() -> rx.Component:
    return rx.vstack(
        _verdict(),
        rx.grid(
            rx.vstack(
                card(rx.foreach(_RECEIPT["checks"], _check), heading="Checks"),
                rx.cond(
                    OneReceipt.facts.length() > 0,
                    card(
                        rx.vstack(
                            rx.foreach(
                                OneReceipt.facts,
                                lambda one: fact(one["name"], rx.text(one["value"], size="2", white_space="pre-wrap")),
                            ),
                            spacing="3",
                            align="stretch",
                        ),
                        heading="What it seals",
                        lead="Shown as far as this wallet may see it.",
                    ),
                ),
                spacing="4",
                align="stretch",
                min_width="0",
            ),
            rx.vstack(
                card(
                    rx.cond(
                        OneReceipt.shares.length() > 0,
                        share_bars(OneReceipt.shares),
                        rx.text(
                            "Shares are shown to the asker, and to each contributor their own.",
                            size="2",
                            color_scheme="gray",
                        ),
                    ),
                    heading="Whom the answer rests on",
                ),
                _anchor(),
                _audit(),
                spacing="4",
                align="stretch",
                min_width="0",
                order=rx.breakpoints(initial="-1", md="1"),  # on a phone, before the long list of checks
            ),
            columns=rx.breakpoints(initial="minmax(0, 1fr)", md="minmax(0, 3fr) minmax(0, 2fr)"),
            spacing="4",
            align="start",
        ),
        spacing="4",
        align="stretch",
    )


@rx.page(route="/receipts/[digest]", title="Receipt · Byline", on_load=[Session.load, OneReceipt.follow])
def receipt() -> rx.Component:
    missing = card(empty("file-question", "This receipt cannot be shown", OneReceipt.problem, testid="receipt-problem"))
    page = frame(
        title(
            "Receipt",
            rx.cond(OneReceipt.receipt, digest_link(_RECEIPT["digest"], testid="receipt-digest"), rx.fragment()),
            rx.cond(
                OneReceipt.receipt,
                status_badge(_RECEIPT["status"], size="3", custom_attrs={"data-testid": "receipt-status"}),
            ),
        ),
        rx.cond(OneReceipt.receipt, rx.box(_page()), rx.cond(OneReceipt.problem != "", missing, waiting())),
    )
    return rx.box(page, on_unmount=OneReceipt.leave)
