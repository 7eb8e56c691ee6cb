"""How firm the chain's blocks are, and how far the mirror of them goes."""

from dataclasses import dataclass

from backend.domain.types import BlockRef, Digest

FINAL_DEPTH = 64  # blocks below the newest, where a node has no word of its own for what is final


@dataclass(frozen=True, slots=True)
class Finality:
    """What a chain has settled: `block` and all below it stay as they are."""

    chain: Digest  # which chain, with which contracts of ours: another one has nothing in common with it
    block: BlockRef

    def up_to(self, boundary: BlockRef) -> "Finality":
        """The same for who has seen the chain up to `boundary` only."""
        return self if self.block.number <= boundary.number else Finality(self.chain, boundary)

    def after(self, before: "Finality | None") -> "Finality":
        """The further of the two: a node that lags takes nothing back."""
        if before is None or before.chain != self.chain or before.block.number <= self.block.number:
            return self
        return before


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the mirror is. A reader's measure only: decisions read the chain."""

    tip: BlockRef | None = None
    finality: Finality | None = None
    problem: str | None = None  # what went wrong with the chain itself, fit to show; None when nothing did

    def confirmations(self, block_number: int) -> int:
        """Blocks that hold it or lie on it; 0 for a block that is not mirrored (yet)."""
        return 0 if self.tip is None else max(0, self.tip.number - block_number + 1)

    def is_final(self, block_number: int) -> bool:
        return self.finality is not None and block_number <= self.finality.block.number
