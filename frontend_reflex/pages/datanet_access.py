"""The Access tab: who asked, who may. Who decides signs and pays nothing; who asks sends a transaction."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import field, when
from frontend_reflex.pages.datanet_acts import DATANET, DECIDES, ID, TERMS, act, sign, until
from frontend_reflex.pages.datanet_terms import terms_facts
from frontend_reflex.session import Session
from frontend_reflex.ui import block_depth, card, members_only, note, purpose_badges, tx_link, wallet_of


def _until_text(row: Any) -> rx.Component:
    return rx.text(
        "until ", when(row["expires_at"], empty="further notice", date_only=True), size="2", color_scheme="gray"
    )


def _request_row(row: Any) -> rx.Component:
    approve = sign(
        "grant",
        row["requester"],
        "$purposes",
        label="Approve and grant",
        testid="approve",
        fields=[
            field("purposes", "Grant", "purposes", options=row["purposes"], value=row["purposes"]),
            until(value=row["expires_at"]),
        ],
    )
    deny = act("denyRequest", [ID, row["requester"]], label="Deny", testid="deny", variant="soft", color="red")
    withdraw = act("withdrawRequest", [ID], label="Withdraw", testid="withdraw", variant="soft", color="gray", size="1")
    return rx.box(
        rx.flex(
            wallet_of(row["requester"]),
            purpose_badges(row["purposes"]),
            _until_text(row),
            spacing="3",
            align="center",
            wrap="wrap",
        ),
        rx.text(
            "asked in ",
            tx_link(row["tx_hash"]),
            " of block ",
            block_depth(row),
            size="1",
            color_scheme="gray",
            margin_top="6px",
        ),
        rx.cond(
            row["message"] != "",
            rx.text("“", row["message"], "”", size="3", margin_top="10px", overflow_wrap="anywhere"),
        ),
        rx.cond(
            DECIDES,
            rx.flex(rx.box(approve, flex="1 1 320px"), deny, spacing="4", wrap="wrap", margin_top="16px"),
            rx.cond(row["requester"] == Session.wallet, rx.box(withdraw, margin_top="12px")),
        ),
        key=row["requester"],
        class_name="by-row",
        custom_attrs={"data-testid": "request", "data-requester": row["requester"]},
    )


def _grant_state(row: Any) -> rx.Component:
    return rx.cond(
        row["live"],
        rx.fragment(),
        rx.cond(
            row["resting"],
            rx.tooltip(
                rx.badge("rests", color_scheme="amber", custom_attrs={"data-testid": "resting"}),
                content="Given under earlier terms. It counts again once this wallet accepts the terms of now.",
            ),
            rx.cond(DATANET["frozen"], rx.badge("frozen", color_scheme="red"), rx.badge("ended", color_scheme="gray")),
        ),
    )


def _grant_actions(row: Any) -> rx.Component:
    change = sign(
        "grant",
        row["grantee"],
        "$purposes",
        label="Sign the change",
        testid="change",
        size="1",
        fields=[
            field(
                "purposes",
                "From now on",
                "purposes",
                options=TERMS["purposes"],
                value=row["purposes"],
                help="Exactly these, instead of what this wallet holds now.",
            ),
            until(value=rx.cond(row["live"], row["expires_at"], None)),
        ],
    )
    revoke = sign(
        "revocation",
        row["grantee"],
        row["purposes"],
        label="Revoke all",
        testid="revoke",
        variant="soft",
        color="red",
        size="1",
    )
    return rx.flex(
        rx.el.details(
            rx.el.summary("Change", custom_attrs={"data-testid": "change-open"}),
            rx.box(change, margin_top="12px"),
            class_name="by-details by-fold",
            flex="1 1 240px",
        ),
        rx.cond(row["live"] | row["resting"] | DATANET["frozen"], revoke),
        spacing="4",
        wrap="wrap",
        margin_top="10px",
    )


def _grant_row(row: Any) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.box(wallet_of(row["grantee"]), flex="1 1 150px"),
            rx.box(purpose_badges(row["purposes"]), flex="1 1 150px"),
            rx.box(_until_text(row), flex="1 1 130px"),
            rx.text(
                "in ",
                tx_link(row["tx_hash"]),
                " of block ",
                block_depth(row),
                size="1",
                color_scheme="gray",
            ),
            _grant_state(row),
            align="center",
            spacing="3",
            wrap="wrap",
        ),
        rx.cond(DECIDES, _grant_actions(row)),
        key=row["grantee"],
        class_name="by-row",
        custom_attrs={
            "data-testid": "grant",
            "data-grantee": row["grantee"],
            "data-live": row["live"],
            "data-resting": row["resting"],
        },
    )


def _requests() -> rx.Component:
    return card(
        rx.cond(
            DATANET["requests"].length() > 0,
            rx.box(rx.foreach(DATANET["requests"], _request_row), custom_attrs={"data-testid": "requests"}),
            rx.text("No one is waiting for an answer.", size="2", color_scheme="gray"),
        ),
        heading="Requests",
        lead=rx.cond(
            DECIDES,
            "Approving is one signature: it costs you nothing, Byline's server puts it on chain. Denying is a "
            "transaction.",
            "The owner, or a manager of the owner's, approves or denies them.",
        ),
    )


def _grants() -> rx.Component:
    return card(
        rx.cond(
            DATANET["grants"].length() > 0,
            rx.box(rx.foreach(DATANET["grants"], _grant_row), custom_attrs={"data-testid": "grants"}),
            rx.text("No wallet holds a grant. The owner may always use the data.", size="2", color_scheme="gray"),
        ),
        heading="Who may use it",
        lead="As the chain says. A grant ends by itself at its date; a revocation counts from its block.",
    )


def _grant_form() -> rx.Component:
    form = sign(
        "grant",
        "$grantee",
        "$purposes",
        label="Sign the grant",
        testid="grant-access",
        fields=[
            field("grantee", "Wallet", "address", placeholder="0x…"),
            field("purposes", "For", "purposes", options=TERMS["purposes"], value=["retrieve"]),
            until(),
        ],
    )
    return card(
        form,
        heading="Grant without a request",
        lead="One signature, no fee. It replaces what this wallet held before.",
    )


def _public_form() -> rx.Component:
    form = act(
        "setPublicPurposes",
        [ID, "$purposes"],
        label="Save",
        testid="set-public",
        variant="soft",
        fields=[
            field(
                "purposes",
                "Anyone may",
                "purposes",
                optional=True,
                options=TERMS["purposes"],
                value=DATANET["public_purposes"],
            )
        ],
    )
    return card(form, heading="Open to everyone", lead="These purposes need no grant. Saving is a transaction.")


def _request_form() -> rx.Component:
    form = act(
        "requestAccess",
        [ID, TERMS["version"], "$purposes", "$until", "$message"],
        label="Accept the terms and ask",
        testid="request-access",
        fields=[
            field("purposes", "What for", "purposes", options=TERMS["purposes"], value=["train", "retrieve"]),
            until("Until (optional)"),
            field(
                "message",
                "Message to the owner",
                "textarea",
                optional=True,
                max_bytes=280,
                help="Public, on chain. 280 bytes.",
            ),
        ],
    )
    terms = rx.box(
        rx.text("The terms, version ", TERMS["version"], size="2", weight="medium", margin_bottom="10px"),
        terms_facts(columns="2", testid="request-licence"),
        class_name="by-card by-tight",
        margin_bottom="16px",
        custom_attrs={"data-testid": "request-terms"},
    )
    return card(
        terms,
        rx.text(
            "By asking you accept version ",
            TERMS["version"],
            " of these terms.",
            size="2",
            margin_bottom="16px",
        ),
        rx.cond(
            DATANET["my_purposes"].length() > 0,
            rx.box(
                note("You already hold some access. A new grant replaces it.", icon="key-round"), margin_bottom="16px"
            ),
        ),
        members_only(form, "A request is a transaction from your wallet."),
        heading="Ask for access",
        lead="The owner sees your request and approves all of it, part of it, or none.",
    )


def access() -> rx.Component:
    deciding = rx.vstack(
        _grant_form(), rx.cond(DATANET["mine"], _public_form()), spacing="4", width="100%", align="stretch"
    )
    return rx.grid(
        rx.vstack(_requests(), _grants(), spacing="4", width="100%", min_width="0", align="stretch"),
        rx.cond(DECIDES, deciding, _request_form()),
        columns=rx.breakpoints(initial="1", md="3fr 2fr"),
        spacing="4",
        align="start",
    )
