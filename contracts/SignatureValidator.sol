// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Answers, in one `eth_call` and without being deployed, whether a contract wallet accepts a signature.
/// @notice Covers ERC-1271 (a wallet that exists) and ERC-6492 (one that its factory would make). The creation
/// code is sent as the call's data with the arguments behind it; what would be the deployed code is the answer.
/// @dev Never deployed: whatever the factory or the wallet does is undone when the call ends.
contract SignatureValidator {
    /// @param signer The wallet that is said to have signed.
    /// @param digest What was signed.
    /// @param signature What the wallet is to check, without the ERC-6492 wrapping.
    /// @param factory Who makes or prepares the wallet; zero for none.
    /// @param factoryData The call that makes it do so.
    constructor(address signer, bytes32 digest, bytes memory signature, address factory, bytes memory factoryData) {
        bool valid = SignatureChecker.isValidERC1271SignatureNow(signer, digest, signature);
        if (!valid && factory != address(0)) {
            // solhint-disable-next-line avoid-low-level-calls
            (bool prepared, ) = factory.call(factoryData);
            valid = prepared && SignatureChecker.isValidERC1271SignatureNow(signer, digest, signature);
        }
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(0x00, valid) // scratch space
            return(0x00, 0x20)
        }
    }
}
