// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {DatanetRegistry} from "./DatanetRegistry.sol";

/// @title Which adapter was trained on which datanets, by whom, with whose permission.
/// @notice A builder signs a `TrainingOrder` when a run starts; whoever sees the run end may register
/// the result. The registry itself refuses a trainer who does not hold TRAIN at that block.
/// @dev The order binds the trainer, the data and the configuration, not the result, which nobody knows
/// when signing: whoever is handed the signature is trusted to name the adapter that came out.
contract ModelRegistry is EIP712 {
    /// @notice What the trainer signs: this data, under this configuration, until then, once.
    struct TrainingOrder {
        address trainer;
        uint256[] datanetIds;
        uint32[] versions;
        bytes32 configDigest;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice A registered adapter and what it was trained on.
    struct Model {
        address trainer;
        bytes32 adapterDigest;
        bytes32 configDigest;
        bytes32 provenanceDigest;
        uint48 registeredAt;
        uint256[] datanetIds;
        uint32[] versions;
    }

    uint32 private constant _TRAIN = 1;
    bytes32 private constant _ORDER_TYPEHASH = keccak256(
        "TrainingOrder(address trainer,uint256[] datanetIds,uint32[] versions,bytes32 configDigest,uint256 nonce,uint256 deadline)"
    );

    /// @notice Where permission is read.
    DatanetRegistry public immutable registry;
    /// @notice Models so far; ids run from 1 to this.
    uint256 public modelCount;

    mapping(uint256 modelId => Model model) private _models;
    mapping(address trainer => mapping(uint256 nonce => bool used)) private _usedNonces;

    /// @notice An adapter was registered; one `ModelTrainedOn` a datanet follows.
    event ModelRegistered(
        uint256 indexed modelId,
        address indexed trainer,
        bytes32 indexed adapterDigest,
        string baseModel,
        string adapterCid,
        bytes32 configDigest,
        bytes32 provenanceDigest
    );
    /// @notice The model was trained on this version of this datanet.
    event ModelTrainedOn(uint256 indexed modelId, uint256 indexed datanetId, uint32 version);

    /// @notice The registry's address holds no contract.
    error ModelRegistryInvalidRegistry(address registry);
    /// @notice There is no such model.
    error ModelRegistryUnknownModel(uint256 modelId);
    /// @notice The order was to be registered before its deadline.
    error ModelRegistryOrderExpired(uint256 deadline);
    /// @notice An order is good for one model.
    error ModelRegistryNonceUsed(address trainer, uint256 nonce);
    /// @notice An order names at least one datanet, and one version for each.
    error ModelRegistryInvalidOrder(uint256 datanetIds, uint256 versions);
    /// @notice That version was never published.
    error ModelRegistryUnknownVersion(uint256 datanetId, uint32 version);
    /// @notice The signature is not the trainer's over this order.
    error ModelRegistryInvalidSignature(address trainer);
    /// @notice The trainer does not hold TRAIN on this datanet at this block.
    error ModelRegistryTrainingNotPermitted(address trainer, uint256 datanetId);
    /// @notice An adapter without a digest can be checked by nobody.
    error ModelRegistryZeroAdapterDigest(address trainer, uint256 nonce);

    /// @param registry_ The DatanetRegistry that permission is read from, for good.
    constructor(address registry_) EIP712("Byline ModelRegistry", "1") {
        if (registry_.code.length == 0) revert ModelRegistryInvalidRegistry(registry_);
        registry = DatanetRegistry(registry_);
    }

    /// @notice Registers what a signed order resulted in. Anyone may relay it.
    /// @param order What the trainer signed.
    /// @param signature The trainer's EIP-712 signature; a contract wallet answers by ERC-1271.
    /// @param adapterDigest SHA-256 of the adapter archive.
    /// @param adapterCid Where the archive is pinned.
    /// @param baseModel The base model's name and revision.
    /// @param provenanceDigest SHA-256 of the run's provenance document.
    /// @return modelId 1, 2, 3, …
    function register(
        TrainingOrder calldata order,
        bytes calldata signature,
        bytes32 adapterDigest,
        string calldata adapterCid,
        string calldata baseModel,
        bytes32 provenanceDigest
    ) external returns (uint256 modelId) {
        if (adapterDigest == 0) revert ModelRegistryZeroAdapterDigest(order.trainer, order.nonce);
        _checkOrder(order, signature);
        // Spent before anything outside is asked again: a wallet's ERC-1271 code runs as a static call only.
        _usedNonces[order.trainer][order.nonce] = true;
        modelId = ++modelCount;
        _models[modelId] = Model({
            trainer: order.trainer,
            adapterDigest: adapterDigest,
            configDigest: order.configDigest,
            provenanceDigest: provenanceDigest,
            registeredAt: uint48(block.timestamp),
            datanetIds: order.datanetIds,
            versions: order.versions
        });
        emit ModelRegistered(
            modelId,
            order.trainer,
            adapterDigest,
            baseModel,
            adapterCid,
            order.configDigest,
            provenanceDigest
        );
        for (uint256 i; i < order.datanetIds.length; ++i) {
            emit ModelTrainedOn(modelId, order.datanetIds[i], order.versions[i]);
        }
    }

    /// @notice Whether an order of this trainer with this nonce was already registered.
    function isNonceUsed(address trainer, uint256 nonce) external view returns (bool) {
        return _usedNonces[trainer][nonce];
    }

    /// @notice One registered model.
    function modelOf(uint256 modelId) external view returns (Model memory) {
        if (modelId == 0 || modelId > modelCount) revert ModelRegistryUnknownModel(modelId);
        return _models[modelId];
    }

    /// @notice The EIP-712 digest that the trainer signs.
    function orderDigest(TrainingOrder calldata order) public view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(
                    abi.encode(
                        _ORDER_TYPEHASH,
                        order.trainer,
                        keccak256(abi.encodePacked(order.datanetIds)),
                        keccak256(abi.encodePacked(order.versions)),
                        order.configDigest,
                        order.nonce,
                        order.deadline
                    )
                )
            );
    }

    function _checkOrder(TrainingOrder calldata order, bytes calldata signature) private view {
        if (block.timestamp > order.deadline) revert ModelRegistryOrderExpired(order.deadline);
        if (_usedNonces[order.trainer][order.nonce]) revert ModelRegistryNonceUsed(order.trainer, order.nonce);
        uint256 count = order.datanetIds.length;
        if (count == 0 || count != order.versions.length) {
            revert ModelRegistryInvalidOrder(count, order.versions.length);
        }
        if (!SignatureChecker.isValidSignatureNow(order.trainer, orderDigest(order), signature)) {
            revert ModelRegistryInvalidSignature(order.trainer);
        }
        for (uint256 i; i < count; ++i) {
            uint256 datanetId = order.datanetIds[i];
            uint32 version = order.versions[i];
            if (!registry.mayUse(order.trainer, datanetId, _TRAIN)) {
                revert ModelRegistryTrainingNotPermitted(order.trainer, datanetId);
            }
            if (version == 0 || version > registry.datanetOf(datanetId).version) {
                revert ModelRegistryUnknownVersion(datanetId, version);
            }
        }
    }
}
