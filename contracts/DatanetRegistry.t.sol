// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {ContractWallet} from "./test/ContractWallet.sol";
import {signed, vm} from "./test/Vm.sol";

/// @title A registry with datanet 1 of this contract's, all purposes on offer.
abstract contract WithDatanet {
    uint256 internal constant MANAGER_KEY = 7;
    DatanetRegistry internal _registry;
    address internal _manager = vm.addr(MANAGER_KEY);
    uint256 internal _chain = block.chainid; // kept: the compiler takes an id to be constant within a call

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        _registry = new DatanetRegistry();
        _registry.createDatanet("fuzz", _terms(15), "", 0);
    }

    function _terms(uint32 purposes) internal pure returns (DatanetRegistry.Terms memory) {
        return DatanetRegistry.Terms(0, purposes, 0, 0, false);
    }

    function _grantee(address wallet) internal view returns (address) {
        vm.assume(wallet != address(0) && wallet != address(this) && wallet != address(vm));
        return wallet;
    }

    function _known(uint32 purposes) internal pure returns (uint32) {
        return (purposes % 15) + 1;
    }

    function _refuse(bytes memory reason, bytes memory call) internal {
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory said) = address(_registry).call(call);
        require(!done, "not refused");
        require(keccak256(said) == keccak256(reason), "refused for another reason");
    }

    function _refuseFrom(address caller, bytes memory reason, bytes memory call) internal {
        vm.prank(caller);
        _refuse(reason, call);
    }
}

/// @title For any input: a wallet has a purpose exactly when it is public or in a live grant of the present owner's.
contract DatanetRegistryFuzz is WithDatanet {
    function testFuzz_aGrantGivesExactlyItsPurposes(address wallet, uint32 purposes, uint32 asked) public {
        (address grantee, uint32 given) = (_grantee(wallet), _known(purposes));
        asked = asked % 32;
        _registry.grant(1, grantee, given, 0);
        require(_registry.mayUse(grantee, 1, asked) == (asked != 0 && asked & ~given == 0), "granted");
    }

    function testFuzz_aRevocationTakesExactlyItsPurposes(
        address wallet,
        uint32 purposes,
        uint32 revoked,
        uint32 asked
    ) public {
        address grantee = _grantee(wallet);
        (purposes, revoked, asked) = (_known(purposes), _known(revoked), _known(asked));
        _registry.grant(1, grantee, purposes, 0);
        _registry.revoke(1, grantee, revoked);
        require(_registry.mayUse(grantee, 1, asked) == (asked & ~(purposes & ~revoked) == 0), "revoked");
    }

    function testFuzz_aGrantEndsWhenItExpires(address wallet, uint48 expiresAt, uint48 later) public {
        address grantee = _grantee(wallet);
        vm.assume(expiresAt > block.timestamp);
        _registry.grant(1, grantee, 1, expiresAt);
        vm.warp(later);
        require(_registry.mayUse(grantee, 1, 1) == (later < expiresAt), "expiry");
    }

    function testFuzz_aTransferEndsEveryGrantAndRequest(address wallet, address to, uint32 purposes) public {
        (address grantee, address buyer) = (_grantee(wallet), _grantee(to));
        vm.assume(grantee != buyer);
        _registry.grant(1, grantee, _known(purposes), 0);
        vm.prank(grantee);
        _registry.requestAccess(1, 1, 15, 0, "");
        _registry.approve(buyer, 1);
        vm.prank(buyer);
        _registry.transferFrom(address(this), buyer, 1);
        for (uint32 asked = 1; asked < 16; ++asked) require(!_registry.mayUse(grantee, 1, asked), "sold along");
        require(_registry.requestOf(1, grantee).purposes == 0, "a request was sold along");
        require(_registry.mayUse(buyer, 1, 15), "the buyer");
    }

    function testFuzz_termsAcceptedGiveWhatWasGrantedAndIsOffered(address wallet, uint32 had, uint32 offers) public {
        (address grantee, uint32 purposes, uint32 offered) = (_grantee(wallet), _known(had), _known(offers));
        _registry.grant(1, grantee, purposes, 0);
        _registry.setTerms(1, 2, _terms(offered), "");
        vm.assume(purposes & offered != 0);
        require(!_registry.mayUse(grantee, 1, purposes & offered), "used unread terms");
        vm.prank(grantee);
        _registry.acceptTerms(1, 2);
        for (uint32 asked = 1; asked < 16; ++asked) {
            require(_registry.mayUse(grantee, 1, asked) == (asked & ~(purposes & offered) == 0), "accepted");
        }
    }

    function testFuzz_aStrangerDecidesNothing(address stranger, address wallet, uint32 purposes) public {
        vm.assume(stranger != address(this));
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryNotManager.selector, 1, stranger);
        _refuseFrom(stranger, no, abi.encodeCall(_registry.grant, (1, wallet, purposes, 0)));
        _refuseFrom(stranger, no, abi.encodeCall(_registry.revoke, (1, wallet, purposes)));
        _refuseFrom(stranger, no, abi.encodeCall(_registry.freeze, (1)));
        require(wallet == address(this) || !_registry.mayUse(wallet, 1, _known(purposes)), "a failed grant counts");
    }

    function testFuzz_mayUseNeverReverts(address grantee, uint256 datanetId, uint32 purposes) public view {
        bool allowed = _registry.mayUse(grantee, datanetId, purposes);
        require(!allowed || (datanetId == 1 && purposes != 0 && purposes < 16), "allowed something unknown");
    }

    function testFuzz_aSignedGrantIsGoodAsSignedOnly(uint256 seed, uint8 field, uint256 change) public {
        uint256 key = (seed % type(uint128).max) + 1;
        address signer = vm.addr(key);
        _registry.setManager(1, signer, true);
        DatanetRegistry.SignedGrant memory slip =
            DatanetRegistry.SignedGrant(1, address(0xB0B), 3, 0, 1, 0, block.timestamp);
        bytes memory signature = signed(key, _registry.grantDigest(slip));
        uint256[7] memory fields;
        fields[field % 7] = change;
        slip.datanetId ^= fields[0];
        slip.grantee = address(uint160(slip.grantee) ^ uint160(fields[1]));
        slip.purposes ^= uint32(fields[2]);
        slip.expiresAt ^= uint48(fields[3]);
        slip.termsVersion ^= uint32(fields[4]);
        slip.nonce ^= fields[5];
        slip.deadline ^= fields[6];
        bool asSigned = _registry.grantDigest(slip) == _digestOfOriginal();
        try _registry.grantBySignature(slip, signer, signature) {
            require(asSigned, "changed and taken");
        } catch {
            require(!asSigned, "as signed and refused");
        }
    }

    function testFuzz_aSignatureOfAnotherChainIsRefused(uint64 chain) public {
        vm.assume(chain != 0 && chain != _chain);
        DatanetRegistry.SignedGrant memory slip =
            DatanetRegistry.SignedGrant(1, address(0xB0B), 3, 0, 1, 0, block.timestamp);
        _registry.setManager(1, _manager, true);
        bytes memory signature = signed(MANAGER_KEY, _registry.grantDigest(slip));
        vm.chainId(chain);
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidSignature.selector, _manager);
        _refuse(no, abi.encodeCall(_registry.grantBySignature, (slip, _manager, signature)));
        vm.chainId(_chain);
        _registry.grantBySignature(slip, _manager, signature);
    }

    function testFuzz_garbageIsNoSignature(bytes calldata garbage) public {
        DatanetRegistry.SignedRevocation memory slip =
            DatanetRegistry.SignedRevocation(1, address(0xB0B), 3, 0, block.timestamp);
        ContractWallet wallet = new ContractWallet(_manager);
        _registry.setManager(1, _manager, true);
        _registry.setManager(1, address(wallet), true);
        address[2] memory signers = [_manager, address(wallet)];
        for (uint256 i; i < 2; ++i) {
            bytes memory no =
                abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidSignature.selector, signers[i]);
            _refuse(no, abi.encodeCall(_registry.revokeBySignature, (slip, signers[i], garbage)));
        }
        bytes memory good = signed(MANAGER_KEY, _registry.revocationDigest(slip));
        _registry.revokeBySignature(slip, address(wallet), good);
    }

    function _digestOfOriginal() private view returns (bytes32) {
        return
            _registry.grantDigest(DatanetRegistry.SignedGrant(1, address(0xB0B), 3, 0, 1, 0, block.timestamp));
    }
}

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
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidPrice.selector, 0, bytes3("EUR"));
        _refuse(no, abi.encodeCall(_registry.setTerms, (1, 2, terms, "")));
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
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistrySignatureExpired.selector, slip.deadline);
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
