// SPDX-License-Identifier: Apache-2.0
// A test says what broke in words, so:
// solhint-disable one-contract-per-file, gas-custom-errors
pragma solidity 0.8.37;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {ModelRegistry} from "./ModelRegistry.sol";
import {signed, vm} from "./test/Vm.sol";

/// @title Three datanets of this contract's with a version each, and a trainer who may train on all of them.
abstract contract WithModels {
    uint256 internal constant TRAINER_KEY = 11;
    DatanetRegistry internal _registry;
    ModelRegistry internal _models;
    address internal _trainer = vm.addr(TRAINER_KEY);
    uint256 internal _nonce;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        _registry = new DatanetRegistry();
        _models = new ModelRegistry(address(_registry));
        for (uint256 id = 1; id < 4; ++id) {
            _registry.createDatanet("models", _terms(id == 3), "", 0); // the third lets its models stay
            _registry.publishVersion(id, 1, "m", "r", "");
            _registry.grant(id, _trainer, 1, 0);
        }
    }

    /// @dev An order over the datanets whose bits are set: 1, 2 and 4.
    function _order(uint256 datanets, uint256 parent) internal returns (ModelRegistry.TrainingOrder memory order) {
        uint256 count = (datanets & 1) + ((datanets >> 1) & 1) + ((datanets >> 2) & 1);
        order = ModelRegistry.TrainingOrder({
            trainer: _trainer,
            datanetIds: new uint256[](count),
            versions: new uint32[](count),
            parentModelId: parent,
            configDigest: "config",
            nonce: ++_nonce,
            deadline: block.timestamp
        });
        for (uint256 id = 1; id < 4; ++id) {
            if (datanets & (1 << (id - 1)) == 0) continue;
            (order.datanetIds[--count], order.versions[count]) = (id, 1);
        }
    }

    function _register(ModelRegistry.TrainingOrder memory order) internal returns (uint256) {
        return _models.register(order, signed(TRAINER_KEY, _models.orderDigest(order)), _result("adapter"));
    }

    function _refuse(bytes memory reason, ModelRegistry.TrainingOrder memory order) internal {
        _refuse(reason, order, signed(TRAINER_KEY, _models.orderDigest(order)), "adapter");
    }

    function _refuse(
        bytes memory reason,
        ModelRegistry.TrainingOrder memory order,
        bytes memory signature,
        bytes32 adapter
    ) internal {
        try _models.register(order, signature, _result(adapter)) {
            revert("not refused");
        } catch (bytes memory said) {
            require(keccak256(said) == keccak256(reason), "refused for another reason");
        }
    }

    function _terms(bool keepsModels) internal pure returns (DatanetRegistry.Terms memory) {
        return DatanetRegistry.Terms(0, 15, 0, 0, keepsModels);
    }

    function _result(bytes32 adapter) private pure returns (ModelRegistry.Result memory) {
        return ModelRegistry.Result(adapter, "cid", "base@1", "provenance", "cid");
    }
}

/// @title For any line of models: TRAIN on all of it is what it takes, and both ways through it agree.
contract ModelRegistryFuzz is WithModels {
    function testFuzz_aLineNeedsTrainOnAllOfIt(uint256 seed, uint8 revoked) public {
        uint256[4] memory masks;
        uint256 line;
        for (uint256 i; i < 3; ++i) {
            masks[i] = ((seed >> (8 * i)) % 7) + 1;
            line |= masks[i];
            require(_register(_order(masks[i], i)) == i + 1, "id");
        }
        uint256 gone = revoked % 8;
        _revoke(gone);
        masks[3] = ((seed >> 24) % 7) + 1;
        bool allowed = (line | masks[3]) & gone == 0;
        ModelRegistry.TrainingOrder memory order = _order(masks[3], 3);
        try _models.register(order, signed(TRAINER_KEY, _models.orderDigest(order)), _anyResult()) {
            require(allowed, "trained without permission");
        } catch {
            require(!allowed, "refused with permission");
        }
        // The third datanet's terms keep models: only the first two can end their service.
        uint256 ended;
        for (uint256 i; i < 3; ++i) {
            ended |= masks[i] & gone & 3;
            require(_models.mayServe(i + 1) == (ended == 0), "serving");
        }
    }

    function testFuzz_theWaysThroughTheModelsAgree(uint256 seed) public {
        for (uint256 i; i < 8; ++i) _register(_order(((seed >> (8 * i)) % 7) + 1, (seed >> (8 * i + 4)) % (i + 1)));
        for (uint256 id = 1; id < 4; ++id) {
            uint256[] memory back = _models.modelsOf(id, 0, 99);
            uint256 next;
            for (uint256 model = 1; model <= 8; ++model) {
                if (!_contains(_models.modelOf(model).datanetIds, id)) continue;
                require(back[next] == model, "modelsOf");
                ++next;
            }
            require(next == back.length, "modelsOf has more");
        }
        for (uint256 parent = 1; parent <= 8; ++parent) {
            uint256[] memory back = _models.childrenOf(parent, 0, 99);
            uint256 next;
            for (uint256 model = 1; model <= 8; ++model) {
                ModelRegistry.Model memory child = _models.modelOf(model);
                if (child.parentModelId != parent) continue;
                require(child.generation == _models.modelOf(parent).generation + 1, "generation");
                require(back[next] == model, "childrenOf");
                ++next;
            }
            require(next == back.length, "childrenOf has more");
        }
    }

    function testFuzz_pagesTogetherAreTheWhole(uint8 models, uint8 size) public {
        (uint256 count, uint256 limit) = (models % 12, (size % 5) + 1);
        for (uint256 i; i < count; ++i) _register(_order(1, 0));
        uint256 seen;
        while (true) {
            uint256[] memory page = _models.modelsOf(1, seen, limit);
            if (page.length == 0) break;
            require(page.length <= limit, "too many");
            for (uint256 i; i < page.length; ++i) require(page[i] == ++seen, "order");
        }
        require(seen == count, "missing");
    }

    function _revoke(uint256 datanets) private {
        for (uint256 id = 1; id < 4; ++id) {
            if (datanets & (1 << (id - 1)) != 0) _registry.revoke(id, _trainer, 1);
        }
    }

    function _contains(uint256[] memory list, uint256 wanted) private pure returns (bool) {
        for (uint256 i; i < list.length; ++i) if (list[i] == wanted) return true;
        return false;
    }

    function _anyResult() private pure returns (ModelRegistry.Result memory) {
        return ModelRegistry.Result("adapter", "", "", 0, "");
    }
}

/// @title Each rule of the model registry, refused once with its own error.
contract ModelRegistryRules is WithModels {
    function test_anOrderIsWholeOfNowAndSigned() public {
        ModelRegistry.TrainingOrder memory order = _order(1, 0);
        bytes memory good = signed(TRAINER_KEY, _models.orderDigest(order));
        _refuse(_error(ModelRegistry.ModelRegistryZeroAdapterDigest.selector, order.nonce), order, good, 0);
        order.configDigest = "another";
        bytes memory no = abi.encodeWithSelector(ModelRegistry.ModelRegistryInvalidSignature.selector, _trainer);
        _refuse(no, order, good, "adapter");
        order = _order(0, 0);
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryInvalidOrder.selector, 0, 0), order);
        order.versions = new uint32[](1);
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryInvalidOrder.selector, 0, 1), order);
        order = _order(1, 0);
        order.versions = new uint32[](2);
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryInvalidOrder.selector, 1, 2), order);
        order = _order(1, 0);
        for (uint32 version; version < 3; version += 2) {
            order.versions[0] = version;
            _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryUnknownVersion.selector, 1, version), order);
        }
        order = _order(1, 0);
        order.deadline = block.timestamp - 1;
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryOrderExpired.selector, order.deadline), order);
        order = _order(1, 0);
        _register(order);
        require(_models.isNonceUsed(_trainer, order.nonce), "nonce");
        _refuse(_error(ModelRegistry.ModelRegistryNonceUsed.selector, order.nonce), order);
    }

    function test_aLineStartsFromAModelAndEnds() public {
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryUnknownModel.selector, 1), _order(1, 1));
        for (uint256 parent; parent < 9; ++parent) _register(_order(1, parent));
        _refuse(abi.encodeWithSelector(ModelRegistry.ModelRegistryLineTooLong.selector, 9), _order(1, 9));
    }

    function test_aLineStopsWithItsFirstData() public {
        _register(_order(1, 0));
        _registry.revoke(1, _trainer, 1);
        bytes memory no = _error(ModelRegistry.ModelRegistryTrainingNotPermitted.selector, 1);
        _refuse(no, _order(2, 1));
        _refuse(no, _order(1, 0));
    }

    function test_anUnknownModelIsNotServed() public view {
        require(!_models.mayServe(0) && !_models.mayServe(1), "served");
        for (uint256 id; id < 2; ++id) {
            try _models.modelOf(id) {
                revert("known");
            } catch (bytes memory said) {
                bytes memory no = abi.encodeWithSelector(ModelRegistry.ModelRegistryUnknownModel.selector, id);
                require(keccak256(said) == keccak256(no), "for another reason");
            }
        }
    }

    function test_aRegistryIsAContract() public {
        try new ModelRegistry(_trainer) {
            revert("not refused");
        } catch (bytes memory said) {
            bytes memory no = abi.encodeWithSelector(ModelRegistry.ModelRegistryInvalidRegistry.selector, _trainer);
            require(keccak256(said) == keccak256(no), "for another reason");
        }
    }

    function _error(bytes4 selector, uint256 detail) private view returns (bytes memory) {
        return abi.encodeWithSelector(selector, _trainer, detail);
    }
}
