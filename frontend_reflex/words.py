"""How the pages say numbers, shares and names. Pure functions, so that a test can read them."""

import re
from collections.abc import Mapping
from typing import TypedDict

from frontend_reflex.views import Share

NOBODY = "nobody"
_CITATION = re.compile(r"\[(\d{1,3})\]")


class Piece(TypedDict):
    """A stretch of an answer: plain text, or (`cites` > 0) a citation of that source."""

    text: str
    cites: int


def percent(bps: int) -> str:
    """Basis points as a person reads them: 1234 → "12.34 %"."""
    return f"{bps / 100:.2f}".rstrip("0").rstrip(".") + " %"


def shares(bps_by_wallet: Mapping[str, int] | None) -> list[Share]:
    """Largest share first; what no contributor explains comes last."""
    rows = [Share(who=who, bps=bps, percent=percent(bps)) for who, bps in (bps_by_wallet or {}).items()]
    return sorted(rows, key=lambda row: (row["who"] == NOBODY, -row["bps"], row["who"]))


def pieces(answer: str, sources: int) -> list[Piece]:
    """Split an answer at its citations [1] … [sources]; other brackets stay text."""
    out: list[Piece] = []
    at = 0
    for match in _CITATION.finditer(answer):
        number = int(match[1])
        if not 1 <= number <= sources:
            continue
        if match.start() > at:
            out.append(Piece(text=answer[at : match.start()], cites=0))
        out.append(Piece(text=match[0], cites=number))
        at = match.end()
    if at < len(answer) or not out:
        out.append(Piece(text=answer[at:], cites=0))
    return out


def duration(seconds: float | None) -> str:
    """A time span in the two units that matter: 3725 → "1 h 2 min"."""
    if seconds is None or seconds < 0:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: float) -> str:
    """Big numbers short: 134515008 → "135 M"."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.1f} {unit}".replace(".0 ", " ")
    return f"{number:.0f}"


def plain(number: float) -> str:
    """A number for a form field, without needless zeros or exponents where they hurt: 0.0002, 16."""
    if number == int(number):
        return str(int(number))
    return f"{number:.10f}".rstrip("0") if abs(number) >= 1e-6 else f"{number:g}"


def ether(wei: str | int | None) -> str:
    """Wei as a person reads them: "1500000000000000000" → "1.5 ETH"; tiny sums in gwei or wei."""
    if wei is None:
        return "—"
    amount = int(wei)
    for digits, unit in ((18, "ETH"), (9, "gwei")):
        if amount >= 10 ** (digits - 6):
            whole, rest = divmod(amount, 10**digits)
            fraction = f"{rest:0{digits}d}"[: 6 if unit == "ETH" else 3].rstrip("0")
            return f"{whole:,}{'.' if fraction else ''}{fraction} {unit}"
    return f"{amount} wei" if amount else "0 ETH"


def label(words: str) -> str:
    """snake_case → a label: "max_length_tokens" → "Max length tokens"."""
    return words.replace("_", " ").capitalize()


def price(per_1000_answers: float | None, currency: str | None) -> str:
    """What terms say about money: (12.5, "EUR") → "12.50 EUR per 1,000 answers"."""
    if not per_1000_answers or not currency:
        return "none named"
    return f"{per_1000_answers:,.2f} {currency} per 1,000 answers"
