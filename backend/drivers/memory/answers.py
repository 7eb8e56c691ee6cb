"""`AnswerLog` in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from backend.domain.answers import Answer, Credit, LoggedReceipt, Unfinished
from backend.domain.errors import Conflict
from backend.domain.types import Digest, Wallet


class MemoryAnswerLog:
    def __init__(self) -> None:
        self._answers: list[Answer] = []
        self._receipts: list[LoggedReceipt] = []
        self._unfinished: dict[str, Unfinished] = {}

    async def begin(self, unfinished: Unfinished) -> None:
        self._unfinished[unfinished.answer_id] = unfinished

    async def unfinished(self) -> list[Unfinished]:
        return sorted(self._unfinished.values(), key=lambda each: each.begun_at)

    async def abandon(self, answer_id: str) -> None:
        self._unfinished.pop(answer_id, None)

    async def append(self, answer: Answer, document: dict[str, Any], credits: Sequence[Credit]) -> LoggedReceipt:
        """Raises: Conflict when that answer or that receipt is in the log already; nothing was changed."""
        digest = answer.receipt_digest
        if any(old.answer_id == answer.answer_id or old.receipt_digest == digest for old in self._answers):
            raise Conflict(f"answer {answer.answer_id} or receipt {digest} is in the log already")
        index = len(self._receipts)
        receipt = LoggedReceipt(index, digest, document, answer.asker, tuple(credits), datetime.now(UTC))
        self._answers.append(answer)
        self._receipts.append(receipt)
        self._unfinished.pop(answer.answer_id, None)
        return receipt

    async def receipt(self, digest: Digest) -> LoggedReceipt | None:
        return next((receipt for receipt in self._receipts if receipt.digest == digest), None)

    async def answers_of(self, wallet: Wallet, limit: int = 100) -> list[Answer]:
        return [answer for answer in reversed(self._answers) if answer.asker == wallet][:limit]

    async def receipts_crediting(self, wallet: Wallet, limit: int = 100) -> list[LoggedReceipt]:
        credited = [
            receipt
            for receipt in reversed(self._receipts)
            if any(credit.contributor == wallet for credit in receipt.credits)
        ]
        return credited[:limit]

    async def size(self) -> int:
        return len(self._receipts)

    async def digests(self, size: int) -> list[Digest]:
        return [receipt.digest for receipt in self._receipts[:size]]

    async def credits(self, first: int, end: int) -> list[Credit]:
        return [credit for receipt in self._receipts[first:end] for credit in receipt.credits]
