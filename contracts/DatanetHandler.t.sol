// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable gas-custom-errors, max-states-count
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {signed, vm} from "./test/Vm.sol";

/// @title Four wallets that try everything on one datanet, in person and by signature, and keep a book of their own.
/// @notice The book is written apart from the registry's bookkeeping: where the registry compares epochs and versions
/// when asked, the book strikes entries out when something happens. Each call must succeed exactly when the book says.
contract DatanetHandler {
    DatanetRegistry public immutable registry = new DatanetRegistry();
    address[4] public wallets; // of the private keys 1 to 4
    address public owner;
    address public offeredTo;
    uint32 public offered = 15;
    uint32 public publicPurposes;
    uint32 public termsVersion = 1;
    uint32 public version;
    uint32 public sales;
    bool public frozen;
    mapping(address wallet => bool named) public manager;
    mapping(address wallet => uint32 purposes) public granted;
    mapping(address wallet => uint48 expiresAt) public expiry;
    mapping(address wallet => bool untilAccepted) public resting;
    mapping(address wallet => uint32 purposes) public requested;
    mapping(address wallet => uint256 changes) public changes;

    // One consent that was signed and not submitted yet, of each kind, and whether something voided it since.
    DatanetRegistry.SignedGrant private _grantSlip;
    DatanetRegistry.SignedRevocation private _revocationSlip;
    uint256 private _grantSigner;
    uint256 private _revocationSigner;
    bool private _grantStands;
    bool private _revocationStands;

    constructor() {
        for (uint256 i; i < 4; ++i) wallets[i] = vm.addr(i + 1);
        owner = wallets[0];
        vm.prank(owner);
        registry.createDatanet("invariant", _terms(15), "", 0);
    }

    function grant(uint8 by, uint8 who, uint32 purposes, uint16 lasting) external {
        (address actor, address wallet) = (_actor(by), wallets[who % 4]);
        purposes %= 17;
        uint48 until = _until(lasting);
        bool fine = _decides(actor) && _known(purposes, offered);
        _try(actor, abi.encodeCall(registry.grant, (1, wallet, purposes, until)), fine);
        if (fine) _granted(wallet, purposes, until);
    }

    function revoke(uint8 by, uint8 who, uint32 purposes) external {
        (address actor, address wallet) = (_actor(by), wallets[who % 4]);
        purposes %= 17;
        bool fine = _decides(actor) && _known(purposes, 15);
        _try(actor, abi.encodeCall(registry.revoke, (1, wallet, purposes)), fine);
        if (fine) _revoked(wallet, purposes);
    }

    function signGrant(uint8 by, uint8 who, uint32 purposes, uint16 lasting, uint16 patience) external {
        address wallet = wallets[who % 4];
        _grantSlip = DatanetRegistry.SignedGrant({
            datanetId: 1,
            grantee: wallet,
            purposes: (purposes % 15) + 1,
            expiresAt: _until(lasting),
            termsVersion: termsVersion,
            nonce: registry.nonceOf(1, wallet),
            deadline: block.timestamp + patience
        });
        (_grantSigner, _grantStands) = (_key(by), true);
    }

    function submitGrant() external {
        DatanetRegistry.SignedGrant memory slip = _grantSlip;
        if (slip.datanetId == 0) return;
        address signer = vm.addr(_grantSigner);
        bytes memory signature = signed(_grantSigner, registry.grantDigest(slip));
        bool fine = _grantStands && _decides(signer) && block.timestamp <= slip.deadline;
        fine = fine && _known(slip.purposes, offered) && (slip.expiresAt == 0 || slip.expiresAt > block.timestamp);
        _try(address(this), abi.encodeCall(registry.grantBySignature, (slip, signer, signature)), fine);
        if (fine) _granted(slip.grantee, slip.purposes, slip.expiresAt);
    }

    function signRevocation(uint8 by, uint8 who, uint32 purposes, uint16 patience) external {
        address wallet = wallets[who % 4];
        uint256 nonce = registry.nonceOf(1, wallet);
        _revocationSlip = DatanetRegistry.SignedRevocation(
            1,
            wallet,
            (purposes % 15) + 1,
            nonce,
            block.timestamp + patience
        );
        (_revocationSigner, _revocationStands) = (_key(by), true);
    }

    function submitRevocation() external {
        DatanetRegistry.SignedRevocation memory slip = _revocationSlip;
        if (slip.datanetId == 0) return;
        address signer = vm.addr(_revocationSigner);
        bytes memory signature = signed(_revocationSigner, registry.revocationDigest(slip));
        bool fine = _revocationStands && _decides(signer) && block.timestamp <= slip.deadline;
        _try(address(this), abi.encodeCall(registry.revokeBySignature, (slip, signer, signature)), fine);
        if (fine) _revoked(slip.grantee, slip.purposes);
    }

    function request(uint8 who, uint32 purposes, uint8 terms) external {
        address wallet = wallets[who % 4];
        (purposes, terms) = (purposes % 17, terms % 8);
        uint32 read = terms == 0 ? termsVersion + 1 : termsVersion;
        bool fine = terms != 0 && _known(purposes, offered);
        _try(wallet, abi.encodeCall(registry.requestAccess, (1, read, purposes, 0, "")), fine);
        if (fine) requested[wallet] = purposes;
    }

    function withdraw(uint8 who) external {
        address wallet = wallets[who % 4];
        _try(wallet, abi.encodeCall(registry.withdrawRequest, (1)), requested[wallet] != 0);
        requested[wallet] = 0;
    }

    function approve(uint8 by, uint8 who, uint32 purposes) external {
        (address actor, address wallet) = (_actor(by), wallets[who % 4]);
        purposes %= 17;
        bool fine = _decides(actor) && _known(purposes, requested[wallet]);
        _try(actor, abi.encodeCall(registry.approveRequest, (1, wallet, purposes, 0)), fine);
        if (fine) _granted(wallet, purposes, 0);
    }

    function deny(uint8 by, uint8 who) external {
        (address actor, address wallet) = (_actor(by), wallets[who % 4]);
        bool fine = _decides(actor) && requested[wallet] != 0;
        _try(actor, abi.encodeCall(registry.denyRequest, (1, wallet)), fine);
        if (fine) requested[wallet] = 0;
    }

    function setTerms(uint8 by, uint32 purposes) external {
        address actor = _actor(by);
        purposes %= 17;
        bool fine = actor == owner && _known(purposes, 15);
        _try(actor, abi.encodeCall(registry.setTerms, (1, termsVersion + 1, _terms(purposes), "")), fine);
        if (!fine) return;
        ++termsVersion;
        (offered, publicPurposes, _grantStands) = (purposes, publicPurposes & purposes, false);
        for (uint256 i; i < 4; ++i) (resting[wallets[i]], requested[wallets[i]]) = (true, 0);
    }

    function accept(uint8 who) external {
        address wallet = wallets[who % 4];
        bool fine = granted[wallet] & offered != 0;
        _try(wallet, abi.encodeCall(registry.acceptTerms, (1, termsVersion)), fine);
        if (fine) (granted[wallet], resting[wallet]) = (granted[wallet] & offered, false);
    }

    function setPublicPurposes(uint8 by, uint32 purposes) external {
        address actor = _actor(by);
        purposes %= 17;
        bool fine = actor == owner && purposes & ~offered == 0;
        _try(actor, abi.encodeCall(registry.setPublicPurposes, (1, purposes)), fine);
        if (fine) publicPurposes = purposes;
    }

    function setManager(uint8 by, uint8 who, bool allowed) external {
        (address actor, address wallet) = (_actor(by), wallets[who % 4]);
        _try(actor, abi.encodeCall(registry.setManager, (1, wallet, allowed)), actor == owner);
        if (actor == owner) manager[wallet] = allowed;
    }

    function freeze(uint8 by, bool thaw) external {
        address actor = _actor(by);
        bool fine = thaw ? actor == owner : _decides(actor);
        _try(actor, thaw ? abi.encodeCall(registry.unfreeze, (1)) : abi.encodeCall(registry.freeze, (1)), fine);
        if (fine) frozen = !thaw;
    }

    function offer(uint8 by, uint8 who) external {
        address actor = _actor(by);
        address to = who % 5 == 4 ? address(0) : wallets[who % 5];
        _try(actor, abi.encodeCall(registry.approve, (to, 1)), actor == owner);
        if (actor == owner) offeredTo = to;
    }

    function take(uint8 by, uint8 who) external {
        (address actor, address to) = (wallets[by % 4], wallets[who % 4]);
        bool fine = actor == to && (actor == owner || actor == offeredTo);
        _try(actor, abi.encodeCall(registry.transferFrom, (owner, to, 1)), fine);
        if (!fine) return;
        (owner, offeredTo, _grantStands, _revocationStands) = (to, address(0), false, false);
        ++sales;
        for (uint256 i; i < 4; ++i) {
            (granted[wallets[i]], requested[wallets[i]], manager[wallets[i]]) = (0, 0, false);
        }
    }

    function publish(uint8 by, uint8 skip) external {
        address actor = _actor(by);
        uint32 next = version + (skip % 3);
        bool fine = _decides(actor) && skip % 3 == 1;
        _try(actor, abi.encodeCall(registry.publishVersion, (1, next, bytes32("m"), bytes32("r"), "")), fine);
        if (fine) version = next;
    }

    function wait(uint16 duration) external {
        vm.warp(block.timestamp + duration);
    }

    function _granted(address wallet, uint32 purposes, uint48 until) private {
        (granted[wallet], expiry[wallet], resting[wallet]) = (purposes, until, false);
        _changed(wallet);
    }

    function _revoked(address wallet, uint32 purposes) private {
        granted[wallet] &= ~purposes;
        _changed(wallet);
    }

    function _changed(address wallet) private {
        requested[wallet] = 0;
        ++changes[wallet];
        if (wallet == _grantSlip.grantee) _grantStands = false;
        if (wallet == _revocationSlip.grantee) _revocationStands = false;
    }

    function _try(address actor, bytes memory call, bool expected) private {
        vm.prank(actor);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, ) = address(registry).call(call);
        require(done == expected, expected ? "a good call failed" : "a bad call passed");
    }

    function _decides(address actor) private view returns (bool) {
        return actor == owner || manager[actor];
    }

    /// @dev Half of the time the owner, else any of the four.
    function _actor(uint8 seed) private view returns (address) {
        return vm.addr(_key(seed));
    }

    function _key(uint8 seed) private view returns (uint256 key) {
        key = ((seed >> 1) % 4) + 1;
        if (seed & 1 == 0) {
            key = 1;
            while (wallets[key - 1] != owner) ++key;
        }
    }

    function _until(uint16 lasting) private view returns (uint48) {
        return lasting == 0 ? 0 : uint48(block.timestamp + lasting);
    }

    function _known(uint32 purposes, uint32 among) private pure returns (bool) {
        return purposes != 0 && purposes & ~among == 0;
    }

    function _terms(uint32 purposes) private pure returns (DatanetRegistry.Terms memory) {
        return DatanetRegistry.Terms(0, purposes, 0, 0, false);
    }
}
