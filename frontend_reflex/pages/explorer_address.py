"""/explorer/address/[explored_address] : a wallet or a contract, and all that the chain says of it."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import short
from frontend_reflex.explorer_views import AbiEntry, About, Account, Address, TransactionsPage
from frontend_reflex.pages.explorer_parts import (
    event_row,
    found_or_not,
    grant_row,
    page,
    section,
    transaction_row,
)
from frontend_reflex.pages.explorer_state import OneAddress
from frontend_reflex.session import Session
from frontend_reflex.ui import block_link, card, fact, facts, token_link, tx_link

_PAGE = OneAddress.page.to(Address)
_ACCOUNT = _PAGE["account"].to(Account)


def _facts() -> rx.Component:
    code = rx.cond(
        _ACCOUNT["code_hash"],
        rx.fragment(
            fact("Code", rx.text(_ACCOUNT["code_bytes"], " bytes", class_name="by-number")),
            fact("Code's hash", short(_ACCOUNT["code_hash"])),
        ),
    )
    address = short(_ACCOUNT["address"], mine=Session.wallet, whole=True, testid="address")
    return card(
        rx.box(fact("Address", address), margin_bottom="16px"),
        facts(
            fact("Balance", rx.text(OneAddress.balance, class_name="by-number")),
            fact("Transactions sent", rx.text(_ACCOUNT["transactions_sent"], class_name="by-number")),
            code,
            columns=rx.breakpoints(initial="1", xs="2", md="4"),
        ),
    )


def _owned(row: Any) -> rx.Component:
    return rx.flex(
        token_link(row["datanet_id"]),
        rx.text(rx.cond(row["name"], row["name"].to(str), "named by who created it"), size="3", weight="medium"),
        rx.spacer(),
        rx.text("since block ", block_link(row["since_block"]), size="2", color_scheme="gray"),
        tx_link(row["tx_hash"]),
        spacing="3",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "owned"},
    )


def _total(row: Any) -> rx.Component:
    return rx.flex(
        token_link(row["datanet_id"].to(int)),
        rx.text("answers: ", row["answers"].to(int), size="3", weight="medium", class_name="by-number"),
        rx.text("on average ", row["average"].to(str), " of each", size="2", class_name="by-number"),
        rx.spacer(),
        rx.cond(
            row["ours"].to(bool),
            rx.badge("said by this server's publisher", variant="soft"),
            rx.badge("said by others: anybody may", variant="soft", color_scheme="gray"),
        ),
        spacing="3",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "credit-total"},
    )


def _entry(entry: Any) -> rx.Component:
    held = entry.to(AbiEntry)
    return rx.box(
        rx.flex(
            rx.badge(held["kind"], variant="soft", color_scheme="gray"),
            rx.cond(held["mutability"] == "view", rx.badge("view", variant="soft", color_scheme="blue")),
            rx.text(held["signature"], size="2", class_name="by-mono by-break", min_width="0"),
            spacing="2",
            align="center",
            wrap="wrap",
        ),
        rx.cond(held["notice"] != "", rx.text(held["notice"], size="2", color_scheme="gray", margin_top="4px")),
        rx.foreach(
            held["parameters"],
            lambda one: rx.cond(
                one["notice"] != "",
                rx.text(
                    rx.el.span(one["name"], class_name="by-mono"), ": ", one["notice"], size="1", color_scheme="gray"
                ),
            ),
        ),
        class_name="by-row",
        custom_attrs={"data-testid": "abi-entry"},
    )


def _about() -> rx.Component:
    about = _PAGE["about"].to(About)
    verified = rx.cond(
        _ACCOUNT["matches_build"],
        rx.badge(
            rx.icon("shield-check", size=12),
            "its code is what these sources compile to",
            color_scheme="green",
            custom_attrs={"data-testid": "verified-source"},
        ),
        rx.badge("its code is not what these sources compile to", color_scheme="red"),
    )
    return rx.cond(
        _PAGE["about"],
        card(
            verified,
            rx.text(about["notice"], size="2", margin_top="12px", max_width="78ch"),
            rx.el.details(
                rx.el.summary("Functions, events and errors"),
                rx.box(rx.foreach(about["entries"], _entry), margin_top="14px"),
                class_name="by-details",
            ),
            heading=about["name"],
            lead=about["title"],
        ),
    )


def _transactions() -> rx.Component:
    page_ = _PAGE["transactions"].to(TransactionsPage)
    older = rx.cond(
        OneAddress.older != "",
        rx.el.a(
            rx.button("Older", variant="soft", size="2"),
            href=OneAddress.older,
            custom_attrs={"data-testid": "older-transactions"},
        ),
    )
    rows = rx.cond(
        OneAddress.transactions.length() > 0,
        rx.box(rx.foreach(OneAddress.transactions, transaction_row)),
        rx.text("None in these blocks.", size="2", color_scheme="gray"),
    )
    return card(
        rows,
        rx.box(older, margin_top="16px"),
        heading="Transactions",
        lead=rx.fragment("In blocks ", page_["first_block"], " to ", page_["last_block"], ", each read whole."),
    )


def _if_any(rows: Any, content: rx.Component) -> rx.Component:
    return rx.cond(rows.length() > 0, content)


@rx.page(
    route="/explorer/address/[explored_address]",
    title="Address · Explorer · Byline",
    on_load=[Session.load, OneAddress.load],
)
def explorer_address() -> rx.Component:
    lists = (
        ("datanets", "Datanets it owns", _owned, None),
        ("grants_held", "Grants it holds", grant_row, "As the registry answers now."),
        ("grants_given", "Grants it gave", grant_row, "As the registry answers now."),
        ("models", "Models it trained", event_row, None),
        ("checkpoints", "Checkpoints it published", event_row, None),
    )
    drawn = [
        _if_any(_PAGE[name], section(heading, _PAGE[name], draw, "", f"address-{name}", lead))
        for name, heading, draw, lead in lists
    ]
    credits = card(
        rx.box(rx.foreach(OneAddress.totals, _total)),
        rx.el.details(
            rx.el.summary("Each credit"), rx.box(rx.foreach(_PAGE["credits"], event_row)), class_name="by-details"
        ),
        heading="Credits",
        custom_attrs={"data-testid": "address-credits"},
    )
    content = rx.vstack(
        _facts(), _about(), *drawn, _if_any(_PAGE["credits"], credits), _transactions(), spacing="4", align="stretch"
    )
    kind = rx.match(
        _ACCOUNT["kind"],
        ("ours", "One of Byline's contracts"),
        ("contract", "A contract"),
        "A wallet",
    )
    return page(
        rx.cond(OneAddress.page, rx.cond(_ACCOUNT["contract"], _ACCOUNT["contract"].to(str), "Address"), "Address"),
        rx.cond(OneAddress.page, kind, ""),
        found_or_not(OneAddress.page, OneAddress.problem, content),
    )
