import { expect } from "chai";

import { networkHelpers, NEVER, refused, terms, TRAIN, transfer } from "./fixtures.js";
import { modelsOnDatanet, modelsOnTwoDatanets } from "./models.js";

const { loadFixture } = networkHelpers;

describe("ModelRegistry: lines and serving", () => {
  describe("a line of models", () => {
    const derived = { parentModelId: 1, datanetIds: [2], nonce: 2n };

    it("leads from a model to its parent and back, page by page", async () => {
      const { models, register } = await loadFixture(modelsOnTwoDatanets);
      await register();
      await expect(register(derived)).to.emit(models, "ModelDerived").withArgs(2, 1);
      await register({ ...derived, nonce: 3n });
      await register({ ...derived, parentModelId: 2, nonce: 4n });
      const [second, fourth] = [await models.modelOf(2), await models.modelOf(4)];
      expect([second.parentModelId, second.generation]).to.deep.equal([1n, 1n]);
      expect([fourth.parentModelId, fourth.generation]).to.deep.equal([2n, 2n]);
      expect(await models.childrenOf(1, 0, 10)).to.deep.equal([2n, 3n]);
      expect(await models.childrenOf(1, 1, 1)).to.deep.equal([3n]);
      expect(await models.childrenOf(2, 0, 10)).to.deep.equal([4n]);
      expect(await models.childrenOf(4, 0, 10)).to.deep.equal([]);
    });

    it("is silent about a parent when there is none", async () => {
      const { models, register } = await loadFixture(modelsOnDatanet);
      await expect(register()).to.not.emit(models, "ModelDerived");
    });

    it("asks TRAIN on all of it: revoking the first model's data stops what is derived from it", async () => {
      const { registry, models, builder, register } = await loadFixture(modelsOnTwoDatanets);
      await register();
      await register(derived);
      await registry.revoke(1, builder, TRAIN);
      for (const parentModelId of [1, 2]) {
        const attempt = register({ ...derived, parentModelId, nonce: 5n });
        await refused(attempt, models, "ModelRegistryTrainingNotPermitted", builder, 1);
      }
      await register({ datanetIds: [2], nonce: 6n });
    });

    it("may be gone on with by another trainer who holds TRAIN on all of it", async () => {
      const { registry, models, other, sign, register } = await loadFixture(modelsOnTwoDatanets);
      await register();
      const order = { ...derived, trainer: other.address };
      const attempt = register(order, await sign(order, other));
      await refused(attempt, models, "ModelRegistryTrainingNotPermitted", other, 1);
      await registry.grant(1, other, TRAIN, NEVER);
      await register(order, await sign(order, other));
      expect((await models.modelOf(2)).trainer).to.equal(other);
    });

    it("starts from a model that exists: not from itself, nor from one to come", async () => {
      const { models, register } = await loadFixture(modelsOnTwoDatanets);
      await refused(register(derived), models, "ModelRegistryUnknownModel", 1);
      await register();
      await refused(register({ ...derived, parentModelId: 2 }), models, "ModelRegistryUnknownModel", 2);
    });

    it("has eight generations after the first and no more", async () => {
      const { models, register } = await loadFixture(modelsOnDatanet);
      await register();
      for (let parent = 1; parent <= 8; parent++) await register({ parentModelId: parent, nonce: BigInt(parent) });
      expect((await models.modelOf(9)).generation).to.equal(8);
      await refused(register({ parentModelId: 9, nonce: 9n }), models, "ModelRegistryLineTooLong", 9);
      await register({ parentModelId: 8, nonce: 10n });
    });
  });

  describe("serving", () => {
    it("goes on while the trainer may train, and ends with that where the terms keep no models", async () => {
      const { registry, owner, builder, other, models, register } = await loadFixture(modelsOnDatanet);
      await register();
      expect(await models.mayServe(1)).to.equal(true);
      const snapshot = await networkHelpers.takeSnapshot();
      for (const end of [
        () => registry.revoke(1, builder, TRAIN),
        () => registry.freeze(1),
        () => registry.setTerms(1, 2, terms({ keepsModels: true }), ""),
        () => transfer(registry, owner, other),
      ]) {
        await end();
        expect(await models.mayServe(1)).to.equal(false);
        await snapshot.restore();
      }
    });

    it("goes on for good where the terms that the model was registered under keep models", async () => {
      const { registry, builder, models, register } = await loadFixture(modelsOnDatanet);
      await registry.setTerms(1, 2, terms({ keepsModels: true }), "");
      await registry.connect(builder).acceptTerms(1, 2);
      await register();
      await registry.setTerms(1, 3, terms(), "");
      await registry.revoke(1, builder, TRAIN);
      await registry.freeze(1);
      expect(await models.mayServe(1)).to.equal(true);
    });

    it("is asked of every datanet that the model was trained on", async () => {
      const { registry, builder, models, register } = await loadFixture(modelsOnTwoDatanets);
      await register({ datanetIds: [2, 1], versions: [1, 1] });
      await registry.revoke(1, builder, TRAIN);
      expect(await models.mayServe(1)).to.equal(false);
    });

    it("is asked of the whole line: a model ends with the one that it was derived from", async () => {
      const { registry, builder, other, models, register } = await loadFixture(modelsOnTwoDatanets);
      await register();
      await register({ parentModelId: 1, datanetIds: [2], nonce: 2n });
      await registry.connect(other).revoke(2, builder, TRAIN);
      expect(await models.mayServe(2)).to.equal(true);
      await registry.revoke(1, builder, TRAIN);
      expect(await models.mayServe(2)).to.equal(false);
    });

    it("is false, not an error, for a model that does not exist", async () => {
      const { models } = await loadFixture(modelsOnDatanet);
      for (const id of [0, 1, 2n ** 256n - 1n]) expect(await models.mayServe(id)).to.equal(false);
    });
  });
});
