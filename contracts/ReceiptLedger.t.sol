// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {ReceiptLedger} from "./ReceiptLedger.sol";
import {vm} from "./test/Vm.sol";

/// @title RFC 9162 as its text defines it, by recursion: slow, and written apart from the ledger's own loops.
library Rfc9162 {
    function root(bytes32[] memory receipts, uint256 first, uint256 end) internal pure returns (bytes32) {
        if (end - first == 1) return sha256(abi.encodePacked(bytes1(0x00), receipts[first]));
        uint256 split = first + _largestPowerBelow(end - first);
        return sha256(abi.encodePacked(bytes1(0x01), root(receipts, first, split), root(receipts, split, end)));
    }

    /// @notice PATH(index, receipts[first:end]) of section 2.1.3.1.
    function inclusion(
        bytes32[] memory receipts,
        uint256 index,
        uint256 first,
        uint256 end
    ) internal pure returns (bytes32[] memory) {
        if (end - first == 1) return new bytes32[](0);
        uint256 split = first + _largestPowerBelow(end - first);
        return
            index < split
                ? _append(inclusion(receipts, index, first, split), root(receipts, split, end))
                : _append(inclusion(receipts, index, split, end), root(receipts, first, split));
    }

    /// @notice SUBPROOF(oldEnd, receipts[first:end], whole) of section 2.1.4.1.
    function consistency(
        bytes32[] memory receipts,
        uint256 oldEnd,
        uint256 first,
        uint256 end,
        bool whole
    ) internal pure returns (bytes32[] memory) {
        if (oldEnd == end) {
            return whole ? new bytes32[](0) : _append(new bytes32[](0), root(receipts, first, end));
        }
        uint256 split = first + _largestPowerBelow(end - first);
        return
            oldEnd <= split
                ? _append(consistency(receipts, oldEnd, first, split, whole), root(receipts, split, end))
                : _append(consistency(receipts, oldEnd, split, end, false), root(receipts, first, split));
    }

    function _append(bytes32[] memory path, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](path.length + 1);
        for (uint256 i; i < path.length; ++i) longer[i] = path[i];
        longer[path.length] = last;
    }

    function _largestPowerBelow(uint256 size) private pure returns (uint256 power) {
        power = 1;
        while (power * 2 < size) power *= 2;
    }
}

/// @title For any log: what the ledger accepts is what RFC 9162 defines, and nothing next to it.
contract ReceiptLedgerFuzz {
    ReceiptLedger private _ledger;
    ReceiptLedger.Credit[] private _none;

    function setUp() public {
        _ledger = new ReceiptLedger();
    }

    function testFuzz_aLogIsExtendedByItsOwnProofOnly(bytes32 seed, uint8 a, uint8 b, uint8 hit) public {
        uint256 oldSize = (a % 40) + 1;
        uint256 size = oldSize + (b % 40) + 1;
        bytes32[] memory receipts = _receipts(seed, size);
        bytes32 root = Rfc9162.root(receipts, 0, size);
        bytes32[] memory proof = Rfc9162.consistency(receipts, oldSize, 0, size, true);
        _ledger.anchor(uint64(oldSize), Rfc9162.root(receipts, 0, oldSize), new bytes32[](0), _none);

        uint256 place = hit % proof.length;
        proof[place] ^= bytes32(uint256(1));
        try _ledger.anchor(uint64(size), root, proof, _none) {
            revert("a broken proof was taken");
        } catch {
            proof[place] ^= bytes32(uint256(1));
        }
        try _ledger.anchor(uint64(size), root ^ bytes32(uint256(1)), proof, _none) {
            revert("another root was taken");
        } catch {
            _ledger.anchor(uint64(size), root, proof, _none);
        }
    }

    function testFuzz_aForkIsRefused(bytes32 seed, uint8 a, uint8 b, bytes32 anchored) public {
        uint256 oldSize = (a % 40) + 1;
        uint256 size = oldSize + (b % 40) + 1;
        bytes32[] memory receipts = _receipts(seed, size);
        vm.assume(anchored != 0 && anchored != Rfc9162.root(receipts, 0, oldSize));
        _ledger.anchor(uint64(oldSize), anchored, new bytes32[](0), _none);
        bytes32[] memory proof = Rfc9162.consistency(receipts, oldSize, 0, size, true);
        try _ledger.anchor(uint64(size), Rfc9162.root(receipts, 0, size), proof, _none) {
            revert("a fork was anchored");
        } catch {
            (uint64 kept, bytes32 root) = _ledger.checkpointOf(address(this));
            require(kept == oldSize && root == anchored, "a refused fork left a trace");
        }
    }

    function testFuzz_aReceiptIsFoundAtItsPlaceOnly(bytes32 seed, uint8 a, uint8 b, uint64 elsewhere) public {
        uint256 size = (a % 60) + 1;
        uint256 index = b % size;
        vm.assume(elsewhere != index);
        bytes32[] memory receipts = _receipts(seed, size);
        bytes32[] memory proof = Rfc9162.inclusion(receipts, index, 0, size);
        _ledger.anchor(uint64(size), Rfc9162.root(receipts, 0, size), new bytes32[](0), _none);
        require(_ledger.verifyInclusion(address(this), receipts[index], uint64(index), proof), "not found");
        require(!_ledger.verifyInclusion(address(this), receipts[index], elsewhere, proof), "found elsewhere");
        require(!_ledger.verifyInclusion(address(this), ~receipts[index], uint64(index), proof), "another receipt");
    }

    function _receipts(bytes32 seed, uint256 size) private pure returns (bytes32[] memory receipts) {
        receipts = new bytes32[](size);
        for (uint256 i; i < size; ++i) receipts[i] = keccak256(abi.encode(seed, i));
    }
}

/// @title A publisher that tries anything: growing, shrinking, standing still, forking.
contract PublisherHandler {
    ReceiptLedger public immutable ledger = new ReceiptLedger();
    uint64 public size;
    bytes32 public root;
    bytes32[] private _log;
    ReceiptLedger.Credit[] private _none;

    function append(uint8 more) external {
        for (uint256 i; i <= more % 4; ++i) _log.push(keccak256(abi.encode(_log.length, more)));
        bytes32[] memory receipts = _log;
        bytes32[] memory proof =
            size == 0 ? new bytes32[](0) : Rfc9162.consistency(receipts, size, 0, receipts.length, true);
        bytes32 next = Rfc9162.root(receipts, 0, receipts.length);
        ledger.anchor(uint64(receipts.length), next, proof, _none);
        (size, root) = (uint64(receipts.length), next);
    }

    function lie(uint64 newSize, bytes32 newRoot, bytes32[] calldata proof) external {
        if (size == 0) return; // a first log may be anything
        try ledger.anchor(newSize % (2 * size + 2), newRoot, proof, _none) {
            revert("a lie was anchored");
        } catch {
            return;
        }
    }
}

/// @title Whatever a publisher does, its log never shrinks and never forks.
contract ReceiptLedgerInvariant {
    PublisherHandler private _handler;
    uint64 private _sizeSeen;

    function setUp() public {
        _handler = new PublisherHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_theLogNeverShrinksAndNeverForks() public {
        (uint64 size, bytes32 root) = _handler.ledger().checkpointOf(address(_handler));
        require(size >= _sizeSeen && size == _handler.size() && root == _handler.root(), "checkpoint");
        _sizeSeen = size;
    }
}
