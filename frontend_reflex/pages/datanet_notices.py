"""What stands above the tabs because it concerns everything below: frozen, offered to you, new terms."""

from typing import Any

import reflex as rx

from frontend_reflex.pages.datanet_acts import DATANET, ID, TERMS, act
from frontend_reflex.pages.datanet_terms import terms_facts
from frontend_reflex.session import Session
from frontend_reflex.ui import purpose_badges


def _notice(icon: str, color: str, heading: Any, *children: rx.Component, testid: str) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.icon(icon, size=18, color=f"var(--{color}-11)", flex="none"),
            rx.heading(heading, size="3", as_="h2"),
            spacing="2",
            align="center",
            margin_bottom="6px",
        ),
        *children,
        class_name="by-card by-notice",
        style={"--notice": f"var(--{color}-a7)", "--notice-fill": f"var(--{color}-a2)"},
        custom_attrs={"data-testid": testid},
    )


def _frozen() -> rx.Component:
    return _notice(
        "snowflake",
        "red",
        "This datanet is frozen",
        rx.text("Nobody can use it for anything until its owner unfreezes it.", size="2"),
        testid="frozen",
    )


def _offered() -> rx.Component:
    accept = act(
        "transferFrom",
        [DATANET["owner"], Session.wallet, ID],
        label="Accept and become the owner",
        testid="accept-offer",
    )
    return _notice(
        "gift",
        "teal",
        "You were offered this datanet",
        rx.text(
            "If you accept, it is yours, and you decide anew who may use it: every grant, every waiting request and "
            "every manager's power ends. Versions, terms and what is open to everyone stay.",
            size="2",
            margin_bottom="14px",
        ),
        accept,
        testid="offered-to-me",
    )


def _resting() -> rx.Component:
    accept = act(
        "acceptTerms",
        [ID, TERMS["version"]],
        label=rx.Var.create("Accept version ") + TERMS["version"].to(str) + " and go on",
        testid="accept-terms",
    )
    return _notice(
        "scroll-text",
        "amber",
        "New terms since you were let in",
        rx.flex(
            rx.text("Your access rests until you read and accept them:", size="2"),
            purpose_badges(DATANET["my_resting_purposes"]),
            spacing="2",
            align="center",
            wrap="wrap",
            margin_bottom="14px",
        ),
        terms_facts(testid="new-licence"),
        rx.box(accept, margin_top="16px"),
        testid="new-terms-notice",
    )


def notices() -> rx.Component:
    return rx.fragment(
        rx.cond(DATANET["frozen"], _frozen()),
        rx.cond(DATANET["offered_to_me"], _offered()),
        rx.cond(DATANET["my_resting_purposes"].length() > 0, _resting()),
    )
