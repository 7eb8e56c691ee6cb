"""What /datanets/[datanet_id] knows and does; its three tabs draw it."""

import asyncio
import time
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.session import call, mirrored, route_argument, secret, tab_is_open
from frontend_reflex.views import DatanetDetail, Draft, Indexing, Version
from frontend_reflex.words import price

_INDEXING_POLL_SECONDS = 1.0
_INDEXING_PATIENCE_SECONDS = 900.0
_DONE = ("indexed", "stale", "corrupt")
_PREPARE_SECONDS = 600.0  # encrypting and pinning a file of the largest size takes minutes


class OneDatanet(rx.State):
    datanet: DatanetDetail | None = None
    problem: str = ""
    tab: str = "data"
    draft: Draft | None = None
    on_bad_row: str = "skip"
    preparing: bool = False
    upload_problem: str = ""
    prepared: Version | None = None
    indexing: Indexing | None = None
    licence: str = ""  # of the terms of now, once `licence_read`
    licence_read: bool = False
    licence_problem: str = ""
    setting_terms: bool = False  # whether their form is open

    @rx.var
    def publishable(self) -> list[str]:
        """Digests of the prepared versions that the list offers to publish, whichever visit prepared them. The chain
        takes the next number only; not again what was just sent, nor what the upload card offers already."""
        if self.datanet is None or not self.datanet["mine"]:
            return []
        following = self.datanet["version"] + 1
        if self.indexing is not None and self.indexing["version"] == following:
            return []
        offered = self.prepared["manifest_digest"] if self.prepared is not None else ""
        return [
            row["manifest_digest"]
            for row in self.datanet["versions"]
            if row["status"] == "prepared" and row["version"] == following and row["manifest_digest"] != offered
        ]

    @rx.var
    def price(self) -> str:
        terms = self.datanet["terms"] if self.datanet is not None else None
        return price(terms["price_per_1000_answers"], terms["currency"]) if terms else ""

    @rx.var
    def price_field(self) -> list[str]:
        """What the form for new terms starts from: amount and currency."""
        terms = self.datanet["terms"] if self.datanet is not None else None
        if terms is None or terms["price_per_1000_answers"] is None:
            return ["", "EUR"]
        return [f"{terms['price_per_1000_answers']:.2f}", str(terms["currency"])]

    @rx.event
    async def load(self) -> None:
        if self.datanet and str(self.datanet["datanet_id"]) != route_argument(self, "datanet_id"):
            self.datanet = None
            self.tab = "data"
        self.draft = self.prepared = self.indexing = None
        self.upload_problem = ""
        self.setting_terms = False
        await self._read()

    async def _read(self) -> None:
        try:
            self.datanet = await call(self, "GET", f"/datanets/{route_argument(self, 'datanet_id')}")
            self.problem = ""
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
        self.licence, self.licence_read, self.licence_problem = "", False, ""

    async def _read_licence(self) -> None:
        """Of the terms that the page shows; the API checks it against their digest."""
        if self.datanet is None or self.licence_read:
            return
        terms, self.licence_problem = self.datanet["terms"], ""
        try:
            if terms["licence_cid"] is not None:
                path = f"/datanets/{self.datanet['datanet_id']}/terms/{terms['version']}/licence"
                self.licence = (await call(self, "GET", path))["text"]
            self.licence_read = True
        except api.ApiRefusal as refusal:
            self.licence_problem = refusal.detail

    @rx.event
    async def open_licence(self, is_open: bool) -> None:
        if is_open:
            await self._read_licence()

    @rx.event
    async def open_terms(self, is_open: bool) -> Any:
        self.setting_terms = is_open
        yield
        if is_open:
            await self._read_licence()

    @rx.event
    def show(self, tab: str) -> None:
        self.tab = tab

    @rx.event
    def choose_bad_rows(self, choice: str) -> None:
        self.on_bad_row = choice

    @rx.event
    def drafted(self, draft: dict[str, Any]) -> None:
        """The browser uploaded a file. Only its id goes back to the API, which checks whose it is."""
        self.draft = draft  # type: ignore[assignment]  # a JSON document of that shape, shown and nothing more
        self.prepared = self.indexing = None
        self.upload_problem = ""

    @rx.event
    def discard(self) -> None:
        self.draft = self.prepared = None

    @rx.event(background=True)
    async def prepare(self) -> None:
        """Encrypt, pin and root the draft: everything but the owner's own transaction. The page is not held up
        meanwhile; one that was reloaded finds the version in the list."""
        async with self:
            if self.draft is None or self.preparing:
                return
            self.preparing, self.upload_problem = True, ""
            session, draft_id = secret(self), self.draft["draft_id"]
            path = f"/datanets/{route_argument(self, 'datanet_id')}/versions"
            body = {"draft_id": draft_id, "on_bad_row": self.on_bad_row}
        prepared, problem = None, ""
        try:
            prepared = await api.call(session, "POST", path, body, timeout_seconds=_PREPARE_SECONDS)
        except api.ApiRefusal as refusal:
            problem = refusal.detail
        async with self:
            self.preparing = False
            if self.draft is not None and self.draft["draft_id"] == draft_id:
                self.prepared, self.upload_problem = prepared, problem
            else:
                await self._read()

    @rx.event(background=True)
    async def published(self, number: int, tx_hash: str, block: int) -> None:
        """Follow the new version until its passages can be searched."""
        async with self:
            path = f"/datanets/{route_argument(self, 'datanet_id')}"
            if self.prepared is not None:  # it was for this number, which is taken now
                self.draft = self.prepared = None
            self.indexing = {"version": number, "status": "published", "passages": 0, "problem": None}
        deadline = time.monotonic() + _INDEXING_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            async with self:
                if self.indexing is None or route_argument(self, "datanet_id") not in path or not tab_is_open(self):
                    return
                try:
                    version: Version = await call(self, "GET", f"{path}/versions/{number}")
                    self.indexing = version
                    self.upload_problem = ""
                    if version["status"] in _DONE:
                        await self._read()
                        return
                except api.ApiRefusal as refusal:
                    if refusal.status != 404:  # the mirror has not read the block yet
                        self.upload_problem = refusal.detail
            await asyncio.sleep(_INDEXING_POLL_SECONDS)
        async with self:
            self.indexing = None
            self.upload_problem = (
                f"Version {number} is not indexed yet. Byline goes on without this page: come back later to see how "
                "far it is, and if it stays so, run byline doctor on the server to see what is down."
            )
            await self._read()

    @rx.event(background=True)
    async def changed(self, tx_hash: str, block: int) -> None:
        """A transaction is in that block; 0 for a page that is out of date."""
        try:
            async with self:
                await mirrored(self, block)
                await self._read()
                self.setting_terms = False
        except api.ApiRefusal as refusal:
            async with self:
                self.problem = refusal.detail
