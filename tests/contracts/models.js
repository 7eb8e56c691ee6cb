import { digest, domainOf, ethers, networkHelpers, NEVER, registryWithDatanet, terms, TRAIN } from "./fixtures.js";

const { time } = networkHelpers;

const FIELDS = {
  trainer: "address",
  datanetIds: "uint256[]",
  versions: "uint32[]",
  parentModelId: "uint256",
  configDigest: "bytes32",
  nonce: "uint256",
  deadline: "uint256",
};
export const ORDER = { TrainingOrder: Object.entries(FIELDS).map(([name, type]) => ({ name, type })) };
const RESULT = {
  adapterDigest: digest("adapter"),
  adapterCid: "bafyadapter",
  baseModel: "smollm2@1",
  provenanceDigest: digest("provenance"),
  provenanceCid: "bafyprovenance",
};

/** `builder` may train on datanet 1; `sign` signs its order with some fields changed, a stranger relays it. */
export async function modelsOnDatanet() {
  const given = await registryWithDatanet();
  await given.registry.grant(1, given.builder, TRAIN, NEVER);
  const models = await ethers.deployContract("ModelRegistry", [await given.registry.getAddress()]);
  const domain = await domainOf(models);
  const order = {
    trainer: given.builder.address,
    datanetIds: [1],
    versions: [1],
    parentModelId: 0,
    configDigest: digest("config"),
    nonce: 77n,
    deadline: (await time.latest()) + 86_400,
  };
  const sign = (changed = {}, signer = given.builder, under = domain) =>
    signer.signTypedData(under, ORDER, { ...order, ...changed });
  const register = async (changed = {}, signature, result = {}) =>
    models
      .connect(given.stranger)
      .register({ ...order, ...changed }, signature ?? (await sign(changed)), { ...RESULT, ...result });
  return { ...given, models, domain, order, sign, register };
}

/** As above, and a datanet 2 of `other`'s with a version, that `builder` may train on too. */
export async function modelsOnTwoDatanets() {
  const given = await modelsOnDatanet();
  const registry = given.registry.connect(given.other);
  await registry.createDatanet("Trials", terms({ keepsModels: true }), "", 0);
  await registry.publishVersion(2, 1, digest("m"), digest("r"), "");
  await registry.grant(2, given.builder, TRAIN, NEVER);
  return given;
}
