"""/ : what Byline is, who takes part, what this server runs on, and what to do next."""

import asyncio
import itertools
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.frame import frame
from frontend_reflex.session import Session, call, tab_is_open
from frontend_reflex.ui import block_link, card, fact, facts, problem_if, sign_in, waiting, wallet_of
from frontend_reflex.views import Health, Network

_POLL_SECONDS = 4.0
_watches = itertools.count(1)

ROLES = (
    (
        "database",
        "Data owners",
        "Publish data as a datanet, encrypted. Say on chain who may use it, for what, and until when.",
    ),
    ("user-round-check", "Contributors", "Wrote the rows. Are credited on every answer their words made more likely."),
    ("sliders-horizontal", "Builders", "Fine-tune models on datanets they were granted, and sign each training order."),
    (
        "message-circle-question",
        "Readers",
        "Ask questions and get answers with sources, shares and a receipt anyone can audit.",
    ),
)


class Home(rx.State):
    """The live strip: asked again every few seconds while the page is open."""

    network: Network | None = None
    health: Health | None = None
    problem: str = ""
    _watch: int = 0

    @rx.event(background=True)
    async def watch(self) -> None:
        async with self:
            mine = self._watch = next(_watches)
        while True:
            async with self:
                if self._watch != mine or not tab_is_open(self):
                    return
                try:
                    self.network = await call(self, "GET", "/network")
                    self.problem = ""
                except api.ApiRefusal as refusal:
                    self.problem = refusal.detail
                try:
                    self.health = await call(self, "GET", "/health")
                except api.ApiRefusal as refusal:
                    self.problem = refusal.detail
            await asyncio.sleep(_POLL_SECONDS)

    @rx.event
    def stop(self) -> None:
        self._watch = 0


def _role(icon: str, name: str, what: str) -> rx.Component:
    return card(
        rx.box(rx.icon(icon, size=22, stroke_width=1.6), color="var(--accent-11)", margin_bottom="12px"),
        rx.heading(name, size="4", as_="h3", margin_bottom="4px"),
        rx.text(what, size="2", color_scheme="gray"),
    )


def _next(icon: str, label: str, what: str, href: str) -> rx.Component:
    return rx.link(
        rx.hstack(
            rx.box(rx.icon(icon, size=20), color="var(--accent-11)"),
            rx.box(rx.text(label, size="3", weight="medium"), rx.text(what, size="2", color_scheme="gray")),
            rx.spacer(),
            rx.icon("chevron-right", size=18, color="var(--gray-9)"),
            align="center",
            spacing="3",
        ),
        href=href,
        underline="none",
        class_name="by-card by-card-link",
        color="inherit",
    )


def _hero() -> rx.Component:
    return rx.vstack(
        rx.el.h1("Train and question models on data whose owners stay in control.", class_name="by-hero"),
        rx.text(
            "Byline lets you fine-tune and question language models on data you were given permission to use. "
            "Permission lives on a public chain, the data stays encrypted, and every answer leaves a sealed receipt "
            "of who influenced it, which anyone can check.",
            size="4",
            color_scheme="gray",
            max_width="62ch",
        ),
        rx.cond(
            Session.ready & (Session.wallet == ""),
            rx.flex(
                sign_in("Sign in with a wallet", size="3", testid="home-signin"),
                rx.link(rx.button("Browse datanets", size="3", variant="soft", color_scheme="gray"), href="/datanets"),
                spacing="3",
                wrap="wrap",
                margin_top="8px",
            ),
        ),
        spacing="4",
        padding_top=rx.breakpoints(initial="8px", md="28px"),
        padding_bottom=rx.breakpoints(initial="32px", md="48px"),
    )


def _component(part: Any) -> rx.Component:
    return rx.hstack(
        rx.box(class_name=rx.cond(part["ok"], "by-dot", "by-dot by-dot-bad"), margin_top="7px"),
        rx.box(
            rx.text(
                rx.match(part["name"], ("ipfs", "IPFS"), part["name"].to(str)),
                size="2",
                weight="medium",
                class_name="by-capital",
            ),
            rx.text(
                rx.cond(part["ok"], part["used"].to(str) + " · " + part["version"].to(str), part["problem"].to(str)),
                size="1",
                color_scheme=rx.cond(part["ok"], "gray", "red"),
                overflow_wrap="anywhere",
            ),
            min_width="0",
        ),
        spacing="3",
        align="start",
        custom_attrs={"data-testid": "component", "data-ok": part["ok"]},
    )


def _strip() -> rx.Component:
    network, health = Home.network.to(Network), Home.health.to(Health)
    live = rx.vstack(
        facts(
            fact("Chain", rx.text(network["chain_id"], as_="span", id="chain-id")),
            fact("Latest block", rx.el.span(block_link(network["head"]["number"]), id="head-block")),
            fact(
                "Mirror has read to",
                rx.cond(network["indexed_block"], block_link(network["indexed_block"]), "nothing yet"),
            ),
            fact("Receipts published by", wallet_of(network["publisher"])),
            rx.foreach(network["contracts"].to(dict[str, str]), lambda held: fact(held[0], wallet_of(held[1]))),
        ),
        rx.separator(size="4"),
        rx.cond(
            Home.health,
            rx.grid(
                rx.foreach(health["components"], _component),
                columns=rx.breakpoints(initial="1", sm="2", md="3"),
                spacing="4",
                width="100%",
            ),
        ),
        spacing="5",
        width="100%",
    )
    return card(
        problem_if(Home.problem, "network-problem"),
        rx.cond(Home.network, live, rx.cond(Home.problem == "", waiting(2))),
        heading="This server, right now",
    )


@rx.page(route="/", title="Byline", on_load=Session.load)
def index() -> rx.Component:
    steps = rx.grid(
        _next("database", "Publish data", "Create a datanet and upload its first version.", "/datanets"),
        _next("sliders-horizontal", "Train a model", "Fine-tune on datanets you may train on.", "/runs/new"),
        _next("message-circle-question", "Ask a question", "Answers with sources and shares.", "/chat"),
        _next("receipt-text", "Check receipts", "What you asked, and where you were credited.", "/receipts"),
        columns=rx.breakpoints(initial="1", sm="2"),
        spacing="4",
        custom_attrs={"data-testid": "next-steps"},
    )
    return rx.box(
        frame(
            _hero(),
            rx.cond(Session.wallet != "", rx.box(steps, margin_bottom="32px")),
            rx.grid(
                *[_role(*role) for role in ROLES], columns=rx.breakpoints(initial="1", xs="2", md="4"), spacing="4"
            ),
            rx.box(_strip(), margin_top="32px"),
        ),
        on_mount=Home.watch,
        on_unmount=Home.stop,
    )
