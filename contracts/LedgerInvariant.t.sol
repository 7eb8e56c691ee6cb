// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {ReceiptLedger} from "./ReceiptLedger.sol";
import {Rfc9162} from "./ReceiptLedger.t.sol";
import {vm} from "./test/Vm.sol";

/// @title The log of one publisher, and four keys that try anything on it: growing it, lying, crediting, rotating.
contract PublisherHandler {
    ReceiptLedger public immutable ledger = new ReceiptLedger();
    address[4] public keys = [address(0xA11CE), address(0xB0B), address(0xCA401), address(0xDA7E)];
    address public publisher = address(0xA11CE);
    address public key = address(0xA11CE);
    address public offered;
    uint64 public size;
    bytes32 public root;
    uint256 public mostCredited; // basis points: the most that any place of the log was ever credited
    mapping(uint64 index => uint256 sumBps) public credited;
    bytes32[] private _log;

    /// @notice Whoever tries, the log grows by 1 to 4 receipts when it is the key; else nothing happens.
    function append(uint8 by, uint8 more, uint256 seed, uint8 many) external {
        uint256 before = _log.length;
        for (uint256 i; i <= more % 4; ++i) _log.push(keccak256(abi.encode(_log.length, seed)));
        bytes32[] memory receipts = _log;
        bytes32[] memory proof =
            before == 0 ? new bytes32[](0) : Rfc9162.consistency(receipts, before, 0, receipts.length, true);
        bytes32 next = Rfc9162.root(receipts, 0, receipts.length);
        (ReceiptLedger.Credit[] memory credits, bool fine) = _credits(receipts, before, seed, many % 6);
        address caller = by % 3 == 0 ? keys[by % 4] : key;
        vm.prank(caller);
        try ledger.anchor(publisher, uint64(receipts.length), next, proof, credits) {
            require(caller == key && fine, "a bad step was taken");
            (size, root) = (uint64(receipts.length), next);
            _book(credits);
        } catch {
            require(caller != key || !fine, "a good step was refused");
            while (_log.length > before) _log.pop();
        }
    }

    function lie(uint64 newSize, bytes32 newRoot, bytes32[] calldata proof) external {
        if (size == 0) return; // a first log may be anything
        vm.prank(key);
        try ledger.anchor(publisher, newSize % (2 * size + 2), newRoot, proof, new ReceiptLedger.Credit[](0)) {
            revert("a lie was anchored");
        } catch {
            return;
        }
    }

    function offerKey(uint8 by, uint8 to) external {
        address caller = by % 2 == 0 ? key : keys[(by >> 1) % 4];
        address other = to % 5 == 4 ? address(0) : keys[to % 5];
        vm.prank(caller);
        try ledger.offerKey(publisher, other) {
            require(caller == key, "another's log was offered");
            offered = other;
        } catch {
            require(caller != key, "an offer failed");
        }
    }

    function acceptKey(uint8 by) external {
        address caller = keys[by % 4];
        vm.prank(caller);
        try ledger.acceptKey(publisher) {
            require(caller == offered, "not offered");
            (key, offered) = (caller, address(0));
        } catch {
            require(caller != offered, "an offer could not be taken");
        }
    }

    /// @dev Credits around the step's places, most of them right; whether all are is worked out apart from the
    /// ledger's own loop: sums by place, order by pairs.
    function _credits(
        bytes32[] memory receipts,
        uint256 before,
        uint256 seed,
        uint256 count
    ) private pure returns (ReceiptLedger.Credit[] memory credits, bool fine) {
        credits = new ReceiptLedger.Credit[](count);
        uint256[] memory sums = new uint256[](receipts.length + 1);
        fine = true;
        uint256 index = before;
        for (uint256 i; i < count; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            if (dice % 2 == 0 && index + 1 < receipts.length) ++index;
            if (dice % 41 == 0 && index > 0) --index;
            if (dice % 53 == 0) index = receipts.length;
            bytes32 receipt = index < receipts.length ? receipts[index] : bytes32("beyond");
            if (dice % 61 == 0) receipt = "another";
            credits[i] = ReceiptLedger.Credit(address(0xC0DE), 1, receipt, uint64(index), uint16(dice >> 64) % 6_000);
            if (index < before || index >= receipts.length) fine = false;
            if (i != 0 && credits[i - 1].index > index) fine = false;
            if (i != 0 && credits[i - 1].index == index && credits[i - 1].receipt != receipt) fine = false;
            sums[index] += credits[i].shareBps;
            if (sums[index] > 10_000) fine = false;
        }
    }

    function _book(ReceiptLedger.Credit[] memory credits) private {
        for (uint256 i; i < credits.length; ++i) {
            uint256 sum = credited[credits[i].index] += credits[i].shareBps;
            if (sum > mostCredited) mostCredited = sum;
        }
    }
}

/// @title Whatever its keys do, a log never shrinks or forks, and no receipt is credited more than the whole.
contract LedgerInvariant {
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
        (uint64 size, bytes32 root) = _handler.ledger().checkpointOf(_handler.publisher());
        require(size >= _sizeSeen && size == _handler.size() && root == _handler.root(), "checkpoint");
        _sizeSeen = size;
    }

    function invariant_theCreditsOfAReceiptAreTheWholeAtMost() public view {
        require(_handler.mostCredited() <= 10_000, "over the whole");
    }

    function invariant_theLogIsUnderTheKeyThatAcceptedLast() public view {
        require(_handler.ledger().keyOf(_handler.publisher()) == _handler.key(), "key");
    }
}
