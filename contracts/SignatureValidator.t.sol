// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable gas-custom-errors
pragma solidity 0.8.37;

import {SignatureValidator} from "./SignatureValidator.sol";
import {ContractWallet} from "./test/ContractWallet.sol";
import {signed, vm} from "./test/Vm.sol";

/// @title Contract wallets that exist and that their factory would make; this contract is the factory.
contract SignatureValidatorRules {
    bytes32 private constant _DIGEST = "digest";
    uint256 private constant _KEY = 5;

    function make() external returns (ContractWallet) {
        return new ContractWallet{salt: 0}(vm.addr(_KEY));
    }

    function fail() external pure {
        revert("no wallet today");
    }

    function test_aWalletThatExistsAnswersForItself() public {
        address wallet = address(this.make());
        require(_valid(wallet, signed(_KEY, _DIGEST), address(0), ""), "its own key");
        require(!_valid(wallet, signed(_KEY + 1, _DIGEST), address(0), ""), "another key");
        require(
            _valid(wallet, signed(_KEY, _DIGEST), address(this), abi.encodeCall(this.fail, ())),
            "needs no factory"
        );
    }

    function test_aWalletToBeAnswersOnceItsFactoryMadeIt() public {
        address wallet = _toBe();
        bytes memory good = signed(_KEY, _DIGEST);
        require(!_valid(wallet, good, address(0), ""), "not made and no factory");
        require(!_valid(wallet, good, address(this), abi.encodeCall(this.fail, ())), "a factory that fails");
        require(wallet.code.length == 0, "made already");
        require(_valid(wallet, good, address(this), abi.encodeCall(this.make, ())), "made");
    }

    function test_aWalletThatItsFactoryMadeTakesItsOwnKeyOnly() public {
        bytes memory make_ = abi.encodeCall(this.make, ());
        require(!_valid(_toBe(), signed(_KEY + 1, _DIGEST), address(this), make_), "another key");
        require(_toBe().code.length != 0, "not made");
    }

    function test_aKeyIsNoWallet() public {
        require(!_valid(vm.addr(_KEY), signed(_KEY, _DIGEST), address(0), ""), "a key");
    }

    function _toBe() private view returns (address) {
        bytes memory creation = abi.encodePacked(type(ContractWallet).creationCode, abi.encode(vm.addr(_KEY)));
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(0), keccak256(creation)));
        return address(uint160(uint256(hash)));
    }

    /// @dev The code that the constructor gives back is the answer.
    function _valid(
        address signer,
        bytes memory signature,
        address factory,
        bytes memory factoryData
    ) private returns (bool) {
        bytes memory answer = address(new SignatureValidator(signer, _DIGEST, signature, factory, factoryData)).code;
        require(answer.length == 32, "not a word");
        return abi.decode(answer, (bool));
    }
}
