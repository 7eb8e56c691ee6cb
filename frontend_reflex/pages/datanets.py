"""/datanets : every datanet the mirror knows, and the form that creates one."""

from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.browser import action, field
from frontend_reflex.frame import frame
from frontend_reflex.pages.datanet_terms import TERMS_ARGUMENT, terms_fields
from frontend_reflex.session import Session, call, mirrored
from frontend_reflex.ui import (
    card,
    empty,
    fact,
    facts,
    members_only,
    problem_if,
    purpose_badges,
    title,
    waiting,
    wallet_of,
)
from frontend_reflex.views import Datanet


class Datanets(rx.State):
    rows: list[Datanet] = []
    loaded: bool = False
    problem: str = ""
    chosen: str = "all"

    @rx.var
    def shown(self) -> list[Datanet]:
        if self.chosen == "mine":
            return [row for row in self.rows if row["mine"] or row["managed_by_me"] or row["offered_to_me"]]
        if self.chosen == "usable":
            return [row for row in self.rows if row["my_purposes"]]
        return self.rows

    @rx.event
    def choose(self, value: str | list[str]) -> None:
        self.chosen = str(value)

    @rx.event
    async def load(self) -> None:
        try:
            self.rows = await call(self, "GET", "/datanets")
            self.problem = ""
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
        self.loaded = True

    @rx.event(background=True)
    async def created(self, tx_hash: str, block: int) -> Any:
        """A transaction was mined; the newest datanet of this wallet is the one it made."""
        try:
            async with self:
                await mirrored(self, block)
                self.rows = await call(self, "GET", "/datanets")
                mine = [row["datanet_id"] for row in self.rows if row["mine"]]
        except api.ApiRefusal as refusal:
            async with self:
                self.problem = refusal.detail
            return None
        return rx.redirect(f"/datanets/{max(mine)}") if mine else None


def standing(row: Any) -> list[rx.Component]:
    """Badges: what this datanet is to the visitor, and what stands in the way of using it."""
    return [
        rx.cond(row["mine"], rx.badge("yours", variant="soft")),
        rx.cond(row["managed_by_me"], rx.badge("you manage it", variant="soft")),
        rx.cond(row["offered_to_me"], rx.badge("offered to you", color_scheme="teal", variant="solid")),
        rx.cond(row["my_resting_purposes"].length() > 0, rx.badge("new terms to accept", color_scheme="amber")),
        rx.cond(row["frozen"], rx.badge("frozen", color_scheme="red")),
    ]


def _card(row: Any) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.box(
                rx.link(
                    rx.text(row["name"], size="4", weight="bold", overflow_wrap="anywhere"),
                    href="/datanets/" + row["datanet_id"].to(str),
                    underline="none",
                    color="inherit",
                    class_name="by-over",
                ),
                rx.text("Datanet ", row["datanet_id"], size="1", color_scheme="gray"),
                min_width="0",
            ),
            rx.spacer(),
            rx.flex(*standing(row), spacing="1", direction="column", align="end", flex="none"),
            align="start",
            spacing="3",
            margin_bottom="16px",
        ),
        facts(
            fact("Owner", wallet_of(row["owner"])),
            fact("Version", rx.cond(row["version"] > 0, row["version"].to(str), "nothing published yet")),
            fact("Records", row["records"].to(str)),
            fact("Passages", row["passages"].to(str)),
            columns="2",
        ),
        rx.separator(size="4", margin_y="16px"),
        rx.flex(
            rx.text("You may", size="2", color_scheme="gray"),
            purpose_badges(row["my_purposes"], "not use it yet"),
            spacing="2",
            align="center",
        ),
        class_name="by-card by-card-link",
        custom_attrs={"data-testid": "datanet-card", "data-id": row["datanet_id"]},
    )


def _create(testid: str) -> rx.Component:
    form = action(
        "createDatanet",
        ["$name", TERMS_ARGUMENT, "$licence.cid", "$purposes"],
        label="Create datanet",
        testid="create-datanet",
        network=Session.network,
        wallet=Session.wallet,
        on_confirmed=Datanets.created,
        fields=[
            field("name", "Name", placeholder="Cardiology questions 2025", max_bytes=80, help="Public, on chain."),
            field(
                "purposes",
                "Open to everyone for",
                "purposes",
                value=[],
                optional=True,
                help="Leave all empty to decide wallet by wallet. You can change this later.",
            ),
            *terms_fields(fold="Terms: what others agree to"),
        ],
    )
    return rx.dialog.root(
        rx.dialog.trigger(
            rx.button(rx.icon("plus", size=16), "New datanet", custom_attrs={"data-testid": testid}),
        ),
        rx.dialog.content(
            rx.dialog.title("New datanet"),
            rx.dialog.description(
                "A datanet is a token that you own. Its holder decides who may use the data.",
                size="2",
                color_scheme="gray",
                margin_bottom="16px",
            ),
            members_only(form, "Your wallet will own the datanet."),
            max_width="520px",
        ),
    )


def _nothing() -> rx.Component:
    return card(
        rx.match(
            Datanets.chosen,
            (
                "mine",
                empty(
                    "database",
                    "You own no datanet yet",
                    "Create one, then upload its first version.",
                    _create("first-datanet"),
                ),
            ),
            (
                "usable",
                empty("key-round", "No datanet is open to you yet", "Open a datanet and ask its owner for access."),
            ),
            empty(
                "database",
                "No datanets yet",
                "Be the first: create a datanet and upload its first version.",
                _create("first-datanet"),
            ),
        )
    )


@rx.page(route="/datanets", title="Datanets · Byline", on_load=[Session.load, Datanets.load])
def datanets() -> rx.Component:
    grid = rx.grid(
        rx.foreach(Datanets.shown, _card),
        columns=rx.breakpoints(initial="1", sm="2", lg="3"),
        spacing="4",
        custom_attrs={"data-testid": "datanets"},
    )
    return frame(
        title("Datanets", "Data with an owner. Each one says who may use it, and for what.", _create("new-datanet")),
        rx.segmented_control.root(
            rx.segmented_control.item("All", value="all", custom_attrs={"data-testid": "filter-all"}),
            rx.segmented_control.item("Mine", value="mine", custom_attrs={"data-testid": "filter-mine"}),
            rx.segmented_control.item("I may use", value="usable", custom_attrs={"data-testid": "filter-usable"}),
            value=Datanets.chosen,
            on_change=Datanets.choose,
            margin_bottom="20px",
        ),
        problem_if(Datanets.problem, "datanets-problem"),
        rx.cond(
            Datanets.loaded,
            rx.cond(Datanets.shown.length() > 0, grid, rx.cond(Datanets.problem == "", _nothing())),
            waiting(),
        ),
    )
