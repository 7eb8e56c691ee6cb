"""The append-only log of RFC 9162 (Certificate Transparency 2.0) with SHA-256.

Leaf hash = SHA-256(0x00 ‖ data), node hash = SHA-256(0x01 ‖ left ‖ right). A tree of n leaves splits at the
largest power of two below n; pairing neighbours level by level and lifting a lone last node unchanged gives
the same tree without recursion, which is what `Tree` does. `contracts/ReceiptLedger.sol` checks the same proofs.
"""

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing tree over leaf hashes: n hashes to build, about log2(n) to read a proof or to add a leaf."""

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self.extend(leaf_hashes)

    @classmethod
    def of(cls, leaves: Iterable[bytes]) -> "Tree":
        """The tree over leaf data, which is hashed here."""
        return cls(leaf_hash(leaf) for leaf in leaves)

    def __len__(self) -> int:
        return len(self._levels[0])

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Append, and re-compute only what changes: the nodes above the first new leaf and after it."""
        changed = len(self)
        self._levels[0].extend(leaf_hashes)
        height = 0
        while len(self._levels[height]) > 1:
            below = self._levels[height]
            height += 1
            if height == len(self._levels):
                self._levels.append([])
            above = self._levels[height]
            changed //= 2
            del above[changed:]
            above.extend(node_hash(below[i], below[i + 1]) for i in range(2 * changed, len(below) - 1, 2))
            if len(below) % 2:
                above.append(below[-1])

    def root(self) -> bytes:
        return self._levels[-1][0] if len(self) else EMPTY_ROOT

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Siblings from the leaf up. Raises: ValueError when there is no such leaf."""
        if not 0 <= index < len(self):
            raise ValueError(f"no leaf {index} in a log of {len(self)}")
        return self._climb(0, index)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """What shows that the first `old_size` leaves are still the first. Empty when nothing was added.
        Raises: ValueError unless 1 <= old_size <= len(self)."""
        if not 1 <= old_size <= len(self):
            raise ValueError(f"a log of {len(self)} did not grow from one of {old_size}")
        if old_size == len(self):
            return []
        node, height = old_size - 1, 0
        while node & 1:
            node >>= 1
            height += 1
        # A log of 2^k leaves is itself this node, and who checks the proof already has its hash.
        start = [self._levels[height][node]] if node else []
        return start + self._climb(height, node)

    def _climb(self, height: int, node: int) -> list[bytes]:
        path = []
        for level in self._levels[height:]:
            if (sibling := node ^ 1) < len(level):
                path.append(level[sibling])
            node >>= 1
        return path


def root(leaves: Iterable[bytes]) -> bytes:
    """The Merkle tree hash over leaf data; of no leaves, SHA-256 of nothing."""
    return Tree.of(leaves).root()


def inclusion_proof(leaves: Iterable[bytes], index: int) -> list[bytes]:
    """RFC 9162, 2.1.3.1. Raises: ValueError when there is no such leaf."""
    return Tree.of(leaves).inclusion_proof(index)


def consistency_proof(leaves: Iterable[bytes], old_size: int) -> list[bytes]:
    """RFC 9162, 2.1.4.1. Raises: ValueError unless 1 <= old_size <= number of leaves."""
    return Tree.of(leaves).consistency_proof(old_size)


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that this path leads to (RFC 9162, 2.1.3.2); None when the path does not fit the place."""
    if not 0 <= index < size or any(len(sibling) != HASH_BYTES for sibling in proof):
        return None
    node, last, computed = index, size - 1, leaf_hash(leaf)
    for sibling in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    return computed if last == 0 else None


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` (data, not hash) stands at `index` of the log with this size and root."""
    return root_from_inclusion(leaf, index, size, proof) == root


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the log of `size` extends the one of `old_size` (RFC 9162, 2.1.4.2). Every log extends the empty one."""
    if not 0 <= old_size <= size or any(len(sibling) != HASH_BYTES for sibling in proof):
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if old_size == size:
        return not proof and old_root == root
    if not proof:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    start, *path = proof if node else [old_root, *proof]
    old_computed = computed = start
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_computed, computed = node_hash(sibling, old_computed), node_hash(sibling, computed)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old_computed == old_root and computed == root
