"""A person of the demo: a wallet that signs in over the public API and sends its own transactions."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from backend.domain.types import Wallet
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import sign_message, sign_typed_data
from backend.ports import ContractCall, MinedTransaction


class DemoFailed(Exception):
    """The demo met something it did not expect; the message says at which step and what came back."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    error: str
    detail: str


class Actor:
    """`name` is how the story calls them; the key never leaves this process."""

    def __init__(self, name: str, key: str, http: httpx.AsyncClient, chain: ChainConnection) -> None:
        self.name = name
        self._http = http
        self._signer = KeyedSigner(chain, key)
        self._key = key

    @property
    def wallet(self) -> Wallet:
        return self._signer.address

    async def sign_in(self) -> None:
        challenge = await self.post("/sessions/challenges", {"address": self.wallet})
        signature = sign_message(self._key, challenge["message"])
        await self.post("/sessions", {"message": challenge["message"], "signature": signature})

    async def send(self, function: str, *args: Any) -> MinedTransaction:
        """One transaction of this wallet to the DatanetRegistry, signed here, waited for."""
        call = ContractCall("DatanetRegistry", function, args)
        signed = await self._signer.sign(call, await self._signer.next_nonce())
        await self._signer.broadcast(signed.raw)
        for _ in range(600):
            mined = await self._signer.mined(signed.hash)
            if mined is not None:
                if not mined.succeeded:
                    raise DemoFailed(f"{self.name}: {function} reverted in {signed.hash}")
                return mined
            await asyncio.sleep(0.1)
        raise DemoFailed(f"{self.name}: {function} was not mined within a minute ({signed.hash})")

    def sign_typed_data(self, document: dict[str, Any]) -> str:
        return sign_typed_data(self._key, document)

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path)

    async def post(self, path: str, body: Any) -> Any:
        return await self._ask("POST", path, json=body)

    async def upload(self, path: str, filename: str, content: bytes, fields: Mapping[str, str]) -> Any:
        files = {"file": (filename, content, "application/octet-stream")}
        return await self._ask("POST", path, data=dict(fields), files=files)

    async def refused(self, path: str, body: Any) -> Refusal | None:
        """What the API says when it refuses; None when it does not (which the story then reports)."""
        with self._answers(path):
            async with self._http.stream("POST", f"/api{path}", json=body) as response:
                if response.is_success:
                    return None
                said = json.loads(await response.aread())
                return Refusal(response.status_code, said.get("error", ""), said.get("detail", ""))

    async def events(self, method: str, path: str, body: Any = None) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events as (name, data), until the stream ends."""
        with self._answers(path):
            async with self._http.stream(method, f"/api{path}", json=body, timeout=None) as response:
                if not response.is_success:
                    await response.aread()
                    self._body(response, path)
                name = "message"
                async for line in response.aiter_lines():
                    if line.startswith("event:"):
                        name = line[6:].strip()
                    elif line.startswith("data:"):
                        yield name, json.loads(line[5:])

    async def _ask(self, method: str, path: str, **given: Any) -> Any:
        with self._answers(path):
            return self._body(await self._http.request(method, f"/api{path}", **given), path)

    @contextmanager
    def _answers(self, path: str) -> Iterator[None]:
        """Raises: DemoFailed when no answer comes, or it breaks off."""
        try:
            yield
        except httpx.HTTPError as error:
            raise DemoFailed(f"{self.name}: {path} gave no answer: {error or type(error).__name__}") from error

    def _body(self, response: httpx.Response, path: str) -> Any:
        if response.is_success:
            return response.json() if response.content else None
        try:
            said = response.json().get("detail", response.text)
        except ValueError:
            said = response.text[:300]
        raise DemoFailed(f"{self.name}: {path} answered {response.status_code}: {said}")
