// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The few cheat codes that the fuzz tests use.
interface IVm {
    /// @notice The next call comes from `sender`.
    function prank(address sender) external;

    /// @notice Sets the time of the block.
    function warp(uint256 timestamp) external;

    /// @notice Drops this input.
    function assume(bool condition) external pure;
}

IVm constant vm = IVm(address(uint160(uint256(keccak256("hevm cheat code")))));
