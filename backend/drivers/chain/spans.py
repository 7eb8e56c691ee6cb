"""How many blocks' logs a node gives at once: each provider has limits of its own, and words of its own for them."""

import re
from dataclasses import dataclass

MOST_BLOCKS = 10_000
CALM = 16  # answers in a row after which a larger question is tried again

# "… this block range should work: [0x0, 0x3e7]", as Alchemy and Infura have it
_PROPOSED = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)
# "exceed maximum block range: 5000", "limited to a 10,000 range", "up to a 500 block range", "0 - 2000 blocks"
_LIMIT = re.compile(r"range\D{0,20}?(\d[\d,]*)(?![\d,]*\s*(?:results|logs))|(\d[\d,]*)[\s-]*(?:blocks?|range)", re.I)


@dataclass(slots=True)
class LogSpan:
    """Remembered with the connection: falls at once when the node refuses, and grows back slowly."""

    blocks: int = MOST_BLOCKS
    ceiling: int = MOST_BLOCKS  # lower once the node has named its limit
    _calm: int = 0

    def refused(self, asked: int, message: str) -> None:
        """`asked` blocks (more than one) were too many, for the reason given. The next question is smaller."""
        self._calm = 0
        limit = named_limit(message)
        if limit is not None and limit < asked:
            self.ceiling = self.blocks = limit
            return
        proposed = proposed_blocks(message)
        self.blocks = proposed if proposed is not None and proposed < asked else max(1, asked // 2)

    def answered(self, asked: int) -> None:
        if asked < self.blocks:
            return  # says nothing about as many as we would dare
        self._calm += 1
        if self._calm >= CALM:
            self._calm, self.blocks = 0, min(self.ceiling, self.blocks * 2)


def proposed_blocks(message: str) -> int | None:
    """How many blocks the node says would do for this one question."""
    found = _PROPOSED.search(message)
    blocks = int(found[2], 16) - int(found[1], 16) + 1 if found else 0
    return blocks if blocks > 0 else None


def named_limit(message: str) -> int | None:
    """How many blocks the node says are the most it ever gives."""
    if _PROPOSED.search(message):
        return None
    numbers = [int((one or other).replace(",", "")) for one, other in _LIMIT.findall(message)]
    return max((number for number in numbers if number > 0), default=None)
