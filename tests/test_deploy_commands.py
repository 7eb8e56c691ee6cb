"""`byline deploy` and `byline verify-sources`, as they are typed, on an anvil of their own."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from typer.testing import CliRunner, Result

from backend.cli import app, out
from backend.deployments import read_deployment
from backend.domain.errors import InvalidValue, UnknownCode
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.wallet import local_test_key
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.preparing import ensure_contracts
from backend.settings import Settings
from tests.anvil_node import anvil, ask
from tests.chain_fixtures import DEPLOYER

pytestmark = pytest.mark.integration
KEY = local_test_key(DEPLOYER)


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.fixture
def url(node: str) -> Iterator[str]:
    start = ask(node, "evm_snapshot")
    yield node
    ask(node, "evm_revert", start)


@pytest.fixture(autouse=True)
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.lower() in Settings.model_fields or name == "BYLINE_CONFIG":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RPC_URL", url)
    monkeypatch.setenv("SERVER_KEY", KEY)
    return tmp_path / ".byline"


def settings(home: Path, **values: Any) -> Settings:
    return Settings(byline_home=home, **values)


def run(*words: str) -> Result:
    out.width = 250  # the console read its width when it was made, perhaps from a test worker's terminal
    return CliRunner().invoke(app, [*words])


def deploy_json(*words: str) -> dict[str, Any]:
    result = run("deploy", "--json", *words)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_dry_run_shows_addresses_costs_and_the_difference_and_changes_nothing(url: str, home: Path) -> None:
    shown = run("deploy", "--dry-run")
    assert shown.exit_code == 0
    planned = deploy_json("--dry-run")
    assert planned["affordable"] is planned["dry_run"] is True
    assert [c["name"] for c in planned["contracts"]] == [*CONTRACTS]
    for contract in planned["contracts"]:
        assert (contract["there"], contract["file"]) == (False, "added")
        for told in (contract["address"], contract["code_hash"], f"{contract['gas']:,}"):
            assert told in shown.stdout
    assert re.search(r"This would cost 0\.0\d+; ", shown.stdout)
    assert ask(url, "eth_blockNumber") == "0x0"
    assert not (home / f"contracts-{LOCAL_CHAIN_ID}.json").exists()


def test_deploying_writes_down_where_and_by_which_transactions(home: Path) -> None:
    planned = deploy_json("--dry-run")
    done = run("deploy")
    assert done.exit_code == 0, done.output
    kept = read_deployment(settings(home))
    for contract in planned["contracts"]:
        assert kept.of(contract["name"]) == contract["address"]
        assert f"_ADDRESS={contract['address']}" in done.stdout
        assert kept.created_by[contract["name"]] in done.stdout
    again = deploy_json()
    assert again["cost_wei"] == "0"
    assert {(c["there"], c["file"]) for c in again["contracts"]} == {(True, "unchanged")}
    assert read_deployment(settings(home)) == kept


def test_a_file_of_other_contracts_and_settings_that_overrule_it_are_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("deploy")
    path = home / f"contracts-{LOCAL_CHAIN_ID}.json"
    kept = json.loads(path.read_text())
    other = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    path.write_text(json.dumps(kept | {"receipt_ledger": other}))
    for name, of in (
        ("REGISTRY_ADDRESS", "datanet_registry"), ("MODEL_REGISTRY_ADDRESS", "model_registry"),
    ):  # fmt: skip
        monkeypatch.setenv(name, kept[of])
    monkeypatch.setenv("LEDGER_ADDRESS", other)
    planned = deploy_json("--dry-run")
    assert [c["file"] for c in planned["contracts"]] == ["unchanged", "unchanged", f"changed, was {other}"]
    assert planned["overruled_by"] == ["LEDGER_ADDRESS"]


def test_a_key_without_coins_is_told_what_it_takes(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SERVER_KEY", "0x" + "22" * 32)
    assert deploy_json("--dry-run")["affordable"] is False
    assert "send it the difference" in run("deploy", "--dry-run").stdout
    result = run("deploy")
    assert result.exit_code == 1
    assert "SERVER_KEY" in result.stderr
    assert ask(url, "eth_blockNumber") == "0x0"


def test_without_a_chain_it_says_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RPC_URL")
    result = run("deploy", "--dry-run")
    assert result.exit_code == 1
    assert "RPC_URL" in result.stderr


async def test_the_embedded_chain_gets_contracts_only_where_there_are_none(url: str, home: Path) -> None:
    ours = settings(home, byline_embedded=("chain",), server_key="0x" + "33" * 32)
    contracts = await ensure_contracts(ours, url)
    assert await ensure_contracts(ours, url) == contracts
    (home / f"contracts-{LOCAL_CHAIN_ID}.json").write_text("{")
    assert await ensure_contracts(ours, url) == contracts  # deployed once, found again
    ask(url, "anvil_setCode", contracts.receipt_ledger, "0x00")
    with pytest.raises(UnknownCode, match="ReceiptLedger"):
        await ensure_contracts(ours, url)
    with pytest.raises(InvalidValue):
        await ensure_contracts(settings(home), url)


def test_a_bundle_holds_for_each_contract_what_compiles_to_it(tmp_path: Path) -> None:
    run("deploy")
    result = run("verify-sources", "--bundle", str(tmp_path / "bundle"))
    assert result.exit_code == 0, result.output
    kept = read_deployment(settings(tmp_path / ".byline"))
    for name in CONTRACTS:
        folder = tmp_path / "bundle" / name
        facts = json.loads((folder / "contract.json").read_text())
        assert (facts["address"], facts["creation_transaction"]) == (kept.of(name), kept.created_by[name])
        assert facts["compiler"].startswith("0.8.37+commit.")
        assert facts["identifier"].endswith(f"/{name}.sol:{name}")
        metadata = json.loads((folder / "metadata.json").read_text())
        sources = json.loads((folder / "standard-input.json").read_text())["sources"]
        for path, said in metadata["sources"].items():
            assert "0x" + keccak(text=sources.pop(path)["content"]).hex() == said["keccak256"]
        assert sources == {}, "sources of other contracts are in it"
    models = json.loads((tmp_path / "bundle/ModelRegistry/contract.json").read_text())
    assert models["constructor_arguments"] == "0x" + "00" * 12 + kept.datanet_registry[2:].lower()


def test_without_an_explorer_it_says_which_settings_name_one() -> None:
    run("deploy")
    result = run("verify-sources")
    assert result.exit_code == 1
    for name in ("SOURCIFY_URL", "BLOCKSCOUT_URL", "ETHERSCAN_API_KEY", "--bundle"):
        assert name in result.stderr


def test_an_explorer_that_does_not_answer_fails_the_command_contract_by_contract(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("deploy")
    monkeypatch.setenv("SOURCIFY_URL", "http://127.0.0.1:9")
    result = run("verify-sources", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["sources"]
    assert [(f["contract"], f["match"]) for f in found] == [(name, "failed") for name in CONTRACTS]


def test_sources_are_not_submitted_for_contracts_that_are_not_these(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("deploy")
    ask(url, "anvil_setCode", read_deployment(settings(home)).receipt_ledger, "0x00")
    monkeypatch.setenv("SOURCIFY_URL", "http://127.0.0.1:9")
    result = run("verify-sources")
    assert result.exit_code == 1
    assert "has code of hash" in result.stderr
