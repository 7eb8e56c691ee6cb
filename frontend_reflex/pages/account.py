"""/account : the wallet, where it is signed in, and what it was credited with."""

from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.browser import sign_out, when
from frontend_reflex.frame import frame
from frontend_reflex.pages.datanets import standing
from frontend_reflex.session import Session, call
from frontend_reflex.ui import card, fact, facts, members_only, problem_if, title, waiting, wallet_of
from frontend_reflex.views import Datanet, ReceiptRow, SessionRow
from frontend_reflex.words import percent


def browser_name(user_agent: str) -> str:
    """A browser and a system from a User-Agent, as far as it gives them away."""
    systems = (
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    )
    browsers = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
    system = next((name for mark, name in systems if mark in user_agent), "")
    browser = next((name for mark, name in browsers if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system))) or user_agent[:60] or "Unknown program"


def _concerns_me(row: Datanet) -> bool:
    return row["mine"] or row["managed_by_me"] or row["offered_to_me"] or bool(row["my_resting_purposes"])


class Account(rx.State):
    sessions: list[dict[str, Any]] = []
    datanets: list[Datanet] = []  # that this wallet owns, manages or was offered, or has to accept new terms of
    credited: int = 0
    credited_percent: str = ""
    anchored: int = 0
    loaded: bool = False
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.problem = ""
        try:
            rows: list[SessionRow] = await call(self, "GET", "/sessions")
            self.sessions = [{**row, "browser": browser_name(row["user_agent"] or "")} for row in rows]
            datanets: list[Datanet] = await call(self, "GET", "/datanets")
            self.datanets = [row for row in datanets if _concerns_me(row)]
            receipts: list[ReceiptRow] = await call(self, "GET", "/receipts")
            mine = [row for row in receipts if row["my_share_bps"] > 0]
            self.credited = len(mine)
            self.anchored = sum(row["status"] == "anchored" for row in mine)
            self.credited_percent = (
                percent(round(sum(row["my_share_bps"] for row in mine) / len(mine))) if mine else "—"
            )
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail if refusal.status != 401 else ""
        self.loaded = True

    @rx.event
    async def revoke(self, session_id: str) -> Any:
        """End another session; the API lets a wallet end its own only."""
        try:
            await call(self, "DELETE", f"/sessions/{session_id}")
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return None
        return Account.load


def _datanet(row: Any) -> rx.Component:
    return rx.flex(
        rx.link(row["name"], href="/datanets/" + row["datanet_id"].to(str), size="3", weight="medium"),
        rx.spacer(),
        rx.flex(*standing(row), spacing="2", wrap="wrap"),
        spacing="3",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "my-datanet", "data-id": row["datanet_id"]},
    )


def _session(row: Any) -> rx.Component:
    return rx.flex(
        rx.box(
            rx.flex(
                rx.text(row["browser"].to(str), size="3", weight="medium"),
                rx.cond(row["current"].to(bool), rx.badge("this one", variant="soft")),
                spacing="2",
                align="center",
            ),
            rx.text(
                "Last used ",
                when(row["last_seen_at"].to(str)),
                " · ends ",
                when(row["expires_at"].to(str)),
                size="2",
                color_scheme="gray",
            ),
            min_width="0",
        ),
        rx.spacer(),
        rx.cond(
            ~row["current"].to(bool),
            rx.button(
                "End session",
                size="1",
                variant="soft",
                color_scheme="red",
                on_click=Account.revoke(row["session_id"].to(str)),
                custom_attrs={"data-testid": "revoke-session"},
            ),
        ),
        spacing="3",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "session", "data-current": row["current"]},
    )


@rx.page(route="/account", title="Account · Byline", on_load=[Session.load, Account.load])
def account() -> rx.Component:
    page = rx.vstack(
        card(
            rx.flex(
                facts(
                    fact(
                        "Wallet",
                        rx.box(
                            wallet_of(Session.wallet),
                            custom_attrs={"data-testid": "account-wallet", "data-wallet": Session.wallet},
                        ),
                    ),
                    fact("Chain", Session.network["chain_id"].to(str)),
                    columns=rx.breakpoints(initial="1", sm="2"),
                ),
                sign_out(testid="signout"),
                spacing="4",
                align=rx.breakpoints(initial="start", sm="center"),
                direction=rx.breakpoints(initial="column", sm="row"),
            ),
            heading="Wallet",
        ),
        card(
            facts(
                fact(
                    "Answers that credit you",
                    rx.text(Account.credited, size="6", weight="bold", class_name="by-number"),
                ),
                fact(
                    "Average share in them",
                    rx.text(Account.credited_percent, size="6", weight="bold", class_name="by-number"),
                ),
                fact("Anchored on chain", rx.text(Account.anchored, size="6", weight="bold", class_name="by-number")),
            ),
            rx.link("See these receipts", href="/receipts", size="2", margin_top="16px", display="inline-block"),
            heading="My credits",
            lead="Every answer your rows made more likely names you, and the chain keeps it.",
        ),
        rx.cond(
            Account.datanets.length() > 0,
            card(
                rx.box(rx.foreach(Account.datanets, _datanet)),
                heading="My datanets",
                lead="Those that you own, manage or were offered, and those whose new terms wait for your yes.",
            ),
        ),
        card(
            rx.box(rx.foreach(Account.sessions, _session), custom_attrs={"data-testid": "sessions"}),
            heading="Signed in here",
            lead="End a session you do not know. Its browser is signed out at once.",
        ),
        spacing="4",
        align="stretch",
    )
    return frame(
        title("Account"),
        rx.box(problem_if(Account.problem, "account-problem"), margin_bottom="16px"),
        members_only(rx.cond(Account.loaded, page, waiting()), "This page is about your wallet."),
    )
