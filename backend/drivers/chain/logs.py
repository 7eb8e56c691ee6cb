"""Reading logs: decoded, in chain order, whole or not at all."""

from collections.abc import Sequence
from typing import Any

from backend.domain.errors import ChainUnavailable
from backend.domain.types import BlockRef, parse_digest
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import ChainConnection, RpcError, block_ref
from backend.ports import ChainEvent

ATTEMPTS = 5
Topics = Sequence[str | list[str] | None]


async def read_events(
    chain: ChainConnection, first: int, last: int, contracts: Sequence[str] = CONTRACTS, topics: Topics = ()
) -> list[ChainEvent]:
    """Our events in blocks first..last, each once, all of one and the same chain.

    Raises: ChainUnavailable, also when the chain keeps being reorganised while it is read.
    """
    first = max(first, chain.contracts.deployed_block)
    if last < first:
        return []
    for _ in range(ATTEMPTS):
        before = await chain.block(last)
        logs = await _logs(chain, first, last, contracts, topics)
        blocks = await _blocks(chain, logs)
        after = await chain.block(last)
        # The last block's hash commits to all before it: unchanged, so is what was read.
        if before == after and blocks is not None:
            names = {chain.contracts.of(name): name for name in contracts}
            events = [_decoded(chain, log, names, blocks) for log in logs]
            return sorted((e for e in events if e), key=lambda e: (e.block.number, e.log_index))
    raise ChainUnavailable("the chain is being reorganised")


async def _logs(
    chain: ChainConnection, first: int, last: int, contracts: Sequence[str], topics: Topics
) -> list[dict[str, Any]]:
    query = {
        "address": [chain.contracts.of(name) for name in contracts],
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "topics": list(topics),
    }
    try:
        return [log for log in await chain.rpc("eth_getLogs", query) or [] if not log.get("removed")]
    except RpcError as err:
        if first == last:
            raise ChainUnavailable(str(err)) from err
        # Every provider words its limits differently: whatever it disliked, half is less of it.
        middle = (first + last) // 2
        lower = await _logs(chain, first, middle, contracts, topics)
        return lower + await _logs(chain, middle + 1, last, contracts, topics)


async def _blocks(chain: ChainConnection, logs: Sequence[dict[str, Any]]) -> dict[str, BlockRef] | None:
    """The logs' blocks by hash; None when one of them is gone."""
    found: dict[str, BlockRef] = {}
    missing: dict[str, int] = {}
    for log in logs:
        number, block_hash = int(log["blockNumber"], 16), parse_digest(log["blockHash"])
        if log.get("blockTimestamp"):
            found[block_hash] = BlockRef(number, block_hash, int(log["blockTimestamp"], 16))
        else:
            missing[block_hash] = number
    try:
        answers = await chain.batch("eth_getBlockByHash", [(block_hash, False) for block_hash in missing])
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    if not all(answers):
        return None
    return found | {parse_digest(answer["hash"]): block_ref(answer) for answer in answers}


def _decoded(
    chain: ChainConnection, log: dict[str, Any], names: dict[Any, str], blocks: dict[str, BlockRef]
) -> ChainEvent | None:
    name = next((n for address, n in names.items() if address.lower() == log["address"].lower()), None)
    if name is None:
        return None
    decoded = chain.artifacts[name].decode_log(log["topics"], bytes.fromhex(log["data"][2:]))
    if decoded is None:  # e.g. ERC-721 events of an interface that we do not list
        return None
    return ChainEvent(
        block=blocks[parse_digest(log["blockHash"])],
        tx_hash=parse_digest(log["transactionHash"]),
        log_index=int(log["logIndex"], 16),
        contract=name,
        name=decoded[0],
        args=decoded[1],
    )
