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
        DatanetRegistry.SignedGrant memory slip = DatanetRegistry.SignedGrant(
            1,
            address(0xB0B),
            3,
            0,
            1,
            0,
            block.timestamp
        );
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
        DatanetRegistry.SignedGrant memory slip = DatanetRegistry.SignedGrant(
            1,
            address(0xB0B),
            3,
            0,
            1,
            0,
            block.timestamp
        );
        _registry.setManager(1, _manager, true);
        bytes memory signature = signed(MANAGER_KEY, _registry.grantDigest(slip));
        vm.chainId(chain);
        bytes memory no = abi.encodeWithSelector(DatanetRegistry.DatanetRegistryInvalidSignature.selector, _manager);
        _refuse(no, abi.encodeCall(_registry.grantBySignature, (slip, _manager, signature)));
        vm.chainId(_chain);
        _registry.grantBySignature(slip, _manager, signature);
    }

    function testFuzz_garbageIsNoSignature(bytes calldata garbage) public {
        DatanetRegistry.SignedRevocation memory slip = DatanetRegistry.SignedRevocation(
            1,
            address(0xB0B),
            3,
            0,
            block.timestamp
        );
        ContractWallet wallet = new ContractWallet(_manager);
        _registry.setManager(1, _manager, true);
        _registry.setManager(1, address(wallet), true);
        address[2] memory signers = [_manager, address(wallet)];
        for (uint256 i; i < 2; ++i) {
            bytes memory no = abi.encodeWithSelector(
                DatanetRegistry.DatanetRegistryInvalidSignature.selector,
                signers[i]
            );
            _refuse(no, abi.encodeCall(_registry.revokeBySignature, (slip, signers[i], garbage)));
        }
        bytes memory good = signed(MANAGER_KEY, _registry.revocationDigest(slip));
        _registry.revokeBySignature(slip, address(wallet), good);
    }

    function _digestOfOriginal() private view returns (bytes32) {
        return _registry.grantDigest(DatanetRegistry.SignedGrant(1, address(0xB0B), 3, 0, 1, 0, block.timestamp));
    }
}
