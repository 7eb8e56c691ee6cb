"""The sources we hand out, judged by Sourcify's own library: they are those of what is on the chain, to the letter."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backend.doctor import NODE
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.sources import ContractSources, read_sources
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.explorers import Judgement, Patience, Sourcify
from backend.embedded.chain import LOCAL_CHAIN_ID
from tests.anvil_node import anvil
from tests.chain_fixtures import ARTIFACTS, DEPLOYER, ROOT

pytestmark = pytest.mark.integration
SERVER = ROOT / "tests/explorers/sourcify_server.js"


@pytest.fixture(scope="module")
def chain_url() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.fixture(scope="module")
async def sources(chain_url: str) -> dict[str, ContractSources]:
    contracts = await deploy(chain_url, LOCAL_CHAIN_ID, local_test_key(DEPLOYER), ARTIFACTS)
    return {each.contract: each for each in read_sources(ARTIFACTS, contracts, LOCAL_CHAIN_ID)}


@pytest.fixture
def sourcify(chain_url: str) -> Iterator[Sourcify]:
    node = str(NODE) if NODE.is_file() else shutil.which("node")
    assert node, "no Node; `make setup` brings it"
    command = [node, str(SERVER), chain_url, str(LOCAL_CHAIN_ID)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        yield Sourcify(url, Patience(deadline_seconds=600, poll_seconds=0.2))
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("name", CONTRACTS)
async def test_each_contract_is_an_exact_match_by_runtime_and_creation_code(
    name: str, sources: dict[str, ContractSources], sourcify: Sourcify
) -> None:
    judged = await sourcify.verify(sources[name])
    assert judged == Judgement("Sourcify", name, "exact", judged.link)  # a part that is not exact would be said
    assert str(sources[name].address) in str(judged.link)
    assert await sourcify.verify(sources[name]) == judged  # verified already


async def test_sources_with_a_function_more_are_refused(
    sources: dict[str, ContractSources], sourcify: Sourcify
) -> None:
    ledger = sources["ReceiptLedger"]
    ((path, file),) = ledger.standard_json["sources"].items()
    changed = file["content"].rstrip().removesuffix("}") + "    function slipIn() external {}\n}\n"
    wrong = replace(ledger, standard_json=ledger.standard_json | {"sources": {path: {"content": changed}}})
    judged = await sourcify.verify(wrong)
    assert (judged.match, judged.link) == ("failed", None)
    assert judged.problem


async def test_another_comment_is_no_exact_match(sources: dict[str, ContractSources], sourcify: Sourcify) -> None:
    ledger = sources["ReceiptLedger"]
    ((path, file),) = ledger.standard_json["sources"].items()
    commented = {path: {"content": file["content"] + "// a word more\n"}}
    judged = await sourcify.verify(replace(ledger, standard_json=ledger.standard_json | {"sources": commented}))
    assert judged.match == "partial"
