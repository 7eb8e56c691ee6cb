// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {DatanetRegistry} from "./DatanetRegistry.sol";

/// @title Which adapter was trained on which datanets, by whom, with whose permission.
/// @notice A builder signs a `TrainingOrder` when a run starts; whoever sees the run end may register
/// the result. The registry itself refuses a trainer who does not hold TRAIN at that block.
/// A model may be derived from another; it then stands on the data of its whole line, and its trainer needs TRAIN on
/// all of it. `modelOf` leads from a model to its data and its parent; `modelsOf` and `childrenOf` lead back.
/// @dev The order binds the trainer, the data and the configuration, not the result, which nobody knows
/// when signing: whoever is handed the signature is trusted to name the adapter that came out.
contract ModelRegistry is EIP712 {
    /// @notice What the trainer signs: this data, from this model on, under this configuration, until then, once.
    struct TrainingOrder {
        address trainer;
        uint256[] datanetIds;
        uint32[] versions;
        uint256 parentModelId; // 0: trained from the base model itself
        bytes32 configDigest;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice What came of an order.
    struct Result {
        bytes32 adapterDigest; // SHA-256 of the adapter archive
        string adapterCid; // where the archive is pinned, encrypted
        string baseModel; // name@revision
        bytes32 provenanceDigest; // SHA-256 of the in-toto statement about the run
        string provenanceCid; // where the statement is pinned
    }

    /// @notice A registered adapter and what it was trained on. `termsVersions` are those of each datanet that held
    /// when the model was registered.
    struct Model {
        address trainer;
        uint48 registeredAt;
        uint8 generation;
        uint256 parentModelId;
        bytes32 adapterDigest;
        bytes32 configDigest;
        bytes32 provenanceDigest;
        uint256[] datanetIds;
        uint32[] versions;
        uint32[] termsVersions;
    }

    uint32 private constant _TRAIN = 1;
    bytes32 private constant _ORDER_TYPEHASH = keccak256(
        "TrainingOrder(address trainer,uint256[] datanetIds,uint32[] versions,uint256 parentModelId,bytes32 configDigest,uint256 nonce,uint256 deadline)"
    );
    uint8 private constant _MAX_GENERATION = 8; // so that a walk up a line always fits a transaction

    /// @notice Where permission is read.
    DatanetRegistry public immutable registry;
    /// @notice Models so far; ids run from 1 to this.
    uint256 public modelCount;

    mapping(uint256 modelId => Model model) private _models;
    mapping(uint256 datanetId => uint256[] modelIds) private _modelsOf;
    mapping(uint256 modelId => uint256[] modelIds) private _childrenOf;
    mapping(address trainer => mapping(uint256 nonce => bool used)) private _usedNonces;

    /// @notice An adapter was registered; one `ModelTrainedOn` a datanet follows.
    event ModelRegistered(
        uint256 indexed modelId,
        address indexed trainer,
        bytes32 indexed adapterDigest,
        string baseModel,
        string adapterCid,
        bytes32 configDigest,
        bytes32 provenanceDigest,
        string provenanceCid
    );
    /// @notice The model was trained on this version of this datanet, under these terms.
    event ModelTrainedOn(uint256 indexed modelId, uint256 indexed datanetId, uint32 version, uint32 termsVersion);
    /// @notice The model was trained from another one on, and stands on that one's data too.
    event ModelDerived(uint256 indexed modelId, uint256 indexed parentModelId);

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
    /// @notice A line of models has eight generations at most after the first.
    error ModelRegistryLineTooLong(uint256 parentModelId);
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
    /// @param result What the training gave.
    /// @return modelId 1, 2, 3, …
    function register(
        TrainingOrder calldata order,
        bytes calldata signature,
        Result calldata result
    ) external returns (uint256 modelId) {
        if (result.adapterDigest == 0) revert ModelRegistryZeroAdapterDigest(order.trainer, order.nonce);
        _checkOrder(order, signature);
        // Spent before anything outside is asked again: a wallet's ERC-1271 code runs as a static call only.
        _usedNonces[order.trainer][order.nonce] = true;
        modelId = ++modelCount;
        Model storage model = _models[modelId];
        model.trainer = order.trainer;
        model.registeredAt = uint48(block.timestamp);
        model.adapterDigest = result.adapterDigest;
        model.configDigest = order.configDigest;
        model.provenanceDigest = result.provenanceDigest;
        emit ModelRegistered(
            modelId,
            order.trainer,
            result.adapterDigest,
            result.baseModel,
            result.adapterCid,
            order.configDigest,
            result.provenanceDigest,
            result.provenanceCid
        );
        if (order.parentModelId != 0) _derive(model, modelId, order.parentModelId);
        for (uint256 i; i < order.datanetIds.length; ++i) {
            uint32 termsVersion = registry.datanetOf(order.datanetIds[i]).termsVersion;
            model.datanetIds.push(order.datanetIds[i]);
            model.versions.push(order.versions[i]);
            model.termsVersions.push(termsVersion);
            _modelsOf[order.datanetIds[i]].push(modelId);
            emit ModelTrainedOn(modelId, order.datanetIds[i], order.versions[i], termsVersion);
        }
    }

    /// @notice Whether the terms still let this model answer. True when, for each datanet of its whole line, the terms
    /// under which that model was registered keep models, or its trainer may still use the datanet for TRAIN.
    function mayServe(uint256 modelId) external view returns (bool) {
        if (modelId == 0 || modelId > modelCount) return false;
        for (; modelId != 0; modelId = _models[modelId].parentModelId) {
            Model storage model = _models[modelId];
            for (uint256 i; i < model.datanetIds.length; ++i) {
                uint256 datanetId = model.datanetIds[i];
                bool kept = registry.termsOf(datanetId, model.termsVersions[i]).keepsModels;
                if (!kept && !registry.mayUse(model.trainer, datanetId, _TRAIN)) return false;
            }
        }
        return true;
    }

    /// @notice The models trained on a datanet, oldest first; what was derived from them is in `childrenOf`.
    /// @param offset Models to skip.
    /// @param limit Models to give at most.
    function modelsOf(uint256 datanetId, uint256 offset, uint256 limit) external view returns (uint256[] memory) {
        return _page(_modelsOf[datanetId], offset, limit);
    }

    /// @notice The models derived from this one directly, oldest first.
    /// @param offset Models to skip.
    /// @param limit Models to give at most.
    function childrenOf(uint256 modelId, uint256 offset, uint256 limit) external view returns (uint256[] memory) {
        return _page(_childrenOf[modelId], offset, limit);
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
                        order.parentModelId,
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
            _checkTraining(order.trainer, datanetId);
            if (version == 0 || version > registry.datanetOf(datanetId).version) {
                revert ModelRegistryUnknownVersion(datanetId, version);
            }
        }
        if (order.parentModelId > modelCount) revert ModelRegistryUnknownModel(order.parentModelId);
        for (uint256 id = order.parentModelId; id != 0; id = _models[id].parentModelId) {
            uint256[] storage datanetIds = _models[id].datanetIds;
            for (uint256 i; i < datanetIds.length; ++i) _checkTraining(order.trainer, datanetIds[i]);
        }
    }

    function _checkTraining(address trainer, uint256 datanetId) private view {
        if (!registry.mayUse(trainer, datanetId, _TRAIN)) {
            revert ModelRegistryTrainingNotPermitted(trainer, datanetId);
        }
    }

    function _derive(Model storage model, uint256 modelId, uint256 parentModelId) private {
        uint8 generation = _models[parentModelId].generation + 1;
        if (generation > _MAX_GENERATION) revert ModelRegistryLineTooLong(parentModelId);
        (model.generation, model.parentModelId) = (generation, parentModelId);
        _childrenOf[parentModelId].push(modelId);
        emit ModelDerived(modelId, parentModelId);
    }

    function _page(uint256[] storage all, uint256 offset, uint256 limit) private view returns (uint256[] memory page) {
        uint256 left = offset < all.length ? all.length - offset : 0;
        page = new uint256[](limit < left ? limit : left);
        for (uint256 i; i < page.length; ++i) page[i] = all[offset + i];
    }
}
