"""The network page, the local chain's RPC, and the API's own documentation."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.routes.conftest import EMBEDDED, MAX_UPLOAD_BYTES, Site, error_of
from tests.services.world import SERVER

REFUSED = [
    "anvil_setBalance", "anvil_impersonateAccount", "evm_increaseTime", "evm_revert", "personal_unlockAccount",
    "personal_sendTransaction", "debug_traceTransaction", "admin_addPeer", "miner_start", "txpool_content",
    "hardhat_reset", "ots_getApiLevel", "EVM_mine", " evm_mine", "", "eth",
]  # fmt: skip


def call(method: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": []}


async def test_health_names_every_component_and_what_is_wrong(site: Site) -> None:
    async def well() -> dict[str, Any]:
        return {"name": "chain", "used": "embedded", "version": "1", "ok": True, "problem": None}

    async def ill() -> dict[str, Any]:
        return {"name": "ipfs", "used": "embedded", "version": None, "ok": False, "problem": "does not answer"}

    for probes, status in (([well], "ok"), ([well, ill], "degraded")):
        site.probes = list(probes)
        async with site.visitor() as client:
            health = (await client.get("/api/health")).json()
        assert (health["status"], len(health["components"])) == (status, len(probes))


async def test_the_network_says_which_chain_and_how_far_it_is_indexed(site: Site) -> None:
    async with site.visitor() as client:
        network = (await client.get("/api/network")).json()
        assert (network["chain_id"], network["publisher"], network["indexed_block"]) == (20931, SERVER, None)
        assert (network["embedded"], network["rpc_path"]) == (True, "/api/network/rpc")
        assert network["max_upload_bytes"] == MAX_UPLOAD_BYTES
        site.world.chain.mine()
        await site.world.follow()
        site.world.chain.mine()
        network = (await client.get("/api/network")).json()
        assert (network["head"]["number"], network["indexed_block"]) == (2, 1)


@pytest.mark.parametrize(
    ("set_to", "shown"),
    [(None, None), ("https://scan.test", "https://scan.test"), ("https://scan.test/x//", "https://scan.test/x")],
)
async def test_the_explorer_is_shown_so_that_a_path_can_follow(
    site: Site, set_to: str | None, shown: str | None
) -> None:
    site.network = replace(EMBEDDED, explorer_url=set_to)
    async with site.visitor() as client:
        assert (await client.get("/api/network")).json()["explorer_url"] == shown


async def test_the_local_chain_answers_what_a_wallet_asks(site: Site) -> None:
    async with site.visitor() as client:
        answer = await client.post("/api/network/rpc", json=call("eth_chainId"))
    assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": hex(20931)}
    assert len(site.gateway.forwarded) == 1


async def test_what_could_change_the_chain_without_a_signature_never_reaches_it(site: Site) -> None:
    async with site.visitor() as client:
        for method in REFUSED:
            for body in (call(method), [call("eth_chainId"), call(method)]):
                refused = await client.post("/api/network/rpc", json=body)
                assert (error_of(refused), refused.json()["field"]) == ((400, "InvalidValue"), "method")
        wrongs: list[Any] = [
            [],
            [call("eth_chainId")] * 101,
            [[]],
            [None],
            "eth_chainId",
            {"method": ["eth_chainId"]},
            {},
        ]
        for wrong in wrongs:
            assert error_of(await client.post("/api/network/rpc", json=wrong)) == (400, "InvalidValue")
        large = json.dumps(call("eth_chainId") | {"params": ["x" * 600_000]}).encode()
        refused = await client.post("/api/network/rpc", content=large)
        assert error_of(refused) == (413, "TooLarge")
        assert "524,288 bytes" in refused.json()["detail"]
    assert site.gateway.forwarded == []


async def test_a_method_named_twice_is_what_was_checked(site: Site) -> None:
    """Two readers of one JSON text may each take another of two equal keys."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"anvil_reset","method":"eth_chainId"}'
    async with site.visitor() as client:
        await client.post("/api/network/rpc", content=body)
    assert all(b"anvil_reset" not in forwarded for forwarded in site.gateway.forwarded)


async def test_a_foreign_chain_is_not_forwarded_to(site: Site) -> None:
    site.network = replace(EMBEDDED, embedded_chain=False)
    async with site.visitor() as client:
        assert error_of(await client.post("/api/network/rpc", json=call("eth_chainId"))) == (404, "NotFound")
        assert (await client.get("/api/network")).json()["rpc_path"] is None
    assert site.gateway.forwarded == []


async def test_a_silent_local_chain_is_503(site: Site) -> None:
    site.world.chain.down = True
    async with site.visitor() as client:
        assert error_of(await client.post("/api/network/rpc", json=call("eth_chainId"))) == (503, "ChainUnavailable")


HOST = re.compile(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}")


async def test_the_api_documents_itself_and_every_route(site: Site) -> None:
    async with site.visitor() as client:
        document = (await client.get("/api/schema/openapi.json")).json()
    assert set(document["paths"]) >= {
        "/api/health", "/api/network", "/api/network/rpc", "/api/sessions", "/api/sessions/challenges",
        "/api/sessions/current", "/api/datanets", "/api/datanets/{datanet_id}/drafts", "/api/models",
        "/api/training-orders", "/api/training-runs", "/api/training-runs/{run_id}/events", "/api/answers",
        "/api/receipts", "/api/receipts/{digest}/file",
    }  # fmt: skip
    assert HOST.findall(json.dumps(document)) == []
    for path in document["paths"].values():
        for name, operation in path.items():
            if name in ("get", "post", "delete"):
                assert operation["summary"]


@pytest.mark.parametrize("with_assets", [True, False])
async def test_the_documentation_page_loads_nothing_from_elsewhere(
    site: Site, tmp_path: Path, with_assets: bool
) -> None:
    (tmp_path / "swagger-ui-bundle.js").write_text("// here")
    site.assets = tmp_path if with_assets else None
    async with site.visitor() as client:
        page = await client.get("/api/schema/", follow_redirects=True)
        assert (await client.get("/api/schema/openapi.json")).json()["info"]["title"] == "Byline"
        assert page.status_code == 200
        if with_assets:
            assert (await client.get("/api/schema/assets/swagger-ui-bundle.js")).text == "// here"
    assert HOST.findall(page.text) == []
