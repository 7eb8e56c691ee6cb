"""The explorer, for people without an account: read from the chain's node, never from our database."""

from dataclasses import asdict
from typing import Any

from litestar import Controller, get
from litestar.params import FromPath, FromQuery

from backend.domain.errors import InvalidValue
from backend.domain.types import DatanetId, parse_digest, parse_wallet
from backend.routes.given import Given
from backend.services.exploring import Exploring
from backend.services.searching import Searching

LAST_BLOCK = 2**63


def _before(block: int | None) -> int | None:
    if block is not None and not 0 < block < LAST_BLOCK:
        raise InvalidValue("before", "is a block number above 0")
    return block


class ExplorerController(Controller):
    path = "/explorer"
    tags = ("Explorer",)

    @get("/blocks", summary="The latest blocks, newest first")
    async def list_blocks(
        self, exploring: Given[Exploring], before: FromQuery[int | None] = None, limit: FromQuery[int] = 20
    ) -> dict[str, Any]:
        head, blocks = await exploring.blocks(_before(before), limit)
        return {"head": head, "blocks": [asdict(block) for block in blocks]}

    @get("/blocks/{which:str}", summary="One block by number or hash, with its transactions")
    async def get_block(self, which: FromPath[str], exploring: Given[Exploring]) -> dict[str, Any]:
        return asdict(await exploring.block(which))

    @get("/transactions/{tx_hash:str}", summary="One transaction: its call, events and refusal decoded")
    async def get_transaction(self, tx_hash: FromPath[str], exploring: Given[Exploring]) -> dict[str, Any]:
        return asdict(await exploring.transaction(parse_digest(tx_hash)))

    @get("/addresses/{address:str}", summary="An address: datanets, grants, credits, models, transactions")
    async def get_address(
        self, address: FromPath[str], exploring: Given[Exploring], before: FromQuery[int | None] = None
    ) -> dict[str, Any]:
        return asdict(await exploring.address(parse_wallet(address), _before(before)))

    @get("/datanets/{datanet_id:int}", summary="A datanet as the contracts have it")
    async def get_datanet(self, datanet_id: FromPath[int], exploring: Given[Exploring]) -> dict[str, Any]:
        if not 0 < datanet_id < LAST_BLOCK:
            raise InvalidValue("datanet_id", "is a number from 1")
        return asdict(await exploring.datanet(DatanetId(datanet_id)))

    @get("/search", summary="Where a hash, an address, a number or a datanet leads")
    async def search(self, q: FromQuery[str], searching: Given[Searching]) -> dict[str, Any]:
        return {"results": [asdict(found) for found in await searching.search(q)]}
