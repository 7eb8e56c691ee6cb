// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {vm} from "./test/Vm.sol";

/// @title For any input: a wallet has a purpose exactly when it is public or in a live grant.
contract DatanetRegistryFuzz {
    DatanetRegistry private _registry;

    function setUp() public {
        vm.warp(1_700_000_000);
        _registry = new DatanetRegistry();
        _registry.createDatanet("fuzz", 0, "", 0);
    }

    function testFuzz_aGrantGivesExactlyItsPurposes(address grantee, uint32 purposes, uint32 asked) public {
        purposes = _known(purposes);
        asked = asked % 32;
        vm.assume(grantee != address(0) && grantee != address(this));
        _registry.grant(1, grantee, purposes, 0);
        require(_registry.mayUse(grantee, 1, asked) == (asked != 0 && asked & ~purposes == 0), "granted");
    }

    function testFuzz_aRevocationTakesExactlyItsPurposes(
        address grantee,
        uint32 purposes,
        uint32 revoked,
        uint32 asked
    ) public {
        (purposes, revoked, asked) = (_known(purposes), _known(revoked), _known(asked));
        vm.assume(grantee != address(0) && grantee != address(this));
        _registry.grant(1, grantee, purposes, 0);
        _registry.revoke(1, grantee, revoked);
        require(_registry.mayUse(grantee, 1, asked) == (asked & ~(purposes & ~revoked) == 0), "revoked");
    }

    function testFuzz_aGrantEndsWhenItExpires(address grantee, uint48 expiresAt, uint48 later) public {
        vm.assume(grantee != address(0) && grantee != address(this) && expiresAt > block.timestamp);
        _registry.grant(1, grantee, 1, expiresAt);
        vm.warp(later);
        require(_registry.mayUse(grantee, 1, 1) == (later < expiresAt), "expiry");
    }

    function testFuzz_aStrangerCannotGrant(address stranger, address grantee, uint32 purposes) public {
        vm.assume(stranger != address(this) && grantee != address(this));
        vm.prank(stranger);
        try _registry.grant(1, grantee, _known(purposes), 0) {
            revert("a stranger granted");
        } catch {
            require(!_registry.mayUse(grantee, 1, purposes), "a failed grant counts");
        }
    }

    function testFuzz_mayUseNeverReverts(address grantee, uint256 datanetId, uint32 purposes) public view {
        bool allowed = _registry.mayUse(grantee, datanetId, purposes);
        require(!allowed || (datanetId == 1 && purposes != 0 && purposes < 16), "allowed something unknown");
    }

    function _known(uint32 purposes) private pure returns (uint32) {
        return (purposes % 15) + 1;
    }
}

/// @title Owns a datanet and does anything to it, keeping its own book of what should be so.
contract OwnerHandler {
    DatanetRegistry public immutable registry = new DatanetRegistry();
    address[3] public wallets = [address(0xA11CE), address(0xB0B), address(0xCA401)];
    uint32 public publicPurposes;
    uint32 public version;
    mapping(address wallet => uint32 purposes) public granted;
    mapping(address wallet => uint48 expiresAt) public expiry;
    mapping(address wallet => uint64 changes) public changes;

    constructor() {
        registry.createDatanet("invariant", 0, "", 0);
    }

    function grant(uint8 who, uint32 purposes, uint16 secondsFromNow) external {
        address wallet = wallets[who % 3];
        uint48 expiresAt = secondsFromNow == 0 ? 0 : uint48(block.timestamp + secondsFromNow);
        try registry.grant(1, wallet, purposes % 20, expiresAt) {
            granted[wallet] = purposes % 20;
            expiry[wallet] = expiresAt;
            ++changes[wallet];
        } catch {
            require(purposes % 20 == 0 || purposes % 20 > 15, "a good grant failed");
        }
    }

    function revoke(uint8 who, uint32 purposes) external {
        address wallet = wallets[who % 3];
        uint32 named = (purposes % 15) + 1;
        registry.revoke(1, wallet, named);
        granted[wallet] &= ~named;
        ++changes[wallet];
    }

    function requestAndDecide(uint8 who, uint32 asked, uint32 given) external {
        address wallet = wallets[who % 3];
        (asked, given) = ((asked % 15) + 1, (given % 15) + 1);
        vm.prank(wallet);
        registry.requestAccess(1, asked, 0, "");
        try registry.approveRequest(1, wallet, given, 0) {
            require(given & ~asked == 0, "approved more than asked");
            granted[wallet] = given;
            expiry[wallet] = 0;
            ++changes[wallet];
        } catch {
            registry.denyRequest(1, wallet);
        }
    }

    function setPublicPurposes(uint32 purposes) external {
        registry.setPublicPurposes(1, purposes % 16);
        publicPurposes = purposes % 16;
    }

    function publish(uint32 next) external {
        next = next % 5;
        try registry.publishVersion(1, next, bytes32(uint256(1)), bytes32(uint256(2)), "") {
            require(next == version + 1, "published out of order");
            version = next;
        } catch {
            require(next != version + 1, "the next version was refused");
        }
    }

    function wait(uint16 duration) external {
        vm.warp(block.timestamp + duration);
    }
}

/// @title Whatever an owner does, the registry agrees with the owner's own book.
contract DatanetRegistryInvariant {
    OwnerHandler private _handler;
    mapping(address wallet => uint64 nonce) private _nonceSeen;

    function setUp() public {
        vm.warp(1_700_000_000);
        _handler = new OwnerHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_noPurposeWithoutALiveGrantOrPublicPurpose() public view {
        for (uint256 i; i < 3; ++i) {
            address wallet = _handler.wallets(i);
            uint48 expiresAt = _handler.expiry(wallet);
            uint32 open = _handler.publicPurposes();
            if (expiresAt == 0 || expiresAt > block.timestamp) open |= _handler.granted(wallet);
            for (uint32 purposes; purposes < 32; ++purposes) {
                bool expected = purposes != 0 && purposes & ~open == 0;
                require(_handler.registry().mayUse(wallet, 1, purposes) == expected, "purposes");
            }
        }
    }

    function invariant_theNonceCountsEveryChangeAndOnlyGrows() public {
        for (uint256 i; i < 3; ++i) {
            address wallet = _handler.wallets(i);
            uint64 nonce = _handler.registry().grantOf(1, wallet).nonce;
            require(nonce == _handler.changes(wallet) && nonce >= _nonceSeen[wallet], "nonce");
            _nonceSeen[wallet] = nonce;
        }
    }

    function invariant_theVersionIsTheLastPublished() public view {
        require(_handler.registry().datanetOf(1).version == _handler.version(), "version");
    }
}
