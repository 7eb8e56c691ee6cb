"""Services that compile a contract's sources anew and say whether they are what is on the chain.

    Sourcify   its API v2
    Etherscan  its API v2, and Blockscout's API of the same shape

Each `verify` hands one contract over and asks until it is judged. It never raises: what went wrong is in the verdict.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx

from backend.drivers.chain.sources import ContractSources

ETHERSCAN_URL = "https://api.etherscan.io/v2/api"
REQUEST_SECONDS = 60.0

# "verified": the service does not say whether the metadata agreed too.
Match = Literal["exact", "partial", "verified", "failed"]


@dataclass(frozen=True, slots=True)
class Judgement:
    service: str
    contract: str
    match: Match
    link: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a judgement is waited for, and how often it is asked for."""

    deadline_seconds: float = 180.0
    poll_seconds: float = 2.0

    async def wait(self, since: float) -> None:
        """`since`: of the monotonic clock. Raises: _Undecided when it is over."""
        if time.monotonic() - since > self.deadline_seconds:
            raise _Undecided(f"not judged within {self.deadline_seconds:g} s; ask again later")
        await asyncio.sleep(self.poll_seconds)


PATIENCE = Patience()


class Explorer(Protocol):
    name: str

    async def verify(self, sources: ContractSources) -> Judgement: ...


class _Undecided(Exception):
    """What the service said instead of a judgement. The message holds no key."""


class _Unanswered(_Undecided):
    """Of a job that is under way: the next time may be better."""


class Sourcify:
    name = "Sourcify"

    def __init__(self, url: str, patience: Patience = PATIENCE) -> None:
        """`url`: the server's, such as https://sourcify.dev/server."""
        self._url = url.rstrip("/")
        self._patience = patience

    async def verify(self, sources: ContractSources) -> Judgement:
        place = f"{sources.chain_id}/{sources.address}"
        link = f"{self._url}/v2/contract/{place}"
        body: dict[str, Any] = {
            "stdJsonInput": sources.standard_json,
            "compilerVersion": sources.compiler,
            "contractIdentifier": sources.identifier,
        }
        if sources.created_by is not None:
            body["creationTransactionHash"] = sources.created_by
        try:
            async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as http:
                asked = await _json(http, "POST", f"{self._url}/v2/verify/{place}", json=body)
                if asked.get("customCode") == "already_verified":
                    found = await _json(http, "GET", link)
                elif "verificationId" in asked:
                    found = await self._judged(http, str(asked["verificationId"]))
                else:
                    raise _Undecided(str(asked.get("message", asked)))
        except _Undecided as err:
            return Judgement(self.name, sources.contract, "failed", problem=str(err)[:300])
        matches: dict[Any, Match] = {"exact_match": "exact", "match": "partial"}
        match = matches.get(found.get("match"), "failed")
        if match == "failed":
            return Judgement(self.name, sources.contract, match, problem="the sources are not of what is on the chain")
        return Judgement(self.name, sources.contract, match, link, _inexact(found))

    async def _judged(self, http: httpx.AsyncClient, job: str) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            try:
                found = await _json(http, "GET", f"{self._url}/v2/verify/{job}")
            except _Unanswered:
                found = {}
            if error := found.get("error"):
                raise _Undecided(f"{error.get('customCode', '')}: {error.get('message', '')}")
            if found.get("isJobCompleted"):
                contract: dict[str, Any] = found.get("contract") or {}
                return contract
            await self._patience.wait(began)


def _inexact(found: Mapping[str, Any]) -> str | None:
    """Which of its two codes is no exact match; a server that was told of no creation only looks at the other."""
    said = {"exact_match": "exact", "match": "partial"}
    parts = {"creation": str(found.get("creationMatch")), "runtime": str(found.get("runtimeMatch"))}
    inexact = [
        f"{part} code {said.get(match, 'not compared')}" for part, match in parts.items() if match != "exact_match"
    ]
    return ", ".join(inexact) or None


class EtherscanLike:
    """`module=contract` with `action=verifysourcecode`, then `checkverifystatus`."""

    def __init__(
        self,
        name: str,
        url: str,
        site: str,
        *,
        patience: Patience,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> None:
        """`url`: the API's; `site`: what an address is appended to for the page to look at; `query`: in every call."""
        self.name = name
        self._url = url
        self._site = site
        self._query = dict(query or {})
        self._key = key
        self._patience = patience

    async def verify(self, sources: ContractSources) -> Judgement:
        began = time.monotonic()
        try:
            async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as http:
                job = await self._submit(http, sources, began)
                while job is not None and not await self._passed(http, job):
                    await self._patience.wait(began)
        except _Undecided as err:
            problem = str(err).replace(self._key, "…") if self._key else str(err)
            return Judgement(self.name, sources.contract, "failed", problem=problem[:300])
        return Judgement(self.name, sources.contract, "verified", f"{self._site}{sources.address}")

    async def _submit(self, http: httpx.AsyncClient, sources: ContractSources, began: float) -> str | None:
        """The job's number; None when there is nothing left to do."""
        fields = {
            "action": "verifysourcecode",
            "contractaddress": sources.address,
            "sourceCode": json.dumps(sources.standard_json),
            "codeformat": "solidity-standard-json-input",
            "contractname": sources.identifier,
            "compilerversion": f"v{sources.compiler}",
            "constructorArguements": sources.arguments.hex(),  # their spelling
        }
        while True:
            said, good = await self._call(http, "POST", fields)
            if good:
                return said
            if "already verified" in said.lower():
                return None
            if "unable to locate contractcode" not in said.lower():  # it has not seen the block yet
                raise _Undecided(said)
            await self._patience.wait(began)

    async def _passed(self, http: httpx.AsyncClient, job: str) -> bool:
        """False while it is not judged. Raises: _Undecided when it failed."""
        try:
            said, _ = await self._call(http, "GET", {"action": "checkverifystatus", "guid": job})
        except _Unanswered:
            return False
        if "pass" in said.lower() or "already verified" in said.lower():
            return True
        if "pending" in said.lower() or "in progress" in said.lower():
            return False
        raise _Undecided(said)

    async def _call(self, http: httpx.AsyncClient, method: str, fields: Mapping[str, str]) -> tuple[str, bool]:
        """(result, whether its status is good)."""
        sent = {"module": "contract", **fields} | ({"apikey": self._key} if self._key else {})
        if method == "POST":
            answer = await _json(http, method, self._url, params=self._query, data=sent)
        else:
            answer = await _json(http, method, self._url, params=self._query | sent)
        return str(answer.get("result") or answer.get("message") or answer), str(answer.get("status")) == "1"


def blockscout(url: str, patience: Patience = PATIENCE) -> EtherscanLike:
    """`url`: the instance's, such as https://eth.blockscout.com."""
    root = url.rstrip("/")
    return EtherscanLike("Blockscout", f"{root}/api", f"{root}/address/", patience=patience)


def etherscan(key: str, chain_id: int, url: str = ETHERSCAN_URL, patience: Patience = PATIENCE) -> EtherscanLike:
    """`key`: an API key of etherscan.io; one is good for all its chains."""
    link = "https://etherscan.io/address/" if chain_id == 1 else "https://blockscan.com/address/"
    return EtherscanLike("Etherscan", url, link, patience=patience, query={"chainid": str(chain_id)}, key=key)


async def _json(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> dict[str, Any]:
    """Whatever its status. Raises: _Undecided, naming the host and no more of the URL: keys live there."""
    host = httpx.URL(url).host
    try:
        response = await http.request(method, url, **request)
        answer = response.json()
    except httpx.HTTPError as err:
        raise _Unanswered(f"{host} does not answer ({type(err).__name__})") from err
    except ValueError as err:
        raise _Undecided(f"{host} answers {response.status_code}, and no JSON") from err
    if not isinstance(answer, dict):
        raise _Undecided(f"{host} answers {response.status_code}, and nothing that could be understood")
    return answer
