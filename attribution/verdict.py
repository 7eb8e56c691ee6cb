"""What a check says: three verdicts, never two."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    VERIFIED = "verified"
    REFUTED = "refuted"  # something contradicts the receipt
    UNKNOWN = "unknown"  # could not be seen, or is withheld and would have been needed


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: Verdict
    detail: str  # a sentence for a person


def verified(name: str, detail: str) -> Check:
    return Check(name, Verdict.VERIFIED, detail)


def refuted(name: str, detail: str) -> Check:
    return Check(name, Verdict.REFUTED, detail)


def unknown(name: str, detail: str) -> Check:
    return Check(name, Verdict.UNKNOWN, detail)


def overall(checks: Sequence[Check]) -> Verdict:
    """One contradiction refutes; else one gap leaves it open. No checks at all prove nothing."""
    verdicts = {check.verdict for check in checks}
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.VERIFIED if verdicts == {Verdict.VERIFIED} else Verdict.UNKNOWN
