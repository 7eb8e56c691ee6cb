"""/runs/new : choose a base model, datanets and settings; check permission; sign the order; start."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import wallet_sign
from frontend_reflex.frame import frame
from frontend_reflex.pages.run_new_state import NewRun
from frontend_reflex.session import Session
from frontend_reflex.ui import card, empty, fact, facts, members_only, note, problem_if, title, waiting


def _base_card(one: Any) -> rx.Component:
    return rx.el.button(
        rx.flex(
            rx.text(one["title"], size="3", weight="bold", align="left"),
            rx.spacer(),
            rx.cond(NewRun.base == one["name"], rx.icon("circle-check", size=18, color="var(--accent-9)")),
            align="center",
            spacing="2",
        ),
        rx.text(
            one["family"].to(str),
            " · ",
            one["size"].to(str),
            " parameters · ",
            one["context_tokens"].to(str),
            " tokens · ",
            one["licence"].to(str),
            size="1",
            color_scheme="gray",
            align="left",
        ),
        rx.cond(
            one["why_not"],
            rx.text(
                "To use it: ",
                one["why_not"].to(str),
                size="1",
                color_scheme="gray",
                align="left",
                margin_top="6px",
                overflow_wrap="anywhere",
            ),
        ),
        type="button",
        disabled=~one["available"].to(bool),
        on_click=NewRun.choose_base(one["name"]),
        class_name=rx.cond(NewRun.base == one["name"], "by-choice by-choice-on", "by-choice"),
        custom_attrs={"data-testid": "base-" + one["name"].to(str), "aria-pressed": NewRun.base == one["name"]},
    )


def _bases(available: bool) -> rx.Component:
    return rx.grid(
        rx.foreach(NewRun.bases, lambda one: rx.cond(one["available"].to(bool) == available, _base_card(one))),
        columns=rx.breakpoints(initial="1", sm="2", md="3"),
        spacing="3",
    )


def _start() -> rx.Component:
    """Shown once there is a choice."""
    return rx.cond(
        NewRun.starts.length() > 1,
        rx.box(
            rx.text("Start from", size="2", weight="medium", margin_bottom="6px"),
            rx.select.root(
                rx.select.trigger(width="100%", custom_attrs={"data-testid": "start-from", "aria-label": "Start from"}),
                rx.select.content(
                    rx.foreach(
                        NewRun.starts,
                        lambda one: rx.select.item(
                            one["title"],
                            value=one["id"],
                            custom_attrs={"data-testid": "start-" + one["id"]},
                        ),
                    )
                ),
                value=NewRun.start,
                on_change=NewRun.choose_start,
            ),
            rx.text(
                "A model that goes on from one of yours keeps what that one learnt, and stands on all its data too: "
                "you need the train purpose on every datanet of the line.",
                size="1",
                color_scheme="gray",
                margin_top="4px",
            ),
            margin_top="20px",
        ),
    )


def _method_card(one: Any) -> rx.Component:
    return rx.el.button(
        rx.text(one["name"].to(str).upper(), size="3", weight="bold", align="left"),
        rx.text(
            rx.cond(one["why_not"], one["why_not"].to(str), one["meaning"].to(str)),
            size="1",
            color=rx.cond(one["why_not"], "var(--amber-11)", "var(--gray-11)"),
            align="left",
        ),
        type="button",
        disabled=~one["available"].to(bool),
        on_click=NewRun.choose_method(one["name"].to(str)),
        class_name=rx.cond(NewRun.method == one["name"].to(str), "by-choice by-choice-on", "by-choice"),
        custom_attrs={"data-testid": "method-" + one["name"].to(str)},
    )


def _datanet_row(row: Any) -> rx.Component:
    return rx.el.label(
        rx.checkbox(
            checked=NewRun.picked.contains(row["datanet_id"]),
            on_change=lambda on: NewRun.pick(row["datanet_id"], on),
            custom_attrs={"data-testid": "train-on-" + row["datanet_id"].to(str)},
        ),
        rx.box(
            rx.text(row["name"], size="3", weight="medium"),
            rx.text(
                "Datanet ",
                row["datanet_id"],
                " · version ",
                row["version"],
                " · ",
                row["records"],
                " records",
                size="1",
                color_scheme="gray",
            ),
        ),
        class_name="by-option",
    )


def _setting(one: Any) -> rx.Component:
    return rx.box(
        rx.text(
            one["label"].to(str), as_="label", html_for="setting-" + one["name"].to(str), size="2", weight="medium"
        ),
        rx.cond(
            (one["name"].to(str) == "rank") & (NewRun.parent_rank > 0),
            rx.text(
                NewRun.parent_rank, ", as in the model it starts from", size="2", custom_attrs={"data-testid": "rank"}
            ),
            _setting_input(one),
        ),
        rx.text(
            one["explanation"].to(str), " ", one["range"].to(str), ".", size="1", color_scheme="gray", margin_top="4px"
        ),
    )


def _setting_input(one: Any) -> rx.Component:
    return rx.el.input(
        name=one["name"].to(str),
        id="setting-" + one["name"].to(str),
        default_value=one["value"].to(str),
        input_mode="decimal",
        auto_complete="off",
        class_name="by-input",
        on_change=NewRun.edited.throttle(500),
    )


def _settings(main: bool) -> rx.Component:
    return rx.grid(
        rx.foreach(NewRun.settings, lambda one: rx.cond(one["main"].to(bool) == main, _setting(one))),
        columns=rx.breakpoints(initial="1", sm="2"),
        spacing="4",
    )


def _order() -> rx.Component:
    return card(
        facts(
            fact("Base model", NewRun.base),
            fact("Starts from", NewRun.start_title),
            fact("Datanets", NewRun.order_text["datanets"]),
            fact("Records", NewRun.order_text["records"]),
        ),
        rx.box(
            wallet_sign(
                network=Session.network,
                wallet=Session.wallet,
                document=NewRun.typed_data,
                label="Sign and start training",
                testid="sign-order",
                on_signed=NewRun.signed,
            ),
            margin_top="20px",
        ),
        heading="Sign the training order",
        lead="The chain says you may train on these datanets. Your signature lets the finished model be registered "
        "in your name, for exactly these settings. It costs nothing.",
        custom_attrs={"data-testid": "order"},
    )


def _form() -> rx.Component:
    no_datanet = empty(
        "key-round",
        "No datanet you may train on",
        "Ask an owner for the train purpose, or publish data of your own.",
        rx.link(rx.button("Browse datanets", variant="soft"), href="/datanets"),
    )
    return rx.form(
        rx.vstack(
            card(
                _bases(True),
                rx.cond(
                    NewRun.absent != "",
                    rx.el.details(
                        rx.el.summary(NewRun.absent, custom_attrs={"data-testid": "more-models"}),
                        rx.box(_bases(False), margin_top="16px"),
                        class_name="by-details",
                    ),
                ),
                _start(),
                heading="Base model",
                lead="What you start from. It stays as it is; training adds a small adapter.",
            ),
            card(
                rx.cond(
                    NewRun.datanets.length() > 0,
                    rx.vstack(rx.foreach(NewRun.datanets, _datanet_row), spacing="2", align="stretch"),
                    no_datanet,
                ),
                heading="Datanets",
                lead="Those that let you train. The chain itself is asked again before anything is fetched.",
            ),
            card(
                rx.grid(
                    rx.foreach(NewRun.methods, _method_card), columns=rx.breakpoints(initial="1", sm="2"), spacing="3"
                ),
                rx.box(_settings(True), margin_top="20px"),
                rx.el.details(
                    rx.el.summary("Advanced settings", custom_attrs={"data-testid": "advanced"}),
                    rx.box(_settings(False), margin_top="16px"),
                    class_name="by-details",
                ),
                heading="Method and settings",
                lead="The defaults suit a first run.",
            ),
            problem_if(NewRun.problem, "run-problem"),
            rx.cond(
                NewRun.order_text,
                _order(),
                rx.button(
                    "Check permission",
                    type="submit",
                    size="3",
                    loading=NewRun.preparing,
                    align_self="flex-start",
                    custom_attrs={"data-testid": "check-permission"},
                ),
            ),
            rx.cond(NewRun.starting, note("Starting the run…", icon="loader")),
            spacing="4",
            align="stretch",
        ),
        on_submit=NewRun.check,
    )


@rx.page(route="/runs/new", title="New run · Byline", on_load=[Session.load, NewRun.load])
def run_new() -> rx.Component:
    return frame(
        title("New training run", "Three choices, one signature."),
        members_only(rx.cond(NewRun.loaded, _form(), waiting()), "A run is signed by the wallet that asks for it."),
    )
