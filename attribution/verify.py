"""Is this receipt true? Standard library only; what the chain says comes in as `Evidence`.

    file = read_file(raw)                   # ReceiptMalformed when it is no JSON object
    needed = parse_file(file).needed()      # what to look up; ReceiptMalformed when it is no audit file
    checks = verify_receipt(file, Evidence(…))
    overall(checks)                         # VERIFIED, REFUTED or UNKNOWN
    check_publisher(parse_file(file), …)    # whether that is the log to trust: anybody can anchor one

Alone, `python -m attribution.verify FILE` does what can be done without a chain.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attribution.audit_file import AuditFile, parse_file, read_file
from attribution.evidence import (
    CheckpointSeen,
    CreditSeen,
    Evidence,
    ModelSeen,
    Needed,
    PermissionAsked,
    PermissionSeen,
    Unseen,
    VersionAsked,
    VersionSeen,
)
from attribution.inside import check_inside
from attribution.onchain import check_on_chain
from attribution.receipt import ReceiptMalformed
from attribution.verdict import Check, Verdict, overall, refuted, verified

__all__ = [
    "ANYONE",
    "AuditFile",
    "Check",
    "CheckpointSeen",
    "CreditSeen",
    "Evidence",
    "ModelSeen",
    "Needed",
    "PermissionAsked",
    "PermissionSeen",
    "ReceiptMalformed",
    "Unseen",
    "Verdict",
    "VersionAsked",
    "VersionSeen",
    "check_publisher",
    "overall",
    "parse_file",
    "read_file",
    "verify_receipt",
]

ANYONE = "anyone"

EXIT_CODES = {Verdict.VERIFIED: 0, Verdict.REFUTED: 1, Verdict.UNKNOWN: 2}


def verify_receipt(file: Mapping[str, Any], evidence: Evidence) -> list[Check]:
    """Every check there is but one, each named by what it is about. Never raises: a malformed file is one refuted
    check, named by the part that is malformed. Who published it is for `check_publisher`.

    Args:
        file: {"receipt", "proof", "chain_id", "ledger", "publisher", "anchored"}; proof is {"index", "size",
            "path"} or None, anchored is {"size", "root", "tx_hash", "block_number"} or None.
    """
    try:
        parsed = parse_file(file)
    except ReceiptMalformed as err:
        return [refuted(err.field, err.problem)]
    return [*check_inside(parsed), *check_on_chain(parsed, evidence)]


def check_publisher(file: AuditFile, expected: str) -> Check:
    """Whether the log is that of the wallet the auditor trusts, or `ANYONE`. That the publisher which the file names
    did anchor it is what `verify_receipt` checks."""
    name = "publisher"
    if expected == ANYONE:
        return verified(name, f"anchored by {file.publisher}; nobody else was expected (byline audit --publisher)")
    if file.publisher.lower() != expected.lower():
        return refuted(name, f"anchored by {file.publisher}, not by {expected}")
    return verified(name, f"anchored by {file.publisher}, as expected")


def main(arguments: Sequence[str]) -> int:
    """Print the checks of one file, offline. Exit status as `EXIT_CODES`; 2 when the file cannot be read."""
    if len(arguments) != 1:
        print("usage: python -m attribution.verify FILE", file=sys.stderr)
        return 2
    try:
        raw = Path(arguments[0]).read_bytes()
    except OSError as err:
        print(f"cannot read {arguments[0]}: {err.strerror}", file=sys.stderr)
        return 2
    try:
        checks = verify_receipt(read_file(raw), Evidence.none("no chain was asked"))
    except ReceiptMalformed as err:
        checks = [refuted(err.field, err.problem)]
    for check in checks:
        print(f"{check.verdict:8}  {check.name}: {check.detail}")
    return EXIT_CODES[overall(checks)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
