"""The Terms tab: what whoever uses the data agrees to, to read for all and to set for the owner."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import field
from frontend_reflex.pages.datanet_acts import DATANET, ID, TERMS, act
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.ui import card, fact, facts, note, problem, purpose_badges, waiting

MAX_LICENCE_BYTES = 200_000  # as the API takes
# The contract's struct, of the fields that `terms_fields` makes.
TERMS_ARGUMENT = {
    "licenceDigest": "$licence.digest",
    "purposes": "$offered",
    "pricePer1000Answers": "$price.amount",
    "currency": "$price.currency",
    "keepsModels": "$keeps",
}
_STOP, _KEEP = "stop answering", "may go on answering"


def terms_fields(
    *, offered: Any = None, licence: Any = "", price: Any = None, keeps: Any = "false", **more: Any
) -> list[dict[str, Any]]:
    """What `TERMS_ARGUMENT` and "$licence.cid" take their values from."""
    return [
        field(
            "offered",
            "Can be allowed for",
            "purposes",
            value=offered,
            help="What others may ask you for at all. Leave out what you will never allow.",
            **more,
        ),
        field(
            "keeps",
            "When a permission to train ends, models trained on the data",
            "choice",
            options=[["false", _STOP], ["true", _KEEP]],
            value=keeps,
            **more,
        ),
        field(
            "licence",
            "Licence text",
            "licence",
            optional=True,
            value=licence,
            placeholder="No licence text. Paste one here to have one.",
            max_bytes=MAX_LICENCE_BYTES,
            help="Public: anyone can read it before asking. Its fingerprint goes on chain.",
            **more,
        ),
        field(
            "price",
            "Price per 1,000 answers",
            "price",
            value=price,
            placeholder="none",
            help="For information. Byline charges nobody.",
            **more,
        ),
    ]


def _licence(testid: str) -> rx.Component:
    text = rx.cond(
        OneDatanet.licence_problem != "",
        problem(OneDatanet.licence_problem, "licence-problem"),
        rx.cond(
            OneDatanet.licence_read,
            rx.box(OneDatanet.licence, class_name="by-licence", custom_attrs={"data-testid": "licence-text"}),
            waiting(2),
        ),
    )
    dialog = rx.dialog.root(
        rx.dialog.trigger(
            rx.button(
                rx.icon("scroll-text", size=14),
                "Read it",
                size="1",
                variant="soft",
                type="button",
                custom_attrs={"data-testid": testid},
            )
        ),
        rx.dialog.content(
            rx.dialog.title("Licence"),
            rx.dialog.description(
                "Of ",
                DATANET["name"],
                ", terms version ",
                TERMS["version"],
                ". Checked against the fingerprint on chain.",
                size="2",
                color_scheme="gray",
                margin_bottom="16px",
            ),
            text,
            rx.flex(
                rx.dialog.close(rx.button("Close", variant="soft", color_scheme="gray")),
                justify="end",
                margin_top="16px",
            ),
            max_width="720px",
        ),
        on_open_change=OneDatanet.open_licence,
    )
    return rx.cond(TERMS["licence_cid"], dialog, rx.text("no licence text", size="2"))


def terms_facts(*, columns: Any = None, testid: str = "read-licence") -> rx.Component:
    """The terms of now, in words; the licence opens in a dialog."""
    return facts(
        fact("Can be allowed for", purpose_badges(TERMS["purposes"])),
        fact("Price, for information", OneDatanet.price),
        fact("When permission to train ends, models", rx.cond(TERMS["keeps_models"], _KEEP, _STOP)),
        fact("Licence", _licence(testid)),
        columns=columns,
    )


def _new_terms() -> rx.Component:
    form = act(
        "setTerms",
        [ID, TERMS["version"] + 1, TERMS_ARGUMENT, "$licence.cid"],
        label="Set these terms",
        testid="set-terms",
        fields=terms_fields(
            offered=TERMS["purposes"],
            licence=OneDatanet.licence,
            price=OneDatanet.price_field,
            keeps=rx.cond(TERMS["keeps_models"], "true", "false"),
        ),
    )
    ready = rx.cond(
        OneDatanet.licence_problem != "",
        problem(OneDatanet.licence_problem, "terms-problem"),  # else the licence would be dropped unseen
        rx.cond(OneDatanet.licence_read, form, waiting()),
    )
    return rx.dialog.root(
        rx.dialog.trigger(rx.button("Set new terms", variant="soft", custom_attrs={"data-testid": "new-terms"})),
        rx.dialog.content(
            rx.dialog.title("New terms"),
            rx.dialog.description(
                "They replace version ",
                TERMS["version"],
                " from the block that holds them.",
                size="2",
                color_scheme="gray",
                margin_bottom="12px",
            ),
            rx.box(
                note(
                    "Every access that you granted rests until its holder accepts the new terms, and requests that "
                    "wait for you end.",
                    icon="triangle-alert",
                    color="amber",
                ),
                margin_bottom="16px",
            ),
            ready,
            max_width="560px",
        ),
        open=OneDatanet.setting_terms,
        on_open_change=OneDatanet.open_terms,
    )


def terms() -> rx.Component:
    return card(
        terms_facts(),
        rx.cond(DATANET["mine"], rx.box(_new_terms(), margin_top="20px")),
        heading=rx.fragment("Terms, version ", TERMS["version"]),
        lead="What everyone who uses this datanet agrees to. Whoever asks for access accepts one version; new terms "
        "ask everyone again.",
        custom_attrs={"data-testid": "terms", "data-version": TERMS["version"]},
    )
