"""/runs/[run_id] : one training run, live: where it stands, its curves, its evidence, its result."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import short, when
from frontend_reflex.frame import frame
from frontend_reflex.pages.run_state import OneRun
from frontend_reflex.session import Session
from frontend_reflex.ui import (
    block_hash_link,
    block_link,
    card,
    digest_link,
    empty,
    fact,
    facts,
    members_only,
    note,
    problem_if,
    status_badge,
    title,
    token_link,
    tx_link,
    waiting,
)
from frontend_reflex.views import Run

_RUN = OneRun.run.to(Run)


def _step(row: Any) -> rx.Component:
    icon = rx.match(
        row["state"],
        ("past", rx.icon("circle-check", size=18, color="var(--green-9)")),
        (
            "now",
            rx.box(rx.icon("loader-circle", size=18, color="var(--accent-9)"), class_name="by-pulse", line_height="0"),
        ),
        ("stopped", rx.icon("circle-x", size=18, color="var(--red-9)")),
        rx.icon("circle", size=18, color="var(--gray-7)"),
    )
    return rx.hstack(
        icon,
        rx.text(row["text"], size="2", weight=rx.cond(row["state"] == "now", "bold", "regular")),
        align="center",
        spacing="2",
        custom_attrs={"data-testid": "step-" + row["name"], "data-state": row["state"]},
    )


def _chart(key: str, name: str, height: int, color: str) -> rx.Component:
    return rx.box(
        rx.text(name, size="2", weight="medium", margin_bottom="8px"),
        rx.recharts.line_chart(
            rx.recharts.line(
                data_key=key, name=name, stroke=color, stroke_width=2, dot=False, is_animation_active=False
            ),
            rx.recharts.x_axis(
                data_key="step",
                allow_decimals=False,
                type_="number",
                domain=["dataMin", "dataMax"],
                tick_line=False,
                stroke="var(--gray-9)",
            ),
            rx.recharts.y_axis(
                domain=["auto", "auto"], width=62, tick_line=False, axis_line=False, stroke="var(--gray-9)"
            ),
            rx.recharts.cartesian_grid(vertical=False, stroke="var(--gray-a4)"),
            rx.recharts.graphing_tooltip(
                content_style={
                    "background": "var(--color-panel-solid)",
                    "border": "1px solid var(--gray-a6)",
                    "borderRadius": "8px",
                }
            ),
            data=OneRun.points,
            height=height,
            width="100%",
            margin={"top": 4, "right": 12, "bottom": 4, "left": 0},
        ),
        font_size="12px",
        custom_attrs={"data-testid": f"chart-{key}"},
    )


def _progress() -> rx.Component:
    numbers = facts(
        fact(
            "Step",
            rx.text(
                rx.text(OneRun.step, as_="span", custom_attrs={"data-testid": "run-step"}),
                " of ",
                OneRun.total_steps,
                class_name="by-number",
            ),
        ),
        fact(
            "Loss, first → last fifth",
            rx.text(OneRun.losses, class_name="by-number", custom_attrs={"data-testid": "run-loss"}),
        ),
        fact("Tokens per second", rx.text(OneRun.speed, class_name="by-number")),
        fact("Time left", rx.cond(OneRun.live, OneRun.time_left, "none")),
    )
    charts = rx.vstack(
        numbers,
        rx.progress(value=OneRun.done_percent, width="100%"),
        _chart("loss", "Loss", 260, "var(--accent-9)"),
        _chart("learning_rate", "Learning rate", 130, "var(--gray-9)"),
        spacing="5",
        align="stretch",
    )
    quiet = rx.cond(
        OneRun.live,
        rx.hstack(
            rx.spinner(),
            rx.text("Waiting for the first optimizer step…", size="2", color_scheme="gray"),
            align="center",
        ),
        rx.text("No step was made.", size="2", color_scheme="gray"),
    )
    return card(rx.cond(OneRun.points.length() > 0, charts, quiet), heading="Progress")


def _permission(row: Any) -> rx.Component:
    return rx.flex(
        rx.cond(
            row["allowed"],
            rx.icon("circle-check", size=16, color="var(--green-9)"),
            rx.icon("circle-x", size=16, color="var(--red-9)"),
        ),
        rx.text("Datanet ", row["datanet_id"], ": ", row["purpose"], size="2"),
        rx.spacer(),
        rx.text("block ", block_link(row["block_number"]), size="2", color_scheme="gray"),
        block_hash_link(row["block_hash"]),
        spacing="2",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "permission", "data-allowed": row["allowed"]},
    )


def _result() -> rx.Component:
    chat = rx.link(
        rx.button(rx.icon("message-circle", size=16), "Chat with it", custom_attrs={"data-testid": "chat-with"}),
        href="/chat?model=" + _RUN["run_id"],
    )
    return card(
        rx.vstack(
            fact("Adapter", digest_link(_RUN["adapter_digest"], testid="adapter-digest")),
            fact("On IPFS", short(_RUN["adapter_cid"])),
            fact(
                "Registered as",
                rx.cond(_RUN["model_id"], rx.text("Model № ", _RUN["model_id"].to(str)), rx.text("not yet")),
            ),
            fact(
                "Registration", rx.cond(_RUN["registration_tx"], tx_link(_RUN["registration_tx"]), rx.text("not yet"))
            ),
            fact("Provenance", short(_RUN["provenance_digest"])),
            chat,
            spacing="4",
            align="stretch",
        ),
        heading="Result",
        custom_attrs={"data-testid": "run-result"},
    )


def _start(spec: Any) -> rx.Component:
    parent = rx.link("Model № ", _RUN["parent_model_id"].to(str), href="/runs/" + spec["parent_run_id"].to(str))
    return rx.cond(
        _RUN["parent_model_id"],
        rx.box(parent, custom_attrs={"data-testid": "run-parent"}),
        rx.text("The base model itself"),
    )


def _side() -> rx.Component:
    spec = _RUN["spec"].to(dict[str, Any])
    return rx.vstack(
        rx.cond(_RUN["adapter_digest"], _result()),
        card(
            rx.cond(
                _RUN["permissions"].length() > 0,
                rx.box(rx.foreach(_RUN["permissions"], _permission)),
                rx.text("Read when the run begins.", size="2", color_scheme="gray"),
            ),
            heading="Permission, as read on chain",
        ),
        card(
            facts(
                fact("Base model", _RUN["base_model"]),
                fact("Starts from", _start(spec)),
                fact("Method", _RUN["method"].to(str).upper()),
                fact("Datanets", rx.flex(rx.foreach(_RUN["datanet_ids"], token_link), spacing="2", wrap="wrap")),
                fact("Learning rate", spec["learning_rate"].to(str)),
                fact("Batch size", spec["batch_size"].to(str)),
                fact("Epochs", spec["epochs"].to(str)),
                fact("Rank", spec["rank"].to(str)),
                fact("Started", when(_RUN["started_at"], empty="not yet")),
                columns="2",
            ),
            heading="Settings",
        ),
        spacing="4",
        align="stretch",
        min_width="0",
    )


def _page() -> rx.Component:
    cancel = rx.cond(
        OneRun.live,
        rx.button(
            "Cancel run",
            variant="soft",
            color_scheme="red",
            loading=OneRun.cancelling,
            on_click=OneRun.cancel,
            custom_attrs={"data-testid": "cancel-run"},
        ),
    )
    queue = rx.cond(
        _RUN["queue_position"],
        rx.text(
            "Runs that go first: ",
            _RUN["queue_position"].to(str),
            size="2",
            color_scheme="gray",
            margin_top="12px",
        ),
    )
    return rx.box(
        title(
            _RUN["base_model"],
            rx.fragment("Run ", short(_RUN["run_id"]), " · ", when(_RUN["created_at"])),
            status_badge(
                _RUN["status"], size="3", custom_attrs={"data-testid": "run-status", "data-status": _RUN["status"]}
            ),
            cancel,
        ),
        rx.vstack(
            rx.cond(
                OneRun.reconnecting,
                note("The connection to this run broke. Connecting again…", icon="loader", testid="run-reconnecting"),
            ),
            problem_if(OneRun.problem, "run-problem"),
            problem_if(OneRun.action_problem, "cancel-problem"),
            rx.cond(_RUN["problem"], problem_if(_RUN["problem"].to(str), "run-failure")),
            card(rx.flex(rx.foreach(OneRun.steps, _step), spacing="5", wrap="wrap"), queue),
            rx.grid(
                _progress(),
                _side(),
                columns=rx.breakpoints(initial="minmax(0, 1fr)", md="minmax(0, 3fr) minmax(0, 2fr)"),
                spacing="4",
                align="start",
            ),
            spacing="4",
            align="stretch",
        ),
        custom_attrs={"data-testid": "run", "data-run": _RUN["run_id"]},
    )


@rx.page(route="/runs/[run_id]", title="Training run · Byline", on_load=[Session.load, OneRun.watch])
def run() -> rx.Component:
    missing = card(empty("circle-help", "This run cannot be shown", OneRun.problem))
    found = rx.cond(OneRun.run, rx.box(_page()), rx.cond(OneRun.problem != "", missing, waiting()))
    return rx.box(frame(members_only(found, "A training run is its builder's own.")), on_unmount=OneRun.stop)
