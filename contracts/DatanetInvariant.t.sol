// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable gas-custom-errors
pragma solidity 0.8.37;

import {DatanetHandler} from "./DatanetHandler.t.sol";
import {DatanetRegistry} from "./DatanetRegistry.sol";
import {vm} from "./test/Vm.sol";

/// @title Whatever its owners, managers and users do, the registry agrees with their own book.
contract DatanetInvariant {
    DatanetHandler private _handler;
    DatanetRegistry private _registry;
    mapping(address wallet => uint256 nonce) private _nonceSeen;

    function setUp() public {
        vm.warp(1_700_000_000);
        _handler = new DatanetHandler();
        _registry = _handler.registry();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_noPurposeWithoutALiveGrantOrPublicPurpose() public view {
        for (uint256 i; i < 4; ++i) {
            address wallet = _handler.wallets(i);
            uint48 until = _handler.expiry(wallet);
            uint32 open = _handler.publicPurposes();
            bool live = (until == 0 || until > block.timestamp) && !_handler.resting(wallet);
            if (live) open |= _handler.granted(wallet);
            if (wallet == _handler.owner()) open = 15;
            if (_handler.frozen()) open = 0;
            for (uint32 purposes; purposes < 32; ++purposes) {
                bool expected = purposes != 0 && purposes & ~open == 0;
                require(_registry.mayUse(wallet, 1, purposes) == expected, "purposes");
            }
        }
    }

    function invariant_theNonceCountsEveryChangeAndOnlyGrows() public {
        for (uint256 i; i < 4; ++i) {
            address wallet = _handler.wallets(i);
            uint256 nonce = _registry.nonceOf(1, wallet);
            require(_registry.grantOf(1, wallet).nonce == _handler.changes(wallet), "changes");
            require(nonce == (uint256(_handler.sales()) << 64) + _handler.changes(wallet), "nonce");
            require(nonce >= _nonceSeen[wallet], "the nonce shrank");
            _nonceSeen[wallet] = nonce;
        }
    }

    function invariant_aRequestWaitsForThePresentOwnerUnderThePresentTerms() public view {
        for (uint256 i; i < 4; ++i) {
            address wallet = _handler.wallets(i);
            require(_registry.requestOf(1, wallet).purposes == _handler.requested(wallet), "request");
            require(_registry.isManager(1, wallet) == _handler.manager(wallet), "manager");
        }
    }

    function invariant_theDatanetIsAsTheBookHasIt() public view {
        DatanetRegistry.Datanet memory datanet = _registry.datanetOf(1);
        require(datanet.owner == _handler.owner() && _registry.ownerOf(1) == datanet.owner, "owner");
        require(_registry.getApproved(1) == _handler.offeredTo(), "offer");
        require(datanet.ownerEpoch == _handler.sales(), "epoch");
        require(datanet.version == _handler.version(), "version");
        require(datanet.termsVersion == _handler.termsVersion() && datanet.frozen == _handler.frozen(), "terms");
        require(datanet.publicPurposes == _handler.publicPurposes(), "public purposes");
        require(datanet.publicPurposes & ~_registry.termsOf(1, datanet.termsVersion).purposes == 0, "not offered");
    }
}
