"""The JSON-RPC connection to an EVM node, and the one place where its failures get their names."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientError, ClientTimeout
from web3 import AsyncHTTPProvider
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from backend.domain.errors import ChainUnavailable, ContractsRefused, InvalidValue, TransactionReverted
from backend.domain.finality import FINAL_DEPTH
from backend.domain.types import NO_WALLET, BlockRef, Digest, Wallet, parse_digest
from backend.drivers.chain.abi import CONTRACTS, Abi, ContractArtifact, decode
from backend.drivers.chain.heads import SeenHeads
from backend.drivers.chain.known_code import check_code
from backend.drivers.chain.spans import LogSpan

BLOCKS_PER_BATCH = 100
# What our contracts answer or undergo by these is only asked for once they are known to be ours.
TRUSTING = ("eth_call", "eth_estimateGas", "eth_getLogs")
# Error(string) and Panic(uint256), which Solidity itself raises.
SOLIDITY_ERRORS: dict[str, Abi] = {
    "0x08c379a0": {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]},
    "0x4e487b71": {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
}


@dataclass(frozen=True, slots=True)
class ContractAddresses:
    datanet_registry: Wallet
    model_registry: Wallet
    receipt_ledger: Wallet
    deployed_block: int = 0  # logs are looked for from here on
    created_by: Mapping[str, Digest] = field(default_factory=dict, hash=False)  # transactions, as far as known

    def of(self, contract: str) -> Wallet:
        by_name = {
            "DatanetRegistry": self.datanet_registry,
            "ModelRegistry": self.model_registry,
            "ReceiptLedger": self.receipt_ledger,
        }
        if contract not in by_name:
            raise InvalidValue("contract", f"{contract!r} is none of {', '.join(CONTRACTS)}")
        return by_name[contract]


NOWHERE = ContractAddresses(NO_WALLET, NO_WALLET, NO_WALLET)  # for who deploys, or only asks for the node


class RpcError(Exception):
    """The node answered, with an error. Callers inside this folder name it; it never leaves."""

    def __init__(self, method: str, error: Any) -> None:
        known = error if isinstance(error, dict) else {}
        self.code = known.get("code")
        self.message = str(known.get("message", error))
        self.data = revert_data(known.get("data"))
        super().__init__(f"{method}: {self.message[:300]}")

    @property
    def is_revert(self) -> bool:
        """The EVM ran and refused, as opposed to a node that could not run it."""
        return self.code == 3 or self.data is not None or "revert" in self.message.lower()


class NodeBehind(ChainUnavailable):
    """The node answered, with a head that is no longer the chain's."""


def revert_data(data: Any) -> str | None:
    """Nodes put it in `data` or in `data.data`, some behind a word."""
    found = data.get("data") if isinstance(data, dict) else data
    if not isinstance(found, str) or "0x" not in found:
        return None
    return found[found.index("0x") :].lower()


class ChainConnection:
    """One node, one chain, our three contracts on it. Holds no key. Make it once a process; `close` it.

    Before the contracts are first asked for anything it makes sure that they are ours (`check`), and again after
    the node failed to answer or its head went back: another chain may be behind the same URL by then.
    """

    def __init__(
        self,
        rpc_url: str,
        chain_id: int,
        contracts: ContractAddresses,
        artifacts: Path,
        timeout_seconds: float = 20.0,
        max_head_age_seconds: float = 0,
    ) -> None:
        """`artifacts` is Hardhat's folder. A node whose newest block is older than `max_head_age_seconds` decides
        nothing; 0: any age will do. Raises: InvalidValue when the contracts were not built."""
        self.rpc_url = rpc_url
        self.chain_id = chain_id
        self.contracts = contracts
        self.artifacts = {name: ContractArtifact.load(artifacts, name) for name in CONTRACTS}
        self.validator = ContractArtifact.load(artifacts, "SignatureValidator")
        self.log_span = LogSpan()
        self._max_head_age_seconds = max_head_age_seconds
        self._heads = SeenHeads()
        self._trusted_from: int | None = None  # the head when the contracts were found to be ours
        self._provider = AsyncHTTPProvider(
            rpc_url, {"timeout": ClientTimeout(total=timeout_seconds)}, exception_retry_configuration=None
        )

    async def close(self) -> None:
        await self._provider.disconnect()

    # --- asking the node ----------------------------------------------------------------------

    async def rpc(self, method: str, *params: Any) -> Any:
        """Raises: RpcError when the node says no, ChainUnavailable when it does not answer, ContractsRefused."""
        if method in TRUSTING:
            await self.trust()
        return await self._ask(method, *params)

    async def _ask(self, method: str, *params: Any) -> Any:
        try:
            answer = cast("dict[str, Any]", await self._provider.make_request(RPCEndpoint(method), list(params)))
        except (ClientError, OSError, TimeoutError, Web3Exception, ValueError) as err:
            self._trusted_from = None
            raise ChainUnavailable(f"{method} at {self.host}: {type(err).__name__}") from err
        return result_of(method, answer)

    async def batch(self, method: str, params: Sequence[Sequence[Any]], *, refusals: bool = False) -> list[Any]:
        """The same method over many parameters, in few round trips. Raises: as `rpc`; with `refusals`, what the node
        says no to stands as its RpcError in its place."""
        if method in TRUSTING:
            await self.trust()
        results: list[Any] = []
        for start in range(0, len(params), BLOCKS_PER_BATCH):
            calls = [(RPCEndpoint(method), list(each)) for each in params[start : start + BLOCKS_PER_BATCH]]
            try:
                answers = cast("list[dict[str, Any]]", await self._provider.make_batch_request(calls))
            except (ClientError, OSError, TimeoutError, Web3Exception, ValueError) as err:
                raise ChainUnavailable(f"{method} at {self.host}: {type(err).__name__}") from err
            if not isinstance(answers, list) or len(answers) != len(calls):
                raise ChainUnavailable(f"{method} at {self.host}: a batch came back in pieces")
            for answer in sorted(answers, key=lambda a: int(a["id"])):
                refused = refusals and "error" in answer
                results.append(RpcError(method, answer["error"]) if refused else result_of(method, answer))
        return results

    @property
    def host(self) -> str:
        """The URL without what may be a key in its path or user part."""
        return self.rpc_url.split("://")[-1].split("/")[0].split("@")[-1]

    async def check(self) -> None:
        """Raises: InvalidValue when this is another chain or a contract is not there, UnknownCode when what is there
        is none of this release's, ChainUnavailable."""
        await self.check_chain_id()
        try:
            head = int(await self._ask("eth_blockNumber"), 16)
            addresses = {name: self.contracts.of(name) for name in CONTRACTS}
            await check_code(self.code_at, self._run_at, addresses, self.artifacts)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err
        self._trusted_from = head

    async def code_at(self, address: Wallet) -> bytes:
        """Empty where there is no contract. Raises: RpcError, ChainUnavailable."""
        return bytes.fromhex((await self._ask("eth_getCode", address, "latest") or "0x")[2:])

    async def _run_at(self, address: Wallet, code: bytes) -> bytes | None:
        try:
            call, instead = {"to": address, "data": "0x"}, {address: {"code": "0x" + code.hex()}}
            return bytes.fromhex((await self._ask("eth_call", call, "latest", instead) or "0x")[2:])
        except RpcError:
            return None

    async def trust(self) -> None:
        """As `check`, unless that went well before. Raises: ContractsRefused, ChainUnavailable."""
        if self._trusted_from is not None or self.contracts == NOWHERE:
            return
        try:
            await self.check()
        except InvalidValue as err:
            raise ContractsRefused(str(err)) from err

    async def check_chain_id(self) -> None:
        """Raises: InvalidValue naming both ids, ChainUnavailable."""
        try:
            found = int(await self.rpc("eth_chainId"), 16)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err
        if found != self.chain_id:
            raise InvalidValue(
                "RPC_URL", f"{self.host} is chain {found}, but CHAIN_ID says {self.chain_id}; change one of them"
            )

    # --- blocks and calls ---------------------------------------------------------------------

    async def head(self) -> BlockRef:
        """The latest block; the embedded chain makes one when its last is old. For decisions.

        Raises: NodeBehind when that block is too old, or older than one seen before on this connection.
        """
        before = self._heads.newest  # as of the question: answers may overtake each other
        head = await self._required_block("latest")
        age = time.time() - head.timestamp
        if 0 < self._max_head_age_seconds < age:
            raise NodeBehind(
                f"{self.host} is {age:.0f} seconds behind: its newest block, {head.number}, is older than "
                f"MAX_HEAD_AGE_SECONDS = {self._max_head_age_seconds:g} allows"
            )
        if before is not None and head.number < before.number:
            self._trusted_from = None  # whatever it is now, it is not the node as it was when we looked
            if not await self._was_replaced(head):
                raise NodeBehind(f"{self.host} is behind: at block {head.number}, after block {before.number} was seen")
            self._heads.start_again()
        self._heads.note(head)
        if self._heads.at_or_below(0) is None:
            self._heads.note(await self._required_block("0x0"))
        return head

    async def _was_replaced(self, head: BlockRef) -> bool:
        """Whether the chain up to this lower head is another than the one seen before."""
        known = self._heads.at_or_below(head.number)
        if known is None:
            return False
        now = head if known.number == head.number else await self.block(known.number)
        return now is not None and now.hash != known.hash

    async def finalized(self) -> BlockRef:
        """The node's own word; `FINAL_DEPTH` below its newest block where it has none."""
        try:
            found = await self.rpc("eth_getBlockByNumber", "finalized", False)
        except RpcError:  # a chain, or a node, that does not know the word
            found = None
        if found:
            return block_ref(found)
        newest = await self.newest_block()
        return await self._required_block(hex(max(0, newest.number - FINAL_DEPTH)))

    async def block(self, number: int) -> BlockRef | None:
        try:
            found = await self.rpc("eth_getBlockByNumber", hex(number), False)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err
        return block_ref(found) if found else None

    async def newest_block(self) -> BlockRef:
        """Like `head`, for pollers: does not make the embedded chain add a block."""
        try:
            return await self._required_block(await self.rpc("eth_blockNumber"))
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def _required_block(self, name: str) -> BlockRef:
        try:
            found = await self.rpc("eth_getBlockByNumber", name, False)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err
        if not found:
            raise ChainUnavailable(f"{self.host} has no block {name}")
        ref = block_ref(found)
        if self._trusted_from is not None and ref.number < self._trusted_from:
            self._trusted_from = None
        return ref

    async def call_at(self, block: Digest, contract: str, function: str, *args: Any) -> tuple[Any, ...]:
        """One eth_call at exactly that block. Raises: RpcError, ChainUnavailable."""
        artifact, address = self.artifacts[contract], self.contracts.of(contract)
        call = {"to": address, "data": "0x" + artifact.encode_call(function, args).hex()}
        answer = await self.rpc("eth_call", call, {"blockHash": block})
        try:
            return artifact.decode_result(function, bytes.fromhex(answer[2:]))
        except ValueError as err:
            raise ChainUnavailable(f"no {contract} answers at {address}") from err

    async def call_at_head(self, contract: str, function: str, *args: Any) -> tuple[BlockRef, tuple[Any, ...]]:
        """(block, result), the result being that block's. A block that is overtaken in between is read anew.

        Raises: TransactionReverted with the contract's own error, ChainUnavailable.
        """
        problem = ChainUnavailable("never asked")
        for attempt in range(10):
            try:
                head = await self.head()
                return head, await self.call_at(head.hash, contract, function, *args)
            except NodeBehind as err:  # behind one address there may be several nodes
                problem = err
            except RpcError as err:
                if err.is_revert:
                    raise self.named(err) from err
                problem = ChainUnavailable(str(err))  # pruned or reorganised away meanwhile
            await asyncio.sleep(0.02 * attempt)
        raise problem

    # --- naming what a contract refused -------------------------------------------------------

    def named(self, err: RpcError) -> TransactionReverted:
        """The contract's own name for why, with its arguments."""
        errors = SOLIDITY_ERRORS | {k: v for a in self.artifacts.values() for k, v in a.errors.items()}
        data = err.data or "0x"
        entry = errors.get(data[:10])
        if entry is None:
            return TransactionReverted("Reverted", err.message[:300] + (f" {data[:74]}" if data != "0x" else ""))
        try:
            values = decode([i["type"] for i in entry["inputs"]], bytes.fromhex(data[10:]))
        except ValueError:
            values = ()
        details = [f"{i['name']} {value}" for i, value in zip(entry["inputs"], values, strict=False)]
        return TransactionReverted(str(entry["name"]), ", ".join(details))


def result_of(method: str, answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise RpcError(method, answer["error"])
    return answer.get("result")


def block_ref(block: dict[str, Any]) -> BlockRef:
    return BlockRef(int(block["number"], 16), parse_digest(block["hash"]), int(block["timestamp"], 16))
