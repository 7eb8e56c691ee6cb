// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title One append-only log of receipts for each publisher.
/// @notice A publisher anchors the size and root of its RFC 9162 (SHA-256) log. Each step must prove
/// that the new log extends the old one, so that not even the publisher can fork, shorten or rewrite
/// it. Nobody owns this contract and nothing in it can be switched off.
contract ReceiptLedger {
    /// @notice One contributor's share of one answer, through one datanet.
    struct Credit {
        address contributor;
        uint256 datanetId;
        bytes32 receipt;
        uint16 shareBps;
    }

    struct Checkpoint {
        uint64 size;
        bytes32 root;
    }

    uint16 private constant _BPS_TOTAL = 10_000;

    mapping(address publisher => Checkpoint checkpoint) private _checkpoints;

    /// @notice The publisher's log has this size and root from now on.
    event CheckpointAnchored(address indexed publisher, uint64 indexed size, bytes32 root);
    /// @notice A contributor is credited; the transaction's sender says so.
    event Credited(address indexed contributor, uint256 indexed datanetId, bytes32 indexed receipt, uint16 shareBps);

    /// @notice A log only grows.
    error ReceiptLedgerNotGrowing(uint64 size, uint64 newSize);
    /// @notice A log with receipts in it has a root.
    error ReceiptLedgerZeroRoot(uint64 newSize);
    /// @notice The proof does not show that the log of `newSize` extends the anchored one of `size`.
    error ReceiptLedgerInconsistent(uint64 size, uint64 newSize);
    /// @notice A share is at most 10,000 basis points.
    error ReceiptLedgerInvalidShare(bytes32 receipt, uint16 shareBps);

    /// @notice Extends the caller's log and credits contributors.
    /// @param newSize Receipts in the log now; larger than before.
    /// @param newRoot Its RFC 9162 root over leaf hashes SHA-256(0x00 ‖ receipt).
    /// @param consistencyProof As RFC 9162 section 2.1.4 has it; empty when the log was empty.
    /// @param credits One `Credited` event each, in this order.
    function anchor(
        uint64 newSize,
        bytes32 newRoot,
        bytes32[] calldata consistencyProof,
        Credit[] calldata credits
    ) external {
        Checkpoint memory held = _checkpoints[msg.sender];
        if (newSize <= held.size) revert ReceiptLedgerNotGrowing(held.size, newSize);
        if (newRoot == 0) revert ReceiptLedgerZeroRoot(newSize);
        bool extends_ =
            held.size == 0 ? consistencyProof.length == 0 : _isConsistent(held, newSize, newRoot, consistencyProof);
        if (!extends_) revert ReceiptLedgerInconsistent(held.size, newSize);
        _checkpoints[msg.sender] = Checkpoint(newSize, newRoot);
        emit CheckpointAnchored(msg.sender, newSize, newRoot);
        for (uint256 i; i < credits.length; ++i) {
            Credit calldata credit = credits[i];
            if (credit.shareBps > _BPS_TOTAL) revert ReceiptLedgerInvalidShare(credit.receipt, credit.shareBps);
            emit Credited(credit.contributor, credit.datanetId, credit.receipt, credit.shareBps);
        }
    }

    /// @notice The publisher's log as last anchored; size 0 and root 0 before the first time.
    function checkpointOf(address publisher) external view returns (uint64 size, bytes32 root) {
        Checkpoint memory held = _checkpoints[publisher];
        return (held.size, held.root);
    }

    /// @notice Whether a receipt stands at `index` of the publisher's log as last anchored (RFC 9162, 2.1.3.2).
    /// @param receipt The receipt's digest; its leaf hash is SHA-256(0x00 ‖ receipt).
    /// @param proof Made for the checkpoint's size; a proof for an older size does not fit.
    function verifyInclusion(
        address publisher,
        bytes32 receipt,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool) {
        Checkpoint memory held = _checkpoints[publisher];
        if (index >= held.size) return false;
        uint64 node = index;
        uint64 last = held.size - 1;
        bytes32 computed = sha256(abi.encodePacked(bytes1(0x00), receipt));
        for (uint256 i; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                computed = _node(proof[i], computed);
                while (node & 1 == 0 && node != 0) {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                computed = _node(computed, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && computed == held.root;
    }

    /// @dev RFC 9162, 2.1.4.2. `held.size` > 0 and < `newSize`. Both roots are rebuilt from one path.
    function _isConsistent(
        Checkpoint memory held,
        uint64 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) private pure returns (bool) {
        if (proof.length == 0) return false;
        uint64 node = held.size - 1;
        uint64 last = newSize - 1;
        while (node & 1 == 1) {
            node >>= 1;
            last >>= 1;
        }
        // An old log of 2^k receipts is itself a node of the new one; else the path starts with that node.
        uint256 next = node == 0 ? 0 : 1;
        bytes32 oldComputed = node == 0 ? held.root : proof[0];
        bytes32 newComputed = oldComputed;
        for (; next < proof.length; ++next) {
            if (last == 0) return false;
            bytes32 sibling = proof[next];
            if (node & 1 == 1 || node == last) {
                oldComputed = _node(sibling, oldComputed);
                newComputed = _node(sibling, newComputed);
                while (node & 1 == 0 && node != 0) {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                newComputed = _node(newComputed, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && oldComputed == held.root && newComputed == newRoot;
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }
}
