"""Deploying by CREATE2, and telling our code from any other: on an anvil that lets a test change what it likes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account

from backend.domain.errors import ChainUnavailable, ContractsRefused, InvalidValue, UnknownCode
from backend.domain.types import DatanetId, Purpose, Wallet, parse_wallet
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.connection import ChainConnection, ContractAddresses, NodeBehind
from backend.drivers.chain.deploying import (
    PROXY_CODE,
    PROXY_SENDER,
    PROXY_TRANSACTION,
    deploy,
    plan_deployment,
)
from backend.drivers.chain.known_code import PROXY, creation_code
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.embedded.processes import free_port
from tests.anvil_node import anvil, ask
from tests.chain_fixtures import ARTIFACTS, DEPLOYER, FickleNode

KEY = local_test_key(DEPLOYER)
PAUPER = "0x" + "11" * 32
SOMEBODY = Wallet(account_of(local_test_key(1)).address)
pytestmark = pytest.mark.integration


@pytest.fixture
def url() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.fixture
async def deployed(url: str) -> ContractAddresses:
    return await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)


@pytest.fixture
async def connection(url: str, deployed: ContractAddresses) -> AsyncIterator[ChainConnection]:
    connection = ChainConnection(url, LOCAL_CHAIN_ID, deployed, ARTIFACTS)
    yield connection
    await connection.close()


async def may_use(connection: ChainConnection) -> bool:
    return (await ContractAccessRegistry(connection).may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)).allowed


# --- deploying ------------------------------------------------------------------------------------


async def test_the_plan_is_what_happens_and_its_cost_is_no_less(url: str) -> None:
    plan = await plan_deployment(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
    assert [(c.name, c.is_there) for c in plan.contracts] == [(name, False) for name in CONTRACTS]
    assert plan.is_affordable
    assert ask(url, "eth_blockNumber") == "0x0"  # nothing was sent
    made = await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
    assert replace(made, deployed_block=0, created_by={}) == plan.addresses
    assert made.deployed_block == 1
    for contract in plan.contracts:
        receipt = ask(url, "eth_getTransactionReceipt", made.created_by[contract.name])
        used = int(receipt["gasUsed"], 16)
        assert used <= contract.gas <= used * 1.1


async def test_whoever_pays_the_addresses_are_the_same_and_a_second_time_is_free(
    url: str, deployed: ContractAddresses
) -> None:
    height, said = ask(url, "eth_blockNumber"), list[str]()
    again = await deploy(url, LOCAL_CHAIN_ID, local_test_key(3), ARTIFACTS, say=said.append)
    assert again == deployed  # with the transactions that made them, found in the chain's history
    assert ask(url, "eth_blockNumber") == height
    assert all("already" in line for line in said)
    assert (await plan_deployment(url, LOCAL_CHAIN_ID, PAUPER, ARTIFACTS)).is_affordable  # it costs nothing


async def test_what_an_interrupted_deployment_left_is_gone_on_with(url: str) -> None:
    plan = await plan_deployment(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
    first = plan.contracts[0]
    sent = {"from": SOMEBODY, "to": PROXY, "data": "0x" + first.payload.hex()}  # by anybody
    transaction = ask(url, "eth_sendTransaction", sent)
    made = await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
    assert made.of(first.name) == first.address
    assert (made.deployed_block, made.created_by[first.name]) == (1, transaction)


async def test_where_the_proxy_is_missing_it_is_installed_first() -> None:
    assert Account.recover_transaction(PROXY_TRANSACTION) == PROXY_SENDER
    with anvil("--disable-default-create2-deployer") as url:
        plan = await plan_deployment(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
        assert plan.installs_proxy
        assert plan.cost_wei > 10**16
        made = await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
        assert made.datanet_registry == plan.addresses.datanet_registry
        assert ask(url, "eth_getCode", PROXY, "latest") == "0x" + PROXY_CODE.hex()


async def test_a_chain_that_takes_no_old_transaction_is_told_from_one_that_is_down(fickle_node: FickleNode) -> None:
    refusal = {"error": {"code": -32000, "message": "only replay-protected transactions allowed"}}

    def bend(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getCode" and params[0] == PROXY:
            return {"result": "0x"}
        return refusal if params[:1] == ["0x" + PROXY_TRANSACTION.hex()] else answer

    fickle_node.bend = bend
    with pytest.raises(InvalidValue, match=f"only replay-protected.*{PROXY}"):
        await deploy(fickle_node.url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)


async def test_something_else_in_the_proxys_place_is_not_used(url: str) -> None:
    ask(url, "anvil_setCode", PROXY, "0x00")
    with pytest.raises(InvalidValue, match="is not the deterministic deployment proxy"):
        await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
    assert ask(url, "eth_blockNumber") == "0x0"


async def test_a_key_that_cannot_pay_sends_nothing_and_says_what_it_takes(url: str) -> None:
    plan = await plan_deployment(url, LOCAL_CHAIN_ID, PAUPER, ARTIFACTS)
    assert not plan.is_affordable
    with pytest.raises(InvalidValue, match=rf"{plan.payer} holds 0 wei.* takes {plan.needed_wei}"):
        await deploy(url, LOCAL_CHAIN_ID, PAUPER, ARTIFACTS)
    assert ask(url, "eth_blockNumber") == "0x0"


async def test_what_is_needed_is_what_the_node_lets_through(url: str) -> None:
    plan = await plan_deployment(url, LOCAL_CHAIN_ID, PAUPER, ARTIFACTS)
    ask(url, "anvil_setBalance", plan.payer, hex(plan.needed_wei))
    await deploy(url, LOCAL_CHAIN_ID, PAUPER, ARTIFACTS)


# --- telling our code from any other --------------------------------------------------------------


@pytest.mark.parametrize("name", CONTRACTS)
async def test_a_contract_whose_code_was_changed_is_refused_with_both_hashes(
    name: str, url: str, connection: ChainConnection
) -> None:
    await connection.check()
    address = connection.contracts.of(name)
    code = bytearray.fromhex(ask(url, "eth_getCode", address, "latest")[2:])
    code[40] ^= 1
    ask(url, "anvil_setCode", address, "0x" + code.hex())
    with pytest.raises(UnknownCode, match=rf"{name} at {address} has code of hash 0x\w{{64}}.*knows 0x\w{{64}} only"):
        await connection.check()
    fresh = ChainConnection(url, LOCAL_CHAIN_ID, connection.contracts, ARTIFACTS)
    with pytest.raises(ContractsRefused, match=name):
        await may_use(fresh)
    await fresh.close()


async def test_models_of_another_registry_are_refused(url: str, connection: ChainConnection) -> None:
    other = ask(url, "eth_sendTransaction", {"from": SOMEBODY, "data": "0x" + registry_creation(connection)})
    elsewhere = parse_wallet(ask(url, "eth_getTransactionReceipt", other)["contractAddress"])
    artifact = connection.artifacts["ModelRegistry"]
    creation = creation_code(artifact, {"DatanetRegistry": elsewhere})
    sent = ask(url, "eth_sendTransaction", {"from": SOMEBODY, "data": "0x" + creation.hex()})
    models = parse_wallet(ask(url, "eth_getTransactionReceipt", sent)["contractAddress"])
    mixed = ChainConnection(url, LOCAL_CHAIN_ID, replace(connection.contracts, model_registry=models), ARTIFACTS)
    with pytest.raises(UnknownCode, match=f"(?i)ModelRegistry at {models} was constructed.*{elsewhere[2:]} for 0x0"):
        await mixed.check()
    await mixed.close()
    together = replace(connection.contracts, datanet_registry=elsewhere, model_registry=models)
    ours = ChainConnection(url, LOCAL_CHAIN_ID, together, ARTIFACTS)
    await ours.check()  # this release's code, not deployed by `byline deploy`, yet one set
    await ours.close()


def registry_creation(connection: ChainConnection) -> str:
    return connection.artifacts["DatanetRegistry"].bytecode.hex()


async def test_a_node_without_state_overrides_is_believed_for_addresses_that_prove_themselves(
    fickle_node: FickleNode, contract_addresses: ContractAddresses, embedded_chain: object
) -> None:
    fickle_node.bend = lambda method, params, answer: (
        {"error": {"code": -32602, "message": "too many arguments"}} if len(params) > 2 else answer
    )
    connection = ChainConnection(fickle_node.url, LOCAL_CHAIN_ID, contract_addresses, ARTIFACTS)
    await connection.check()
    await connection.close()


async def test_the_check_is_made_once_and_again_when_the_chain_behind_the_url_may_be_another() -> None:
    port = free_port(None)
    with anvil(port=port) as url:
        contracts = await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
        connection = ChainConnection(url, LOCAL_CHAIN_ID, contracts, ARTIFACTS)
        assert not await may_use(connection)
        ask(url, "anvil_setCode", contracts.receipt_ledger, "0x00")
        assert not await may_use(connection)  # found to be ours before: not looked at with each question
    with pytest.raises(ChainUnavailable) as down:
        await may_use(connection)
    assert not isinstance(down.value, ContractsRefused)  # down is not wrong
    with anvil(port=port) as url:
        ask(url, "anvil_mine", "0x10")  # its height gives it away no more
        with pytest.raises(ContractsRefused, match="there is no DatanetRegistry"):
            await may_use(connection)
        await deploy(url, LOCAL_CHAIN_ID, KEY, ARTIFACTS)
        assert not await may_use(connection)
    await connection.close()


async def test_a_chain_that_was_set_back_is_checked_anew(url: str, connection: ChainConnection) -> None:
    start = ask(url, "evm_snapshot")
    ask(url, "anvil_mine", "0x5")
    assert not await may_use(connection)
    ask(url, "evm_revert", start)
    ask(url, "anvil_setCode", connection.contracts.datanet_registry, "0x00")
    with pytest.raises(NodeBehind):  # until it has caught up nothing is decided, whoever's contracts they are
        await may_use(connection)
    ask(url, "anvil_mine", "0xa")
    with pytest.raises(ContractsRefused, match="DatanetRegistry"):
        await may_use(connection)
