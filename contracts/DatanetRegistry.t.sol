// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {vm} from "./test/Vm.sol";

/// @title For any input: a wallet has a purpose exactly when it is public or in a live grant of the present owner's.
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

    function testFuzz_aSaleEndsEveryGrant(address grantee, address buyer, uint32 purposes, uint32 asked) public {
        (purposes, asked) = (_known(purposes), _known(asked));
        vm.assume(grantee != address(0) && buyer != address(0) && grantee != buyer && buyer != address(vm));
        _registry.grant(1, grantee, purposes, 0);
        _registry.transferFrom(address(this), buyer, 1);
        require(!_registry.mayUse(grantee, 1, asked), "a grant was sold along");
        require(_registry.mayUse(buyer, 1, 15), "the buyer");
        vm.prank(buyer);
        _registry.grant(1, grantee, purposes, 0);
        require(_registry.mayUse(grantee, 1, asked) == (asked & ~purposes == 0), "the buyer's own grant");
    }

    function testFuzz_aSaleEndsEveryRequest(address requester, address buyer, uint32 purposes) public {
        vm.assume(requester != address(0) && buyer != address(0));
        vm.assume(requester != address(vm) && buyer != address(vm));
        vm.prank(requester);
        _registry.requestAccess(1, _known(purposes), 0, "");
        _registry.transferFrom(address(this), buyer, 1);
        require(_registry.requestOf(1, requester).purposes == 0, "a request was sold along");
        vm.prank(buyer);
        try _registry.approveRequest(1, requester, _known(purposes), 0) {
            revert("a stale request was approved");
        } catch {
            require(requester == buyer || !_registry.mayUse(requester, 1, 1), "let in all the same");
        }
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

/// @title Does anything to a datanet, sells it on and goes on as its buyer, keeping its own book of what should be so.
contract OwnerHandler {
    DatanetRegistry public immutable registry = new DatanetRegistry();
    address[3] public wallets = [address(0xA11CE), address(0xB0B), address(0xCA401)];
    address public owner = address(this);
    uint32 public publicPurposes;
    uint32 public version;
    uint32 public sales;
    mapping(address wallet => uint32 purposes) public granted;
    mapping(address wallet => uint48 expiresAt) public expiry;
    mapping(address wallet => uint32 purposes) public requested;
    mapping(address wallet => uint64 changes) public changes;

    constructor() {
        registry.createDatanet("invariant", 0, "", 0);
    }

    function grant(uint8 who, uint32 purposes, uint16 secondsFromNow) external {
        address wallet = wallets[who % 3];
        uint48 expiresAt = secondsFromNow == 0 ? 0 : uint48(block.timestamp + secondsFromNow);
        vm.prank(owner);
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
        vm.prank(owner);
        registry.revoke(1, wallet, named);
        granted[wallet] &= ~named;
        ++changes[wallet];
    }

    function request(uint8 who, uint32 asked) external {
        address wallet = wallets[who % 3];
        vm.prank(wallet);
        registry.requestAccess(1, (asked % 15) + 1, 0, "");
        requested[wallet] = (asked % 15) + 1;
    }

    function decide(uint8 who, uint32 given) external {
        address wallet = wallets[who % 3];
        (uint32 asked, uint32 named) = (requested[wallet], (given % 15) + 1);
        vm.prank(owner);
        try registry.approveRequest(1, wallet, named, 0) {
            require(asked != 0 && named & ~asked == 0, "approved more than asked");
            granted[wallet] = named;
            expiry[wallet] = 0;
            ++changes[wallet];
        } catch {
            require(asked == 0 || named & ~asked != 0, "a good approval failed");
            vm.prank(owner);
            try registry.denyRequest(1, wallet) {
                require(asked != 0, "denied what nobody asked");
            } catch {
                require(asked == 0, "a good denial failed");
            }
        }
        requested[wallet] = 0;
    }

    function sell(uint8 who) external {
        address buyer = who % 4 == 3 ? address(this) : wallets[who % 4];
        vm.prank(owner);
        registry.transferFrom(owner, buyer, 1);
        owner = buyer;
        ++sales;
        for (uint256 i; i < 3; ++i) (granted[wallets[i]], requested[wallets[i]]) = (0, 0);
    }

    function setPublicPurposes(uint32 purposes) external {
        vm.prank(owner);
        registry.setPublicPurposes(1, purposes % 16);
        publicPurposes = purposes % 16;
    }

    function publish(uint32 next) external {
        next = next % 5;
        vm.prank(owner);
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

/// @title Whatever its owners do, the registry agrees with their own book.
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
                if (wallet == _handler.owner()) expected = purposes != 0 && purposes < 16;
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

    function invariant_aRequestWaitsForThePresentOwnerOnly() public view {
        for (uint256 i; i < 3; ++i) {
            address wallet = _handler.wallets(i);
            require(_handler.registry().requestOf(1, wallet).purposes == _handler.requested(wallet), "request");
        }
    }

    function invariant_everySaleOpensAnEpoch() public view {
        require(_handler.registry().datanetOf(1).ownerEpoch == _handler.sales(), "epoch");
    }

    function invariant_theVersionIsTheLastPublished() public view {
        require(_handler.registry().datanetOf(1).version == _handler.version(), "version");
    }
}
