import { expect } from "chai";

import { digest, ethers, EUR, networkHelpers, NEVER, refused, RETRIEVE, terms, TRAIN, vectors } from "./fixtures.js";
import { modelsOnDatanet, modelsOnTwoDatanets, ORDER } from "./models.js";

const { loadFixture, time } = networkHelpers;

describe("ModelRegistry", () => {
  describe("registering", () => {
    it("keeps what a signed order resulted in, whoever relays it", async () => {
      const { models, builder, order, register } = await loadFixture(modelsOnDatanet);
      await expect(register())
        .to.emit(models, "ModelRegistered")
        .withArgs(
          1,
          builder,
          digest("adapter"),
          "smollm2@1",
          "bafyadapter",
          digest("config"),
          digest("provenance"),
          "bafyprovenance",
        )
        .to.emit(models, "ModelTrainedOn")
        .withArgs(1, 1, 1, 1);
      expect(await models.modelCount()).to.equal(1);
      expect(await models.isNonceUsed(builder, order.nonce)).to.equal(true);
      expect((await models.modelOf(1)).toObject()).to.deep.equal({
        trainer: builder.address,
        registeredAt: BigInt(await time.latest()),
        generation: 0n,
        parentModelId: 0n,
        adapterDigest: digest("adapter"),
        configDigest: digest("config"),
        provenanceDigest: digest("provenance"),
        datanetIds: [1n],
        versions: [1n],
        termsVersions: [1n],
      });
    });

    it("names every datanet, version and terms the model was trained on, and leads back from each", async () => {
      const { registry, models, builder, register } = await loadFixture(modelsOnTwoDatanets);
      await register({ nonce: 1n });
      await registry.publishVersion(1, 2, digest("m2"), digest("r2"), "");
      await registry.setTerms(1, 2, terms({ pricePer1000Answers: 3, currency: EUR }), "");
      await registry.connect(builder).acceptTerms(1, 2);
      await expect(register({ datanetIds: [2, 1], versions: [1, 2] }))
        .to.emit(models, "ModelTrainedOn")
        .withArgs(2, 2, 1, 1)
        .to.emit(models, "ModelTrainedOn")
        .withArgs(2, 1, 2, 2);
      const model = await models.modelOf(2);
      expect([model.datanetIds, model.versions, model.termsVersions]).to.deep.equal([
        [2n, 1n],
        [1n, 2n],
        [1n, 2n],
      ]);
      expect(await models.modelsOf(1, 0, 10)).to.deep.equal([1n, 2n]);
      expect(await models.modelsOf(2, 0, 10)).to.deep.equal([2n]);
    });

    it("may name an earlier version of the data", async () => {
      const { registry, models, register } = await loadFixture(modelsOnDatanet);
      await registry.publishVersion(1, 2, digest("m2"), digest("r2"), "");
      await register();
      expect((await models.modelOf(1)).versions).to.deep.equal([1n]);
    });

    it("gives lists in pages, and an empty page past the end", async () => {
      const { models, register } = await loadFixture(modelsOnDatanet);
      for (const nonce of [1n, 2n, 3n]) await register({ nonce });
      for (const [offset, limit, page] of [
        [0, 2, [1n, 2n]],
        [2, 2, [3n]],
        [0, 3, [1n, 2n, 3n]],
        [1, 1, [2n]],
        [1, 0, []],
        [3, 5, []],
        [9, 2n ** 256n - 1n, []],
        [1, 2n ** 256n - 1n, [2n, 3n]],
      ]) {
        expect(await models.modelsOf(1, offset, limit)).to.deep.equal(page);
      }
      expect(await models.modelsOf(7, 0, 5)).to.deep.equal([]);
    });

    it("refuses a trainer whose permission was revoked, rests or is frozen since the order was signed", async () => {
      const { registry, models, builder, sign, register } = await loadFixture(modelsOnDatanet);
      const signature = await sign();
      const snapshot = await networkHelpers.takeSnapshot();
      for (const change of [
        () => registry.revoke(1, builder, TRAIN),
        () => registry.setTerms(1, 2, terms(), ""),
        () => registry.freeze(1),
      ]) {
        await change();
        await refused(register({}, signature), models, "ModelRegistryTrainingNotPermitted", builder, 1);
        await snapshot.restore();
      }
      await register({}, signature);
    });

    it("takes no other purpose for TRAIN, and no unknown datanet", async () => {
      const { registry, models, builder, register } = await loadFixture(modelsOnDatanet);
      await registry.grant(1, builder, RETRIEVE, NEVER);
      await refused(register(), models, "ModelRegistryTrainingNotPermitted", builder, 1);
      await registry.grant(1, builder, TRAIN, NEVER);
      const unknown = { datanetIds: [1, 9], versions: [1, 1] };
      await refused(register(unknown), models, "ModelRegistryTrainingNotPermitted", builder, 9);
    });

    it("refuses an order after its deadline, and takes it in its last second", async () => {
      const { models, order, register } = await loadFixture(modelsOnDatanet);
      await time.setNextBlockTimestamp(order.deadline);
      await register();
      await refused(register({ nonce: 78n }), models, "ModelRegistryOrderExpired", order.deadline);
    });

    it("takes an order once; nonces may come in any order", async () => {
      const { models, builder, other, register } = await loadFixture(modelsOnDatanet);
      await register();
      await refused(register(), models, "ModelRegistryNonceUsed", builder, 77);
      await register({ nonce: 3n });
      expect(await models.isNonceUsed(builder, 3)).to.equal(true);
      expect(await models.isNonceUsed(builder, 4)).to.equal(false);
      expect(await models.isNonceUsed(other, 3)).to.equal(false);
    });

    it("refuses an order over nothing, or with versions for other datanets", async () => {
      const { models, register } = await loadFixture(modelsOnDatanet);
      for (const [changed, ids, versions] of [
        [{ datanetIds: [], versions: [] }, 0, 0],
        [{ versions: [] }, 1, 0],
        [{ versions: [1, 1] }, 1, 2],
      ]) {
        await refused(register(changed), models, "ModelRegistryInvalidOrder", ids, versions);
      }
    });

    it("refuses a version that was never published", async () => {
      const { models, register } = await loadFixture(modelsOnDatanet);
      for (const version of [0, 2]) {
        await refused(register({ versions: [version] }), models, "ModelRegistryUnknownVersion", 1, version);
      }
    });

    it("refuses a signature by another, over another order, for another place or over nothing", async () => {
      const { models, registry, builder, other, domain, sign, register } = await loadFixture(modelsOnTwoDatanets);
      const signature = await sign();
      const elsewhere = (changed) => sign({}, builder, { ...domain, ...changed });
      for (const [changed, bad] of [
        [{}, await sign({}, other)],
        [{ configDigest: digest("another") }, signature],
        [{ nonce: 78n }, signature],
        [{ deadline: 4_102_444_800 }, signature],
        [{ datanetIds: [2] }, signature],
        [{ versions: [2] }, signature],
        [{ parentModelId: 1 }, signature],
        [{}, await elsewhere({ chainId: domain.chainId + 1n })],
        [{}, await elsewhere({ verifyingContract: await registry.getAddress() })],
        [{}, "0x"],
        [{}, ethers.dataSlice(signature, 0, 64)],
      ]) {
        await refused(register(changed, bad), models, "ModelRegistryInvalidSignature", builder);
      }
      await refused(register({ trainer: other.address }, signature), models, "ModelRegistryInvalidSignature", other);
    });

    it("takes a contract wallet's word by ERC-1271, and only its own", async () => {
      const { registry, models, other, builder, sign, register } = await loadFixture(modelsOnDatanet);
      const wallet = await ethers.deployContract("ContractWallet", [other.address]);
      const changed = { trainer: await wallet.getAddress() };
      await registry.grant(1, wallet, TRAIN, NEVER);
      const another = register(changed, await sign(changed, builder));
      await refused(another, models, "ModelRegistryInvalidSignature", wallet);
      await expect(register(changed, await sign(changed, other))).to.emit(models, "ModelRegistered");
      expect((await models.modelOf(1)).trainer).to.equal(wallet);
    });

    it("refuses an adapter without a digest, a model it does not know and a registry that is none", async () => {
      const { models, builder, stranger, register } = await loadFixture(modelsOnDatanet);
      const empty = register({}, undefined, { adapterDigest: ethers.ZeroHash });
      await refused(empty, models, "ModelRegistryZeroAdapterDigest", builder, 77);
      for (const id of [0, 1]) await refused(models.modelOf(id), models, "ModelRegistryUnknownModel", id);
      const nowhere = ethers.deployContract("ModelRegistry", [stranger.address]);
      await refused(nowhere, models, "ModelRegistryInvalidRegistry", stranger);
    });

    it("knows its registry", async () => {
      const { models, registry } = await loadFixture(modelsOnDatanet);
      expect(await models.registry()).to.equal(registry);
    });

    it("computes the digest that wallets sign, as the shared vector has it", async () => {
      const { models } = await loadFixture(modelsOnDatanet);
      const vector = vectors("training_order.json");
      const place = vector.domain.verifyingContract;
      await networkHelpers.setCode(place, await ethers.provider.getCode(models));
      // Names are kept in storage only when longer than 31 bytes; this one lives in the code.
      expect(await models.attach(place).orderDigest(vector.order)).to.equal(vector.digest);
      expect(ethers.TypedDataEncoder.hash(vector.domain, ORDER, vector.order)).to.equal(vector.digest);
      expect(ethers.recoverAddress(vector.digest, vector.signature)).to.equal(vector.order.trainer);
    });
  });
});
