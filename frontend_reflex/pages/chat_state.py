"""What /chat knows and does: one question at a time, heard as a stream."""

import asyncio
import itertools
import time
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.session import call, secret, tab_is_open
from frontend_reflex.views import Catalog, Datanet, Passage, Share
from frontend_reflex.words import Piece, pieces, shares

_BATCH_SECONDS = 0.15
MAX_TOKENS = 160
_SEED = 7
_RECEIPT_SECONDS, _RECEIPT_TRIES = 1.5, 80
_questions = itertools.count(1)


class Chat(rx.State):
    models: list[dict[str, str]] = []
    model: str = ""
    datanets: list[Datanet] = []
    picked: list[int] = []
    loaded: bool = False
    problem: str = ""
    # the answer on the screen
    question: str = ""
    text: str = ""
    cut: bool = False  # the answer reached the limit before its end
    segments: list[Piece] = []
    passages: list[Passage] = []
    shares: list[Share] = []
    receipt: str = ""
    stage: str = ""  # "", searching, answering, scoring, stopped, done, refused
    refusal: str = ""
    history: list[dict[str, Any]] = []
    _turn: int = 0

    @rx.var
    def busy(self) -> bool:
        return self.stage in ("searching", "answering", "scoring")

    @rx.event
    async def load(self) -> None:
        self.problem = ""
        try:
            catalog: Catalog = await call(self, "GET", "/models")
            rows: list[Datanet] = await call(self, "GET", "/datanets")
            self.history = [_past(one) for one in await call(self, "GET", "/answers")]
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail if refusal.status != 401 else ""
            self.loaded = True
            return
        self.models = [
            {"id": "base:" + one["name"], "title": one["title"]} for one in catalog["bases"] if one["available"]
        ]
        self.models += [{"id": "run:" + one["run_id"], "title": "Tuned: " + one["title"]} for one in catalog["tuned"]]
        known = {one["id"] for one in self.models}
        wanted = "run:" + str(self.router.url.query_parameters.get("model", ""))
        if wanted in known:
            self.model = wanted
        elif self.model not in known:
            self.model = self.models[0]["id"] if self.models else ""
        self.datanets = [row for row in rows if row["version"] > 0]
        ids = {row["datanet_id"] for row in self.datanets}
        self.picked = [one for one in self.picked if one in ids] or [
            row["datanet_id"] for row in self.datanets if "retrieve" in row["my_purposes"]
        ][:1]
        self.loaded = True

    @rx.event
    def choose_model(self, model: str) -> None:
        self.model = model

    @rx.event
    def pick(self, datanet_id: int, on: bool) -> None:
        self.picked = sorted({*self.picked, datanet_id} if on else set(self.picked) - {datanet_id})

    @rx.event
    def leave(self) -> None:
        """The page is gone, and nobody listens."""
        self._turn = 0
        if self.busy:
            self.stage = ""

    @rx.event(background=True)
    async def stop(self) -> None:
        """The reader has read enough: leave the stream, and show the receipt that what was said gets all the same."""
        async with self:
            if not self.busy:
                return
            mine = self._turn = next(_questions)
            self.stage = "stopped"
            known = {one["receipt"] for one in self.history}
        try:
            for _ in range(_RECEIPT_TRIES):
                await asyncio.sleep(_RECEIPT_SECONDS)
                async with self:
                    if self._turn != mine or not tab_is_open(self):
                        return
                    self.history = [_past(one) for one in await call(self, "GET", "/answers")]
                    newest = next((one for one in self.history if one["question"] == self.question), None)
                    if newest is not None and newest["receipt"] not in known:
                        self.text, self.shares, self.receipt = newest["text"], newest["shares"], newest["receipt"]
                        self.segments, self.stage = pieces(self.text, len(self.passages)), "done"
                        return
        except api.ApiRefusal as refusal:
            async with self:
                self.refusal, self.stage = refusal.detail, "refused"

    def _begin(self, question: str) -> dict[str, Any] | None:
        """Clear the screen for a question; None (and why) when it cannot be asked."""
        self.text, self.cut, self.receipt, self.refusal = "", False, "", ""
        self.segments, self.passages, self.shares = [], [], []
        self.question, self.stage = question, "refused"
        if not question:
            self.refusal = "Write a question first."
        elif not self.model:
            self.refusal = "No model is available on this server. See the network strip on the first page."
        elif not self.picked:
            self.refusal = "Choose at least one datanet to answer from."
        if self.refusal:
            return None
        self.stage = "searching"
        kind, _, name = self.model.partition(":")
        model = {"base": name} if kind == "base" else {"run_id": name}
        body = {"question": question, "model": model, "datanet_ids": self.picked}
        return {**body, "max_tokens": MAX_TOKENS, "seed": _SEED}

    def _hear(self, event: api.ServerEvent) -> None:
        """Everything but tokens, which come in batches."""
        if event.name == "passages":
            self.passages, self.stage = event.data, "answering"
        elif event.name == "answer":
            self.text, self.cut = event.data["text"], event.data["cut"]
            self.segments = pieces(self.text, len(self.passages))
        elif event.name == "scoring":
            self.stage = "scoring"
        elif event.name == "receipt":
            self.receipt, self.shares = event.data["receipt_digest"], shares(event.data["shares_bps"])
        elif event.name == "error":
            self.refusal, self.stage = event.data["detail"], "refused"
        elif event.name == "end" and self.stage != "refused":
            self.stage = "done"

    @rx.event(background=True)
    async def ask(self, form: dict[str, Any]) -> None:
        async with self:
            body = self._begin(str(form.get("question", "")).strip())
            if body is None:
                return
            mine = self._turn = next(_questions)
            session = secret(self)
        try:
            async with api.stream(session, "POST", "/answers", body) as events:
                waiting_text, shown = "", time.monotonic()
                async for event in events:
                    if event.name == "token":
                        waiting_text += event.data["text"]
                        if time.monotonic() - shown < _BATCH_SECONDS:
                            continue
                    async with self:
                        if self._turn != mine or not tab_is_open(self):
                            return
                        if waiting_text:
                            self.text += waiting_text
                            self.segments = pieces(self.text, len(self.passages))
                        self._hear(event)
                    waiting_text, shown = "", time.monotonic()
            async with self:
                if self._turn == mine:
                    if self.busy:
                        self.stage, self.refusal = "refused", "The answer broke off before its receipt. Ask again."
                    self.history = [_past(one) for one in await call(self, "GET", "/answers")]
        except api.ApiRefusal as refusal:
            async with self:
                if self._turn == mine:
                    self.refusal, self.stage = refusal.detail, "refused"


def _past(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "question": one["question"],
        "text": one["text"],
        "receipt": one["receipt_digest"],
        "answered_at": one["answered_at"],
        "shares": shares(one["shares_bps"]),
    }
