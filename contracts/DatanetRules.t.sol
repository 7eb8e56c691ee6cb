// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable gas-custom-errors
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {WithDatanet} from "./DatanetRegistry.t.sol";
import {signed, vm} from "./test/Vm.sol";

/// @title Each rule of the registry, refused once with its own error.
contract DatanetRegistryRules is WithDatanet {
    address private constant _BOB = address(0xB0B);

    function test_namesTermsAndPricesHaveTheirForm() public {
        bytes memory name = new bytes(81);
        DatanetRegistry.Terms memory terms = _terms(15);
        _refuse(_invalidName(0), abi.encodeCall(_registry.createDatanet, ("", terms, "", 0)));
        _refuse(_invalidName(81), abi.encodeCall(_registry.createDatanet, (string(name), terms, "", 0)));
        _refuse(_invalidPurposes(16), abi.encodeCall(_registry.createDatanet, ("x", terms, "", 16)));
        require(_registry.createDatanet("x", _terms(2), "", 2) == 2, "id");
        require(_registry.mayUse(_BOB, 2, 2), "public");
        terms.currency = "EUR";
        bytes memory no = abi.encodeWithSelector(
            DatanetRegistry.DatanetRegistryInvalidPrice.selector,
            0,
            bytes3("EUR")
        );
        _refuse(no, abi.encodeCall(_registry.setTerms, (1, 2, terms, "")));
    }

    function test_grantsAreOfWhatIsOfferedAndRevocationsOfSomething() public {
        _registry.setTerms(1, 2, _terms(2), "");
        _refuse(_invalidPurposes(0), abi.encodeCall(_registry.grant, (1, _BOB, 0, 0)));
        _refuse(_invalidPurposes(3), abi.encodeCall(_registry.grant, (1, _BOB, 3, 0)));
        _refuse(_invalidPurposes(0), abi.encodeCall(_registry.revoke, (1, _BOB, 0)));
        _refuse(_invalidPurposes(16), abi.encodeCall(_registry.revoke, (1, _BOB, 16)));
        bytes memory past = abi.encodeWithSelector(
            DatanetRegistry.DatanetRegistryInvalidExpiry.selector,
            block.timestamp
        );
        _refuse(past, abi.encodeCall(_registry.grant, (1, _BOB, 2, uint48(block.timestamp))));
        _registry.grant(1, _BOB, 2, uint48(block.timestamp + 1));
    }

    function test_versionsComeInOrderAndWhole() public {
        bytes32 some = "some";
        bytes memory zero = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryZeroDigest.selector, 1);
        _refuse(zero, abi.encodeCall(_registry.publishVersion, (1, 1, 0, some, "")));
        _refuse(zero, abi.encodeCall(_registry.publishVersion, (1, 1, some, 0, "")));
        bytes memory order = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidVersion.selector, 1, 2, 1);
        _refuse(order, abi.encodeCall(_registry.publishVersion, (1, 2, some, some, "")));
        _registry.publishVersion(1, 1, some, some, "");
        (bytes32 manifest, , uint48 publishedAt) = _registry.versionOf(1, 1);
        require(manifest == some && publishedAt == block.timestamp, "version");
    }

    function test_termsAreTheOnesOfNow() public {
        _registry.grant(1, _BOB, 1, 0);
        _registry.setPublicPurposes(1, 2);
        _registry.setTerms(1, 2, _terms(13), "");
        require(_registry.datanetOf(1).publicPurposes == 0, "open though not offered");
        _refuse(_staleTerms(2, 2), abi.encodeCall(_registry.setTerms, (1, 2, _terms(1), "")));
        _refuseFrom(_BOB, _staleTerms(1, 2), abi.encodeCall(_registry.acceptTerms, (1, 1)));
        _refuseFrom(_BOB, _staleTerms(1, 2), abi.encodeCall(_registry.requestAccess, (1, 1, 1, 0, "")));
        bytes memory none = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNoGrant.selector, 1, address(this));
        _refuse(none, abi.encodeCall(_registry.acceptTerms, (1, 2)));
        _registry.transferFrom(address(this), address(this), 1);
        none = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNoGrant.selector, 1, _BOB);
        _refuseFrom(_BOB, none, abi.encodeCall(_registry.acceptTerms, (1, 2)));
    }

    function test_theOwnerAloneDoesWhatIsTheOwners() public {
        _registry.setManager(1, _manager, true);
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNotOwner.selector, 1, _manager);
        _refuseFrom(_manager, no, abi.encodeCall(_registry.setTerms, (1, 2, _terms(1), "")));
        _refuseFrom(_manager, no, abi.encodeCall(_registry.setPublicPurposes, (1, 1)));
        _refuseFrom(_manager, no, abi.encodeCall(_registry.setManager, (1, _manager, true)));
        _refuseFrom(_manager, no, abi.encodeCall(_registry.unfreeze, (1)));
        bytes memory unknown = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryUnknownDatanet.selector, 9);
        _refuse(unknown, abi.encodeCall(_registry.unfreeze, (9)));
        _refuseFrom(address(0), unknown, abi.encodeCall(_registry.freeze, (9)));
    }

    function test_frozenIsFrozenForItsOwnerToo() public {
        _registry.setManager(1, _manager, true);
        vm.prank(_manager);
        _registry.freeze(1);
        require(!_registry.mayUse(address(this), 1, 1), "used while frozen");
        _registry.unfreeze(1);
        require(_registry.mayUse(address(this), 1, 1), "still frozen");
    }

    function test_requestsHaveTheirForm() public {
        bytes memory long = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryMessageTooLong.selector, 281);
        string memory message = string(new bytes(281));
        _refuse(long, abi.encodeCall(_registry.requestAccess, (1, 1, 1, 0, message)));
        bytes memory late = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidExpiry.selector, 5);
        _refuse(late, abi.encodeCall(_registry.requestAccess, (1, 1, 1, 5, "")));
        bytes memory none = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNoRequest.selector, 1, _BOB);
        _refuse(none, abi.encodeCall(_registry.approveRequest, (1, _BOB, 1, 0)));
        _refuse(none, abi.encodeCall(_registry.denyRequest, (1, _BOB)));
        vm.prank(_BOB);
        _registry.requestAccess(1, 1, 1, 0, "");
        _refuse(_invalidPurposes(3), abi.encodeCall(_registry.approveRequest, (1, _BOB, 3, 0)));
        _registry.denyRequest(1, _BOB);
        _refuseFrom(_BOB, none, abi.encodeCall(_registry.withdrawRequest, (1)));
        vm.prank(_BOB);
        _registry.requestAccess(1, 1, 1, 0, "");
        vm.prank(_BOB);
        _registry.withdrawRequest(1);
        vm.prank(_BOB);
        _registry.requestAccess(1, 1, 1, 0, "");
        _registry.approveRequest(1, _BOB, 1, 0);
        require(_registry.mayUse(_BOB, 1, 1) && _registry.requestOf(1, _BOB).purposes == 0, "approved");
    }

    function test_consentsAreOfNowAndForSomebody() public {
        _registry.setManager(1, _manager, true);
        DatanetRegistry.SignedGrant memory slip = DatanetRegistry.SignedGrant(1, _BOB, 1, 0, 1, 0, block.timestamp - 1);
        bytes memory no = abi.encodeWithSelector(
            DatanetRegistry.DatanetRegistrySignatureExpired.selector,
            slip.deadline
        );
        _refuse(no, _relayed(slip));
        (slip.deadline, slip.nonce) = (block.timestamp, 1);
        _refuse(abi.encodeWithSelector(DatanetRegistry.DatanetRegistryStaleNonce.selector, 1, 0), _relayed(slip));
        (slip.nonce, slip.termsVersion) = (0, 2);
        _refuse(_staleTerms(2, 1), _relayed(slip));
        (slip.termsVersion, slip.grantee) = (1, address(0));
        _refuse(abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidGrantee.selector, 0), _relayed(slip));
    }

    function test_aTransferIsTakenByTheOneApproved() public {
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNotAccepted.selector, 1, _BOB);
        _refuse(no, abi.encodeCall(_registry.transferFrom, (address(this), _BOB, 1)));
        _refuse(
            abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNoOperators.selector),
            abi.encodeCall(_registry.setApprovalForAll, (_BOB, true))
        );
    }

    function _relayed(DatanetRegistry.SignedGrant memory slip) private view returns (bytes memory) {
        bytes memory signature = signed(MANAGER_KEY, _registry.grantDigest(slip));
        return abi.encodeCall(_registry.grantBySignature, (slip, _manager, signature));
    }

    function _invalidName(uint256 length) private pure returns (bytes memory) {
        return abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidName.selector, length);
    }

    function _invalidPurposes(uint32 purposes) private pure returns (bytes memory) {
        return abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidPurposes.selector, purposes);
    }

    function _staleTerms(uint32 named, uint32 current) private pure returns (bytes memory) {
        return abi.encodeWithSelector(DatanetRegistry.DatanetRegistryStaleTerms.selector, 1, named, current);
    }
}
