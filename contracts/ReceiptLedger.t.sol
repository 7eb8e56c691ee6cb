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
        return node(root(receipts, first, split), root(receipts, split, end));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
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
                ? append(inclusion(receipts, index, first, split), root(receipts, split, end))
                : append(inclusion(receipts, index, split, end), root(receipts, first, split));
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
            return whole ? new bytes32[](0) : append(new bytes32[](0), root(receipts, first, end));
        }
        uint256 split = first + _largestPowerBelow(end - first);
        return
            oldEnd <= split
                ? append(consistency(receipts, oldEnd, first, split, whole), root(receipts, split, end))
                : append(consistency(receipts, oldEnd, split, end, false), root(receipts, first, split));
    }

    /// @notice The path with one more hash.
    function append(bytes32[] memory path, bytes32 last) internal pure returns (bytes32[] memory longer) {
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
        _first(oldSize, Rfc9162.root(receipts, 0, oldSize));

        bytes memory no = abi.encodeWithSelector(
            ReceiptLedger.ReceiptLedgerInconsistent.selector,
            oldSize,
            uint64(size)
        );
        uint256 place = hit % proof.length;
        proof[place] ^= bytes32(uint256(1));
        _refuse(no, size, root, proof, _none);
        proof[place] ^= bytes32(uint256(1));
        _refuse(no, size, root ^ bytes32(uint256(1)), proof, _none);
        _refuse(no, size, root, new bytes32[](0), _none);
        _refuse(no, size, root, Rfc9162.append(proof, root), _none);
        _ledger.anchor(address(this), uint64(size), root, proof, _none);
    }

    function testFuzz_aForkIsRefused(bytes32 seed, uint8 a, uint8 b, bytes32 anchored) public {
        uint256 oldSize = (a % 40) + 1;
        uint256 size = oldSize + (b % 40) + 1;
        bytes32[] memory receipts = _receipts(seed, size);
        vm.assume(anchored != 0 && anchored != Rfc9162.root(receipts, 0, oldSize));
        _first(oldSize, anchored);
        bytes32[] memory proof = Rfc9162.consistency(receipts, oldSize, 0, size, true);
        bytes memory no = abi.encodeWithSelector(
            ReceiptLedger.ReceiptLedgerInconsistent.selector,
            oldSize,
            uint64(size)
        );
        _refuse(no, size, Rfc9162.root(receipts, 0, size), proof, _none);
        (uint64 kept, bytes32 root) = _ledger.checkpointOf(address(this));
        require(kept == oldSize && root == anchored, "a refused fork left a trace");
    }

    function testFuzz_aReceiptIsFoundAtItsPlaceOnly(bytes32 seed, uint8 a, uint8 b, uint64 elsewhere) public {
        uint256 size = (a % 60) + 1;
        uint256 index = b % size;
        vm.assume(elsewhere != index);
        bytes32[] memory receipts = _receipts(seed, size);
        bytes32[] memory proof = Rfc9162.inclusion(receipts, index, 0, size);
        _first(size, Rfc9162.root(receipts, 0, size));
        require(_ledger.verifyInclusion(address(this), receipts[index], uint64(index), proof), "not found");
        require(!_ledger.verifyInclusion(address(this), receipts[index], elsewhere, proof), "found elsewhere");
        require(!_ledger.verifyInclusion(address(this), ~receipts[index], uint64(index), proof), "another receipt");
        bytes32[] memory longer = Rfc9162.append(proof, receipts[0]);
        require(!_ledger.verifyInclusion(address(this), receipts[index], uint64(index), longer), "a longer proof");
    }

    /// @dev Two credits at any places with any shares: fine exactly when they are in the step, in order, of one
    /// receipt a place, and of the whole at most.
    function testFuzz_creditsAreInPlaceAndOfTheWholeAtMost(
        uint8[2] calldata places,
        uint16[2] calldata shares,
        bool sameReceipt
    ) public {
        ReceiptLedger.Credit[] memory credits = new ReceiptLedger.Credit[](2);
        for (uint256 i; i < 2; ++i) {
            bytes32 receipt = i == 0 || sameReceipt ? bytes32("one") : bytes32("two");
            credits[i] = ReceiptLedger.Credit(address(0xB0B), 1, receipt, places[i] % 8, shares[i] % 12_000);
        }
        (uint64 first, uint64 second) = (credits[0].index, credits[1].index);
        bool placed = first > 2 && first < 6 && second < 6 && (second > first || (second == first && sameReceipt));
        uint256 sum = first == second ? uint256(credits[0].shareBps) + credits[1].shareBps : credits[1].shareBps;
        bool fine = placed && credits[0].shareBps <= 10_000 && sum <= 10_000;
        ReceiptLedger fresh = new ReceiptLedger();
        bytes32[] memory receipts = _receipts("credits", 6);
        fresh.anchor(address(this), 3, Rfc9162.root(receipts, 0, 3), new bytes32[](0), _none);
        bytes32[] memory proof = Rfc9162.consistency(receipts, 3, 0, 6, true);
        try fresh.anchor(address(this), 6, Rfc9162.root(receipts, 0, 6), proof, credits) {
            require(fine, "bad credits were taken");
        } catch {
            require(!fine, "good credits were refused");
        }
    }

    function testFuzz_onlyTheKeyExtendsALog(address stranger) public {
        vm.assume(stranger != address(this));
        bytes memory no = abi.encodeWithSelector(ReceiptLedger.ReceiptLedgerNotKey.selector, address(this), stranger);
        vm.prank(stranger);
        _refuse(no, 1, "root", new bytes32[](0), _none);
        vm.prank(stranger);
        try _ledger.offerKey(address(this), stranger) {
            revert("a stranger offered");
        } catch (bytes memory said) {
            require(keccak256(said) == keccak256(no), "for another reason");
        }
    }

    function test_logsGrowFromNothingAndHaveRoots() public {
        bytes32[] memory proof = new bytes32[](1);
        _refuse(abi.encodeWithSelector(ReceiptLedger.ReceiptLedgerInconsistent.selector, 0, 2), 2, "r", proof, _none);
        proof = new bytes32[](0);
        _refuse(abi.encodeWithSelector(ReceiptLedger.ReceiptLedgerNotGrowing.selector, 0, 0), 0, "r", proof, _none);
        _refuse(abi.encodeWithSelector(ReceiptLedger.ReceiptLedgerZeroRoot.selector, 1), 1, 0, proof, _none);
        require(_ledger.keyOf(address(this)) == address(this), "key");
        require(!_ledger.verifyInclusion(address(this), "receipt", 0, proof), "found in nothing");
    }

    function test_creditsAreOfTheWholeAtMostAndInTheStep() public {
        ReceiptLedger.Credit[] memory credits = new ReceiptLedger.Credit[](2);
        for (uint256 i; i < 2; ++i) credits[i] = ReceiptLedger.Credit(address(0xB0B), 1, "receipt", 1, 5_001);
        bytes memory over = abi.encodeWithSelector(
            ReceiptLedger.ReceiptLedgerTooManyShares.selector,
            bytes32("receipt"),
            10_002
        );
        _refuse(over, 2, "root", new bytes32[](0), credits);
        (credits[0].shareBps, credits[1].index) = (4_999, 2);
        bytes memory beyond = abi.encodeWithSelector(
            ReceiptLedger.ReceiptLedgerMisplacedCredit.selector,
            bytes32("receipt"),
            2
        );
        _refuse(beyond, 2, "root", new bytes32[](0), credits);
        credits[1].index = 1;
        _ledger.anchor(address(this), 2, "root", new bytes32[](0), credits);
    }

    function test_noTreeIsDeeperThanItsSizeThoughAPublisherAnchoredItsRoot() public {
        bytes32 leaf = sha256(abi.encodePacked(bytes1(0x00), bytes32("receipt")));
        (bytes32 a, bytes32 b, bytes32 c) = ("a", "b", "c");
        _first(1, Rfc9162.node(a, leaf));
        bytes32[] memory path = Rfc9162.append(new bytes32[](0), a);
        require(!_ledger.verifyInclusion(address(this), "receipt", 0, path), "found below the leaves");

        // From 3 receipts to 4 takes three hashes; the fourth would hang both trees below another root.
        _ledger = new ReceiptLedger();
        _first(3, Rfc9162.node(c, Rfc9162.node(b, leaf)));
        bytes32[] memory proof = Rfc9162.append(Rfc9162.append(new bytes32[](0), leaf), a);
        proof = Rfc9162.append(Rfc9162.append(proof, b), c);
        bytes32 root = Rfc9162.node(c, Rfc9162.node(b, Rfc9162.node(leaf, a)));
        bytes memory no = abi.encodeWithSelector(ReceiptLedger.ReceiptLedgerInconsistent.selector, 3, 4);
        _refuse(no, 4, root, proof, _none);
    }

    function test_aKeyIsAcceptedByTheOneOffered() public {
        bytes memory no = abi.encodeWithSelector(
            ReceiptLedger.ReceiptLedgerNotOffered.selector,
            address(this),
            address(this)
        );
        try _ledger.acceptKey(address(this)) {
            revert("not refused");
        } catch (bytes memory said) {
            require(keccak256(said) == keccak256(no), "for another reason");
        }
        _ledger.offerKey(address(this), address(0xB0B));
        vm.prank(address(0xB0B));
        _ledger.acceptKey(address(this));
        require(_ledger.keyOf(address(this)) == address(0xB0B), "key");
    }

    function _first(uint256 size, bytes32 root) private {
        _ledger.anchor(address(this), uint64(size), root, new bytes32[](0), _none);
    }

    function _refuse(
        bytes memory reason,
        uint256 size,
        bytes32 root,
        bytes32[] memory proof,
        ReceiptLedger.Credit[] memory credits
    ) private {
        try _ledger.anchor(address(this), uint64(size), root, proof, credits) {
            revert("not refused");
        } catch (bytes memory said) {
            require(keccak256(said) == keccak256(reason), "refused for another reason");
        }
    }

    function _receipts(bytes32 seed, uint256 size) private pure returns (bytes32[] memory receipts) {
        receipts = new bytes32[](size);
        for (uint256 i; i < size; ++i) receipts[i] = keccak256(abi.encode(seed, i));
    }
}
