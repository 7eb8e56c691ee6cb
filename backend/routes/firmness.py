"""How firm a thing on the chain is, next to the block it is in: the same three fields everywhere."""

from typing import Any

from backend.domain.finality import Standing


def firmness(standing: Standing, block_number: int | None) -> dict[str, Any]:
    """`block_number`: None for what no block holds yet."""
    return {
        "block_number": block_number,
        "confirmations": 0 if block_number is None else standing.confirmations(block_number),
        "final": block_number is not None and standing.is_final(block_number),
    }
