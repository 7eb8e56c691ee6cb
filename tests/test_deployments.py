"""Which contracts are ours: the settings' first, else what was written down for this chain, else a way to get some."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.deployments import deployment_file, load_contracts, remembered, save_contracts
from backend.domain.errors import InvalidValue, NotFound
from backend.domain.types import Digest
from backend.drivers.chain.connection import ContractAddresses
from backend.settings import Settings
from tests.services.content_fixtures import ALICE, BOB, OWNER

TRANSACTION = Digest("0x" + "ab" * 32)
DEPLOYED = ContractAddresses(OWNER, ALICE, BOB, 17)


def settings(home: Path, **values: Any) -> Settings:
    return Settings(byline_home=home, **values)


def test_what_was_deployed_is_found_again(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    assert load_contracts(settings(tmp_path)) == DEPLOYED


def test_addresses_of_one_chain_are_not_taken_for_anothers(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    with pytest.raises(NotFound, match="chain 1 "):
        load_contracts(settings(tmp_path, chain_id=1))


def test_without_contracts_it_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"byline deploy.*REGISTRY_ADDRESS"):
        load_contracts(settings(tmp_path))


def test_the_settings_come_before_what_was_written_down(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    given = settings(tmp_path, registry_address=BOB, model_registry_address=OWNER, ledger_address=ALICE)
    found = load_contracts(given)
    assert (found.datanet_registry, found.model_registry, found.receipt_ledger) == (BOB, OWNER, ALICE)


def test_a_later_deployment_replaces_the_earlier(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    save_contracts(settings(tmp_path), ContractAddresses(BOB, ALICE, OWNER, 99))
    assert load_contracts(settings(tmp_path)) == ContractAddresses(BOB, ALICE, OWNER, 99)


def test_a_file_of_before_transactions_were_kept_is_read(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    path = deployment_file(settings(tmp_path))
    document = json.loads(path.read_text())
    del document["created_by"]
    path.write_text(json.dumps(document))
    assert load_contracts(settings(tmp_path)) == DEPLOYED


def test_what_a_node_forgot_of_the_same_contracts_is_remembered(tmp_path: Path) -> None:
    made = {"DatanetRegistry": TRANSACTION, "ReceiptLedger": TRANSACTION}
    save_contracts(settings(tmp_path), replace(DEPLOYED, created_by=made))
    pruned = replace(DEPLOYED, deployed_block=0)
    assert remembered(settings(tmp_path), pruned) == replace(DEPLOYED, created_by=made)
    anew = replace(DEPLOYED, deployed_block=3)  # e.g. on a chain that was started afresh
    assert remembered(settings(tmp_path), anew).deployed_block == 3
    other = replace(pruned, receipt_ledger=ALICE)
    found = remembered(settings(tmp_path), other)
    assert (found.deployed_block, found.created_by) == (0, {"DatanetRegistry": TRANSACTION})


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    save_contracts(settings(tmp_path), DEPLOYED)
    assert stat.S_IMODE(deployment_file(settings(tmp_path)).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"datanet_registry": "0x1"}', '"text"', "\x00"])
def test_a_damaged_file_is_named_and_nothing_is_guessed(tmp_path: Path, content: str) -> None:
    path = deployment_file(settings(tmp_path))
    path.write_text(content)
    with pytest.raises(InvalidValue, match=path.name):
        load_contracts(settings(tmp_path))
