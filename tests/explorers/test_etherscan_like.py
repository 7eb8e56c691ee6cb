"""Blockscout and Etherscan, by loopback servers that answer as they do: status "1" or "0", and a result in words."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from backend.domain.types import Digest
from backend.drivers.chain.sources import ContractSources
from backend.drivers.explorers import Judgement, Patience, Sourcify, blockscout, etherscan
from tests.services.content_fixtures import OWNER

KEY = "SECRETKEY123"
SOURCES = ContractSources(
    contract="ModelRegistry",
    chain_id=10,
    address=OWNER,
    identifier="project/contracts/ModelRegistry.sol:ModelRegistry",
    compiler="0.8.37+commit.f401782d",
    standard_json={"language": "Solidity", "sources": {"a.sol": {"content": "contract A {}"}}, "settings": {}},
    metadata="{}",
    arguments=bytes.fromhex("00" * 31 + "07"),
    created_by=Digest("0x" + "ab" * 32),
)
QUICK, HASTY = Patience(poll_seconds=0), Patience(deadline_seconds=0, poll_seconds=0)
LOCATE = ("0", "Unable to locate ContractCode at 0x1")


class FakeExplorer:
    """Says what it was told to say, one line after the other, and keeps what it was asked."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        form = {key: values[0] for key, values in parse_qs(await request.text()).items()}
        self.asked.append({**request.query, **form, "method": request.method})
        status, result = self.lines.pop(0)
        return web.json_response({"status": status, "message": "OK" if status == "1" else "NOTOK", "result": result})

    async def fail(self, _: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>")


@pytest.fixture
async def fake() -> AsyncIterator[FakeExplorer]:
    fake = FakeExplorer()
    app = web.Application()
    app.router.add_route("*", "/api", fake.answer)
    app.router.add_route("*", "/v2/verify/{rest:.*}", fake.fail)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


async def test_etherscan_gets_all_it_needs_and_is_asked_until_it_has_decided(fake: FakeExplorer) -> None:
    fake.lines = [LOCATE, ("1", "job7"), ("0", "Pending in queue"), ("1", "Pass - Verified")]
    judged = await etherscan(KEY, 10, f"{fake.url}/api", QUICK).verify(SOURCES)
    assert judged == Judgement("Etherscan", "ModelRegistry", "verified", f"https://blockscan.com/address/{OWNER}")
    _, submitted, _, status = fake.asked
    assert submitted == {
        "method": "POST",
        "chainid": "10",
        "module": "contract",
        "action": "verifysourcecode",
        "apikey": KEY,
        "contractaddress": OWNER,
        "sourceCode": '{"language": "Solidity", "sources": {"a.sol": {"content": "contract A {}"}}, "settings": {}}',
        "codeformat": "solidity-standard-json-input",
        "contractname": SOURCES.identifier,
        "compilerversion": "v0.8.37+commit.f401782d",
        "constructorArguements": "00" * 31 + "07",
    }
    assert status == {
        "method": "GET", "chainid": "10", "module": "contract", "action": "checkverifystatus",
        "apikey": KEY, "guid": "job7",
    }  # fmt: skip


async def test_blockscout_is_spoken_to_likewise_without_a_key(fake: FakeExplorer) -> None:
    fake.lines = [("1", "job"), ("1", "Pass - Verified")]
    judged = await blockscout(fake.url + "/", QUICK).verify(SOURCES)
    assert judged == Judgement("Blockscout", "ModelRegistry", "verified", f"{fake.url}/address/{OWNER}")
    assert all("apikey" not in asked and "chainid" not in asked for asked in fake.asked)


@pytest.mark.parametrize(
    ("lines", "match", "problem"),
    [
        ([("0", "Contract source code already verified")], "verified", None),
        ([("1", "job"), ("0", "Already Verified")], "verified", None),
        ([("1", "job"), ("0", "Fail - Unable to verify")], "failed", "Fail - Unable to verify"),
        ([("1", "job"), ("0", "Unknown UID")], "failed", "Unknown UID"),
        ([("0", f"Invalid API Key (#err2)|{KEY}")], "failed", "Invalid API Key (#err2)|…"),
        ([LOCATE] * 50, "failed", "not judged within 0 s; ask again later"),
        ([("1", "job"), *[("0", "Pending in queue")] * 50], "failed", "not judged within 0 s; ask again later"),
    ],
)
async def test_what_it_says_is_what_is_shown_and_the_key_never_is(
    fake: FakeExplorer, lines: list[tuple[str, str]], match: str, problem: str | None
) -> None:
    fake.lines = [*lines]
    judged = await etherscan(KEY, 1, f"{fake.url}/api", HASTY if len(lines) > 40 else QUICK).verify(SOURCES)
    assert (judged.match, judged.problem) == (match, problem)
    assert KEY not in str(judged)


async def test_an_explorer_that_is_down_or_speaks_no_json_is_a_verdict_too(fake: FakeExplorer) -> None:
    judged = await etherscan(KEY, 1, "http://127.0.0.1:9/api").verify(SOURCES)
    assert (judged.match, judged.problem) == ("failed", "127.0.0.1 does not answer (ConnectError)")
    judged = await Sourcify(fake.url).verify(SOURCES)
    assert (judged.match, judged.problem) == ("failed", "127.0.0.1 answers 502, and no JSON")
