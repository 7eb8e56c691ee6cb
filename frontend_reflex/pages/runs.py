"""/runs : the training runs of this wallet."""

from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.browser import when
from frontend_reflex.frame import frame
from frontend_reflex.session import Session, call
from frontend_reflex.ui import card, empty, fact, facts, members_only, problem_if, status_badge, title, waiting
from frontend_reflex.views import Run


def loss_of(run: Run) -> str:
    """First and last training loss, as far as they are known."""
    known = [f"{value:.3f}" for value in (run["loss_first"], run["loss_last"]) if value is not None]
    return " → ".join(known) or "—"


class Runs(rx.State):
    rows: list[dict[str, Any]] = []
    loaded: bool = False
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.problem = ""
        try:
            runs: list[Run] = await call(self, "GET", "/training-runs")
            self.rows = [{**run, "loss": loss_of(run)} for run in runs]
        except api.ApiRefusal as refusal:
            self.rows = []
            self.problem = refusal.detail if refusal.status != 401 else ""
        self.loaded = True


def _row(row: Any) -> rx.Component:
    return rx.link(
        rx.flex(
            rx.text(row["base_model"].to(str), size="4", weight="bold"),
            status_badge(row["status"].to(str)),
            rx.spacer(),
            rx.text(when(row["created_at"].to(str)), size="2", color_scheme="gray"),
            spacing="3",
            align="center",
            wrap="wrap",
            margin_bottom="14px",
        ),
        facts(
            fact("Method", row["method"].to(str).upper()),
            fact("Datanets", row["datanet_ids"].to(list[int]).join(", ")),
            fact("Loss", rx.text(row["loss"].to(str), class_name="by-number")),
            fact("Run", rx.text(row["run_id"].to(str), class_name="by-mono")),
        ),
        href="/runs/" + row["run_id"].to(str),
        underline="none",
        color="inherit",
        class_name="by-card by-card-link",
        custom_attrs={"data-testid": "run-card", "data-run": row["run_id"], "data-status": row["status"]},
    )


@rx.page(route="/runs", title="Training · Byline", on_load=[Session.load, Runs.load])
def runs() -> rx.Component:
    start = rx.link(
        rx.button(rx.icon("plus", size=16), "New run", custom_attrs={"data-testid": "new-run"}), href="/runs/new"
    )
    nothing = card(
        empty(
            "sliders-horizontal",
            "No training run yet",
            "Fine-tune a model on a datanet that grants you the train purpose.",
            start,
        )
    )
    listing = rx.cond(
        Runs.loaded,
        rx.cond(
            Runs.rows.length() > 0,
            rx.vstack(rx.foreach(Runs.rows, _row), spacing="4", align="stretch"),
            rx.cond(Runs.problem == "", nothing),
        ),
        waiting(),
    )
    return frame(
        title("Training runs", "Each run keeps the permission it was given, with the block that held it.", start),
        problem_if(Runs.problem, "runs-problem"),
        members_only(listing, "Your training runs are yours alone."),
    )
