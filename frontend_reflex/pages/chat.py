"""/chat : ask a model about datanets; the answer streams, then says whom it rests on."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import short, when
from frontend_reflex.frame import frame
from frontend_reflex.pages.chat_state import MAX_TOKENS, Chat
from frontend_reflex.session import Session
from frontend_reflex.ui import (
    card,
    empty,
    members_only,
    problem,
    problem_if,
    share_bars,
    title,
    token_link,
    waiting,
    wallet_of,
)
from frontend_reflex.views import Share


def _option(row: Any) -> rx.Component:
    return rx.el.label(
        rx.checkbox(
            checked=Chat.picked.contains(row["datanet_id"]),
            on_change=lambda on: Chat.pick(row["datanet_id"], on),
            disabled=Chat.busy,
            custom_attrs={"data-testid": "ask-" + row["datanet_id"].to(str)},
        ),
        rx.box(
            rx.text(row["name"], size="2", weight="medium", overflow_wrap="anywhere"),
            rx.text(
                rx.cond(row["my_purposes"].contains("retrieve"), "You may ask it", "No access yet"),
                size="1",
                color_scheme=rx.cond(row["my_purposes"].contains("retrieve"), "gray", "amber"),
            ),
            min_width="0",
        ),
        class_name="by-option",
    )


def _choices() -> rx.Component:
    return card(
        rx.vstack(
            rx.box(
                rx.text("Model", size="2", weight="medium", margin_bottom="6px"),
                rx.select.root(
                    rx.select.trigger(
                        width="100%", placeholder="Choose a model", custom_attrs={"data-testid": "model-select"}
                    ),
                    rx.select.content(
                        rx.foreach(
                            Chat.models,
                            lambda one: rx.select.item(
                                one["title"],
                                value=one["id"],
                                custom_attrs={"data-testid": "model-" + one["id"].to(str)},
                            ),
                        )
                    ),
                    value=Chat.model,
                    on_change=Chat.choose_model,
                    disabled=Chat.busy,
                ),
                width="100%",
            ),
            rx.box(
                rx.text("Answer from", size="2", weight="medium", margin_bottom="6px"),
                rx.cond(
                    Chat.datanets.length() > 0,
                    rx.vstack(rx.foreach(Chat.datanets, _option), spacing="2", align="stretch"),
                    rx.text("No datanet has published data yet.", size="2", color_scheme="gray"),
                ),
            ),
            spacing="4",
            align="stretch",
        ),
    )


def _form() -> rx.Component:
    return card(
        rx.form(
            rx.text_area(
                name="question",
                placeholder="What would you like to know?",
                rows="3",
                size="3",
                max_length=4000,
                aria_label="Question",
                custom_attrs={"data-testid": "question"},
            ),
            rx.flex(
                rx.text("Your permission is read on chain for every question.", size="1", color_scheme="gray"),
                rx.spacer(),
                rx.cond(
                    Chat.busy,
                    rx.button(
                        "Stop",
                        type="button",
                        variant="soft",
                        color_scheme="gray",
                        on_click=Chat.stop,
                        custom_attrs={"data-testid": "stop"},
                    ),
                    rx.button("Ask", rx.icon("arrow-up", size=16), type="submit", custom_attrs={"data-testid": "ask"}),
                ),
                align="center",
                spacing="3",
                margin_top="12px",
                wrap="wrap",
            ),
            on_submit=Chat.ask,
        )
    )


def _piece(piece: Any) -> rx.Component:
    return rx.cond(
        piece["cites"] > 0,
        rx.el.a(
            piece["cites"],
            href="#source-" + piece["cites"].to(str),
            class_name="by-cite",
            title="Go to this source",
            custom_attrs={"data-testid": "citation"},
        ),
        rx.el.span(piece["text"]),
    )


def _source(passage: Any) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.badge(passage["number"], variant="soft"),
            wallet_of(passage["contributor"]),
            rx.spacer(),
            rx.text(
                "datanet ",
                token_link(passage["datanet_id"]),
                ", record ",
                passage["record_index"],
                size="1",
                color_scheme="gray",
            ),
            align="center",
            spacing="2",
            wrap="wrap",
        ),
        rx.text(passage["text"], size="2", margin_top="8px", overflow_wrap="anywhere", class_name="by-clamp"),
        id="source-" + passage["number"].to(str),
        class_name="by-card by-source by-tight",
        custom_attrs={"data-testid": "source", "data-contributor": passage["contributor"]},
    )


def _stage() -> rx.Component:
    words = rx.match(
        Chat.stage,
        ("searching", "Reading your permission and finding passages…"),
        ("answering", "Answering…"),
        ("scoring", "Measuring who influenced the answer…"),
        ("stopped", "Stopped. Measuring who influenced what was said…"),
        "",
    )
    return rx.cond(
        Chat.busy | (Chat.stage == "stopped"),
        rx.hstack(
            rx.spinner(), rx.text(words, size="2", color_scheme="gray", role="status"), align="center", spacing="2"
        ),
    )


def _answer() -> rx.Component:
    said = rx.el.div(rx.foreach(Chat.segments, _piece), class_name="by-answer", custom_attrs={"data-testid": "answer"})
    shared = rx.box(
        rx.heading("Whom it rests on", size="3", as_="h3", margin_bottom="12px"),
        share_bars(Chat.shares),
        rx.link(
            rx.button(rx.icon("receipt-text", size=16), "Open the receipt", variant="soft"),
            href="/receipts/" + Chat.receipt,
            custom_attrs={"data-testid": "receipt-link", "data-digest": Chat.receipt},
            display="inline-block",
            margin_top="18px",
        ),
        custom_attrs={"data-testid": "answer-shares"},
    )
    return rx.cond(
        Chat.stage != "",
        card(
            rx.vstack(
                rx.text(Chat.question, size="4", weight="bold", overflow_wrap="anywhere"),
                rx.cond(Chat.text != "", said),
                rx.cond(
                    Chat.cut,
                    rx.text(
                        f"It was cut here, at the limit of {MAX_TOKENS} tokens.",
                        size="2",
                        color_scheme="gray",
                        custom_attrs={"data-testid": "answer-cut"},
                    ),
                ),
                _stage(),
                rx.cond(Chat.refusal != "", problem(Chat.refusal, "refusal")),
                rx.cond(Chat.receipt != "", shared),
                rx.cond(
                    Chat.passages.length() > 0,
                    rx.box(
                        rx.heading("Sources", size="3", as_="h3", margin_bottom="12px"),
                        rx.vstack(rx.foreach(Chat.passages, _source), spacing="3", align="stretch"),
                    ),
                ),
                spacing="5",
                align="stretch",
            ),
            custom_attrs={"data-testid": "turn", "data-stage": Chat.stage},
        ),
    )


def _past_row(one: Any) -> rx.Component:
    return rx.el.details(
        rx.el.summary(
            rx.text(one["question"].to(str), as_="span", size="3", weight="medium"),
            rx.text(when(one["answered_at"].to(str)), size="1", color_scheme="gray"),
        ),
        rx.box(one["text"].to(str), class_name="by-answer", margin_y="12px", font_size="15px !important"),
        rx.box(share_bars(one["shares"].to(list[Share]), testid="past-shares"), margin_bottom="12px"),
        rx.hstack(
            rx.text("Receipt", size="2", color_scheme="gray"),
            short(one["receipt"].to(str), href="/receipts/" + one["receipt"].to(str)),
        ),
        class_name="by-row by-past",
        custom_attrs={"data-testid": "past-answer"},
    )


def _history() -> rx.Component:
    nothing = empty(
        "history", "No questions yet", "Ask your first one above. Every answer is kept here with its receipt."
    )
    return card(
        rx.cond(Chat.history.length() > 0, rx.box(rx.foreach(Chat.history, _past_row)), nothing),
        heading="Earlier questions",
    )


@rx.page(route="/chat", title="Chat · Byline", on_load=[Session.load, Chat.load])
def chat() -> rx.Component:
    room = rx.grid(
        rx.box(_choices(), order=rx.breakpoints(initial="0", md="1")),
        rx.vstack(_form(), _answer(), _history(), spacing="4", align="stretch", min_width="0"),
        columns=rx.breakpoints(initial="minmax(0, 1fr)", md="minmax(0, 1fr) 300px"),
        spacing="4",
        align="start",
    )
    return rx.box(
        frame(
            title("Ask", "Answers come with their sources, and with the share each contributor had in them."),
            problem_if(Chat.problem, "chat-problem"),
            members_only(
                rx.cond(Chat.loaded, room, waiting()), "Each answer is given to a wallet, and its receipt names it."
            ),
        ),
        on_unmount=Chat.leave,
    )
