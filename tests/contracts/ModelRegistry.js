import { expect } from "chai";

import { digest, ethers, networkHelpers, NEVER, registryWithDatanet, RETRIEVE, TRAIN, vectors } from "./fixtures.js";

const { loadFixture, time } = networkHelpers;

const ORDER = {
  TrainingOrder: [
    { name: "trainer", type: "address" },
    { name: "datanetIds", type: "uint256[]" },
    { name: "versions", type: "uint32[]" },
    { name: "configDigest", type: "bytes32" },
    { name: "nonce", type: "uint256" },
    { name: "deadline", type: "uint256" },
  ],
};

async function modelsOnDatanet() {
  const given = await registryWithDatanet();
  await given.registry.grant(1, given.builder, TRAIN, NEVER);
  const models = await ethers.deployContract("ModelRegistry", [await given.registry.getAddress()]);
  const order = {
    trainer: given.builder.address,
    datanetIds: [1],
    versions: [1],
    configDigest: digest("config"),
    nonce: 77n,
    deadline: (await time.latest()) + 86_400,
  };
  const domain = {
    name: "Byline ModelRegistry",
    version: "1",
    chainId: (await ethers.provider.getNetwork()).chainId,
    verifyingContract: await models.getAddress(),
  };
  const sign = (changed = {}, signer = given.builder) => signer.signTypedData(domain, ORDER, { ...order, ...changed });
  /** Register `order` with some fields changed; the relayer is a stranger to all of it. */
  const register = (changed, signature, adapter = digest("adapter")) =>
    models
      .connect(given.stranger)
      .register({ ...order, ...changed }, signature, adapter, "bafyadapter", "smollm2", digest("provenance"));
  return { ...given, models, order, sign, register };
}

describe("ModelRegistry", () => {
  it("registers what a signed order resulted in, whoever relays it", async () => {
    const { models, builder, order, sign, register } = await loadFixture(modelsOnDatanet);
    await expect(register({}, await sign()))
      .to.emit(models, "ModelRegistered")
      .withArgs(1, builder, digest("adapter"), "smollm2", "bafyadapter", digest("config"), digest("provenance"))
      .to.emit(models, "ModelTrainedOn")
      .withArgs(1, 1, 1);
    expect(await models.modelCount()).to.equal(1);
    expect(await models.isNonceUsed(builder, order.nonce)).to.equal(true);
    const model = await models.modelOf(1);
    expect(model.trainer).to.equal(builder);
    expect(model.adapterDigest).to.equal(digest("adapter"));
    expect(model.configDigest).to.equal(digest("config"));
    expect(model.provenanceDigest).to.equal(digest("provenance"));
    expect(model.registeredAt).to.equal(await time.latest());
    expect(model.datanetIds).to.deep.equal([1n]);
    expect(model.versions).to.deep.equal([1n]);
  });

  it("names every datanet and version the model was trained on", async () => {
    const { registry, models, builder, sign, register } = await loadFixture(modelsOnDatanet);
    await registry.publishVersion(1, 2, digest("m2"), digest("r2"), "");
    await registry.connect(builder).createDatanet("Own", ethers.ZeroHash, "", 0);
    await registry.connect(builder).publishVersion(2, 1, digest("m"), digest("r"), "");
    const both = { datanetIds: [1, 2], versions: [1, 1] };
    await expect(register(both, await sign(both)))
      .to.emit(models, "ModelTrainedOn")
      .withArgs(1, 1, 1)
      .to.emit(models, "ModelTrainedOn")
      .withArgs(1, 2, 1);
  });

  it("refuses a trainer whose permission was revoked after the order was signed", async () => {
    const { registry, models, builder, sign, register } = await loadFixture(modelsOnDatanet);
    const signature = await sign();
    await registry.revoke(1, builder, TRAIN);
    await expect(register({}, signature))
      .to.be.revertedWithCustomError(models, "ModelRegistryTrainingNotPermitted")
      .withArgs(builder, 1);
  });

  it("takes no other purpose for TRAIN, and no unknown datanet", async () => {
    const { registry, models, builder, sign, register } = await loadFixture(modelsOnDatanet);
    await registry.grant(1, builder, RETRIEVE, NEVER);
    await expect(register({}, await sign()))
      .to.be.revertedWithCustomError(models, "ModelRegistryTrainingNotPermitted")
      .withArgs(builder, 1);
    await registry.grant(1, builder, TRAIN, NEVER);
    const unknown = { datanetIds: [1, 9], versions: [1, 1] };
    await expect(register(unknown, await sign(unknown)))
      .to.be.revertedWithCustomError(models, "ModelRegistryTrainingNotPermitted")
      .withArgs(builder, 9);
  });

  it("refuses an order after its deadline, and takes it in its last second", async () => {
    const { models, order, sign, register } = await loadFixture(modelsOnDatanet);
    const signature = await sign();
    await time.setNextBlockTimestamp(order.deadline);
    await register({}, signature);
    const late = { nonce: 78n };
    await expect(register(late, await sign(late)))
      .to.be.revertedWithCustomError(models, "ModelRegistryOrderExpired")
      .withArgs(order.deadline);
  });

  it("takes an order once; nonces may come in any order", async () => {
    const { models, builder, sign, register } = await loadFixture(modelsOnDatanet);
    await register({}, await sign());
    await expect(register({}, await sign()))
      .to.be.revertedWithCustomError(models, "ModelRegistryNonceUsed")
      .withArgs(builder, 77);
    await register({ nonce: 3n }, await sign({ nonce: 3n }));
    expect(await models.isNonceUsed(builder, 3)).to.equal(true);
    expect(await models.isNonceUsed(builder, 4)).to.equal(false);
  });

  it("refuses an order over nothing, or with versions for other datanets", async () => {
    const { models, sign, register } = await loadFixture(modelsOnDatanet);
    for (const [changed, ids, versions] of [
      [{ datanetIds: [], versions: [] }, 0, 0],
      [{ versions: [] }, 1, 0],
      [{ versions: [1, 1] }, 1, 2],
    ]) {
      await expect(register(changed, await sign(changed)))
        .to.be.revertedWithCustomError(models, "ModelRegistryInvalidOrder")
        .withArgs(ids, versions);
    }
  });

  it("refuses a version that was never published", async () => {
    const { models, sign, register } = await loadFixture(modelsOnDatanet);
    for (const version of [0, 2]) {
      const changed = { versions: [version] };
      await expect(register(changed, await sign(changed)))
        .to.be.revertedWithCustomError(models, "ModelRegistryUnknownVersion")
        .withArgs(1, version);
    }
  });

  it("refuses a signature by another, over another order, or over nothing", async () => {
    const { models, builder, other, sign, register } = await loadFixture(modelsOnDatanet);
    const signature = await sign();
    for (const attempt of [
      async () => register({}, await sign({}, other)),
      () => register({ configDigest: digest("another") }, signature),
      () => register({ nonce: 78n }, signature),
      () => register({ deadline: 4_102_444_800 }, signature),
      () => register({}, "0x"),
      () => register({}, signature.slice(0, -2)),
    ]) {
      await expect(attempt()).to.be.revertedWithCustomError(models, "ModelRegistryInvalidSignature").withArgs(builder);
    }
  });

  it("takes a contract wallet's word by ERC-1271, and only its own", async () => {
    const { registry, models, other, builder, sign, register } = await loadFixture(modelsOnDatanet);
    const wallet = await ethers.deployContract("ContractWallet", [other.address]);
    const changed = { trainer: await wallet.getAddress() };
    await registry.grant(1, wallet, TRAIN, NEVER);
    await expect(register(changed, await sign(changed, builder)))
      .to.be.revertedWithCustomError(models, "ModelRegistryInvalidSignature")
      .withArgs(wallet);
    await expect(register(changed, await sign(changed, other))).to.emit(models, "ModelRegistered");
    expect((await models.modelOf(1)).trainer).to.equal(wallet);
  });

  it("refuses an adapter without a digest, a model it does not know and a registry that is none", async () => {
    const { models, builder, stranger, sign, register } = await loadFixture(modelsOnDatanet);
    await expect(register({}, await sign(), ethers.ZeroHash))
      .to.be.revertedWithCustomError(models, "ModelRegistryZeroAdapterDigest")
      .withArgs(builder, 77);
    for (const id of [0, 1]) {
      await expect(models.modelOf(id)).to.be.revertedWithCustomError(models, "ModelRegistryUnknownModel").withArgs(id);
    }
    await expect(ethers.deployContract("ModelRegistry", [stranger.address]))
      .to.be.revertedWithCustomError(models, "ModelRegistryInvalidRegistry")
      .withArgs(stranger);
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
    expect(ethers.recoverAddress(vector.digest, vector.signature)).to.equal(vector.order.trainer);
  });
});
