"""Reading logs: decoded, in chain order, each once, whole or not at all.

A node may limit what it gives, lag behind the one that answered before it, or be reorganised while it is read. Old
blocks are read in ranges as long as the node allows. The newest are read by their headers: each header names the one
before it, its bloom says whether it may hold logs of ours, and logs asked for by a block's hash are that block's or
an error, never a shorter list.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable
from backend.domain.types import BlockRef, parse_digest
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import ChainConnection, RpcError, block_ref
from backend.ports import ChainEvent

ATTEMPTS = 5
PAUSE_SECONDS = 0.05  # after the first attempt; longer after each
TAIL_BLOCKS = 64  # as many as nodes may disagree about

Topics = Sequence[str | list[str] | None]
Log = dict[str, Any]
Header = dict[str, Any]


class Unrest(Exception):
    """What was read is not of one chain, or not all of it: read again."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    addresses: list[str]
    topics: list[str | list[str] | None]

    def of(self, **blocks: str) -> dict[str, Any]:
        """The argument of eth_getLogs."""
        return {"address": self.addresses, "topics": self.topics, **blocks}

    def may_match(self, header: Header) -> bool:
        """False only when that block surely holds no such log."""
        bloom = int(header.get("logsBloom") or "0x0", 16)
        if bloom == 0:  # no logs; or a chain that keeps no blooms
            return bool(header.get("transactions"))
        wanted = [self.addresses, *([topic] if isinstance(topic, str) else topic for topic in self.topics if topic)]
        return all(any(in_bloom(bloom, item) for item in alternatives) for alternatives in wanted)


def in_bloom(bloom: int, item: str) -> bool:
    """Whether a block's bloom (2,048 bits) has the three bits of an address or topic (hex)."""
    digest = keccak(hexstr=item)
    return all(bloom >> (int.from_bytes(digest[at : at + 2], "big") % 2048) & 1 for at in (0, 2, 4))


async def read_events(
    chain: ChainConnection, first: int, last: int, contracts: Sequence[str] = CONTRACTS, topics: Topics = ()
) -> list[ChainEvent]:
    """Our events in blocks first..last, in chain order, each once, all of one and the same chain.

    Raises: ChainUnavailable, also when the chain does not rest, or the node contradicts itself, as often as it is
    read; and when it refuses the logs of even one block.
    """
    first = max(first, chain.contracts.deployed_block)
    if last < first:
        return []
    wanted = LogFilter([chain.contracts.of(name) for name in contracts], list(topics))
    problem = ""
    for attempt in range(ATTEMPTS):
        try:
            logs, headers = await _read(chain, first, last, wanted)
        except Unrest as unrest:
            problem = str(unrest)
            await asyncio.sleep(PAUSE_SECONDS * (attempt + 1))
            continue
        blocks = {header["hash"]: block_ref(header) for header in headers}
        names = {chain.contracts.of(name).lower(): name for name in contracts}
        events = [_decoded(chain, log, names, blocks) for log in logs]
        return sorted((e for e in events if e), key=lambda e: (e.block.number, e.log_index))
    raise ChainUnavailable(f"{chain.host} does not settle on one chain: {problem}")


async def _read(chain: ChainConnection, first: int, last: int, wanted: LogFilter) -> tuple[list[Log], list[Header]]:
    """The logs, and the headers of their blocks among others. Raises: Unrest."""
    tip = await chain.block(last)
    if tip is None:
        raise Unrest(f"block {last} is gone")
    tail = max(first, last - TAIL_BLOCKS + 1)
    logs = await _in_ranges(chain, first, tail - 1, wanted)
    numbers = sorted({*(int(log["blockNumber"], 16) for log in logs), *range(tail, last + 1)})
    headers = await _headers(chain, numbers)
    if parse_digest(headers[-1]["hash"]) != tip.hash:  # it commits to all before it: unchanged, so is what was read
        raise Unrest(f"block {last} was replaced")
    canonical = {header["hash"] for header in headers}
    for log in logs:
        if log["blockHash"] not in canonical:
            raise Unrest(f"a log is of another block {int(log['blockNumber'], 16)}")
    newest = [header["hash"] for header in headers if int(header["number"], 16) >= tail and wanted.may_match(header)]
    return logs + await _by_hash(chain, newest, wanted), headers


async def _in_ranges(chain: ChainConnection, first: int, last: int, wanted: LogFilter) -> list[Log]:
    """In blocks first..last, as many at once as the node gives."""
    logs: list[Log] = []
    while first <= last:
        end = min(last, first + chain.log_span.blocks - 1)
        asked = end - first + 1
        try:
            found = await chain.rpc("eth_getLogs", wanted.of(fromBlock=hex(first), toBlock=hex(end)))
        except RpcError as err:
            if asked == 1:
                raise _refused(chain, f"block {first}", err) from err
            chain.log_span.refused(asked, err.message)
            continue
        chain.log_span.answered(asked)
        logs += each_once(found or [], range(first, end + 1))
        first = end + 1
    return logs


async def _by_hash(chain: ChainConnection, hashes: Sequence[str], wanted: LogFilter) -> list[Log]:
    try:
        answers = await chain.batch("eth_getLogs", [[wanted.of(blockHash=block_hash)] for block_hash in hashes])
    except RpcError as err:
        if len(hashes) == 1:
            raise _refused(chain, f"block {hashes[0]}", err) from err
        raise Unrest(str(err)) from err  # e.g. reorganised away, or not yet at the node that was asked
    logs: list[Log] = []
    for block_hash, found in zip(hashes, answers, strict=True):
        if any(log["blockHash"] != block_hash for log in found or []):
            raise Unrest(f"asked for the logs of block {block_hash}, the node gave another's")
        logs += each_once(found or [])
    return logs


async def _headers(chain: ChainConnection, numbers: Sequence[int]) -> list[Header]:
    """In the order of `numbers`, which ascend."""
    try:
        headers: list[Header | None] = await chain.batch("eth_getBlockByNumber", [(hex(n), False) for n in numbers])
    except RpcError as err:
        raise Unrest(str(err)) from err
    found: list[Header] = []
    for number, header in zip(numbers, headers, strict=True):
        if header is None:
            raise Unrest(f"block {number} is gone")
        before = found[-1] if found else None
        if before and int(before["number"], 16) == number - 1 and header["parentHash"] != before["hash"]:
            raise Unrest(f"block {number} does not follow block {number - 1}")
        found.append(header)
    return found


def each_once(logs: Iterable[Log], expected: range | None = None) -> list[Log]:
    """Without the copies. Raises: Unrest for logs that were removed, contradict each other or were not asked for."""
    found: dict[tuple[str, str], Log] = {}
    for log in logs:
        if log.get("removed") or log.get("blockHash") is None:
            raise Unrest("a log was removed by a reorganisation")
        if expected is not None and int(log["blockNumber"], 16) not in expected:
            raise Unrest(f"a log of block {int(log['blockNumber'], 16)} was not asked for")
        if found.setdefault((log["blockHash"], log["logIndex"]), log) != log:
            raise Unrest(f"two logs are number {int(log['logIndex'], 16)} of block {log['blockHash']}")
    return list(found.values())


def _refused(chain: ChainConnection, what: str, err: RpcError) -> ChainUnavailable:
    since = chain.contracts.deployed_block
    return ChainUnavailable(
        f"{chain.host} refuses the logs of {what} alone: {err.message[:200]}; "
        f"set RPC_URL to a node that serves eth_getLogs from block {since} on"
    )


def _decoded(chain: ChainConnection, log: Log, names: dict[str, str], blocks: dict[str, BlockRef]) -> ChainEvent | None:
    name = names.get(log["address"].lower())
    if name is None:
        return None
    decoded = chain.artifacts[name].decode_log(log["topics"], log["data"])
    if decoded is None:  # e.g. ERC-721 events of an interface that we do not list
        return None
    return ChainEvent(
        block=blocks[log["blockHash"]],
        tx_hash=parse_digest(log["transactionHash"]),
        log_index=int(log["logIndex"], 16),
        contract=name,
        name=decoded[0],
        args=decoded[1],
    )
