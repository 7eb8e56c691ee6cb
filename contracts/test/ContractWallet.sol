// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A contract wallet with one key, for tests of ERC-1271 signatures.
contract ContractWallet is IERC1271 {
    /// @notice The key whose signatures this wallet calls its own, and whose calls it passes on.
    address public immutable signer;

    /// @notice Somebody else tried to act as this wallet.
    error ContractWalletNotSigner(address caller);
    /// @notice The call that was passed on failed.
    error ContractWalletCallFailed(bytes reason);

    constructor(address signer_) {
        signer = signer_;
    }

    /// @notice Calls `target` in this wallet's name.
    function execute(address target, bytes calldata data) external {
        if (msg.sender != signer) revert ContractWalletNotSigner(msg.sender);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory reason) = target.call(data);
        if (!done) revert ContractWalletCallFailed(reason);
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address recovered, , ) = ECDSA.tryRecoverCalldata(hash, signature);
        return recovered == signer ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
