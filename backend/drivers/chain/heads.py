"""Which heads a connection has seen, so that a node that fell behind is told from a chain that changed."""

from dataclasses import dataclass, field

from backend.domain.types import BlockRef

REMEMBERED = 256


@dataclass(slots=True)
class SeenHeads:
    """The newest heads of one and the same chain, and its first block."""

    _by_number: dict[int, BlockRef] = field(default_factory=dict)

    @property
    def newest(self) -> BlockRef | None:
        return self._by_number[max(self._by_number)] if self._by_number else None

    def at_or_below(self, number: int) -> BlockRef | None:
        """The highest seen that is no higher than `number`."""
        lower = [seen for seen in self._by_number if seen <= number]
        return self._by_number[max(lower)] if lower else None

    def note(self, head: BlockRef) -> None:
        """A head that was accepted. One of another branch makes those above it, and itself, forgotten."""
        known = self._by_number.get(head.number)
        if known is not None and known.hash != head.hash:
            self.start_again()
        self._by_number[head.number] = head
        if len(self._by_number) > REMEMBERED:
            del self._by_number[sorted(self._by_number)[1]]  # the first block stays: it tells chains apart

    def start_again(self) -> None:
        self._by_number.clear()
