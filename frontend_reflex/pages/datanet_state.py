"""What /datanets/[datanet_id] knows and does; its three tabs draw it."""

import asyncio
import time
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.session import call, mirrored, route_argument, tab_is_open
from frontend_reflex.views import DatanetDetail, Draft, Prepared, Version

_INDEXING_POLL_SECONDS = 1.0
_INDEXING_PATIENCE_SECONDS = 900.0
_DONE = ("indexed", "stale")


class OneDatanet(rx.State):
    datanet: DatanetDetail | None = None
    problem: str = ""
    tab: str = "data"
    draft: Draft | None = None
    on_bad_row: str = "skip"
    preparing: bool = False
    upload_problem: str = ""
    prepared: Prepared | None = None
    indexing: Version | None = None

    @rx.event
    async def load(self) -> None:
        if self.datanet and str(self.datanet["datanet_id"]) != route_argument(self, "datanet_id"):
            self.datanet = None
            self.tab = "data"
        self.draft = self.prepared = self.indexing = None
        self.upload_problem = ""
        await self._read()

    async def _read(self) -> None:
        try:
            self.datanet = await call(self, "GET", f"/datanets/{route_argument(self, 'datanet_id')}")
            self.problem = ""
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail

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

    @rx.event
    async def prepare(self) -> Any:
        """Encrypt, pin and root the draft: everything but the owner's own transaction."""
        if self.draft is None:
            return
        self.preparing, self.upload_problem = True, ""
        yield
        path = f"/datanets/{route_argument(self, 'datanet_id')}/versions"
        body = {"draft_id": self.draft["draft_id"], "on_bad_row": self.on_bad_row}
        try:
            self.prepared = await call(self, "POST", path, body)
        except api.ApiRefusal as refusal:
            self.upload_problem = refusal.detail
        self.preparing = False

    @rx.event(background=True)
    async def published(self, tx_hash: str, block: int) -> None:
        """Follow the new version until its passages can be searched."""
        async with self:
            if self.prepared is None:
                return
            number = self.prepared["version"]
            path = f"/datanets/{route_argument(self, 'datanet_id')}"
            self.draft = None
            self.indexing = {
                "version": number,
                "manifest_digest": self.prepared["manifest_digest"],
                "manifest_cid": self.prepared["manifest_cid"],
                "records": self.prepared["records"],
                "records_root": self.prepared["records_root"],
                "status": "published",
                "passages": 0,
                "created_at": "",
                "contributors": [],
            }
            self.prepared = None
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

    @rx.event(background=True)
    async def access_changed(self, tx_hash: str, block: int) -> None:
        try:
            async with self:
                await mirrored(self, block)
                await self._read()
        except api.ApiRefusal as refusal:
            async with self:
                self.problem = refusal.detail
