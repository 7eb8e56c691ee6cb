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
        uint64 index; // the receipt's place in the log
        uint16 shareBps;
    }

    struct Checkpoint {
        uint64 size;
        address key; // who anchors now; zero while the publisher's own key does
        bytes32 root;
    }

    uint16 private constant _BPS_TOTAL = 10_000;

    mapping(address publisher => Checkpoint checkpoint) private _checkpoints;
    mapping(address publisher => address key) private _offered;

    /// @notice The publisher's log has this size and root from now on.
    event CheckpointAnchored(address indexed publisher, uint64 indexed size, bytes32 root);
    /// @notice A contributor is credited; the publisher whose checkpoint is anchored just before says so.
    event Credited(address indexed contributor, uint256 indexed datanetId, bytes32 indexed receipt, uint16 shareBps);

    /// @notice The publisher's log may go on under this key once it accepts; zero takes the offer back.
    event KeyOffered(address indexed publisher, address indexed key);
    /// @notice From now on this key, and this one only, extends the publisher's log.
    event KeyRotated(address indexed publisher, address indexed key, address indexed previous);

    /// @notice Only the key that the publisher's log is under may do this.
    error ReceiptLedgerNotKey(address publisher, address caller);
    /// @notice This key was not offered the publisher's log.
    error ReceiptLedgerNotOffered(address publisher, address caller);
    /// @notice A log only grows.
    error ReceiptLedgerNotGrowing(uint64 size, uint64 newSize);
    /// @notice A log with receipts in it has a root.
    error ReceiptLedgerZeroRoot(uint64 newSize);
    /// @notice The proof does not show that the log of `newSize` extends the anchored one of `size`.
    error ReceiptLedgerInconsistent(uint64 size, uint64 newSize);
    /// @notice The shares of one receipt are 10,000 basis points at most, together.
    error ReceiptLedgerTooManyShares(bytes32 receipt, uint256 sumBps);
    /// @notice Credits are of the receipts that this step adds, in their order, and all of one receipt are together.
    error ReceiptLedgerMisplacedCredit(bytes32 receipt, uint64 index);

    /// @notice Extends a publisher's log and credits contributors. The caller is the log's key.
    /// @param publisher Whose log it is: the address that it began under, whatever key it is under now.
    /// @param newSize Receipts in the log now; larger than before.
    /// @param newRoot Its RFC 9162 root over leaf hashes SHA-256(0x00 ‖ receipt).
    /// @param consistencyProof As RFC 9162 section 2.1.4 has it; empty when the log was empty.
    /// @param credits One `Credited` event each, in this order: of the receipts added, by rising index.
    function anchor(
        address publisher,
        uint64 newSize,
        bytes32 newRoot,
        bytes32[] calldata consistencyProof,
        Credit[] calldata credits
    ) external {
        Checkpoint memory held = _checkpoints[publisher];
        if (msg.sender != _keyOf(publisher, held.key)) revert ReceiptLedgerNotKey(publisher, msg.sender);
        if (newSize <= held.size) revert ReceiptLedgerNotGrowing(held.size, newSize);
        if (newRoot == 0) revert ReceiptLedgerZeroRoot(newSize);
        bool extends_ =
            held.size == 0 ? consistencyProof.length == 0 : _isConsistent(held, newSize, newRoot, consistencyProof);
        if (!extends_) revert ReceiptLedgerInconsistent(held.size, newSize);
        _checkpoints[publisher] = Checkpoint(newSize, held.key, newRoot);
        emit CheckpointAnchored(publisher, newSize, newRoot);
        _credit(credits, held.size, newSize);
    }

    /// @notice Offers a publisher's log to another key, or to none. The key it is under stays until that one accepts,
    /// so that no mistyped address can end a log.
    function offerKey(address publisher, address key) external {
        if (msg.sender != keyOf(publisher)) revert ReceiptLedgerNotKey(publisher, msg.sender);
        _offered[publisher] = key;
        emit KeyOffered(publisher, key);
    }

    /// @notice Takes a log over that was offered to the caller. The key before has no power over it any more.
    function acceptKey(address publisher) external {
        if (msg.sender != _offered[publisher]) revert ReceiptLedgerNotOffered(publisher, msg.sender);
        address previous = keyOf(publisher);
        delete _offered[publisher];
        _checkpoints[publisher].key = msg.sender;
        emit KeyRotated(publisher, msg.sender, previous);
    }

    /// @notice The key that a publisher's log is under: the publisher's own until the first rotation.
    function keyOf(address publisher) public view returns (address) {
        return _keyOf(publisher, _checkpoints[publisher].key);
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

    /// @dev Indexes rise from `first` to below `end`, so no later step can credit the same place again.
    function _credit(Credit[] calldata credits, uint64 first, uint64 end) private {
        uint256 sumBps;
        bytes32 receipt;
        uint64 index = first;
        for (uint256 i; i < credits.length; ++i) {
            Credit calldata credit = credits[i];
            bool same = i != 0 && credit.index == index;
            bool misplaced = credit.index < index || credit.index >= end || (same && credit.receipt != receipt);
            if (misplaced) revert ReceiptLedgerMisplacedCredit(credit.receipt, credit.index);
            sumBps = same ? sumBps + credit.shareBps : credit.shareBps;
            if (sumBps > _BPS_TOTAL) revert ReceiptLedgerTooManyShares(credit.receipt, sumBps);
            (receipt, index) = (credit.receipt, credit.index);
            emit Credited(credit.contributor, credit.datanetId, receipt, credit.shareBps);
        }
    }

    function _keyOf(address publisher, address key) private pure returns (address) {
        return key == address(0) ? publisher : key;
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
