"""Putting Byline's contracts on a chain: by CREATE2, at the same addresses on every chain, whoever pays.

    plan_deployment ── what is there, what would be new, what that costs; sends nothing
    deploy          ── the plan, done: what is there already is kept, so a second call is free

Nobody can put anything else at these addresses. Who comes first with the same code does our work.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backend.domain.errors import ChainUnavailable, InvalidValue, TransactionReverted, UnknownCode
from backend.domain.types import Digest, Wallet, parse_digest, parse_wallet
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import NOWHERE, ChainConnection, ContractAddresses, RpcError
from backend.drivers.chain.known_code import PROXY, SALT, code_hash, creation_code, release_addresses
from backend.drivers.chain.transactions import GAS_MARGIN_PERCENT, account_of, priority_fee, sign_transaction
from backend.drivers.chain.wallet import fund

# How the proxy got to its address on every chain: one transaction that anybody may send and nobody holds the key of.
# It has no chain id (from before EIP-155) and a fixed gas price. github.com/Arachnid/deterministic-deployment-proxy
PROXY_CREATION = bytes.fromhex("604580600e600039806000f350fe")
PROXY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
)
PROXY_SENDER = parse_wallet("0x3fAB184622Dc19b6109349B94811493BF2a45362")
PROXY_GAS, PROXY_GAS_PRICE_WEI = 100_000, 100 * 10**9
PROXY_TRANSACTION = (
    bytes.fromhex("f8a58085174876e800830186a08080b853")
    + (PROXY_CREATION + PROXY_CODE)
    + bytes.fromhex("1ba0" + "22" * 32 + "a0" + "22" * 32)
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PlannedContract:
    name: str
    address: Wallet
    code_hash: Digest  # of the code there, or to be there; immutables masked
    creation: bytes
    is_there: bool
    gas: int  # of creating it; 0 when it is there

    @property
    def payload(self) -> bytes:
        """What the proxy is sent."""
        return SALT + self.creation


@dataclass(frozen=True, slots=True)
class Plan:
    payer: Wallet
    balance_wei: int
    base_fee_wei: int  # a gas, in the latest block
    tip_wei: int
    installs_proxy: bool
    contracts: tuple[PlannedContract, ...]

    @property
    def fee_wei(self) -> int:
        """Of one gas, at present."""
        return self.base_fee_wei + self.tip_wei

    @property
    def cost_wei(self) -> int:
        proxy = PROXY_GAS * PROXY_GAS_PRICE_WEI + 21_000 * self.fee_wei if self.installs_proxy else 0
        return proxy + sum(contract.gas for contract in self.contracts) * self.fee_wei

    @property
    def needed_wei(self) -> int:
        """What the payer must hold, or the node refuses: room for each limit, and for the fee to double."""
        most = max((contract.gas for contract in self.contracts), default=0)
        limit = most + most * GAS_MARGIN_PERCENT // 100
        return self.cost_wei + limit * (2 * self.base_fee_wei + self.tip_wei) - most * self.fee_wei

    @property
    def is_affordable(self) -> bool:
        return self.balance_wei >= self.needed_wei

    @property
    def addresses(self) -> ContractAddresses:
        at = {contract.name: contract.address for contract in self.contracts}
        return ContractAddresses(at["DatanetRegistry"], at["ModelRegistry"], at["ReceiptLedger"])


async def plan_deployment(rpc_url: str, chain_id: int, key: str, artifacts: Path) -> Plan:
    """Raises: InvalidValue (another chain, or no proxy but something in its place), UnknownCode, ChainUnavailable."""
    chain = ChainConnection(rpc_url, chain_id, NOWHERE, artifacts)
    try:
        return await _plan(chain, account_of(key).address)
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    finally:
        await chain.close()


async def deploy(
    rpc_url: str, chain_id: int, key: str, artifacts: Path, *, say: Say = lambda _: None, timeout_seconds: float = 120.0
) -> ContractAddresses:
    """Do what the plan says, one transaction after the other; `say` takes a line for each.

    Raises: InvalidValue (as `plan_deployment`; also when the key cannot pay, before anything is sent),
    TransactionReverted, ChainUnavailable (also when one is not mined in time: the next call goes on from there).
    """
    chain = ChainConnection(rpc_url, chain_id, NOWHERE, artifacts)
    try:
        return await _deploy(chain, key, say, timeout_seconds)
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    finally:
        await chain.close()


async def _plan(chain: ChainConnection, payer: str) -> Plan:
    await chain.check_chain_id()
    proxy = await chain.code_at(PROXY)
    if proxy not in (b"", PROXY_CODE):
        raise InvalidValue(
            "RPC_URL", f"what {chain.host} has at {PROXY} is not the deterministic deployment proxy; Byline cannot "
            f"deploy on chain {chain.chain_id}"
        )  # fmt: skip
    block = await chain.rpc("eth_getBlockByNumber", "latest", False)
    addresses = release_addresses(chain.artifacts)
    return Plan(
        payer=parse_wallet(payer),
        balance_wei=int(await chain.rpc("eth_getBalance", payer, "latest"), 16),
        base_fee_wei=int(block.get("baseFeePerGas") or "0x0", 16),
        tip_wei=await priority_fee(chain),
        installs_proxy=not proxy,
        contracts=tuple([await _plan_one(chain, name, addresses, payer) for name in CONTRACTS]),
    )


async def _plan_one(chain: ChainConnection, name: str, addresses: dict[str, Wallet], payer: str) -> PlannedContract:
    artifact, address = chain.artifacts[name], addresses[name]
    creation, known = creation_code(artifact, addresses), code_hash(artifact)
    code = await chain.code_at(address)
    if code and (found := code_hash(artifact, code)) != known:
        raise UnknownCode(
            "contracts",
            f"{chain.host} shows code of hash {found} at {address}, where nothing but {name} ({known}) can be; this is "
            "no chain to trust",
        )
    planned = PlannedContract(name, address, known, creation, bool(code), 0)
    return planned if code else replace(planned, gas=await _gas(chain, planned, addresses, payer))


async def _gas(chain: ChainConnection, planned: PlannedContract, addresses: dict[str, Wallet], payer: str) -> int:
    """As if the proxy and the other contracts were there already."""
    call = {"from": payer, "to": PROXY, "data": "0x" + planned.payload.hex()}
    there = {addresses[name]: chain.artifacts[name].runtime for name in CONTRACTS if name != planned.name}
    assumed = {address: {"code": "0x" + code.hex()} for address, code in {PROXY: PROXY_CODE, **there}.items()}
    try:
        return int(await chain.rpc("eth_estimateGas", call, "latest", assumed), 16)
    except RpcError:  # a node without state overrides: the fees by rule, and something for what the constructor does
        size, left = len(planned.payload), len(chain.artifacts[planned.name].runtime)
        return 21_000 + 16 * size + 2 * -(-size // 32) + 32_000 + 200 * left + 200_000


async def _deploy(chain: ChainConnection, key: str, say: Say, timeout_seconds: float) -> ContractAddresses:
    plan = await _plan(chain, account_of(key).address)
    if not plan.is_affordable:
        raise InvalidValue(
            "SERVER_KEY", f"its address {plan.payer} holds {plan.balance_wei} wei on chain {chain.chain_id}, and "
            f"deploying takes {plan.needed_wei}; send it the difference, then try again"
        )  # fmt: skip
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    if plan.installs_proxy:
        say(f"installing the deterministic deployment proxy at {PROXY}")
        await _install_proxy(chain, key, deadline)
    created: dict[str, Creation] = {}
    for contract in plan.contracts:
        if contract.is_there:
            say(f"{contract.name} is at {contract.address} already")
        else:
            created[contract.name] = await _create(chain, key, contract, deadline)
            say(f"{contract.name} is at {contract.address}, by {created[contract.name].transaction}")
    for contract in plan.contracts:
        if contract.name not in created:
            created[contract.name] = await _find_creation(chain, contract)
    return replace(
        plan.addresses,
        deployed_block=min(creation.block for creation in created.values()),
        created_by={name: c.transaction for name, c in created.items() if c.transaction is not None},
    )


@dataclass(frozen=True, slots=True)
class Creation:
    block: int
    transaction: Digest | None


async def _install_proxy(chain: ChainConnection, key: str, deadline: float) -> None:
    if int(await chain.rpc("eth_getBalance", PROXY_SENDER, "latest"), 16) < PROXY_GAS * PROXY_GAS_PRICE_WEI:
        await fund(chain, key, PROXY_SENDER, PROXY_GAS * PROXY_GAS_PRICE_WEI)
    try:
        sent = await chain.rpc("eth_sendRawTransaction", "0x" + PROXY_TRANSACTION.hex())
    except RpcError as err:
        raise InvalidValue(
            "RPC_URL", f"{chain.host} does not take the transaction that installs the deterministic deployment proxy "
            f"({err.message[:200]}): it is from before EIP-155 and pays 100 gwei a gas. Use a node that takes it "
            f"(geth: --rpc.allow-unprotected-txs), or ask the network's operator for the proxy at {PROXY}"
        ) from err  # fmt: skip
    await _mined(chain, parse_digest(sent), deadline)
    if await chain.code_at(PROXY) != PROXY_CODE:
        raise TransactionReverted("DeploymentFailed", f"there is still no deployment proxy at {PROXY}")


async def _create(chain: ChainConnection, key: str, contract: PlannedContract, deadline: float) -> Creation:
    account = account_of(key)
    try:
        nonce = int(await chain.rpc("eth_getTransactionCount", account.address, "pending"), 16)
        signed = await sign_transaction(chain, account, PROXY, contract.payload, nonce)
        await chain.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex())
        receipt = await _mined(chain, signed.hash, deadline)
        problem = "" if int(receipt["status"], 16) == 1 else f"transaction {signed.hash} reverted"
    except TransactionReverted as err:
        problem, receipt = str(err), None
    code = await chain.code_at(contract.address)
    if not code:
        raise TransactionReverted("DeploymentFailed", problem or f"no {contract.name} came of {signed.hash}")
    if problem or receipt is None:  # somebody else's transaction with the same code was first
        return await _find_creation(chain, contract)
    return Creation(int(receipt["blockNumber"], 16), signed.hash)


async def _mined(chain: ChainConnection, transaction: Digest, deadline: float) -> dict[str, Any]:
    while (receipt := await chain.rpc("eth_getTransactionReceipt", transaction)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise ChainUnavailable(f"transaction {transaction} was not mined in time")
        await asyncio.sleep(0.2)
    found: dict[str, Any] = receipt
    return found


async def _find_creation(chain: ChainConnection, contract: PlannedContract) -> Creation:
    """The block in which a contract of earlier appeared, and the transaction if it was a plain call of the proxy.
    Block 0 and no transaction from a node that keeps no history: then its logs are looked for from the start."""
    first, last = 0, int(await chain.rpc("eth_blockNumber"), 16)
    try:
        while first < last:
            middle = (first + last) // 2
            if await chain.rpc("eth_getCode", contract.address, hex(middle)) in ("0x", None):
                first = middle + 1
            else:
                last = middle
        block = await chain.rpc("eth_getBlockByNumber", hex(first), True)
    except RpcError:
        return Creation(0, None)
    payload = "0x" + contract.payload.hex()
    calls = [
        tx["hash"]
        for tx in block["transactions"]
        if tx["input"] == payload and (tx["to"] or "").lower() == PROXY.lower()
    ]
    return Creation(first, parse_digest(calls[0]) if calls else None)
