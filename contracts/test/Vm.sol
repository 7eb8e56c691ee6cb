// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The few cheat codes that the Solidity tests use.
interface IVm {
    /// @notice The next call comes from `sender`.
    function prank(address sender) external;

    /// @notice Sets the time of the block.
    function warp(uint256 timestamp) external;

    /// @notice Sets the id of the chain.
    function chainId(uint256 id) external;

    /// @notice Drops this input.
    function assume(bool condition) external pure;

    /// @notice The address of a private key.
    function addr(uint256 key) external pure returns (address);

    /// @notice The key's signature of a digest.
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
}

IVm constant vm = IVm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @dev The key's 65-byte signature of a digest.
function signed(uint256 key, bytes32 digest) pure returns (bytes memory) {
    (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
    return abi.encodePacked(r, s, v);
}
