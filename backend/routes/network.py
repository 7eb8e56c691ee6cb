"""What this Byline runs on: chain, contracts, components; and the local chain's RPC for the test wallet."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, post

from backend.domain.errors import InvalidValue, NotFound, TooLarge
from backend.ports import ChainEvents, ChainMirror, ComponentProbe, RpcGateway
from backend.routes.given import Given

RPC_METHODS = ("eth_", "net_", "web3_")
RPC_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Network:
    chain_id: int
    embedded_chain: bool
    explorer_url: str | None
    contracts: dict[str, str]
    publisher: str


def check_rpc(body: Any) -> None:
    """Only what a wallet needs. Raises: InvalidValue."""
    calls = body if isinstance(body, list) else [body]
    if not calls or len(calls) > 100:
        raise InvalidValue("body", "a JSON-RPC request, or a batch of up to 100")
    for call in calls:
        method = call.get("method") if isinstance(call, dict) else None
        if not isinstance(method, str) or not method.startswith(RPC_METHODS):
            raise InvalidValue("method", f"{method!r} is not one a wallet needs (eth_…, net_…, web3_…)")


class NetworkController(Controller):
    path = "/"
    tags = ("Network",)

    @get("/health", summary="Whether each component answers")
    async def health(self, probes: Given[list[ComponentProbe]]) -> dict[str, Any]:
        components = [await probe() for probe in probes]
        return {
            "status": "ok" if all(component["ok"] for component in components) else "degraded",
            "components": components,
        }

    @get("/network", summary="The chain and the contracts")
    async def network(
        self,
        network: Given[Network],
        events: Given[ChainEvents],
        mirror: Given[ChainMirror],
        max_upload_bytes: Given[int],
    ) -> dict[str, Any]:
        head = await events.head()
        standing = await mirror.standing()
        return {
            "chain_id": network.chain_id,
            "embedded": network.embedded_chain,
            "explorer_url": network.explorer_url.rstrip("/") if network.explorer_url else None,
            "rpc_path": "/api/network/rpc" if network.embedded_chain else None,
            "contracts": network.contracts,
            "publisher": network.publisher,
            "test_wallets": network.embedded_chain,
            "head": {"number": head.number, "timestamp": head.timestamp},
            "indexed_block": standing.tip.number if standing.tip else None,
            "final_block": standing.finality.block.number if standing.finality else None,
            "max_upload_bytes": max_upload_bytes,
        }

    @post("/network/rpc", summary="JSON-RPC of the embedded chain, for the local test wallet", status_code=200)
    async def rpc(
        self,
        request: Request[Any, Any, Any],
        network: Given[Network],
        gateway: Given[RpcGateway],
    ) -> Response[bytes]:
        if not network.embedded_chain:
            raise NotFound("an embedded chain")
        body = await request.body()
        if len(body) > RPC_BYTES:
            raise TooLarge(
                f"a JSON-RPC request may have {RPC_BYTES:,} bytes, this one has {len(body):,}; send less at once"
            )
        try:
            asked = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidValue("body", f"is not JSON: {error}") from error
        check_rpc(asked)
        # What was checked is what is sent: of two equal keys the node might read the other.
        return Response(await gateway.forward(msgspec.json.encode(asked)), media_type="application/json")
