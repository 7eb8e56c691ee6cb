"""`ChainExplorer` over JSON-RPC: blocks, transactions with decoded calls and events, accounts, logs, views."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable
from backend.domain.explorer import (
    AccountSeen,
    BlockSeen,
    ContractAbout,
    Decoded,
    EventSeen,
    Failure,
    TransactionLine,
    TransactionSeen,
)
from backend.domain.types import Digest, Wallet, digest_of, parse_digest, parse_wallet
from backend.drivers.chain.abi import CONTRACTS, number_topic, wallet_topic
from backend.drivers.chain.connection import ChainConnection, RpcError, block_ref
from backend.drivers.chain.decoding import SELECTOR, ContractWords, solidity_error
from backend.drivers.chain.logs import Topics, read_events
from backend.ports import ChainEvent, ContractCall

LOG_SPAN_BLOCKS = 2_000_000  # on a long public chain, events are looked for in this many blocks
LOG_SECONDS = 20.0
INDEXED = 3  # topics that an event has besides its own


class RpcChainExplorer:
    def __init__(self, chain: ChainConnection, artifacts: Path) -> None:
        """`artifacts` is Hardhat's folder."""
        self._chain = chain
        self._words = {name: ContractWords(chain.artifacts[name], artifacts) for name in CONTRACTS}
        self._ours: dict[Wallet, str] = {chain.contracts.of(name): name for name in CONTRACTS}

    # --- blocks -------------------------------------------------------------------------------

    async def head(self) -> int:
        return int(await self._rpc("eth_blockNumber"), 16)

    async def blocks(self, numbers: Sequence[int], *, transactions: bool) -> list[BlockSeen]:
        found = await self._batch("eth_getBlockByNumber", [(hex(n), transactions) for n in numbers])
        return [self._block(block) for block in found if block]

    async def block_named(self, block_hash: Digest) -> BlockSeen | None:
        found = await self._rpc("eth_getBlockByHash", block_hash, True)
        return self._block(found) if found else None

    def _block(self, block: dict[str, Any]) -> BlockSeen:
        whole = [tx for tx in block["transactions"] if isinstance(tx, dict)]
        return BlockSeen(
            number=_number(block["number"]),
            hash=parse_digest(block["hash"]),
            timestamp=_number(block["timestamp"]),
            parent_hash=parse_digest(block["parentHash"]),
            miner=parse_wallet(block["miner"]),
            gas_used=_number(block["gasUsed"]),
            gas_limit=_number(block["gasLimit"]),
            base_fee_wei=str(_number(block.get("baseFeePerGas"))),
            size_bytes=_number(block.get("size")),
            transaction_count=len(block["transactions"]),
            transactions=tuple(self._line(tx, _number(block["timestamp"])) for tx in whole),
        )

    def _line(self, tx: dict[str, Any], timestamp: int) -> TransactionLine:
        to = _address(tx.get("to"))
        return TransactionLine(
            hash=parse_digest(tx["hash"]),
            block_number=_number(tx["blockNumber"]),
            timestamp=timestamp,
            index=_number(tx["transactionIndex"]),
            sender=parse_wallet(tx["from"]),
            to=to,
            contract=self._name(to),
            method=self._method(to, tx["input"]),
            value_wei=str(_number(tx["value"])),
        )

    def _name(self, address: Wallet | None) -> str | None:
        return self._ours.get(address) if address else None

    def _method(self, to: Wallet | None, data: str) -> str:
        if to is None:
            return "contract creation"
        call = self._call(to, data)
        return call.name if call else "transfer" if data == "0x" else data[:SELECTOR]

    def _call(self, to: Wallet | None, data: str) -> Decoded | None:
        name = self._name(to)
        return self._words[name].call(data) if name else None

    # --- one transaction ----------------------------------------------------------------------

    async def succeeded(self, hashes: Sequence[Digest]) -> dict[Digest, bool]:
        found = await self._batch("eth_getTransactionReceipt", [(tx_hash,) for tx_hash in hashes])
        return {parse_digest(r["transactionHash"]): _number(r["status"]) == 1 for r in found if r}

    async def transaction(self, tx_hash: Digest) -> TransactionSeen | None:
        await asyncio.to_thread(self._read_words)
        tx = await self._rpc("eth_getTransactionByHash", tx_hash)
        if not tx:
            return None
        receipt = await self._rpc("eth_getTransactionReceipt", tx_hash)
        block = await self._rpc("eth_getBlockByHash", receipt["blockHash"], False) if receipt else None
        to, mined = _address(tx.get("to")), bool(receipt and block)
        created = _address(receipt.get("contractAddress")) if mined else None
        price = _number(receipt.get("effectiveGasPrice", tx.get("gasPrice"))) if mined else None
        failed = mined and _number(receipt["status"]) != 1
        return TransactionSeen(
            hash=tx_hash,
            status="failed" if failed else "success" if mined else "pending",
            block=block_ref(block) if block else None,
            confirmations=max(await self.head() - _number(block["number"]) + 1, 1) if block else 0,
            sender=parse_wallet(tx["from"]),
            to=to,
            created=created,
            contract=self._name(to or created),
            method=self._method(to, tx["input"]),
            value_wei=str(_number(tx["value"])),
            fee_wei=None if price is None else str(price * _number(receipt["gasUsed"])),
            gas_price_wei=None if price is None else str(price),
            gas_used=_number(receipt["gasUsed"]) if mined else None,
            gas_limit=_number(tx["gas"]),
            nonce=_number(tx["nonce"]),
            input=tx["input"],
            call=self._call(to, tx["input"]),
            events=tuple(self._event(log) for log in receipt["logs"]) if mined else (),
            failure=await self._failure(tx, receipt) if failed else None,
        )

    def _event(self, log: dict[str, Any]) -> EventSeen:
        address = parse_wallet(log["address"])
        name = self._name(address)
        decoded = self._words[name].event(log["topics"], log["data"]) if name else None
        return EventSeen(_number(log["logIndex"]), address, decoded, tuple(log["topics"]), log["data"])

    async def _failure(self, tx: dict[str, Any], receipt: dict[str, Any]) -> Failure:
        if receipt["gasUsed"] == tx["gas"]:
            return Failure(None, "it ran out of gas", None, True)
        call = {"from": tx["from"], "data": tx["input"], "value": tx["value"], "gas": tx["gas"]}
        call |= {"to": tx["to"]} if tx.get("to") else {}
        before = _number(tx["blockNumber"]) - 1
        for number in (before, await self.head()):
            try:
                await self._chain.rpc("eth_call", call, hex(number))
            except RpcError as err:
                if not err.is_revert:
                    continue  # a node keeps the state of recent blocks only
                data = err.data or "0x"
                decoded = next((d for w in self._words.values() if (d := w.refusal(data))), solidity_error(data))
                return Failure(decoded, err.message[:300], number, number == before)
        return Failure(None, "the node can no longer say why: the state it ran on is gone", None, False)

    # --- accounts and contracts ---------------------------------------------------------------

    async def account(self, address: Wallet) -> AccountSeen:
        at = hex(await self.head())
        code = bytes.fromhex((await self._rpc("eth_getCode", address, at) or "0x")[2:])
        name = self._name(address)
        return AccountSeen(
            address=address,
            kind="ours" if name else "contract" if code else "wallet",
            contract=name,
            balance_wei=str(_number(await self._rpc("eth_getBalance", address, at))),
            transactions_sent=_number(await self._rpc("eth_getTransactionCount", address, at)),
            code_bytes=len(code),
            code_hash=digest_of(keccak(code)) if code else None,
            matches_build=self._words[name].is_compiled_to(code) if name else None,
        )

    def about(self, contract: str) -> ContractAbout:
        return self._words[contract].about()

    def _read_words(self) -> None:
        for words in self._words.values():
            words.about()

    # --- logs and views -----------------------------------------------------------------------

    async def events_naming(self, value: Wallet | Digest | int) -> list[ChainEvent]:
        topic = number_topic(value) if isinstance(value, int) else wallet_topic(Wallet(value))
        if isinstance(value, str) and len(value) == 66:
            topic = value
        found: dict[tuple[int, int], ChainEvent] = {}
        for place in range(1, INDEXED + 1):
            events = await self._events(CONTRACTS, [*[None] * place, topic])
            found |= {(event.block.number, event.log_index): event for event in events}
        return [found[place] for place in sorted(found)]

    async def events_of(self, contract: str) -> list[ChainEvent]:
        return await self._events([contract], ())

    async def _events(self, contracts: Sequence[str], topics: Topics) -> list[ChainEvent]:
        last = await self.head()
        try:
            async with asyncio.timeout(LOG_SECONDS):
                return await read_events(self._chain, max(last - LOG_SPAN_BLOCKS, 0), last, contracts, topics)
        except TimeoutError as err:
            raise ChainUnavailable(f"reading events took more than {LOG_SECONDS:.0f} s") from err

    async def views(self, calls: Sequence[ContractCall]) -> list[dict[str, Any] | None]:
        if not calls:
            return []
        block = {"blockHash": (await self._chain.newest_block()).hash}
        asked = []
        for call in calls:
            data = self._chain.artifacts[call.contract].encode_call(call.function, call.args)
            asked.append(({"to": self._chain.contracts.of(call.contract), "data": "0x" + data.hex()}, block))
        answers = await self._chain.batch("eth_call", asked, refusals=True)
        return [self._view(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def _view(self, call: ContractCall, answer: Any) -> dict[str, Any] | None:
        if isinstance(answer, RpcError):
            if answer.is_revert:
                return None
            raise ChainUnavailable(str(answer)) from answer
        try:
            return self._words[call.contract].result(call.function, bytes.fromhex(answer[2:]))
        except ValueError as err:
            raise ChainUnavailable(f"no {call.contract} answers at {self._chain.contracts.of(call.contract)}") from err

    # --- asking -------------------------------------------------------------------------------

    async def _rpc(self, method: str, *params: Any) -> Any:
        try:
            return await self._chain.rpc(method, *params)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def _batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        try:
            return await self._chain.batch(method, params)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err


def _number(text: str | None) -> int:
    return int(text, 16) if text else 0


def _address(text: str | None) -> Wallet | None:
    return parse_wallet(text) if text else None
