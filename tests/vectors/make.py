"""Write the vectors that pytest and Hardhat share: `.venv/bin/python -m tests.vectors.make`.

The Python tree makes merkle.json and the contract checks it; the EIP-712 digests and signatures in
training_order.json and grant.json come from eth-account: the contracts must compute the same and accept them.
"""

import json
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils.address import to_checksum_address

from attribution.log import Tree

HERE = Path(__file__).parent
SIZES = [*range(22), 31, 32, 33, 64, 100]
KEY = "0x" + "17" * 32  # a test key: it holds nothing anywhere


def receipt_digest(index: int) -> bytes:
    return bytes([index]) * 32


def merkle() -> dict[str, Any]:
    logs, inclusion, consistency = [], [], []
    for size in SIZES:
        tree = Tree.of(receipt_digest(i) for i in range(size))
        logs.append({"size": size, "root": _hex(tree.root())})
        for index in range(size) if size <= 21 else (0, size // 2, size - 1):
            inclusion.append({"size": size, "index": index, "proof": [_hex(h) for h in tree.inclusion_proof(index)]})
        for old in SIZES:
            if 0 < old < size:
                proof = [_hex(h) for h in tree.consistency_proof(old)]
                consistency.append({"old_size": old, "size": size, "proof": proof})
    return {
        "about": "RFC 9162 over 32-byte receipts; receipt i is the byte i, 32 times",
        "logs": logs,
        "inclusion": inclusion,
        "consistency": consistency,
    }


DOMAIN_FIELDS = "string name,string version,uint256 chainId,address verifyingContract"
ORDER_FIELDS = (
    "address trainer,uint256[] datanetIds,uint32[] versions,uint256 parentModelId,bytes32 configDigest,uint256 nonce,"
    "uint256 deadline"
)
GRANT_FIELDS = (
    "uint256 datanetId,address grantee,uint32 purposes,uint48 expiresAt,uint32 termsVersion,uint256 nonce,"
    "uint256 deadline"
)
REVOCATION_FIELDS = "uint256 datanetId,address grantee,uint32 purposes,uint256 nonce,uint256 deadline"


def training_order() -> dict[str, Any]:
    order = {
        "trainer": Account.from_key(KEY).address,
        "datanetIds": [1, 7, 2**200],
        "versions": [1, 3, 2**32 - 1],
        "parentModelId": 2**64 + 5,
        "configDigest": "0x" + "c0" * 32,
        "nonce": 2**255 + 19,
        "deadline": 4_102_444_800,
    }
    signed = _signed("Byline ModelRegistry", "0x" + "5f" * 20, "TrainingOrder", ORDER_FIELDS, order)
    return {
        "domain": signed["domain"],
        "order": signed["message"],
        "private_key": KEY,
        "digest": signed["digest"],
        "signature": signed["signature"],
    }


def consents() -> dict[str, Any]:
    """A grant, and the revocation of a part of it: each is the next consent when the one before was relayed."""
    about = {"datanetId": 1, "grantee": "0x" + "b0" * 20}
    grant = {
        **about,
        "purposes": 11,
        "expiresAt": 4_102_444_801,
        "termsVersion": 1,
        "nonce": 0,
        "deadline": 4_102_444_800,
    }
    revocation = {**about, "purposes": 9, "nonce": 1, "deadline": 2**255 + 19}
    registry = ("Byline DatanetRegistry", "0x" + "6e" * 20)
    return {
        "grant": _signed(*registry, "Grant", GRANT_FIELDS, grant),
        "revocation": _signed(*registry, "Revocation", REVOCATION_FIELDS, revocation),
    }


def _signed(name: str, contract: str, primary_type: str, fields: str, message: dict[str, Any]) -> dict[str, Any]:
    """An EIP-712 document with its digest and KEY's signature; numbers that a browser's JSON would round are text."""
    document = {
        "domain": {
            "name": name,
            "version": "1",
            "chainId": 20931,
            "verifyingContract": to_checksum_address(contract),
        },
        "types": {"EIP712Domain": _fields(DOMAIN_FIELDS), primary_type: _fields(fields)},
        "primaryType": primary_type,
        "message": message,
    }
    signable = encode_typed_data(full_message=document)
    signer = Account.from_key(KEY)
    return {
        **document,
        "message": {field: _exact(value) for field, value in message.items()},
        "digest": _hex(bytes(_hash_eip191_message(signable))),
        "signature": _hex(bytes(signer.sign_message(signable).signature)),
        "signer": signer.address,
    }


def _fields(text: str) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for kind, name in (field.split() for field in text.split(","))]


def _exact(value: Any) -> Any:
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return str(value) if isinstance(value, int) and value >= 2**53 else value


def render() -> dict[str, str]:
    """File name → content."""
    vectors = {"merkle.json": merkle(), "training_order.json": training_order(), "grant.json": consents()}
    return {name: _lines(value) for name, value in vectors.items()}


def _lines(vectors: dict[str, Any]) -> str:
    """JSON with one vector a line, so that a change reads well in a diff."""
    parts = []
    for name, value in vectors.items():
        listed = isinstance(value, list)
        body = "[\n" + ",\n".join("  " + json.dumps(item) for item in value) + "\n ]" if listed else json.dumps(value)
        parts.append(f" {json.dumps(name)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


if __name__ == "__main__":
    for name, content in render().items():
        (HERE / name).write_text(content)
