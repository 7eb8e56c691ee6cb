"""A deployed contract's sources as explorers want them, out of what Hardhat wrote when it was built."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.domain.errors import InvalidValue
from backend.domain.types import Digest, Wallet
from backend.drivers.chain.abi import CONTRACTS, ContractArtifact
from backend.drivers.chain.connection import ContractAddresses
from backend.drivers.chain.known_code import arguments


@dataclass(frozen=True, slots=True)
class ContractSources:
    """All that it takes to compile the contract anew and find its very code on the chain."""

    contract: str
    chain_id: int
    address: Wallet
    identifier: str  # source:contract, as the compiler names it
    compiler: str  # the long version, such as 0.8.37+commit.f401782d
    standard_json: dict[str, Any]  # the compiler's input; only the sources that this contract has
    metadata: str  # byte for byte: the code ends with its hash
    arguments: bytes  # the constructor's
    created_by: Digest | None

    def write(self, folder: Path) -> list[Path]:
        """Into a folder of the contract's name. Returns the files."""
        facts = {
            "contract": self.contract,
            "identifier": self.identifier,
            "compiler": self.compiler,
            "chain_id": self.chain_id,
            "address": self.address,
            "creation_transaction": self.created_by,
            "constructor_arguments": "0x" + self.arguments.hex(),
        }
        texts = {
            "standard-input.json": json.dumps(self.standard_json, indent=2) + "\n",
            "metadata.json": self.metadata,
            "contract.json": json.dumps(facts, indent=2) + "\n",
        }
        place = folder / self.contract
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place / name).write_text(text)
        return [place / name for name in texts]


def read_sources(artifacts: Path, contracts: ContractAddresses, chain_id: int) -> list[ContractSources]:
    """One for each contract. Raises: InvalidValue when the build left out what is needed."""
    addresses = {name: contracts.of(name) for name in CONTRACTS}
    return [_read(artifacts, name, addresses, chain_id, contracts.created_by.get(name)) for name in CONTRACTS]


def _read(
    artifacts: Path, name: str, addresses: dict[str, Wallet], chain_id: int, created_by: Digest | None
) -> ContractSources:
    try:
        artifact = json.loads((artifacts / "contracts" / f"{name}.sol" / f"{name}.json").read_text())
        source, build = artifact["inputSourceName"], artifacts / "build-info" / artifact["buildInfoId"]
        made_of = json.loads(build.with_name(build.name + ".json").read_text())
        output = json.loads(build.with_name(build.name + ".output.json").read_text())["output"]
        metadata = output["contracts"][source][name]["metadata"]
        compiled = made_of["input"]
        standard_json = {
            "language": compiled["language"],
            "sources": {path: compiled["sources"][path] for path in json.loads(metadata)["sources"]},
            "settings": compiled["settings"] | {"outputSelection": OUTPUT},
        }
        compiler = str(made_of["solcLongVersion"])
    except (OSError, ValueError, KeyError) as err:
        raise InvalidValue(
            "artifacts", f"{artifacts} holds no sources of {name} ({err!r}); run `npm run build`"
        ) from err
    return ContractSources(
        contract=name,
        chain_id=chain_id,
        address=addresses[name],
        identifier=f"{source}:{name}",
        compiler=compiler,
        standard_json=standard_json,
        metadata=metadata,
        arguments=arguments(ContractArtifact.load(artifacts, name), addresses),
        created_by=created_by,
    )


OUTPUT = {"*": {"*": ["abi", "metadata", "evm.bytecode", "evm.deployedBytecode"]}}
