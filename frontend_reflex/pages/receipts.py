"""/receipts : the answers this wallet asked for, and those it was credited in."""

from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.browser import when
from frontend_reflex.frame import frame
from frontend_reflex.session import Session, call
from frontend_reflex.ui import (
    block_depth,
    card,
    digest_link,
    empty,
    fact,
    facts,
    members_only,
    problem_if,
    status_badge,
    title,
    waiting,
)
from frontend_reflex.views import ReceiptRow
from frontend_reflex.words import percent


class Receipts(rx.State):
    asked: list[dict[str, Any]] = []
    credited: list[dict[str, Any]] = []
    loaded: bool = False
    problem: str = ""
    tab: str = "asked"

    @rx.event
    def show(self, tab: str) -> None:
        self.tab = tab

    @rx.event
    async def load(self) -> None:
        self.problem = ""
        rows: list[ReceiptRow] = []
        try:
            rows = await call(self, "GET", "/receipts")
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail if refusal.status != 401 else ""
        drawn = [{**row, "share": percent(row["my_share_bps"])} for row in rows]
        self.asked = [row for row in drawn if row["role"] == "asker"]
        self.credited = [row for row in drawn if row["role"] != "asker"]
        self.loaded = True


def _row(row: Any) -> rx.Component:
    question = rx.cond(row["question"], row["question"].to(str), "An answer that rests on your words")
    return rx.box(
        rx.flex(
            rx.link(
                rx.text(question, size="3", weight="bold", overflow_wrap="anywhere"),
                href="/receipts/" + row["digest"].to(str),
                underline="none",
                color="inherit",
                class_name="by-over",
            ),
            rx.spacer(),
            status_badge(row["status"].to(str)),
            spacing="3",
            align="center",
            margin_bottom="12px",
        ),
        facts(
            fact("Receipt", digest_link(row["digest"].to(str))),
            fact("Answered", when(row["answered_at"].to(str))),
            fact("Your share", rx.text(row["share"].to(str), class_name="by-number")),
            fact("Anchored in block", rx.cond(row["block_number"], block_depth(row), "soon")),
        ),
        class_name="by-card by-card-link",
        custom_attrs={
            "data-testid": "receipt-card",
            "data-digest": row["digest"].to(str),
            "data-status": row["status"].to(str),
        },
    )


def _list(rows: Any, nothing: rx.Component) -> rx.Component:
    return rx.cond(rows.length() > 0, rx.vstack(rx.foreach(rows, _row), spacing="3", align="stretch"), card(nothing))


@rx.page(route="/receipts", title="Receipts · Byline", on_load=[Session.load, Receipts.load])
def receipts() -> rx.Component:
    ask = rx.link(rx.button("Ask a question"), href="/chat")
    publish = rx.link(rx.button("Browse datanets", variant="soft"), href="/datanets")
    tabs = rx.tabs.root(
        rx.tabs.list(
            rx.tabs.trigger("Asked by me", value="asked", custom_attrs={"data-testid": "tab-asked"}),
            rx.tabs.trigger("Credited to me", value="credited", custom_attrs={"data-testid": "tab-credited"}),
            margin_bottom="20px",
        ),
        rx.tabs.content(
            _list(Receipts.asked, empty("receipt-text", "No receipt yet", "Each answer you get leaves one.", ask)),
            value="asked",
        ),
        rx.tabs.content(
            _list(
                Receipts.credited,
                empty(
                    "award",
                    "No credit yet",
                    "When an answer rests on rows you contributed, its receipt appears here.",
                    publish,
                ),
            ),
            value="credited",
        ),
        value=Receipts.tab,
        on_change=Receipts.show,
    )
    return frame(
        title("Receipts", "What was answered, on whose words, under which permission. Anyone can check one."),
        problem_if(Receipts.problem, "receipts-problem"),
        members_only(rx.cond(Receipts.loaded, tabs, waiting()), "Your receipts are shown to your wallet alone."),
    )
