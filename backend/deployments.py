"""Which contracts are ours: from the settings, or as `byline deploy` and the embedded chain wrote them down."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from backend.domain.errors import InvalidValue, NotFound
from backend.domain.types import parse_digest, parse_wallet
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import ContractAddresses
from backend.secret_files import write_private
from backend.settings import Settings


def deployment_file(settings: Settings) -> Path:
    """One for each chain id: addresses of one chain mean nothing on another."""
    return settings.home / f"contracts-{settings.chain_id}.json"


def load_contracts(settings: Settings) -> ContractAddresses:
    """Raises: NotFound, saying how to get contracts; InvalidValue when what was written down is damaged."""
    if settings.contracts is not None:
        given = settings.contracts
        return ContractAddresses(given.datanet_registry, given.model_registry, given.receipt_ledger)
    return read_deployment(settings)


def read_deployment(settings: Settings) -> ContractAddresses:
    """As written down for this chain, whatever the settings say. Raises: as `load_contracts`."""
    path = deployment_file(settings)
    try:
        kept = json.loads(path.read_text())
        return ContractAddresses(
            parse_wallet(kept["datanet_registry"]),
            parse_wallet(kept["model_registry"]),
            parse_wallet(kept["receipt_ledger"]),
            int(kept["deployed_block"]),
            {name: parse_digest(tx) for name, tx in kept.get("created_by", {}).items()},  # early files lack it
        )
    except FileNotFoundError:
        raise NotFound(
            f"a deployment of Byline's contracts on chain {settings.chain_id} (run `byline deploy`, or set "
            "REGISTRY_ADDRESS, MODEL_REGISTRY_ADDRESS and LEDGER_ADDRESS)"
        ) from None
    except (InvalidValue, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidValue(path.name, f"{path} is damaged ({error!r}); run `byline deploy`") from error


def remembered(settings: Settings, found: ContractAddresses) -> ContractAddresses:
    """`found`, with what was written down of these same contracts where the node no longer knew."""
    try:
        kept = read_deployment(settings)
    except (NotFound, InvalidValue):
        return found
    same = [name for name in CONTRACTS if kept.of(name) == found.of(name)]
    block = kept.deployed_block if len(same) == len(CONTRACTS) and not found.deployed_block else found.deployed_block
    kept_by = {name: kept.created_by[name] for name in same if name in kept.created_by}
    return replace(found, deployed_block=block, created_by={**kept_by, **found.created_by})


def save_contracts(settings: Settings, contracts: ContractAddresses) -> None:
    write_private(deployment_file(settings), json.dumps(asdict(contracts), indent=2) + "\n")
