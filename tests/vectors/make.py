"""Write the vectors that pytest and Hardhat share: `.venv/bin/python -m tests.vectors.make`.

The Python tree makes merkle.json and the contract checks it; the EIP-712 digest in training_order.json comes
from eth-account and the contract must compute the same.
"""

import json
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data

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


def training_order() -> dict[str, Any]:
    signer = Account.from_key(KEY)
    order = {
        "trainer": signer.address,
        "datanetIds": [1, 7, 2**200],
        "versions": [1, 3, 2**32 - 1],
        "configDigest": "0x" + "c0" * 32,
        "nonce": str(2**255 + 19),
        "deadline": 4_102_444_800,
    }
    document = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "TrainingOrder": [
                {"name": "trainer", "type": "address"},
                {"name": "datanetIds", "type": "uint256[]"},
                {"name": "versions", "type": "uint32[]"},
                {"name": "configDigest", "type": "bytes32"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ],
        },
        "primaryType": "TrainingOrder",
        "domain": {
            "name": "Byline ModelRegistry",
            "version": "1",
            "chainId": 20931,
            "verifyingContract": "0x" + "5f" * 20,
        },
        "message": {**order, "nonce": int(str(order["nonce"]))},
    }
    message = encode_typed_data(full_message=document)
    signed = signer.sign_message(message)
    return {
        "domain": document["domain"],
        "order": {**order, "datanetIds": [str(i) for i in (1, 7, 2**200)]},
        "private_key": KEY,
        "struct_hash": _hex(bytes(message.body)),
        "domain_separator": _hex(bytes(message.header)),
        "digest": _hex(bytes(_hash_eip191_message(message))),
        "signature": _hex(bytes(signed.signature)),
    }


def render() -> dict[str, str]:
    """File name → content."""
    vectors = {"merkle.json": merkle(), "training_order.json": training_order()}
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
