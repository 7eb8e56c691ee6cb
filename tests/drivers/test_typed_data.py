"""What we ask a wallet to sign is what the contracts hash: the vectors that Hardhat's tests hold the contracts to."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils.address import to_checksum_address

from backend.domain.consent import Consent, SignedGrant, SignedRevocation
from backend.domain.training import TrainingOrder
from backend.domain.types import NO_WALLET, DatanetId, Digest, Purpose, Wallet
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.signatures import Web3SignatureVerifier, recovered
from tests.chain_fixtures import ARTIFACTS

VECTORS = Path(__file__).parents[1] / "vectors"


def verifier(domain: dict[str, Any]) -> Web3SignatureVerifier:
    """Of the chain and contract of that domain; nothing is asked of any node."""
    address = Wallet(domain["verifyingContract"])
    contracts = ContractAddresses(address, address, NO_WALLET)
    return Web3SignatureVerifier(ChainConnection("http://127.0.0.1:9", domain["chainId"], contracts, ARTIFACTS))


def digest(document: dict[str, Any]) -> str:
    return "0x" + _hash_eip191_message(encode_typed_data(full_message=document)).hex()


@pytest.mark.parametrize("kind", ["grant", "revocation"])
async def test_a_consents_digest_is_the_contracts_and_its_signature_is_known(kind: str) -> None:
    vector = json.loads((VECTORS / "grant.json").read_text())[kind]
    said = {name: value if name == "grantee" else int(value) for name, value in vector["message"].items()}
    about = (DatanetId(said["datanetId"]), Wallet(to_checksum_address(said["grantee"])), Purpose(said["purposes"]))
    consent: Consent = SignedRevocation(*about, said["nonce"], said["deadline"])
    if kind == "grant":
        consent = SignedGrant(*about, said["expiresAt"], said["termsVersion"], said["nonce"], said["deadline"])
    ours = verifier(vector["domain"])
    document = ours.consent_typed_data(consent)
    assert (document["types"], document["primaryType"]) == (vector["types"], vector["primaryType"])
    assert digest(document) == vector["digest"]
    signature = bytes.fromhex(vector["signature"][2:])
    assert recovered(encode_typed_data(full_message=document), signature) == vector["signer"]
    assert await ours.is_valid_consent(consent, Wallet(vector["signer"]), signature)


def test_an_orders_digest_is_the_contracts() -> None:
    vector = json.loads((VECTORS / "training_order.json").read_text())
    said = vector["order"]
    order = TrainingOrder(
        trainer=Wallet(said["trainer"]),
        datanets=tuple(DatanetId(int(datanet)) for datanet in said["datanetIds"]),
        versions=tuple(said["versions"]),
        parent_model_id=int(said["parentModelId"]),
        config_digest=Digest(said["configDigest"]),
        nonce=int(said["nonce"]),
        deadline=said["deadline"],
    )
    assert digest(verifier(vector["domain"]).order_typed_data(order)) == vector["digest"]
