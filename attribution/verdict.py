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
    """What is shown of a check quotes a file that anybody may have forged: here it becomes printable, whoever shows
    it. A terminal would obey an escape sequence, and a reader would believe text turned round."""

    name: str
    verdict: Verdict
    detail: str  # a sentence for a person

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _printable(self.name))
        object.__setattr__(self, "detail", _printable(self.detail))


def verified(name: str, detail: str) -> Check:
    return Check(name, Verdict.VERIFIED, detail)


def refuted(name: str, detail: str) -> Check:
    return Check(name, Verdict.REFUTED, detail)


def unknown(name: str, detail: str) -> Check:
    return Check(name, Verdict.UNKNOWN, detail)


def _printable(text: str) -> str:
    """ESC → \\x1b, U+202E → \\u202e; a printable text as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def overall(checks: Sequence[Check]) -> Verdict:
    """One contradiction refutes; else one gap leaves it open. No checks at all prove nothing."""
    verdicts = {check.verdict for check in checks}
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.VERIFIED if verdicts == {Verdict.VERIFIED} else Verdict.UNKNOWN
